package manifest_test

import (
	"strings"
	"testing"

	"holdfast.example/internal/client"
	"holdfast.example/internal/manifest"
	"holdfast.example/internal/settings"
)

// Whatever a manifest says: reading ends, what is accepted keeps every rule, and
// every problem names a line and repeats no secret.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifest.DemoText()))
	for _, s := range []string{
		"", head, server, head + head, server + "secret = 'canary-canary-canary-canary'", server + "secret = 'canary'\nsecret_env = 'X'",
		head + "access_lifetime = '2h'\nidle_lifetime = '1h'", head + "recovery = 'idle'\nrefresh = 'strict'", head + "secret = ['canary']",
		"[[users]]\nusername = 'a'\npassword = 'canary'\npassword_hash = 'canary'", "[[users]]\nid = -1\nemail = '@'", "users = [{username = 'a'}]",
		"[[upstreams]]\nid = 'x'\nkind = 'oidc'\nissuer = 'http://[::1'\nclient_secret_file = '/dev/null'", "clients = 1", "[clients]\nid = 'a'",
		"[[clients]]\nid = 'a'\ntype = 'confidential'\nauth_method = 'private_key_jwt'\njwks = '{\"keys\":[]}'",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text := string(data)
		if strings.Contains(text, "_file") { // reading files is not what is fuzzed here
			return
		}
		m, warnings, err := manifest.Parse("m", data, manifest.Options{})
		problems := warnings
		if err != nil {
			problems = append(problems, err.(settings.Problems)...)
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range problems {
			if p.At.Line < 1 || p.At.Line > lines || p.Code == "" || p.Reason == "" {
				t.Errorf("incomplete problem %+v", p)
			}
		}
		if onlySecretsSayCanary(text) && strings.Contains(problems.Error(), "canary") {
			t.Errorf("a secret is repeated: %v", problems)
		}
		for _, c := range m.Clients {
			for _, p := range client.Check(c, client.Server{}) {
				if !p.Warning {
					t.Errorf("accepted against a rule: %v", p)
				}
			}
			if c.WithDefaults().ID != c.ID || c.Limits(client.Standard()).Access > client.OpaqueCap {
				t.Errorf("accepted %+v", c.Client)
			}
		}
	})
}

// onlySecretsSayCanary reports whether the word stands in nothing but plain
// values of secrets, so that no error may repeat it.
func onlySecretsSayCanary(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.Contains(line, "canary") {
			continue
		}
		key, value, _ := strings.Cut(line, " = ")
		quoted := len(value) > 2 && value[0] == '\'' && strings.Count(value, "'") == 2 && value[len(value)-1] == '\''
		if !quoted || key != "secret" && key != "password" && key != "password_hash" {
			return false
		}
	}
	return true
}
