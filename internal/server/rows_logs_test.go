package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHostileNames (LOGS-02): whatever people and apps call themselves, every
// line of the log is one JSON object, escaped, and short.
func TestHostileNames(t *testing.T) {
	a := attacks(t)
	evil := []string{"a\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}", "\x1b[31mred\x1b[0m", `"}{"x":"`, "\u202egnirts", strings.Repeat("long", 20_000), "\u2028\u2029", "a\tb", "%s%n", "<script>"}
	for _, s := range evil {
		if len(s) < 60_000 {
			a.guess(s, "wrong-password", "device_name", s, "install_id", s, "app_version", s)
			a.guess("demo", "demo-password", "device_name", strings.Map(func(r rune) rune {
				if r < 0x20 {
					return -1
				}
				return r
			}, s[:min(len(s), 100)]))
			a.post("/oauth2/token", "grant_type", s, "client_id", s, "scope", s)
		}
		header := http.Header{"User-Agent": {strings.NewReplacer("\r", "", "\n", "").Replace(s)}}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.URL.Path, r.Header = strings.Map(func(c rune) rune {
			if c > ' ' && c < 0x7f {
				return c
			}
			return 'X'
		}, s), "/"+s, header
		a.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	lines := 0
	for line := range strings.Lines(a.log.String()) {
		lines++
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil || v["msg"] == "forged" || len(line) > 2048 {
			t.Errorf("%d bytes, %v: %.300q", len(line), err, line)
		}
		if strings.ContainsAny(line, "\x1b\u202e\u2028") {
			t.Errorf("not escaped: %.300q", line)
		}
	}
	if lines < len(evil)*3 {
		t.Errorf("only %d lines: the log was not at debug level", lines)
	}
}

// TestDeviceNames (LOGS-02): a device is called by letters of any script, and by
// nothing that a terminal or a page obeys.
func TestDeviceNames(t *testing.T) {
	a := attacks(t)
	for name, status := range map[string]int{"Мой телефон": 200, "\u200fهاتف": 200, "👩\u200d💻 laptop": 200,
		"\x1b[31mred": 400, "\u009b31mred": 400, "a\x00b": 400, "a\nb": 400, "a\x7f": 400, "\u0085next": 400} {
		got := a.post("/oauth2/token", "grant_type", "password", "client_id", "demo-native", "username", "demo", "password", "demo-password", "device_name", name)
		if got.status != status {
			a.Errorf("%q is answered %d %s", name, got.status, got.body)
		}
	}
}

// TestCardinality (LOGS-03): nothing a caller chooses becomes a series.
func TestCardinality(t *testing.T) {
	a := attacks(t)
	for i := range 3000 {
		path, method := fmt.Sprintf("/path-%d", i), http.MethodPost
		switch i % 3 {
		case 1:
			path = "/oauth2/token"
		case 2:
			method = fmt.Sprintf("BREW%d", i)
		}
		r := httptest.NewRequest(method, path, strings.NewReader(encode([]string{"grant_type", fmt.Sprint("g", i), "client_id", fmt.Sprint("c", i), "refresh_token", "x"})))
		r.Header.Set("Content-Type", urlEncoded)
		r.Header.Set("User-Agent", fmt.Sprint("agent-", i))
		a.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	text, err := a.metrics()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
		if strings.Contains(line, "path-") || strings.Contains(line, "BREW") || strings.Contains(line, "agent-") {
			t.Errorf("a caller's words: %s", line)
		}
	}
	if series > 1000 || series < 50 {
		t.Errorf("%d series", series)
	}
}

// TestOperatorsSecretsStayInside (LOGS-01, ADMIN-06): what an operator types
// wrongly, and what is generated for him, is in no log and in no later answer.
func TestOperatorsSecretsStayInside(t *testing.T) {
	a := attacks(t)
	const typed = "hunter2-hunter2-hunter2"
	a.secrets.add("mistyped secret", typed)
	for _, manifest := range []string{
		"[[clients]]\nid = \"x\"\ntype = \"confidential\"\nsecrt = \"" + typed + "\"\n",
		"[[clients]]\nid = \"x\"\ntype = \"public\"\nsecret = \"" + typed + "\"\n",
		"[[clients]]\nid = \"x\"\ntype = \"confidential\"\nsecret = [\"" + typed + "\"]\n",
		"[[clients]]\nid = \"x\"\ntype = \"confidential\"\nsecret = \"" + typed + "\n",
		"[[users]]\nusername = \"x\"\npasword = \"" + typed + "\"\n",
		"[[users]]\nusername = \"x\"\npassword = { a = \"" + typed + "\" }\n",
		"[[users]]\nusername = \"x\"\npassword_hash = \"" + typed + "\"\n",
		"secret = \"" + typed + "\"\n",
	} {
		got, err := a.operate("POST", "/admin/v1/apply?file=x.toml", strings.NewReader(manifest))
		if err != nil || got.status != 400 {
			t.Errorf("%s was answered %d %s %v", manifest, got.status, got.body, err)
		}
		if strings.Contains(string(got.body), "hunter2") {
			t.Errorf("the answer repeats the secret: %s", got.body)
		}
	}
	for path, body := range map[string]string{
		"/admin/v1/users/demo/password": `{"password":{"x":"` + typed + `"}}`, "/admin/v1/users": `{"username":"x","pass":"` + typed + `"}`, "/admin/v1/why": `{"token":["` + typed + `"]}`,
	} {
		r := httptest.NewRequest("POST", "http://admin"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.server.Admin().ServeHTTP(w, r)
		if w.Code != 400 || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s was answered %d %s", path, w.Code, w.Body)
		}
	}
	fresh := a.operator("POST", "/admin/v1/clients/demo-service/secret", "")["client_secret"].(string)
	if got := a.request("POST", "/oauth2/token", urlEncoded, "grant_type=client_credentials", basic("demo-service", fresh)); got.status != 200 {
		t.Errorf("the new secret is answered %d", got.status)
	}
	for _, path := range []string{"/admin/v1/clients", "/admin/v1/clients/demo-service", "/admin/v1/users", "/admin/v1/users/demo", "/admin/v1/keys", "/admin/v1/sessions", "/admin/v1/status", "/admin/v1/check"} {
		got, err := a.operate("GET", path, nil)
		if err != nil || got.status != 200 {
			t.Errorf("%s was answered %d %v", path, got.status, err)
		}
		for _, inside := range []string{fresh, "hmac-sha256$", "argon2", `"secret"`, `"wrapped"`, "demo-password"} {
			if strings.Contains(string(got.body), inside) {
				t.Errorf("%s shows %s", path, inside)
			}
		}
	}
}
