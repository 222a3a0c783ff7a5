package verify

import (
	"errors"
	"net/http"
	"strings"
)

// maxForm is the longest form body that is read in search of a token, in bytes
// (security.md section 6: 64 KiB).
const maxForm = 64 << 10

// bearerToken takes the token out of a request (RFC 6750 section 2). The query
// is never looked at: URLs end up in logs and histories.
//
// A header that is not one credential is a malformed request (400). Text that
// is one credential and no token of ours is an invalid token (401).
func bearerToken(r *http.Request, acceptForm bool) (string, error) {
	token, err := headerToken(r.Header.Values("Authorization"))
	if err != nil || !acceptForm {
		return token, err
	}
	posted, err := formToken(r)
	switch {
	case err != nil:
		return "", err
	case posted == "":
		return token, nil
	case token != "":
		return "", refuse(BadRequest, errors.New("a token in the header and one in the form"))
	}
	return posted, nil
}

// headerToken returns the empty string if there are no credentials of our
// scheme, which is compared without case (RFC 9110 section 11.1).
func headerToken(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", refuse(BadRequest, errors.New("more than one Authorization header"))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || strings.ContainsAny(token, " \t,") {
		return "", refuse(BadRequest, errors.New("an Authorization header that is not one credential"))
	}
	return token, nil
}

// formToken reads access_token from a form body (RFC 6750 section 2.2). The
// body is read; the handler finds the form in r.PostForm.
func formToken(r *http.Request) (string, error) {
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	form := strings.EqualFold(strings.TrimSpace(contentType), "application/x-www-form-urlencoded")
	if !form || r.Body == nil || r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch {
		return "", nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	err := r.ParseForm()
	if err != nil {
		return "", refuse(BadRequest, errors.New("a form that cannot be read")) // ParseForm's error may quote it
	}
	posted := r.PostForm["access_token"]
	switch len(posted) {
	case 0:
		return "", nil
	case 1:
		return posted[0], nil
	}
	return "", refuse(BadRequest, errors.New("more than one access_token in the form"))
}
