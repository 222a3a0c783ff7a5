package edx

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/token"
)

func aDoor() *Door {
	return &Door{Issuer: &grant.Issuer{Minter: token.Minter{Issuer: "https://id.test"}}}
}

// TestEveryKindHasWords: a kind of fault without words here would be answered with
// status 0, in either table.
func TestEveryKindHasWords(t *testing.T) {
	for _, k := range fault.Kinds() {
		if s, ok := words[k]; !ok || http.StatusText(s.status) == "" || s.status < 400 || s.code == "" {
			t.Errorf("%s is answered %d %q at the token endpoints", k, s.status, s.code)
		}
		if s, ok := refusals[k]; !ok || http.StatusText(s.status) == "" || s.status < 400 || s.code == "" {
			t.Errorf("%s is answered %d %q where a token is shown", k, s.status, s.code)
		}
	}
	if len(words) != len(fault.Kinds()) || len(refusals) != len(fault.Kinds()) {
		t.Errorf("%d and %d kinds have words, there are %d", len(words), len(refusals), len(fault.Kinds()))
	}
}

// TestEveryRefusal (R45): whatever went wrong, through either renderer: a JSON object
// without a newline at its end, nothing for a cache, nothing private, and whoever
// has to wait is told how long.
func TestEveryRefusal(t *testing.T) {
	private := errors.New("SELECT secret FROM session")
	for _, k := range fault.Kinds() {
		for name, refuse := range map[string]func(*Door, http.ResponseWriter, *http.Request, error){
			"token": func(d *Door, w http.ResponseWriter, r *http.Request, err error) { d.refuse(w, r, err, "") },
			"shown": func(d *Door, w http.ResponseWriter, r *http.Request, err error) { d.turnAway(w, r, schemeJWT, err) },
		} {
			t.Run(k.String()+" "+name, func(t *testing.T) {
				w := httptest.NewRecorder()
				refuse(aDoor(), w, httptest.NewRequest(http.MethodPost, "/", nil), fault.Wrap(k, private, "a \"word\" \\ ü\r\n"))
				h := w.Result().Header
				var b map[string]string
				if json.Unmarshal(w.Body.Bytes(), &b) != nil || strings.HasSuffix(w.Body.String(), "\n") || h.Get("Content-Type") != "application/json" {
					t.Fatalf("%s", w.Body)
				}
				if h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" || h["Set-Cookie"] != nil || strings.Contains(w.Body.String(), "SELECT") {
					t.Errorf("%v %s", h, w.Body)
				}
				if wait := h.Get("Retry-After"); (wait == "") == (w.Code == 429 || w.Code == 503) {
					t.Errorf("%d with Retry-After %q", w.Code, wait)
				}
				if (w.Code == 401) != (h.Get("WWW-Authenticate") != "") {
					t.Errorf("%d with WWW-Authenticate %q", w.Code, h.Get("WWW-Authenticate"))
				}
			})
		}
	}
}

// TestPresented (contract 1.6 row 7, contract 1.12 row 1): which headers bring a token, and
// which are nobody's.
func TestPresented(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Basic eDp5": "", "JWT": "", "JWT a b": "", "JWT a": "JWT a", "jwt a": "JWT a", "Bearer a": "Bearer a", "bEARER  a ": "Bearer a",
		"Bearer": "token_not_provided", "Bearer a b": "token_malformed", "Digest x": "",
	} {
		c, ok, err := presented(http.Header{"Authorization": {header}})
		got := ""
		if ok {
			got = c.scheme + " " + c.token.Reveal()
		}
		if no, refused := errors.AsType[*refusal](err); refused {
			got = no.body.(coded).Code
		}
		if got != want {
			t.Errorf("%q is %q, want %q", header, got, want)
		}
	}
}

// TestScope (contract 1.2 rows 6, 13): what is granted when nothing is asked for, and
// user_id with every password.
func TestScope(t *testing.T) {
	for _, c := range []struct{ grant, asked, want string }{
		{"password", "", "read write email profile user_id"},
		{"password", "read", "read user_id"},
		{"password", "user_id read", "user_id read"},
		{"client_credentials", "", "read write email profile"},
		{"client_credentials", "read", "read"},
		{"refresh_token", "", ""},
		{"authorization_code", "", ""},
	} {
		if got := scope(c.grant, c.asked); got != c.want {
			t.Errorf("%s %q asks for %q, want %q", c.grant, c.asked, got, c.want)
		}
	}
}

// TestQuoted: the readers of edx-user-info unquote as Python's http.cookies does.
func TestQuoted(t *testing.T) {
	if got := quoted("{\"a\":\"b, c;\\\"}ü"); got != `"{\"a\":\"b\054 c\073\\\"}\303\274"` {
		t.Errorf("%s", got)
	}
}

// TestShortRefusals (contract 2.1 row 4): a refusal that must sign an Android app out
// fits into what it reads, however the user is called.
func TestShortRefusals(t *testing.T) {
	for name, told := range map[string]bool{"learner": true, strings.Repeat("n", 100): true, strings.Repeat("n", 150): false, strings.Repeat("\u20ac", 150): false, "": true} {
		b, err := json.Marshal(disabledByAdmin(name))
		if err != nil || len(b) > 200 || strings.Contains(string(b), ": "+name+`"`) != told {
			t.Errorf("%d bytes: %s %v", len(b), b, err)
		}
	}
}
