package server

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

//go:generate go run ./refgen -o ../../docs/reference/configuration.md

// Config is every setting of the server. One TOML file names them by their
// keys; an environment variable HOLDFAST_<KEY> goes over the file, a flag
// --<key> over both. Lengths of time are text: "45s", "15m", "12h", "90d".
//
// The comment of each field is its paragraph in the reference: what it means,
// and what is dangerous about it. The defaults are those of Defaults.
type Config struct {
	// ## Where it stands

	// Issuer is the address under which the world knows this server: the iss of
	// every token, and the beginning of every link. It is https, except on this
	// machine, and has no slash at its end. Empty means http:// and the listen
	// address, for trying things out. Changing it signs nobody out, but every API
	// refuses the tokens until it knows the new name.
	Issuer string `toml:"issuer"`

	// Listen is the address and port for everybody. The server speaks plain HTTP:
	// put a proxy that ends TLS in front of it, and let only that proxy reach it.
	Listen string `toml:"listen"`

	// Data is the directory for everything the server keeps in files: the
	// embedded database, the admin socket and, in dev mode, the root secret. It
	// is made with mode 0700. On a network file system the database can be
	// damaged.
	Data string `toml:"data"`

	// Database is where accounts and sessions are kept: empty for an embedded
	// database in the data directory, a path for one elsewhere, or a postgres://
	// address. It may hold a password, so it is never printed; with a password in
	// it, it may not be a flag, nor stand in a file that others can read.
	Database secret.Text `toml:"database" flag:"checked"`

	// Durability says what is on the disk when an answer leaves. "strict" is
	// everything. "relaxed" answers a refresh a moment earlier: the power failure of
	// the database's machine, or the loss of a PostgreSQL primary, may take the last
	// refreshes back, nobody is signed out by it, and
	// holdfast_refresh_ahead_total counts them. A token that was spent in that
	// moment works once more, until both who hold it refresh again. Sign-ins,
	// sign-outs, new passwords and clients without an overlap are always strict.
	Durability string `toml:"durability"`

	// AutoMigrate lets the server bring the schema of its database up to date when
	// it starts. When it is false, a server whose database is behind does not start,
	// and "holdfast migrate" is run first, perhaps by a role that may do more than
	// the one that serves.
	AutoMigrate bool `toml:"auto_migrate"`

	// Redis is the address of a Redis that counts attempts for all nodes,
	// redis://[[user]:password@]host:port[/database], rediss:// for TLS or
	// unix:///path; empty lets the database count them. It holds nothing that may
	// not be lost, and while it does not answer each node counts by itself. Whoever
	// can write in it can make limits whole, or use up somebody's, so give it a
	// password. It may hold one, so it is never printed, may not be a flag, nor
	// stand in a file that others can read.
	Redis secret.Text `toml:"redis"`

	// Journal is the path of the revocation journal: a file that remembers what
	// ended, synced before the end is acknowledged, so that a restored backup
	// revives nothing. Put it on another disk than the database, and give every node
	// its own. When it cannot be written, sign-outs take effect and are answered with
	// 503, because a restore might not know them. Empty means none: then a restore
	// must be told what to do about what ended after the backup.
	Journal string `toml:"journal"`

	// RootSecretFile names the file with the root secret, the one key an operator
	// must keep: all other keys are random and stored wrapped under it. Without
	// it the database is worth nothing, and with both in one hand everything is
	// lost, so keep its backup apart from the database's. Only its owner may read
	// the file. Dev mode makes one in the data directory.
	RootSecretFile string `toml:"root_secret_file"`

	// RootSecret is the root secret itself, for platforms that hand out secrets
	// in the environment. It may not stand in the settings file. Every process of
	// the same user can read it, so prefer a file.
	RootSecret secret.Text `toml:"root_secret" source:"env"`

	// AdminSocket is the Unix socket for operators; whoever may open it may do
	// everything, so it is made with mode 0600. Empty means admin.sock in the data
	// directory, and "off" means none.
	AdminSocket string `toml:"admin_socket"`

	// AdminListen is the address for the same operators' API over TCP, on a
	// listener of its own: there every call needs an access token of this server
	// with an administrative scope. Empty or "off" means none. It speaks plain
	// HTTP: let only a proxy that ends TLS, or this machine, reach it.
	AdminListen string `toml:"admin_listen"`

	// MetricsListen is the address for /metrics and profiles, on a listener of
	// their own. Empty or "off" means none. Profiles show memory: let only your
	// monitoring reach it.
	MetricsListen string `toml:"metrics_listen"`

	// Doors lists the dialects that are spoken besides the standard one: "edx" is
	// Open edX (docs/guide/move-open-edx.md); "web" keeps the tokens of applications in a
	// browser in cookies (docs/guide/browsers.md); "dot /o" is django-oauth-toolkit under the
	// prefix /o (docs/guide/move-django-oauth-toolkit.md); "simplejwt /api/token
	// my-app" is djangorestframework-simplejwt under a prefix with the terms of the
	// client my-app, "sliding /auth/sliding my-app" its sliding tokens, and "drf-jwt
	// /auth my-app" django-rest-framework-jwt (docs/guide/move-simplejwt.md). None is
	// the default, because a door that nobody needs is one more to guard; holdfast dev
	// opens some when nobody wrote any.
	Doors []string `toml:"doors"`

	// CookieDomain is the domain of the cookies that several hosts read together
	// ("example.com" for apps.example.com and learn.example.com): those of an Open
	// edX, and the access cookie of the door "web". Empty keeps them to this host.
	// Every host under the domain can read them: it must all be yours.
	CookieDomain string `toml:"cookie_domain"`

	// TrustedProxies lists the networks whose X-Forwarded-For is believed, as
	// "10.0.0.0/8". Without it every visitor behind a proxy has the proxy's
	// address, and attempt limits hit all of them together. Trusting too much
	// lets anybody choose his address and escape the limits.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`

	// ## How long things live

	// AccessLifetime is the life of a JWT access token. APIs that follow no
	// revocations believe it until then, so it is also how long a stolen one
	// works there: at most 1h, and shorter than idle_lifetime. While this is not
	// set, clients with claims = "openedx" have 1h.
	AccessLifetime time.Duration `toml:"access_lifetime"`

	// OpaqueLifetime is the life of an opaque access token, which APIs ask about
	// at every use and which therefore dies at once with its session: at most 10h.
	// While this is not set, clients with claims = "openedx" have 10h.
	OpaqueLifetime time.Duration `toml:"opaque_lifetime"`

	// IdleLifetime is how long a phone may be silent and still be signed in; each
	// refresh begins it anew. "0" is no limit. It is also how long a lost phone
	// stays signed in when nobody reports it.
	IdleLifetime time.Duration `toml:"idle_lifetime"`

	// BrowserIdleLifetime is the same for browsers: public clients with
	// cors_origins, and the sign-in pages' own cookie.
	BrowserIdleLifetime time.Duration `toml:"browser_idle_lifetime"`

	// AbsoluteLifetime ends a sign-in however busy it is. "0" is no limit. Every
	// person is asked to sign in again when it is reached.
	AbsoluteLifetime time.Duration `toml:"absolute_lifetime"`

	// Overlap is for how long after a refresh the token it used still earns the
	// same answer, so that parallel calls and repeated requests are one refresh.
	// "0" is RFC 9700 to the letter, and signs out phones whose network loses an
	// answer. A thief who replays inside it is not seen, so keep it near 60s: at
	// most 10m.
	Overlap time.Duration `toml:"overlap"`

	// Late is for how long after that an overtaken token is answered "try again"
	// instead of being taken for a theft. It costs nothing but the time until a
	// thief is noticed.
	Late time.Duration `toml:"late"`

	// Recovery is for how long a phone that never received the answer to its last
	// refresh may ask again with the token it has: "idle" is as long as the idle
	// limit, so that a phone found in a drawer is still signed in. "0" signs such
	// phones out.
	Recovery settings.Window `toml:"recovery"`

	// EndedRetention is how long an ended sign-in is remembered, so that the app
	// and the person can be told why it ended. After that its tokens are simply
	// unknown. It is remembered for 10m whatever is set here.
	EndedRetention time.Duration `toml:"ended_retention"`

	// AuditRetention is how long the account of who did what is kept: sign-ins,
	// refusals, changes and what operators did. What is older is deleted, so keep
	// it as long as an investigation may look back, and no longer than the law of
	// your users lets you.
	AuditRetention time.Duration `toml:"audit_retention"`

	// ## Keys

	// SigningAlgs are the algorithms tokens are signed with, the default first:
	// ES256, RS256, RS512, Ed25519, EdDSA. Clients choose among them; Open edX
	// needs RS256 or RS512. Removing one that a client uses is refused.
	SigningAlgs []string `toml:"signing_algs"`

	// KeyRotation is how old a signing key gets before the next one takes over.
	// "0" is never. It must leave APIs the time to fetch the next key and old
	// tokens the time to expire.
	KeyRotation time.Duration `toml:"key_rotation"`

	// JWKSMaxAge is for how long APIs may keep a copy of the public keys. A new key
	// is published that long before it is used, so that no API meets a token
	// whose key it has not seen.
	JWKSMaxAge time.Duration `toml:"jwks_max_age"`

	// ## Load and safety

	// RequestTimeout bounds the work on one request; then the answer is 503 and
	// repeating is safe. It is at most 10s, because revocations are remembered
	// for that much longer than the tokens they are about.
	RequestTimeout time.Duration `toml:"request_timeout"`

	// DrainTimeout is how long a stopping server finishes what it has begun. Let
	// your supervisor wait longer before it kills.
	DrainTimeout time.Duration `toml:"drain_timeout"`

	// PasswordSlots is how many passwords are checked at once; 0 is one for each
	// processor. Each one takes a whole processor and 19 MiB for a moment, so
	// more of them make sign-ins slower and refreshes too.
	PasswordSlots int `toml:"password_slots"`

	// PasswordQueue is how many sign-ins may wait for a slot. Who finds the queue
	// full is told to come back in a moment, which is better than to wait longer
	// than a person does.
	PasswordQueue int `toml:"password_queue"`

	// BreachedPasswords is the path of a list of passwords that became known: the
	// SHA-1 hashes of all of them in one file, in ascending order, one a line, with
	// or without a colon and a count (docs/guide/operate.md tells where to get one).
	// A new password that is on the list is refused; sign-ins do not ask it, and a
	// manifest's password only earns a warning. Empty means no list. While a list that
	// is named cannot be read, new passwords are answered with 503, and a server does
	// not start.
	BreachedPasswords string `toml:"breached_passwords"`

	// AttemptsPerAccount is how many wrong passwords one account may see within
	// attempts_window before further ones wait. Devices that are signed in go on:
	// nobody can be locked out by a stranger's guesses.
	AttemptsPerAccount int `toml:"attempts_per_account"`

	// AttemptsPerAddress is the same for one network address, whatever accounts it
	// tries. A school or an office shares one address: do not set it low.
	AttemptsPerAddress int `toml:"attempts_per_address"`

	// AttemptsWindow is the time in which wrong passwords are counted.
	AttemptsWindow time.Duration `toml:"attempts_window"`

	// ## Logs

	// LogLevel is debug, info, warn or error. Tokens, passwords and secrets are in
	// none of them.
	LogLevel string `toml:"log_level"`

	// LogFormat is "text" for people or "json" for collectors.
	LogFormat string `toml:"log_format"`

	// dev: this is holdfast dev. mending: an operator's command reads this, not the
	// server. No settings: a file cannot turn them on.
	dev, mending bool
	places       settings.Places
}

