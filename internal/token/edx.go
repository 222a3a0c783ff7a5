package token

import (
	"encoding/json"
	"slices"
	"strings"
)

// EdX is what an access token says besides RFC 9068, so that the verifiers of an
// Open edX find the user in it. Its members are the claims of edx-platform's
// JWTs, version 1.2.0.
type EdX struct {
	// Username becomes preferred_username: Open edX finds the user by it.
	Username string
	// GrantType is the grant as Open edX spells it ("authorization-code").
	GrantType string
	// Filters are "type:value"; Restricted is is_restricted.
	Filters    []string
	Restricted bool
	// Person is who stands behind the token, nil for a client's own.
	Person *EdXPerson
}

// EdXPerson is the user as the granted scopes show him.
type EdXPerson struct {
	Number                      int64 // claim user_id, with the scope user_id
	Email                       string
	EmailVerified               bool
	Name, GivenName, FamilyName string
	Staff, Superuser            bool
}

// edxVersion is the version of the claim set. A verifier refuses a higher major.
const edxVersion = "1.2.0"

// edx writes the claims of Open edX. Several of them are there when they are
// empty, because their readers do not ask whether they are.
func (o *object) edx(scope string, e EdX) {
	scopes := strings.Split(scope, " ") // of no scope this is one empty name, as in Open edX
	o.value("preferred_username", e.Username)
	o.value("grant_type", e.GrantType)
	o.value("scopes", scopes)
	o.value("version", edxVersion)
	o.value("filters", append([]string{}, e.Filters...))
	o.boolean("is_restricted", e.Restricted)
	if e.Person == nil {
		o.boolean("email_verified", false)
		return
	}
	p := e.Person
	o.boolean("email_verified", p.EmailVerified)
	if slices.Contains(scopes, "email") {
		o.value("email", p.Email)
	}
	if slices.Contains(scopes, "profile") {
		o.value("name", orNull(p.Name))
		o.value("family_name", orNull(p.FamilyName))
		o.value("given_name", orNull(p.GivenName))
		o.boolean("administrator", p.Staff)
		o.boolean("superuser", p.Superuser)
	}
	if slices.Contains(scopes, "user_id") {
		o.integer("user_id", p.Number)
	}
}

// value writes a member that is never left out: text, a list of text or null.
func (o *object) value(n string, v any) {
	o.name(n)
	b, _ := json.Marshal(v) // text always encodes
	*o = append(*o, b...)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
