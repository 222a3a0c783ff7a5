package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is how one Kind is answered: a status, and the error word of RFC 6750
// section 3.1 or RFC 9470 section 3.
type reply struct {
	status int
	word   string // empty: none
}

// answers holds a reply for every Kind; a test fails when one is missing.
var answers = map[Kind]reply{
	NoToken:           {http.StatusUnauthorized, ""}, // RFC 6750 section 3.1: no error without credentials
	BadRequest:        {http.StatusBadRequest, "invalid_request"},
	Malformed:         {http.StatusUnauthorized, "invalid_token"},
	UnknownKey:        {http.StatusUnauthorized, "invalid_token"},
	BadSignature:      {http.StatusUnauthorized, "invalid_token"},
	WrongType:         {http.StatusUnauthorized, "invalid_token"},
	WrongIssuer:       {http.StatusUnauthorized, "invalid_token"},
	WrongAudience:     {http.StatusUnauthorized, "invalid_token"},
	Expired:           {http.StatusUnauthorized, "invalid_token"},
	NotYet:            {http.StatusUnauthorized, "invalid_token"},
	Bound:             {http.StatusUnauthorized, "invalid_token"},
	Inactive:          {http.StatusUnauthorized, "invalid_token"},
	Revoked:           {http.StatusUnauthorized, "invalid_token"},
	Unready:           {http.StatusServiceUnavailable, ""},
	InsufficientScope: {http.StatusForbidden, "insufficient_scope"},
	InsufficientGrade: {http.StatusUnauthorized, "insufficient_user_authentication"},
	Forged:            {http.StatusForbidden, "csrf"},
}

// Refuse answers a request that Check did not let in. Nothing of the request
// or its token is in the answer.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, need Need, err error) {
	if g.config.OnRefusal != nil {
		g.config.OnRefusal(r, err)
	}
	kind := KindOf(err)
	a := answers[kind]
	h := w.Header()
	if a.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retrySeconds(err))
	} else {
		h.Set("WWW-Authenticate", g.challenge(kind, need))
	}
	if r.Header.Get("Origin") != "" {
		// A browser app may read these only if they are named. Whether it may
		// read the answer at all, the CORS middleware decides.
		h.Add("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(struct { // a client that has gone needs no answer
		Error       string `json:"error,omitempty"`
		Description string `json:"error_description"`
	}{a.word, kind.String()})
}

// challenge renders WWW-Authenticate. Every value is a constant of this
// package or was checked at start.
func (g *Guard) challenge(kind Kind, need Need) string {
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, fmt.Sprintf(`%s="%s"`, name, value))
		}
	}
	add("realm", g.config.Realm)
	add("resource_metadata", g.config.ResourceMetadata)
	if word := answers[kind].word; word != "" {
		add("error", word)
		add("error_description", kind.String())
	}
	switch kind {
	case InsufficientScope:
		add("scope", need.Scope)
	case InsufficientGrade:
		add("acr_values", strings.Join(need.ACR, " "))
		if need.MaxAge > 0 {
			add("max_age", strconv.FormatInt(int64(need.MaxAge/time.Second), 10))
		}
	}
	if len(params) == 0 {
		return "Bearer"
	}
	return "Bearer " + strings.Join(params, ", ")
}

// retrySeconds renders RetryAfter: whole seconds, rounded up, one at least.
func retrySeconds(err error) string {
	wait := time.Second
	var e *Error
	if errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}
