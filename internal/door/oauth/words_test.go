package oauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/token"
)

func aDoor() *Door {
	return &Door{Issuer: &grant.Issuer{Minter: token.Minter{Issuer: "https://id.test"}}}
}

// codes are the error codes of RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750
// section 3.1 and RFC 7009 section 2.2.1, which are all a client can know.
var codes = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
	"invalid_scope", "invalid_token", "insufficient_scope", "unsupported_token_type", "access_denied", "server_error",
	"temporarily_unavailable", "invalid_target"} // the last one is RFC 8693 section 2.2.2

// TestEveryKindHasWords: a kind of fault without words here would be answered
// with status 0.
func TestEveryKindHasWords(t *testing.T) {
	for _, k := range fault.Kinds() {
		s, ok := words[k]
		switch {
		case !ok:
			t.Errorf("%s has no words", k)
		case s.status < 400 || s.status > 599 || http.StatusText(s.status) == "":
			t.Errorf("%s is answered %d", k, s.status)
		case !slices.Contains(codes, s.code) && k != fault.NoToken:
			t.Errorf("%s is answered with the error code %q, which no RFC knows", k, s.code)
		}
	}
	if len(words) != len(fault.Kinds()) {
		t.Errorf("%d kinds have words, there are %d", len(words), len(fault.Kinds()))
	}
}

// TestEveryRefusal (HTTP-10, TOKEN-10, A15, A30): whatever went wrong, through
// either renderer: no cache keeps it, nobody guesses its type, it sets no cookie,
// tells nothing private, and whoever has to wait is told how long.
func TestEveryRefusal(t *testing.T) {
	private := errors.New("SELECT secret FROM session")
	for _, k := range fault.Kinds() {
		for name, refuse := range map[string]func(*Door, http.ResponseWriter, *http.Request, error){
			"body": (*Door).refuse, "bearer": (*Door).refuseBearer,
		} {
			t.Run(k.String()+" "+name, func(t *testing.T) {
				w := httptest.NewRecorder()
				refuse(aDoor(), w, httptest.NewRequest(http.MethodPost, "/", nil), fault.Wrap(k, private, "a \"word\" \\ ü\r\n"))
				h := w.Result().Header
				if w.Code != words[k].status || h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" ||
					h.Get("X-Content-Type-Options") != "nosniff" || h["Set-Cookie"] != nil || strings.Contains(w.Body.String(), "SELECT") {
					t.Fatalf("%d %v %s", w.Code, h, w.Body)
				}
				if wait := h.Get("Retry-After"); (wait == "") == (w.Code == 429 || w.Code == 503) {
					t.Errorf("%d with Retry-After %q", w.Code, wait)
				}
				if name == "bearer" && (w.Code == 401 || w.Code == 403) && !strings.HasPrefix(h.Get("WWW-Authenticate"), "Bearer realm=") {
					t.Errorf("%d with WWW-Authenticate %q", w.Code, h.Get("WWW-Authenticate"))
				}
				if name == "bearer" && k == fault.NoToken {
					if w.Body.Len() > 0 || strings.Contains(h.Get("WWW-Authenticate"), "error") {
						t.Errorf("an answer to no token tells an error: %s %s", h.Get("WWW-Authenticate"), w.Body)
					}
					return
				}
				var b map[string]string
				err := json.Unmarshal(w.Body.Bytes(), &b)
				if err != nil || h.Get("Content-Type") != "application/json" || b["error"] != words[k].code || !descriptive(b["error_description"]) {
					t.Errorf("%s %s %v", h.Get("Content-Type"), w.Body, err)
				}
			})
		}
	}
}

// descriptive: the characters of RFC 6749 section 5.2.
func descriptive(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
