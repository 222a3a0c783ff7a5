package server

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.example/internal/breach"
	"holdfast.example/internal/client"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/key"
	"holdfast.example/internal/settings"
)

// configRule is one line of the table: what a configuration is held to, and how.
type configRule struct {
	code, says string
	check      func(*configCheck)
}

// ConfigRules lists the codes of the settings' rules for the reference.
func ConfigRules() []settings.Rule {
	var all []settings.Rule
	for _, r := range configRules() {
		all = append(all, settings.Rule{Code: r.code, Says: r.says})
	}
	return all
}

func configRules() []configRule {
	return []configRule{
		{"HF101", "An access token dies before the sign-in it comes from: access_lifetime and opaque_lifetime are shorter than the idle and absolute limits.", accessUnderSession},
		{"HF102", "access_lifetime is at most 1h, opaque_lifetime at most 10h, both in whole seconds.", accessUnderCap},
		{"HF103", "overlap is at most 10m and not longer than access_lifetime. Warning above 60s.", overlapUnderAccess},
		{"HF104", "signing_algs holds asymmetric algorithms that are known here, each once.", knownAlgs},
		{"HF105", "issuer is an https address (http on this machine) without user, query, fragment and final slash.", plainIssuer},
		{"HF108", "key_rotation leaves time for jwks_max_age and for the longest access token.", rotationLeavesTime},
		{"HF113", "Warning: behind a proxy, trusted_proxies names it.", proxiesNamed},
		{"HF114", "In production the root secret is given, by exactly one of file and environment, and nobody but its owner can read the file.", rootGiven},
		{"HF115", "A settings file with a password of the database or of Redis must not be readable by others.", privatePassword},
		{"HF117", "A setting with a closed list holds one of its words.", closedWords},
		{"HF118", "A setting stays within its range.", ranges},
		{"HF119", "Dev mode listens on this machine, unless issuer says under which address it is reached.", devStaysHome},
		{"HF121", "Two settings do not contradict each other: drain_timeout and request_timeout, idle and absolute limits.", noContradiction},
		{"HF122", "The database's password is not on the command line.", noPasswordFlag},
		{"HF123", "Addresses are host:port, each listener its own, and the admin socket's path is short enough.", listeners},
		{"HF128", "doors holds dialects that are known here, each under paths of its own.", knownDoors},
		{"HF130", "The client that a door names is public and first-party, registered for password and refresh_token, with claims = \"simplejwt\" and JWTs.", clientsOfDoors},
		{"HF131", "breached_passwords names a file that can be read and holds SHA-1 hashes in ascending order, one a line. Only a warning for the commands that neither serve nor check.", breachedInOrder},
		{"HF129", "cookie_domain is a domain that the issuer's host is under.", ownCookieDomain},
		{"HF124", "trusted_proxies does not trust everybody.", proxiesNarrow},
		{"HF125", "Warning: durability = \"relaxed\" reaches only clients with an overlap, and overlap is 0.", relaxedReachesSomebody},
		{"HF126", "redis is an address of redis://, rediss:// or unix://. Warning when nothing protects it: no password, or a password in the clear over a network.", redisAddress},
	}
}

// configCheck is a configuration under examination.
type configCheck struct {
	Config
	code string
	// doubted are settings whose values are not what somebody meant; a rule about
	// one of them would only confuse.
	doubted map[string]bool
	found   settings.Problems
}

func (c Config) check(doubted map[string]bool) settings.Problems {
	k := &configCheck{Config: c, doubted: doubted}
	for _, r := range configRules() {
		k.code = r.code
		r.check(k)
	}
	return k.found
}

// refuse notes a problem and gives it back to be changed.
func (c *configCheck) refuse(name, value, reason, mend string) *settings.Problem {
	if c.doubted[name] {
		return new(settings.Problem)
	}
	c.found = append(c.found, settings.Problem{Code: c.code, At: c.Source(name), Key: name, Value: value, Reason: reason, Mend: mend})
	return &c.found[len(c.found)-1]
}

