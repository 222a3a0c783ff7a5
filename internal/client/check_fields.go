package client

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"holdfast.example/internal/id"
)

// Limits of a registration. They keep a page readable and a row small.
const (
	maxID      = 200   // bytes of a client id
	maxName    = maxID // characters of a name that people read
	maxURI     = 2000  // bytes of one address
	maxList    = 100   // entries of one list
	maxScope   = 128   // bytes of one scope
	maxJWKS    = 16384
	maxKeys    = 10
	maxLogo    = 32768
	minSecret  = 8  // characters outside dev
	goodSecret = 22 // characters that can hold 128 random bits
	maxSecret  = 1024
)

var methods = []AuthMethod{AuthNone, AuthBasic, AuthPost, AuthPrivateKey}

func identity(c *checker) {
	s := string(c.ID)
	shown := fmt.Sprintf("%q", clip(s))
	switch {
	case s == "":
		c.refuse("id", "", "a client needs an id", `write id = "my-app"`)
	case len(s) > maxID:
		c.refuse("id", shown, fmt.Sprintf("the id is longer than %d bytes", maxID), "shorten it")
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) || strings.TrimSpace(s) != s:
		c.refuse("id", shown, "an id is printable ASCII without spaces around it (RFC 6749 appendix A.1)", "use letters, digits and dashes")
	case id.LooksLikeUser(s):
		c.refuse("id", shown, "an id that begins with usr_ could be taken for a user's in a token (RFC 9700 section 4.15)", "begin it otherwise")
	case strings.HasPrefix(strings.ToLower(s), "https:") || strings.HasPrefix(strings.ToLower(s), "http:"):
		c.refuse("id", shown, "an id that is a URL would name a document to fetch, not a registered client", "use letters, digits and dashes")
	}
}

func closedLists(c *checker) {
	if c.Type == "" {
		c.refuse("type", "", "a client is public (a phone, a browser) or confidential (a server)", `write type = "public" or type = "confidential"`)
	} else {
		oneOf(c, "type", c.Type, Public, Confidential)
	}
	if c.AuthMethod != "" {
		oneOf(c, "auth_method", c.AuthMethod, methods...)
	}
	oneOf(c, "claims", c.Claims, StandardClaims, OpenEdX, SimpleJWT)
	oneOf(c, "access_format", c.AccessFormat, JWT, Opaque)
	oneOf(c, "refresh", c.Refresh, Strict, Balanced, Never)
	oneOf(c, "on_reuse", c.OnReuse, OnReuseEnd, OnReuseHold, OnReuseNotify)
	oneOf(c, "pkce", c.PKCE, PKCERequired, PKCEOptional)
	oneOf(c, "consent", c.Consent, ConsentAsk, ConsentSkip)
}

func oneOf[T ~string](c *checker, field string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = fmt.Sprintf("%q", a)
	}
	c.refuse(field, fmt.Sprintf("%q", clip(string(value))), "this word is not known here", "write "+strings.Join(words, " or "))
}

func grants(c *checker) {
	known := []string{GrantCode, GrantRefresh, GrantPassword, GrantClientCredentials, GrantTokenExchange, GrantDeviceCode}
	c.each("grants", c.Grants, func(field, g string) {
		switch {
		case !slices.Contains(known, g):
			c.refuse(field, g, "this grant is not known here", "the known ones are "+strings.Join(known, ", "))
		case g == GrantClientCredentials && c.Type == Public:
			c.refuse(field, g, "a public client cannot prove that it is itself (RFC 6749 section 4.4)", `remove it, or set type = "confidential" for a server`)
		case g == GrantCode && len(c.RedirectURIs) == 0:
			c.refuse(field, g, "a code has nowhere to go: redirect_uris is empty", "name a redirect URI, or remove the grant")
		case g == GrantRefresh && !c.signsUsersIn():
			c.refuse(field, g, "no grant of this client begins a session that could be refreshed", "add authorization_code, or remove refresh_token")
			c.warn()
		}
	})
}

// scopeAdmin begins the names of the scopes that open the operators' API.
const scopeAdmin = "admin"

// AdminScope reports whether a scope opens the operators' API.
func AdminScope(s string) bool { return s == scopeAdmin || strings.HasPrefix(s, scopeAdmin+".") }

// Administers reports whether the client may be given a token for the operators'
// API.
func (c Client) Administers() bool { return slices.ContainsFunc(c.Scopes, AdminScope) }

// ownScopes open the server's own interfaces; a user's phone never needs one.
var ownScopes = []string{"introspect", "introspection", "revocations.read"}

func scopes(c *checker) {
	c.each("scopes", c.Scopes, func(field, s string) {
		bad := strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e || r == '"' || r == '\\' })
		switch {
		case s == "" || bad || len(s) > maxScope:
			c.refuse(field, fmt.Sprintf("%q", clip(s)), fmt.Sprintf("a scope is 1 to %d printable characters without space, quote or backslash (RFC 6749 section 3.3)", maxScope), "one entry for each scope")
		case c.Type == Public && (slices.Contains(ownScopes, s) || AdminScope(s)):
			c.refuse(field, s, "this scope opens the server's own interfaces, and anybody can be a public client", "keep it to confidential clients")
		}
	})
}

func secretStrength(c *checker) {
	if c.Secret.Empty() || c.Type != Confidential {
		return
	}
	s := c.Secret.Reveal()
	n := utf8.RuneCountInString(s)
	generate := "generate one: openssl rand -base64 32"
	switch {
	case !c.usesSecret():
		c.refuse("secret", "", `auth_method = "`+string(c.AuthMethod)+`" uses no secret`, "remove the secret, or the auth_method")
	case len(s) > maxSecret || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		c.refuse("secret", "", fmt.Sprintf("a secret is text of at most %d bytes without control characters", maxSecret), generate)
	case c.server.Dev:
	case n < minSecret:
		c.refuse("secret", "", fmt.Sprintf("the secret has %d characters and can be guessed", n), generate)
	case n < goodSecret:
		c.refuse("secret", "", fmt.Sprintf("the secret has %d characters; below %d it can be guessed by whoever gets a copy of the database", n, goodSecret), generate)
		c.warn()
	}
}

