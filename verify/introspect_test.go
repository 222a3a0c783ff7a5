package verify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/verify"
)

// inspector is an issuer's introspection endpoint.
type inspector struct {
	asked  atomic.Int32
	mu     sync.Mutex
	answer string
	status int
	slow   time.Duration
}

const (
	rsClient = "rs:1" // needs the form encoding of RFC 6749 section 2.3.1
	rsSecret = "s e+c%ret"
)

func (i *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	i.mu.Lock()
	answer, status, slow := i.answer, i.status, i.slow
	i.mu.Unlock()
	time.Sleep(slow)
	id, secret, _ := r.BasicAuth()
	if id != "rs%3A1" || secret != "s+e%2Bc%25ret" || r.Method != "POST" || r.URL.RawQuery != "" || !strings.HasPrefix(r.FormValue("token"), "hfa_") {
		w.WriteHeader(401)
		return
	}
	if status == 302 {
		w.Header().Set("Location", "/elsewhere")
	}
	w.Header().Set("Content-Type", "application/json")
	if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = w.Write([]byte(answer))
}

func (i *inspector) set(answer string, status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer, i.status = answer, status
}

func activeAnswer(changes ...map[string]any) string {
	all := append([]map[string]any{{"active": true, "token_type": "Bearer"}}, changes...)
	b, _ := json.Marshal(claims(all...))
	return string(b)
}