// between refuses one setting because of another, and says where both stand. It
// points at the one that somebody wrote.
func (c *configCheck) between(name, other, reason, mend string) *settings.Problem {
	if c.doubted[other] {
		return new(settings.Problem)
	}
	at, otherAt := c.Source(name), c.Source(other)
	p := c.refuse(name, "", fmt.Sprintf("%s (%s at %s, %s at %s)", reason, name, at, other, otherAt), mend)
	if at.Default() {
		p.At = otherAt
	}
	return p
}

func say(d time.Duration) string { return settings.FormatDuration(d) }

func accessUnderSession(c *configCheck) {
	limits := []struct {
		key  string
		life time.Duration
	}{{"idle_lifetime", c.IdleLifetime}, {"browser_idle_lifetime", c.BrowserIdleLifetime}, {"absolute_lifetime", c.AbsoluteLifetime}}
	for _, a := range []struct {
		key  string
		life time.Duration
	}{{"access_lifetime", c.AccessLifetime}, {"opaque_lifetime", c.OpaqueLifetime}} {
		for _, l := range limits {
			if l.life == 0 || a.life < l.life {
				continue
			}
			// Opaque tokens are for clients that ask for them: with a default nobody
			// chose, a short idle limit is worth a word, not a refusal.
			p := c.between(a.key, l.key, fmt.Sprintf("%s (%s) is not shorter than %s (%s): an access token would outlive the sign-in it comes from",
				a.key, say(a.life), l.key, say(l.life)), "lower "+a.key+" or raise "+l.key)
			p.Warning = a.key == "opaque_lifetime" && !c.places.Written(a.key)
		}
	}
}

func accessUnderCap(c *configCheck) {
	for _, a := range []struct {
		key       string
		life, cap time.Duration
	}{{"access_lifetime", c.AccessLifetime, client.AccessCap}, {"opaque_lifetime", c.OpaqueLifetime, client.OpaqueCap}} {
		switch {
		case a.life > a.cap:
			c.refuse(a.key, quoted(a.life), "the longest access token that may be issued here lives "+say(a.cap), "set "+say(a.cap)+" or less; refreshing costs an app one call")
		case a.life < time.Second || a.life%time.Second != 0:
			c.refuse(a.key, quoted(a.life), "the life of an access token is told in whole seconds (RFC 6749 section 5.1)", "set 1s or more")
		}
	}
}

func overlapUnderAccess(c *configCheck) {
	switch {
	case c.Overlap > client.OverlapCap:
		c.refuse("overlap", quoted(c.Overlap), "a thief who replays inside the overlap is not seen, and "+say(client.OverlapCap)+" is the longest that may last", "60s is usual")
	case c.Overlap > c.AccessLifetime:
		p := c.between("overlap", "access_lifetime", fmt.Sprintf("overlap (%s) is longer than access_lifetime (%s), so that new access tokens come without a rotation", say(c.Overlap), say(c.AccessLifetime)),
			"lower overlap; 60s is usual")
		p.Warning = !c.places.Written("overlap")
	case c.Overlap > client.OverlapUsual:
		c.refuse("overlap", quoted(c.Overlap), "a thief who replays inside the overlap is not seen", "60s carries every lost answer of a phone").Warning = true
	}
}

func knownAlgs(c *configCheck) {
	if len(c.SigningAlgs) == 0 {
		c.refuse("signing_algs", "", "without an algorithm nothing can be signed", `write ["ES256", "RS256"]`)
	}
	for i, a := range c.SigningAlgs {
		switch {
		case strings.HasPrefix(a, "HS") || a == "none":
			c.refuse("signing_algs", fmt.Sprintf("%.20q", a), "with a shared secret whoever can check a token can also make one", "use "+strings.Join(client.Algs, ", "))
		case !slices.Contains(client.Algs, a):
			c.refuse("signing_algs", fmt.Sprintf("%.20q", a), "this algorithm is not known here", "use "+strings.Join(client.Algs, ", "))
		case slices.Contains(c.SigningAlgs[:i], a):
			c.refuse("signing_algs", fmt.Sprintf("%q", a), "this algorithm stands there twice", "remove one")
		}
	}
}