// Off turns off what has a path or an address.
const Off = "off"

// The words of Durability.
const (
	Strict  = "strict"
	Relaxed = "relaxed"
)

// Defaults is the configuration of a server whose settings say nothing.
func Defaults() Config {
	std := client.Standard()
	return Config{
		Listen: "127.0.0.1:8420", Data: "holdfast-data", Durability: Strict, AutoMigrate: true,
		AccessLifetime: std.Access, OpaqueLifetime: std.Opaque, IdleLifetime: std.Idle, BrowserIdleLifetime: std.BrowserIdle,
		AbsoluteLifetime: std.Absolute, Overlap: std.Overlap, Late: std.Late, Recovery: settings.AsIdle,
		EndedRetention: 30 * 24 * time.Hour, AuditRetention: 400 * 24 * time.Hour,
		SigningAlgs: []string{"ES256", "RS256"}, KeyRotation: 90 * 24 * time.Hour, JWKSMaxAge: 15 * time.Minute,
		RequestTimeout: 10 * time.Second, DrainTimeout: 20 * time.Second,
		PasswordQueue: 128, AttemptsPerAccount: 10, AttemptsPerAddress: 100, AttemptsWindow: 15 * time.Minute,
		LogLevel: "info", LogFormat: "text",
	}
}

// Dev reports whether this is holdfast dev: everything on loopback, short
// secrets allowed.
func (c Config) Dev() bool { return c.dev }

