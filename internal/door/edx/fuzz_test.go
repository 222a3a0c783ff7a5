package edx

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"holdfast.example/internal/client"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
)

// FuzzRequest: whatever body and header come, the form becomes one request that
// says what the body said, or a refusal; never a panic, never another client than
// the one that was named.
func FuzzRequest(f *testing.F) {
	f.Add("grant_type=password&client_id=app&username=a&password=b&token_type=JWT&asymmetric_jwt=true", "", "")
	f.Add("grant_type=refresh_token&client_id=app&refresh_token=x", "JWT stale", "jwt")
	f.Add("grant_type=client_credentials", "Basic YTpi", "")
	f.Add("client_id=a&client_id=b", "basic", "")
	f.Add("scope=%20&token_type=%4AWT&client_secret=", "Bearer x y", "JWT")
	f.Fuzz(func(t *testing.T, body, authorization, kind string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/access_token", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header["Authorization"] = []string{authorization}
		r.Header[typeHeader] = []string{kind}
		v, err := form.Read(httptest.NewRecorder(), r)
		if err != nil {
			return
		}
		d := &Door{Issuer: &grant.Issuer{}, From: func(*http.Request) netip.Addr { return netip.Addr{} }}
		cred, err := d.credential(r, v)
		if err != nil {
			return
		}
		got := request(r, v, cred)
		if v.Has("client_id") && string(got.Client.ID) != v.Get("client_id") {
			t.Errorf("client %q became %q", v.Get("client_id"), got.Client.ID)
		}
		if got.Client.Method == client.AuthNone && !got.Client.Secret.Empty() {
			t.Error("a secret without a method")
		}
		if v.Has("token_type") && (got.Format == client.JWT) != strings.EqualFold(v.Get("token_type"), "jwt") {
			t.Errorf("%q asks for %q", v.Get("token_type"), got.Format)
		}
		if got.Type == "refresh_token" && got.Scope != v.Get("scope") {
			t.Errorf("a refresh asks for %q instead of %q", got.Scope, v.Get("scope"))
		}
		_, _, _ = presented(r.Header)
	})
}