func rotationLeavesTime(c *configCheck) {
	least := c.JWKSMaxAge + client.AccessCap + feed.Skew
	if c.KeyRotation > 0 && c.KeyRotation < least {
		c.between("key_rotation", "jwks_max_age", fmt.Sprintf("key_rotation (%s) is shorter than %s: jwks_max_age (%s), the longest access token (%s) and the skew of clocks together",
			say(c.KeyRotation), say(least), say(c.JWKSMaxAge), say(client.AccessCap)), "raise key_rotation; 90d is usual")
	}
}

// restoreRoot is the mend of a root secret that cannot be used.
const restoreRoot = "restore it from its backup; never make a new one for a database that has keys"

func rootGiven(c *configCheck) {
	file, env := c.RootSecretFile != "", !c.RootSecret.Empty()
	switch {
	case file && env:
		c.between("root_secret_file", "root_secret", "the root secret is given twice", "keep one")
	case file:
		_, err := key.ReadRootFile(c.RootSecretFile)
		if err != nil {
			c.refuse("root_secret_file", fmt.Sprintf("%.80q", c.RootSecretFile), strings.TrimPrefix(err.Error(), "key: "), restoreRoot)
		}
	case env:
		_, err := key.ParseRoot(c.RootSecret)
		if err != nil {
			c.refuse("root_secret", "", strings.TrimPrefix(err.Error(), "key: "), restoreRoot)
		}
	case !c.dev:
		c.refuse("root_secret_file", "", "in production the root secret is kept apart from the data, and none is given",
			"name its file, or set "+settings.Prefix+"ROOT_SECRET")
	}
}

func closedWords(c *configCheck) {
	for _, w := range []struct {
		key, value string
		allowed    []string
	}{
		{"durability", c.Durability, []string{Strict, Relaxed}},
		{"log_level", c.LogLevel, []string{"debug", "info", "warn", "error"}},
		{"log_format", c.LogFormat, []string{"text", "json"}},
	} {
		if !slices.Contains(w.allowed, w.value) {
			mend := "write one of " + strings.Join(w.allowed, ", ")
			if s := settings.Suggest(w.value, w.allowed); s != "" {
				mend = "did you mean " + s + "?"
			}
			c.refuse(w.key, fmt.Sprintf("%.40q", w.value), "this word is not known here", mend)
		}
	}
}

// ranges holds numbers and times to what makes sense; the bounds are wide enough
// for tests and narrow enough to catch a missing or a doubled digit.
func ranges(c *configCheck) {
	for _, r := range []struct {
		key                string
		value, least, most time.Duration
		zero               bool // 0 is "none" or "off"
	}{
		{"idle_lifetime", c.IdleLifetime, time.Second, forever, true},
		{"browser_idle_lifetime", c.BrowserIdleLifetime, time.Second, forever, false},
		{"absolute_lifetime", c.AbsoluteLifetime, time.Second, forever, true},
		{"overlap", c.Overlap, time.Millisecond, forever, true},
		{"late", c.Late, time.Millisecond, 24 * time.Hour, true},
		{"recovery", max(0, time.Duration(c.Recovery)), time.Millisecond, forever, true},
		{"ended_retention", c.EndedRetention, time.Second, forever, false},
		{"audit_retention", c.AuditRetention, time.Second, forever, false},
		{"key_rotation", c.KeyRotation, time.Second, forever, true},
		{"jwks_max_age", c.JWKSMaxAge, time.Second, 24 * time.Hour, false},
		{"request_timeout", c.RequestTimeout, time.Second, feed.Answer, false},
		{"drain_timeout", c.DrainTimeout, time.Second, 10 * time.Minute, false},
		{"attempts_window", c.AttemptsWindow, time.Second, 7 * 24 * time.Hour, false},
	} {
		if r.zero && r.value == 0 || r.value >= r.least && r.value <= r.most && r.value%time.Millisecond == 0 {
			continue
		}
		c.refuse(r.key, quoted(r.value), "this time is outside its range", fmt.Sprintf("set %s to %s, in whole milliseconds", say(r.least), say(r.most)))
	}
	for _, r := range []struct {
		key                string
		value, least, most int
	}{
		{"password_slots", c.PasswordSlots, 0, 256}, {"password_queue", c.PasswordQueue, 0, 100_000},
		{"attempts_per_account", c.AttemptsPerAccount, 1, 100_000}, {"attempts_per_address", c.AttemptsPerAddress, 1, 10_000_000},
	} {
		if r.value < r.least || r.value > r.most {
			c.refuse(r.key, strconv.Itoa(r.value), "this number is outside its range", fmt.Sprintf("set %d to %d", r.least, r.most))
		}
	}
}