// TestOpaqueTokens is RS20.
func TestOpaqueTokens(t *testing.T) {
	i := &inspector{answer: activeAnswer()}
	server := httptest.NewServer(i)
	defer server.Close()
	m := newMint(t, "es-1", "ES256")

	build := func(t *testing.T, cache time.Duration, secret string) *verify.Verifier {
		source, err := verify.NewIntrospector(verify.IntrospectorConfig{
			URL: server.URL + "/oauth2/introspect", ClientID: rsClient, Secret: func() string { return secret }, Cache: cache,
		})
		if err != nil {
			t.Fatal(err)
		}
		return newVerifier(t, verify.Config{Keys: keySet(t, m), Opaque: source})
	}

	v := build(t, 0, rsSecret)
	for _, c := range []struct {
		name   string
		answer string
		status int
		want   verify.Kind
	}{
		{"active", activeAnswer(), 0, 0},
		{"active, aud a list", activeAnswer(with("aud", []string{"x", audience})), 0, 0},
		{"active, without jti and iat", activeAnswer(with("jti", nil), with("iat", nil)), 0, 0},
		{"inactive", `{"active":false}`, 0, verify.Inactive},
		{"inactive with claims", strings.Replace(activeAnswer(), `"active":true`, `"active":false`, 1), 0, verify.Inactive},
		{"active is a string", activeAnswer(with("active", "true")), 0, verify.Inactive},
		{"active missing", activeAnswer(with("active", nil)), 0, verify.Inactive},
		{"a refresh token", activeAnswer(with("token_type", "refresh_token")), 0, verify.Inactive},
		{"active twice", `{"active":true,` + activeAnswer()[1:], 0, verify.Unready},
		{"other audience", activeAnswer(with("aud", "https://api.b")), 0, verify.WrongAudience},
		{"no audience", activeAnswer(with("aud", nil)), 0, verify.WrongAudience},
		{"other issuer", activeAnswer(with("iss", "https://evil.test")), 0, verify.WrongIssuer},
		{"no issuer", activeAnswer(with("iss", nil)), 0, verify.WrongIssuer},
		{"expired", activeAnswer(with("exp", noon.Add(-time.Hour).Unix())), 0, verify.Expired},
		{"no exp", activeAnswer(with("exp", nil)), 0, verify.Unready},
		{"no sub", activeAnswer(with("sub", nil)), 0, verify.Unready},
		{"bound", activeAnswer(with("cnf", map[string]any{"jkt": "x"})), 0, verify.Bound},
		{"exp a string", activeAnswer(with("exp", "1795262400")), 0, verify.Unready},
		{"not JSON", `<html>`, 0, verify.Unready},
		{"empty", ``, 0, verify.Unready},
		{"too long", activeAnswer() + strings.Repeat(" ", 64<<10), 0, verify.Unready},
		{"500", activeAnswer(), 500, verify.Unready},
		{"401", activeAnswer(), 401, verify.Unready},
		{"redirect", activeAnswer(), 302, verify.Unready},
	} {
		t.Run("RS20/"+c.name, func(t *testing.T) {
			i.set(c.answer, c.status)
			asked := i.asked.Load()
			got, err := v.Verify(t.Context(), "hfa_token", noon)
			if i.asked.Load() != asked+1 {
				t.Errorf("asked %d times", i.asked.Load()-asked)
			}
			if c.want != 0 {
				wantKind(t, err, c.want)
				return
			}
			if err != nil || got.Subject != "usr_alice" || got.Session != "sid-1" || !got.HasScope("read") {
				t.Fatal(got, err)
			}
		})
	}
	i.set(activeAnswer(), 0)

	t.Run("RS20/our own secret is wrong", func(t *testing.T) {
		_, err := build(t, 0, "stale").Verify(t.Context(), "hfa_token", noon)
		wantKind(t, err, verify.Unready)
		if text := fmt.Sprint(err); strings.Contains(text, "stale") || strings.Contains(text, "hfa_token") {
			t.Errorf("the error tells a secret: %v", text)
		}
	})
	t.Run("RS20/no question for what cannot be a token", func(t *testing.T) {
		asked := i.asked.Load()
		for _, token := range []string{"hfa_", "hfa_" + strings.Repeat("x", 600), "hfa_a b", "hfa_a&b", "hfa_\n"} {
			_, err := v.Verify(t.Context(), token, noon)
			wantKind(t, err, verify.Malformed)
		}
		_, err := v.Verify(t.Context(), m.token(claims()), noon) // a JWT is never shown to the issuer
		if err != nil || i.asked.Load() != asked {
			t.Errorf("%v, asked %d times", err, i.asked.Load()-asked)
		}
	})
	t.Run("RS20/cache of a second at most", func(t *testing.T) {
		v := build(t, time.Second, rsSecret)
		asked := i.asked.Load()
		verifyAt := func(now time.Time, want verify.Kind) {
			t.Helper()
			c, err := v.Verify(t.Context(), "hfa_token", now)
			if want == 0 && err == nil {
				c.Audience[0] = "evil" // changes nobody else's
				return
			}
			wantKind(t, err, want)
		}
		verifyAt(noon, 0)
		verifyAt(noon.Add(999*time.Millisecond), 0)
		if n := i.asked.Load() - asked; n != 1 {
			t.Errorf("asked %d times within the second", n)
		}
		i.set(`{"active":false}`, 0)
		verifyAt(noon.Add(999*time.Millisecond), 0)
		verifyAt(noon.Add(time.Second), verify.Inactive)
		i.set(activeAnswer(), 0)
		verifyAt(noon.Add(time.Second), 0) // a refusal is never reused
		_, err := verify.NewIntrospector(verify.IntrospectorConfig{URL: server.URL, ClientID: rsClient, Secret: func() string { return "" }, Cache: 2 * time.Second})
		if err == nil {
			t.Error("a cache of two seconds accepted")
		}
	})
	t.Run("RS20/many requests, one question", func(t *testing.T) {
		v := build(t, time.Second, rsSecret)
		i.mu.Lock()
		i.slow = 50 * time.Millisecond
		i.mu.Unlock()
		asked := i.asked.Load()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := v.Verify(t.Context(), "hfa_same", noon)
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := i.asked.Load() - asked; n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("RS20/a revoked opaque token", func(t *testing.T) {
		source, err := verify.NewIntrospector(verify.IntrospectorConfig{URL: server.URL, ClientID: rsClient, Secret: func() string { return rsSecret }})
		if err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, verify.Config{Keys: keySet(t, m), Opaque: source, Revocations: &ended{session: "sid-1"}})
		_, err = v.Verify(t.Context(), "hfa_token", noon)
		wantKind(t, err, verify.Revoked)
	})
	server.Close()
	t.Run("RS20/the issuer is away", func(t *testing.T) {
		_, err := v.Verify(t.Context(), "hfa_token", noon)
		wantKind(t, err, verify.Unready)
	})
}
