package client

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast.example/internal/id"
)

// Server is what the server's settings say that a registration is held to.
type Server struct {
	// Defaults are the settings for clients that set nothing; the zero Defaults
	// are Standard.
	Defaults Defaults
	// Algs are the algorithms the server signs with; nil asks only that an
	// algorithm is known at all.
	Algs []string
	// Dev: the server runs for trying things out, where secrets may be short.
	Dev bool
}

// Problem is one thing wrong or doubtful in a registration.
type Problem struct {
	Code    string
	Warning bool
	Client  id.Client
	// Field is the name of the setting, with an index where it is one of a list:
	// "redirect_uris[2]". Other names a second setting that the reason speaks of.
	Field, Other string
	// Value is what was written, "" when it would repeat a secret.
	Value  string
	Reason string
	Mend   string
}

// String is the problem as one sentence for an API's answer.
func (p Problem) String() string {
	s := fmt.Sprintf("client %s: %s: %s", p.Client, p.Field, p.Reason)
	if p.Mend != "" {
		s += "; " + p.Mend
	}
	return s + " [" + p.Code + "]"
}

// rule is one line of the table: what a registration is held to, and how.
type rule struct {
	code, says string
	check      func(*checker)
}

// Rule is a line of the reference.
type Rule struct{ Code, Says string }

// Rules lists what Check holds a registration to, for the reference.
func Rules() []Rule {
	var all []Rule
	for _, r := range rules() {
		all = append(all, Rule{r.code, r.says})
	}
	return all
}

func rules() []rule {
	return []rule{
		{"HF101", "An access token dies before the sign-in it comes from: access_lifetime is shorter than idle_lifetime and absolute_lifetime.", accessBeforeSession},
		{"HF102", "access_lifetime is whole seconds, more than none, and at most 1h for a JWT and 10h for an opaque token.", accessCap},
		{"HF103", "overlap is at most 10m and not longer than access_lifetime. Warning above 60s.", overlapBounds},
		{"HF104", "access_alg and id_token_alg are asymmetric algorithms that the server signs with.", algorithms},
		{"HF106", "A public client has no secret and proves nothing with one.", publicSecret},
		{"HF107", "The password grant is for first-party clients only.", passwordGrant},
		{"HF112", "A redirect URI is https, http on 127.0.0.1 or [::1], or a private scheme in reverse-DNS form, written exactly.", redirects},
		{"HF201", "A client id is 1 to 200 printable characters, is no URL and cannot be taken for a user's.", identity},
		{"HF202", "A field with a closed list holds one of its words.", closedLists},
		{"HF203", "Grants are known and fit the client's type.", grants},
		{"HF204", "Scopes are RFC 6749 scope tokens, each named once, and public clients have none of the servers' own.", scopes},
		{"HF205", "A declared secret has 8 characters or more outside dev. Warning below 22, which cannot hold 128 random bits.", secretStrength},
		{"HF206", "private_key_jwt needs exactly one of jwks and jwks_uri, with public keys only.", keys},
		{"HF207", "Origins and addresses are exact: no wildcard, no user, no fragment, https off the machine.", addresses},
		{"HF208", "The windows of a refresh profile fit it: strict has none, none is for confidential clients.", profiles},
		{"HF209", "Skipping consent and opening WebView sessions are for first-party clients.", firstPartyOnly},
		{"HF210", "A public client's sign-in ends by idle_lifetime or absolute_lifetime; lifetimes are whole milliseconds.", lifetimes},
		{"HF211", "What is shown to people or put into pages is short and plain.", presentation},
	}
}

// Check holds a declaration, with its defaults filled in, to every rule.
func Check(d Declared, s Server) []Problem {
	if s.Defaults == (Defaults{}) {
		s.Defaults = Standard()
	}
	c := &checker{Declared: d, server: s, limits: d.Limits(s.Defaults)}
	for _, r := range rules() {
		c.code = r.code
		r.check(c)
	}
	return c.found
}

// checker is one registration under examination.
type checker struct {
	Declared
	server Server
	limits Limits
	code   string
	found  []Problem
}

func (c *checker) refuse(field, value, reason, mend string) {
	c.found = append(c.found, Problem{Code: c.code, Client: c.ID, Field: field, Value: value, Reason: reason, Mend: mend})
}

// between refuses a setting because of another one.
func (c *checker) between(field, other string, value time.Duration, reason, mend string) {
	c.refuse(field, say(value), reason, mend)
	c.found[len(c.found)-1].Other = other
}

func (c *checker) warn() { c.found[len(c.found)-1].Warning = true }

