package manifest

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"holdfast.example/internal/secret"
)

// Limits of a declared account. The room user may be stricter.
const (
	maxUserName = 150 // characters of a user name, as in Django
	maxEmail    = 254 // bytes of an address (RFC 5321)
	maxPassword = 1024
	maxAddress  = 2000
	maxClients  = 100
)

// userEntry is a [[users]] table.
type userEntry struct {
	Username      string      `toml:"username"`
	Email         string      `toml:"email"`
	EmailVerified bool        `toml:"email_verified"`
	Password      secret.Text `toml:"password"`
	PasswordHash  secret.Text `toml:"password_hash"`
	Number        int64       `toml:"id"`
	Name          string      `toml:"name"`
	GivenName     string      `toml:"given_name"`
	FamilyName    string      `toml:"family_name"`
	Staff         bool        `toml:"staff"`
	Superuser     bool        `toml:"superuser"`
	Disabled      *bool       `toml:"disabled"`
}

func (r *reader) user(i int, e userEntry) User {
	path := fmt.Sprintf("users[%d].", i)
	refuse := func(field, value, reason, mend string) { r.refuse(codeUser, path+field, value, reason, mend) }
	switch {
	case e.Username == "":
		refuse("username", "", "an account needs a user name", `write username = "name"`)
	case utf8.RuneCountInString(e.Username) > maxUserName || !plain(e.Username) || strings.TrimSpace(e.Username) != e.Username:
		refuse("username", fmt.Sprintf("%.80q", e.Username), fmt.Sprintf("a user name is at most %d visible characters", maxUserName), "write it as the person types it")
	}
	at := strings.LastIndex(e.Email, "@")
	if e.Email != "" && (at < 1 || at == len(e.Email)-1 || len(e.Email) > maxEmail || !plain(e.Email) || strings.ContainsAny(e.Email, " <>,")) {
		refuse("email", fmt.Sprintf("%.80q", e.Email), "this is no e-mail address", `write "name@example.com"`)
	}
	if e.EmailVerified && e.Email == "" {
		refuse("email_verified", "true", "there is no address that could be verified", "add email")
	}
	for _, n := range []struct{ field, value string }{{"name", e.Name}, {"given_name", e.GivenName}, {"family_name", e.FamilyName}} {
		if utf8.RuneCountInString(n.value) > maxUserName || !plain(n.value) {
			refuse(n.field, fmt.Sprintf("%.80q", n.value), fmt.Sprintf("a name is at most %d visible characters", maxUserName), "shorten it")
		}
	}
	hash := e.PasswordHash.Reveal()
	switch {
	case r.places.Written(path+"password") && r.places.Written(path+"password_hash"):
		refuse("password_hash", "", "password and password_hash both give the password: the other one is at "+r.places.At(path+"password").String(), "keep one")
	case r.places.Written(path+"password") && (e.Password.Empty() || len(e.Password.Reveal()) > maxPassword):
		refuse("password", "", fmt.Sprintf("a password has 1 to %d bytes", maxPassword), "write one, or remove the line: then the account cannot sign in by password")
	case r.places.Written(path+"password_hash") && (!strings.Contains(hash, "$") || len(hash) > maxPassword || !plain(hash)):
		refuse("password_hash", "", "this is no encoded password hash", "copy the whole text: pbkdf2_sha256$..., $2b$..., $argon2id$..., or scrypt$...")
	}
	if e.Number < 0 {
		refuse("id", fmt.Sprint(e.Number), "an Open edX id is a positive number", "copy it from the LMS, or remove the line")
	}
	return User{Username: e.Username, Email: e.Email, EmailVerified: e.EmailVerified, Password: e.Password, PasswordHash: e.PasswordHash,
		Number: e.Number, Name: e.Name, GivenName: e.GivenName, FamilyName: e.FamilyName, Staff: e.Staff, Superuser: e.Superuser,
		Stopped: e.Disabled, At: r.places.At(fmt.Sprintf("users[%d]", i))}
}

// plain reports whether a text has no control and no invalid characters.
func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// upstreamEntry is an [[upstreams]] table.
type upstreamEntry struct {
	ID         string      `toml:"id"`
	Kind       string      `toml:"kind"`
	ClientIDs  []string    `toml:"client_ids"`
	Secret     secret.Text `toml:"client_secret"`
	SecretEnv  string      `toml:"client_secret_env"`
	SecretFile string      `toml:"client_secret_file"`
	Issuer     string      `toml:"issuer"`
	BaseURL    string      `toml:"base_url"`
	Link       string      `toml:"link"`
}

// The words of the closed lists of an upstream.
var (
	kinds = []string{"google", "facebook", "apple", "microsoft", "oidc"}
	links = []string{"never", "verified_email"}
)

func (r *reader) upstream(i int, e upstreamEntry) Upstream {
	path := fmt.Sprintf("upstreams[%d].", i)
	refuse := func(field, value, reason, mend string) { r.refuse(codeUpstream, path+field, value, reason, mend) }
	if e.Link == "" {
		e.Link = "never" // an e-mail address alone never joins two accounts
	}
	if e.ID == "" || len(e.ID) > 63 || strings.ContainsFunc(e.ID, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) {
		refuse("id", fmt.Sprintf("%.80q", e.ID), "an upstream's id stands in addresses: 1 to 63 lower-case letters, digits and dashes", `write id = "google"`)
	}
	if !slices.Contains(kinds, e.Kind) {
		refuse("kind", fmt.Sprintf("%.80q", e.Kind), "this kind is not known here", "write one of "+strings.Join(kinds, ", "))
	}
	if !slices.Contains(links, e.Link) {
		refuse("link", fmt.Sprintf("%.80q", e.Link), "this word is not known here", "write one of "+strings.Join(links, ", "))
	}
	if len(e.ClientIDs) == 0 || len(e.ClientIDs) > maxClients || slices.Contains(e.ClientIDs, "") {
		refuse("client_ids", "", "without our apps' ids at the provider, a token made for somebody else's app would sign in here", "list the ids of your apps")
	}
	if e.Kind == "oidc" && e.Issuer == "" {
		refuse("issuer", "", "an upstream of kind oidc is found by its issuer", `write issuer = "https://id.example"`)
	}
	for _, u := range []struct{ field, value string }{{"issuer", e.Issuer}, {"base_url", e.BaseURL}} {
		if u.value != "" && !address(u.value) {
			refuse(u.field, fmt.Sprintf("%.80q", u.value), "this is no https address (plain http only on this machine)", `write "https://id.example"`)
		}
	}
	s, named := r.secret(path+"client_secret", e.Secret, e.SecretEnv, e.SecretFile)
	if e.Kind == "facebook" && (!named || len(e.ClientIDs) > 1) {
		refuse("client_secret", "", "Facebook tells whom a token was made for only to the one app that shows its secret", "list one id in client_ids, and add client_secret_file or client_secret_env")
	}
	return Upstream{ID: e.ID, Kind: e.Kind, ClientIDs: e.ClientIDs, ClientSecret: s, Issuer: e.Issuer, BaseURL: e.BaseURL,
		Link: e.Link, At: r.places.At(fmt.Sprintf("upstreams[%d]", i))}
}

// address reports whether the server may call an address: https, or plain http
// on the machine itself.
func address(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || len(s) > maxAddress {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}