func noContradiction(c *configCheck) {
	if c.DrainTimeout < c.RequestTimeout {
		c.between("drain_timeout", "request_timeout", fmt.Sprintf("drain_timeout (%s) is shorter than request_timeout (%s), so that stopping cuts off requests", say(c.DrainTimeout), say(c.RequestTimeout)),
			"raise drain_timeout")
	}
	if c.AbsoluteLifetime > 0 && (c.IdleLifetime > c.AbsoluteLifetime || c.IdleLifetime == 0) && c.places.Written("idle_lifetime") {
		c.between("absolute_lifetime", "idle_lifetime", fmt.Sprintf("the idle limit (%s) is never reached before absolute_lifetime (%s)", say(c.IdleLifetime), say(c.AbsoluteLifetime)),
			"make idle_lifetime the shorter one").Warning = true
	}
	if c.IdleLifetime == 0 && c.AbsoluteLifetime == 0 {
		c.between("idle_lifetime", "absolute_lifetime", "neither limit is set, so that a lost phone stays signed in for ever; public clients need one (RFC 9700 section 4.14)",
			"set idle_lifetime, or one for each client").Warning = true
	}
}

// relaxedReachesSomebody: without an overlap a loss would let a spent token be used
// once more unseen, so such clients stay strict whatever durability says.
func relaxedReachesSomebody(c *configCheck) {
	if c.Durability == Relaxed && c.Overlap == 0 {
		c.between("durability", "overlap", "overlap is 0, and a client without an overlap is strict whatever durability says, so that \"relaxed\" reaches only clients that set an overlap of their own",
			"set overlap; 60s is usual. Or leave durability out").Warning = true
	}
}

// breachedInOrder looks into the list as far as that is quick; see breach.Check.
func breachedInOrder(c *configCheck) {
	if c.BreachedPasswords == "" {
		return
	}
	err := breach.List{Path: c.BreachedPasswords}.Check()
	if err == nil {
		return
	}
	mend := "name a file that the server may read, or remove the line: then new passwords are compared with no list"
	switch {
	case errors.Is(err, breach.ErrEmpty), errors.Is(err, breach.ErrNoHash):
		mend = "put the whole download of SHA-1 hashes there, as one file"
	case errors.Is(err, breach.ErrUnsorted):
		mend = "take the download that is ordered by hash, or sort it: LC_ALL=C sort FILE"
	}
	c.refuse("breached_passwords", fmt.Sprintf("%.80q", c.BreachedPasswords), err.Error(), mend).Warning = c.mending
}

// privatePassword looks at the rights of the file a password stands in.
func privatePassword(c *configCheck) {
	for _, one := range []struct{ key, value, of string }{
		{"database", c.Database.Reveal(), "the database"}, {"redis", c.Redis.Reveal(), "Redis"},
	} {
		at := c.Source(one.key)
		if at.Line == 0 || !hasPassword(one.value) {
			continue
		}
		info, err := os.Stat(at.File)
		if err != nil {
			continue // it was read a moment ago
		}
		if p := settings.SecretMode(at.File, info); p != nil {
			c.refuse(one.key, "", "this file holds the password of "+one.of+", and "+p.Reason, p.Mend)
		}
	}
}

func noPasswordFlag(c *configCheck) {
	if c.Source("database").Flag != "" && hasPassword(c.Database.Reveal()) {
		c.refuse("database", "", "a password on the command line can be read by every user of this machine", "set "+settings.Prefix+"DATABASE or use a file")
	}
}

// hasPassword reports whether the address of a database has a password in it,
// in any of the ways they are written.
func hasPassword(database string) bool {
	u, err := url.Parse(database)
	if err != nil {
		return strings.Contains(database, "@") // not readable, so it is better taken for one
	}
	_, set := u.User.Password()
	return set || strings.Contains(strings.ToLower(database), "password=")
}

func quoted(d time.Duration) string { return strconv.Quote(say(d)) }