func keys(c *checker) {
	given := c.JWKS != "" || c.JWKSURI != ""
	switch {
	case c.AuthMethod != AuthPrivateKey && given:
		c.refuse(c.keyField(), "", "keys are only used with auth_method = \"private_key_jwt\"", "set that auth_method, or remove the keys")
		return
	case c.AuthMethod != AuthPrivateKey:
		return
	case !given:
		c.refuse("auth_method", string(AuthPrivateKey), "the client's public keys are missing", "add jwks or jwks_uri")
	case c.JWKS != "" && c.JWKSURI != "":
		c.refuse("jwks", "", "jwks and jwks_uri both name the client's keys (RFC 7591 section 2)", "keep one")
	}
	if reason := badKeys(c.JWKS); reason != "" {
		c.refuse("jwks", "", reason, `write the JSON of a public key set: {"keys":[...]}`)
	}
	if c.JWKSURI != "" {
		c.address("jwks_uri", c.JWKSURI, false)
	}
}

func (c *checker) keyField() string {
	if c.JWKS != "" {
		return "jwks"
	}
	return "jwks_uri"
}

// badKeys says what is wrong with a public key set, "" for nothing. Whether the
// keys are good is decided where they are used.
func badKeys(jwks string) string {
	if jwks == "" {
		return ""
	}
	if len(jwks) > maxJWKS {
		return fmt.Sprintf("the key set is larger than %d bytes", maxJWKS)
	}
	var set struct{ Keys []map[string]any }
	err := json.Unmarshal([]byte(jwks), &set)
	if err != nil {
		return "this is not a JSON key set (RFC 7517 section 5)"
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return fmt.Sprintf("a key set has 1 to %d keys", maxKeys)
	}
	for _, k := range set.Keys {
		if kty, _ := k["kty"].(string); !slices.Contains([]string{"EC", "RSA", "OKP"}, kty) {
			return "the keys are of kty EC, RSA or OKP"
		}
		if _, private := k["d"]; private {
			return "the key set holds a private key; it belongs to the client alone"
		}
	}
	return ""
}

var (
	hexColour  = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)
	androidApp = regexp.MustCompile(`^[A-Za-z][\w]*(\.[A-Za-z][\w]*)+( [0-9A-F]{2}(:[0-9A-F]{2}){31})?$`)
	iosApp     = regexp.MustCompile(`^[A-Z0-9]{10}\.[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`)
	filterForm = regexp.MustCompile(`^[a-z_]+:[!-~]+$`)
	plainWord  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	logoData   = regexp.MustCompile(`^data:image/(png|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/]+=*$`)
)

func presentation(c *checker) {
	n := utf8.RuneCountInString(c.Name)
	if n > maxName || !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, hidden) {
		c.refuse("name", fmt.Sprintf("%q", clip(c.Name)), fmt.Sprintf("a name is at most %d visible characters", maxName), "shorten it")
	}
	shaped := func(field, value string, form *regexp.Regexp, limit int, reason, mend string) {
		if value != "" && (len(value) > limit || !form.MatchString(value)) {
			c.refuse(field, fmt.Sprintf("%q", clip(value)), reason, mend)
		}
	}
	shaped("accent", c.Accent, hexColour, maxName, "an accent is a colour in six hexadecimal digits", `write "#2563eb"`)
	shaped("android_app", c.AndroidApp, androidApp, maxURI, "this is no Android package name", `write "com.example.app", or with the SHA-256 of its signing certificate after a space: "com.example.app AB:CD:..."`)
	shaped("ios_app", c.IOSApp, iosApp, maxURI, "this is no Apple application id", `write the team and the bundle: "A1B2C3D4E5.com.example.app"`)
	if !strings.HasPrefix(c.Logo, "https://") {
		shaped("logo", c.Logo, logoData, maxLogo, fmt.Sprintf("a logo is an https address or a data: image of at most %d bytes", maxLogo), "use a small PNG")
	} else {
		c.address("logo", c.Logo, false)
	}
	c.each("audiences", c.Audiences, func(field, v string) {
		if v == "" || len(v) > maxURI || strings.ContainsFunc(v, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			c.refuse(field, fmt.Sprintf("%q", clip(v)), "an audience is printable ASCII without spaces", "name the API by its address or by one word")
		}
	})
	c.each("filters", c.Filters, func(field, v string) {
		shaped(field, v, filterForm, maxURI, "a filter has the form type:value", `write "content_org:Example"`)
	})
	c.each("upstreams", c.Upstreams, func(field, v string) {
		shaped(field, v, plainWord, maxID, "an upstream is named by its id", "use lower-case letters, digits and dashes")
	})
}

// hidden characters could make one client's name look like another's, or turn
// the text around it.
func hidden(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xad || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
}

// each walks a list, refuses it when it is too long, and refuses an entry that
// stands there twice.
func (c *checker) each(field string, list []string, check func(field, entry string)) {
	if len(list) > maxList {
		c.refuse(field, fmt.Sprintf("%d entries", len(list)), fmt.Sprintf("a list has at most %d entries", maxList), "shorten it")
		return
	}
	for i, entry := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if slices.Contains(list[:i], entry) {
			c.refuse(at, fmt.Sprintf("%q", clip(entry)), "this entry stands there twice", "remove one")
			continue
		}
		check(at, entry)
	}
}

// clip shortens a value for an error.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