// Bound takes over the address a listener got. A port 0 is chosen by the system,
// and an issuer that nobody wrote follows it.
func (c *Config) Bound(addr net.Addr) {
	c.Listen = addr.String()
	if !c.places.Written("issuer") {
		c.Issuer = "http://" + c.Listen
	}
}

// Source is where a setting was written, by its key.
func (c Config) Source(key string) settings.Source { return c.places.At(key) }

// Limits are the settings for clients that set nothing.
func (c Config) Limits() client.Defaults {
	d := client.Defaults{Access: c.AccessLifetime, OpenEdXAccess: client.Standard().OpenEdXAccess, Opaque: c.OpaqueLifetime,
		OpenEdXOpaque: client.Standard().OpenEdXOpaque,
		Idle:          c.IdleLifetime, BrowserIdle: c.BrowserIdleLifetime, Absolute: c.AbsoluteLifetime,
		Overlap: c.Overlap, Late: c.Late, Recovery: time.Duration(c.Recovery)}
	if c.Recovery == settings.AsIdle {
		d.Recovery = client.AsIdle
	}
	short := c.IdleLifetime > 0 && c.IdleLifetime <= d.OpenEdXAccess || c.AbsoluteLifetime > 0 && c.AbsoluteLifetime < d.OpenEdXAccess
	if c.places.Written("access_lifetime") || short {
		d.OpenEdXAccess = c.AccessLifetime
	}
	short = c.IdleLifetime > 0 && c.IdleLifetime <= d.OpenEdXOpaque || c.AbsoluteLifetime > 0 && c.AbsoluteLifetime < d.OpenEdXOpaque
	if c.places.Written("opaque_lifetime") || short {
		d.OpenEdXOpaque = c.OpaqueLifetime
	}
	return d
}

