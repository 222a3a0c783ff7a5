package admin

import (
	"slices"
	"strings"

	"holdfast.example/internal/secret"
	"holdfast.example/internal/user"
)

// Role is what an operator is trusted with. Each role has a scope, and a token
// acts in every role that its scopes name.
type Role string

// The roles.
const (
	// Viewer reads.
	Viewer Role = "viewer"
	// Support reads, and looks after people: their accounts, passwords and devices.
	Support Role = "support"
	// Clients reads, and looks after registered applications.
	Clients Role = "clients"
	// Owner does everything.
	Owner Role = "owner"
)

// Roles lists every role.
func Roles() []Role { return []Role{Viewer, Support, Clients, Owner} }

// Scope is the scope of tokens that act in the role.
func (r Role) Scope() string { return "admin." + string(r) }

// allScope is another name of the owner's scope.
const allScope = "admin"

// roles are those one caller acts in.
type roles []Role

func rolesOf(scope string) (all roles) {
	for _, s := range strings.Fields(scope) {
		for _, r := range Roles() {
			if s == r.Scope() || s == allScope && r == Owner {
				all = append(all, r)
			}
		}
	}
	return all
}

// of cuts the roles of a user's token to what the account may be: any user may
// sign in at an application, so its scopes alone make nobody an operator. Staff
// may support, a superuser may do what the token says.
func (rs roles) of(u user.User) roles {
	return slices.DeleteFunc(slices.Clone(rs), func(r Role) bool {
		switch r {
		case Viewer, Support:
			return !u.Staff && !u.Superuser
		}
		return !u.Superuser
	})
}

// may reports whether a caller reaches what is open from a role on.
func (rs roles) may(least Role) bool {
	return slices.ContainsFunc(rs, func(r Role) bool { return r == Owner || r == least || least == Viewer })
}

// owner reports whether the caller may change operators themselves.
func (rs roles) owner() bool { return slices.Contains(rs, Owner) }

func secretOf(token string) secret.Text { return secret.New(token) }
