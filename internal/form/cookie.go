package form

import (
	"net/http"

	"holdfast.example/internal/secret"
)

// Cookie reads a cookie of at most longest bytes; it is empty when there is none, or
// when two say different things: which of two a browser meant, nobody can tell.
func Cookie(r *http.Request, name string, longest int) secret.Text {
	value := ""
	for i, c := range r.CookiesNamed(name) {
		if i > 0 && c.Value != value || len(c.Value) > longest {
			return secret.Text{}
		}
		value = c.Value
	}
	return secret.New(value)
}