// say writes a length of time in an error.
func say(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func accessBeforeSession(c *checker) {
	l := c.limits
	reason := "an access token (access_lifetime %s) would live as long as the sign-in it comes from (%s %s) or longer"
	if l.Idle > 0 && l.Access >= l.Idle {
		c.between("access_lifetime", "idle_lifetime", l.Access, fmt.Sprintf(reason, say(l.Access), "idle_lifetime", say(l.Idle)),
			"make access_lifetime shorter than idle_lifetime; 15m is usual")
	}
	if l.Absolute > 0 && l.Access > l.Absolute {
		c.between("access_lifetime", "absolute_lifetime", l.Access, fmt.Sprintf(reason, say(l.Access), "absolute_lifetime", say(l.Absolute)),
			"make access_lifetime shorter than absolute_lifetime; 15m is usual")
	}
}

func accessCap(c *checker) {
	limit, why := AccessCap, "a JWT that is believed without asking may not live longer than "
	if c.AccessFormat == Opaque {
		limit, why = OpaqueCap, "an opaque access token may not live longer than "
	}
	switch a := c.limits.Access; {
	case a > limit:
		c.refuse("access_lifetime", say(a), why+say(limit), "set "+say(limit)+" or less; refreshing costs the app one call")
	case a < time.Second || a%time.Second != 0:
		c.refuse("access_lifetime", say(a), "the life of an access token is told in whole seconds (RFC 6749 section 5.1)", "set 1s or more")
	}
}

func overlapBounds(c *checker) {
	o, a := c.limits.Overlap, c.limits.Access
	switch {
	case o > OverlapCap:
		c.refuse("overlap", say(o), "a thief who replays inside the overlap is not seen, and "+say(OverlapCap)+" is the longest that may last", "60s is usual")
	case o > a:
		c.between("overlap", "access_lifetime", o, fmt.Sprintf("overlap %s is longer than access_lifetime %s, so that a new access token would come without a rotation", say(o), say(a)),
			"make overlap shorter than access_lifetime; 60s is usual")
		if c.Overlap == nil {
			c.warn()
		}
	case o > OverlapUsual:
		c.refuse("overlap", say(o), "a thief who replays inside the overlap is not seen", "60s carries every lost answer of a phone")
		c.warn()
	}
}

// Algs are the algorithms a token may be signed with. HS256 is not one: whoever
// can check such a token can make one.
var Algs = []string{"ES256", "RS256", "RS512", "Ed25519", "EdDSA"}

func algorithms(c *checker) {
	for _, f := range []struct{ field, alg string }{{"access_alg", c.AccessAlg}, {"id_token_alg", c.IDTokenAlg}} {
		switch {
		case f.alg == "":
		case strings.HasPrefix(f.alg, "HS"):
			c.refuse(f.field, f.alg, "with a shared secret whoever can check a token can also make one", "use "+strings.Join(Algs, ", "))
		case !slices.Contains(Algs, f.alg):
			c.refuse(f.field, f.alg, "this algorithm is not known here", "use "+strings.Join(Algs, ", "))
		case c.server.Algs != nil && !slices.Contains(c.server.Algs, f.alg):
			c.refuse(f.field, f.alg, "the server's signing_algs ("+strings.Join(c.server.Algs, ", ")+") do not have it", "add it to signing_algs or name another one")
		}
	}
}

func publicSecret(c *checker) {
	switch {
	case c.Type == Public && !c.Secret.Empty():
		c.refuse("secret", "", "a public client cannot keep a secret: it is shipped to everybody who has the app", "remove the secret, or set type = \"confidential\" for a server")
	case c.Type == Public && c.AuthMethod != AuthNone && slices.Contains(methods, c.AuthMethod):
		c.refuse("auth_method", string(c.AuthMethod), "a public client has nothing to authenticate with", "set auth_method = \"none\", or type = \"confidential\" for a server")
	case c.Type == Confidential && c.AuthMethod == AuthNone:
		c.refuse("auth_method", string(c.AuthMethod), "a confidential client authenticates", "leave auth_method out, or set type = \"public\"")
	}
}

func passwordGrant(c *checker) {
	if c.Allows(GrantPassword) && !c.FirstParty {
		c.refuse("grants", GrantPassword, "a third party would see its users' passwords", "use authorization_code, or set first_party = true for an app of your own")
	}
}

func profiles(c *checker) {
	windows := []struct {
		field string
		set   *time.Duration
	}{{"overlap", c.Overlap}, {"late", c.Late}, {"recovery", c.Recovery}}
	for _, w := range windows {
		if w.set != nil && *w.set != 0 && c.Refresh == Strict {
			c.between(w.field, "refresh", *w.set, `refresh = "strict" has no windows`, `remove `+w.field+`, or set refresh = "balanced"`)
		}
	}
	if c.Refresh == Never && c.Type != Confidential {
		c.refuse("refresh", string(Never), "a refresh token that never rotates is only safe at a client that proves itself (FAPI 2.0)", `set refresh = "balanced"`)
	}
}

func firstPartyOnly(c *checker) {
	if c.FirstParty {
		return
	}
	if c.Consent == ConsentSkip {
		c.refuse("consent", ConsentSkip, "a third party would get a user's data without being asked", `set consent = "ask", or first_party = true for an app of your own`)
	}
	if c.WebView {
		c.refuse("webview", "true", "a WebView session is as strong as the user's own sign-in in a browser", "set first_party = true for an app of your own")
	}
}

func lifetimes(c *checker) {
	for _, f := range []struct {
		field string
		set   *time.Duration
	}{{"access_lifetime", c.AccessLifetime}, {"idle_lifetime", c.IdleLifetime}, {"absolute_lifetime", c.AbsoluteLifetime},
		{"overlap", c.Overlap}, {"late", c.Late}, {"recovery", c.Recovery}} {
		asIdle := f.field == "recovery" && f.set != nil && *f.set == AsIdle
		if f.set != nil && (*f.set < 0 || *f.set%time.Millisecond != 0) && !asIdle {
			c.refuse(f.field, f.set.String(), "times are kept in whole milliseconds", "round it")
		}
	}
	l := c.limits
	if c.Type == Public && l.Idle == 0 && l.Absolute == 0 && c.Allows(GrantRefresh) {
		c.refuse("idle_lifetime", "0", "a refresh token of a public client must end some day (RFC 9700 section 4.14): neither idle_lifetime nor absolute_lifetime is set",
			"set idle_lifetime, 90d is usual")
	}
	if l.Absolute > 0 && l.Idle > l.Absolute {
		c.between("absolute_lifetime", "idle_lifetime", l.Absolute, fmt.Sprintf("the idle limit (idle_lifetime %s) is never reached before absolute_lifetime %s", say(l.Idle), say(l.Absolute)),
			"make idle_lifetime the shorter one")
		c.warn()
	}
}
