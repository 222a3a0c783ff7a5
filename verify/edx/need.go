package edx

import (
	"net/http"
	"slices"
	"strings"
)

// Need says what a route asks of a request beyond being signed in. The zero value
// asks nothing more, and refuses restricted applications.
type Need struct {
	// Scopes must all be granted. They are asked of restricted applications; a route
	// without any is closed to those.
	Scopes []string

	// Everyone asks the scopes of every token, as new services do.
	Everyone bool

	// Org finds the organisation whose content the request is about, for example
	// "edX" of "course-v1:edX+Demo+1". A restricted application needs a filter for
	// it. Nil: the route is about no organisation's content.
	Org func(*http.Request) string

	// User finds the user name in the request. An application that is limited to
	// its own user ("user:me") may ask about nobody else; names are compared
	// without case. Nil: the route is about nobody in particular.
	User func(*http.Request) string
}

// met decides whether a user may use the route.
func (n Need) met(r *http.Request, u *User) *refusal {
	if n.Everyone && !n.granted(u) {
		return forbidden("JWT missing required scopes.")
	}
	if !u.Restricted {
		return nil
	}
	if len(n.Scopes) == 0 {
		return forbidden("You do not have permission to perform this action.")
	}
	if !n.granted(u) {
		return forbidden("JWT missing required scopes.")
	}
	if n.Org != nil && !slices.Contains(u.Orgs(), n.Org(r)) {
		return forbidden("JWT missing required content_org filter.")
	}
	if n.User != nil && !mayAsk(u, n.User(r)) {
		return forbidden("JWT missing required user filter.")
	}
	return nil
}

func (n Need) granted(u *User) bool {
	for _, s := range n.Scopes {
		if !u.HasScope(s) {
			return false
		}
	}
	return true
}

// mayAsk: a token without a user filter may ask about anybody.
func mayAsk(u *User, about string) bool {
	limits := u.filters("user")
	for _, l := range limits {
		if l == "me" {
			l = u.Username
		}
		if strings.EqualFold(l, about) {
			return true
		}
	}
	return len(limits) == 0
}