// ForClients is what registrations are held to here.
func (c Config) ForClients() client.Server {
	return client.Server{Defaults: c.Limits(), Algs: c.SigningAlgs, Dev: c.dev}
}

// forever is longer than any sign-in lasts, and short enough to count with.
const forever = 100 * 366 * 24 * time.Hour

// Operators is the address of the operators' API over TCP, "" for none.
func (c Config) Operators() string {
	if c.AdminListen == Off {
		return ""
	}
	return c.AdminListen
}

// LongestIdle is the longest idle limit of any client here: what was silent
// longer is over and may be forgotten.
func (c Config) LongestIdle(clients *client.Registry) time.Duration {
	d := c.Limits()
	longest := time.Duration(0)
	consider := func(idle time.Duration) {
		if idle == 0 {
			idle = forever
		}
		longest = max(longest, idle)
	}
	consider(d.Idle)
	consider(d.BrowserIdle)
	for _, one := range clients.All() {
		consider(one.Limits(d).Idle)
	}
	return longest
}

// SQLite is the path of the embedded database; ok is false when Database names
// another kind.
func (c Config) SQLite() (path string, ok bool) {
	switch d := c.Database.Reveal(); {
	case d == "":
		return filepath.Join(c.Data, "holdfast.db"), true
	case strings.Contains(d, "://"):
		return "", false
	default:
		return d, true
	}
}

// Socket is the path of the admin socket, "" for none.
func (c Config) Socket() string {
	switch c.AdminSocket {
	case "":
		return filepath.Join(c.Data, "admin.sock")
	case Off:
		return ""
	}
	return c.AdminSocket
}

// RootFile is the file of the root secret: the one that is named or, in dev
// mode, the one beside the data. "" when the secret comes from the environment.
func (c Config) RootFile() string {
	switch {
	case c.RootSecretFile != "":
		return c.RootSecretFile
	case c.dev && c.RootSecret.Empty():
		return filepath.Join(c.Data, "root.secret")
	}
	return ""
}
