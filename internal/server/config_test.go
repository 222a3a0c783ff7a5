package server_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
	"holdfast.example/internal/settings"
)

// file writes a settings file, and a root secret beside it that the file names.
func file(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root.secret")
	err := key.WriteRootFile(root, key.NewRoot())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "h.toml")
	err = os.WriteFile(path, []byte(text+"\nroot_secret_file = \""+root+"\"\nadmin_socket = \"off\"\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDevNeedsNoSettings(t *testing.T) {
	c, warnings, err := server.Load(server.LoadOptions{Dev: true})
	if err != nil || warnings != nil {
		t.Fatal(err, warnings)
	}
	if c.Issuer != "http://127.0.0.1:8420" || c.Listen != "127.0.0.1:8420" || !c.Dev() || c.RootFile() != "holdfast-data/root.secret" || c.Socket() != "holdfast-data/admin.sock" {
		t.Errorf("%+v", c)
	}
	if path, ok := c.SQLite(); !ok || path != "holdfast-data/holdfast.db" {
		t.Errorf("%s %v", path, ok)
	}
	want := client.Standard()
	if c.Limits() != want {
		t.Errorf("limits %+v, want the standard %+v", c.Limits(), want)
	}
}

func TestProductionNeedsARootSecret(t *testing.T) {
	_, _, err := server.Load(server.LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), "root_secret_file: in production the root secret is kept apart from the data, and none is given; name its file, or set HOLDFAST_ROOT_SECRET [HF114]") {
		t.Errorf("%v", err)
	}
	if errs := err.(settings.Problems); len(errs) != 1 {
		t.Errorf("more than that is wrong: %v", err)
	}
	_, _, err = server.Load(server.LoadOptions{Env: []string{"HOLDFAST_ROOT_SECRET=" + key.NewRoot().Text().Reveal()}})
	if err != nil {
		t.Error(err)
	}
	_, _, err = server.Load(server.LoadOptions{Env: []string{"HOLDFAST_ROOT_SECRET=swordfish"}})
	if err == nil || !strings.Contains(err.Error(), "HOLDFAST_ROOT_SECRET: root_secret: this is not a root secret") || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("%v", err)
	}
}

func TestLayers(t *testing.T) {
	path := file(t, `
issuer = "https://id.example.com"
listen = "127.0.0.1:1"
trusted_proxies = ["127.0.0.1/32", "10.0.0.0/8"]
access_lifetime = "10m"
idle_lifetime = "30d"
recovery = "72h"
database = "/var/lib/h.db"
`)
	c, warnings, err := server.Load(server.LoadOptions{File: path, Flags: map[string]string{"listen": "127.0.0.1:3"}, OtherEnv: []string{"HOLDFAST_TEST"},
		Env: []string{"HOLDFAST_LISTEN=127.0.0.1:2", "HOLDFAST_IDLE_LIFETIME=40d", "HOLDFAST_ACCES_LIFETIME=1m", "HOLDFAST_CONFIG=x", "HOLDFAST_TEST=1", "HOME=/"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.IdleLifetime != 40*24*time.Hour || c.AccessLifetime != 10*time.Minute || c.Overlap != time.Minute ||
		!c.TrustedProxies[1].Contains(netip.MustParseAddr("10.9.9.9")) || c.Socket() != "" {
		t.Errorf("%+v", c)
	}
	if c.Source("listen").Flag != "listen" || c.Source("idle_lifetime").Env != "HOLDFAST_IDLE_LIFETIME" || c.Source("access_lifetime").Line != 5 || !c.Source("overlap").Default() {
		t.Error("sources are wrong")
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].String(), "HOLDFAST_ACCES_LIFETIME: warning: no setting reads this variable; did you mean HOLDFAST_ACCESS_LIFETIME?") {
		t.Errorf("%v", warnings)
	}
	if sqlite, ok := c.SQLite(); !ok || sqlite != "/var/lib/h.db" {
		t.Errorf("%s %v", sqlite, ok)
	}
	l := c.Limits()
	if l.OpenEdXAccess != 10*time.Minute || l.Recovery != 72*time.Hour {
		t.Errorf("%+v", l)
	}
	for _, s := range c.Effective() {
		switch {
		case s.Key == "database" && s.Value != "[redacted]", s.Key == "trusted_proxies" && s.Value != "127.0.0.1/32, 10.0.0.0/8",
			s.Key == "access_lifetime" && (s.Value != "10m" || !strings.HasSuffix(s.Source, "h.toml:5")), s.Key == "recovery" && s.Value != "3d":
			t.Errorf("%+v", s)
		}
	}
}

// Each line breaks one rule; the production base around it breaks none.
func TestConfigRules(t *testing.T) {
	const issuer = "issuer = \"https://id.example.com\"\n"
	const base = issuer + "trusted_proxies = [\"127.0.0.1/32\"]\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing", base, ""},
		{"both lines of both settings", base + "access_lifetime = \"30m\"\nidle_lifetime = \"20m\"",
			`h.toml:3: access_lifetime: access_lifetime (30m) is not shorter than idle_lifetime (20m): an access token would outlive the sign-in it comes from (access_lifetime at DIR/h.toml:3, idle_lifetime at DIR/h.toml:4); lower access_lifetime or raise idle_lifetime [HF101]`},
		{"a default against a setting", base + "idle_lifetime = \"15m\"", `h.toml:3: access_lifetime: access_lifetime (15m) is not shorter than idle_lifetime (15m): an access token would outlive the sign-in it comes from (access_lifetime at the default, idle_lifetime at DIR/h.toml:3)`},
		{"browsers", base + "browser_idle_lifetime = \"15m\"", `access_lifetime (15m) is not shorter than browser_idle_lifetime (15m)`},
		{"absolute", base + "absolute_lifetime = \"10m\"", `access_lifetime (15m) is not shorter than absolute_lifetime (10m)`},
		{"opaque over idle", base + "idle_lifetime = \"1h\"\nopaque_lifetime = \"2h\"", `opaque_lifetime (2h) is not shorter than idle_lifetime (1h)`},
		{"the seed's mistake", base + "access_lifetime = \"14d\"\nidle_lifetime = \"7d\"", `access_lifetime = "14d": the longest access token that may be issued here lives 1h; set 1h or less`},
		{"opaque cap", base + "opaque_lifetime = \"11h\"", `opaque_lifetime = "11h": the longest access token that may be issued here lives 10h`},
		{"half seconds", base + "access_lifetime = \"1500ms\"", `whole seconds`},
		{"overlap over access", base + "access_lifetime = \"30s\"\noverlap = \"40s\"", `overlap (40s) is longer than access_lifetime (30s)`},
		{"default overlap over access", base + "access_lifetime = \"30s\"", `warning: overlap: overlap (1m) is longer than access_lifetime (30s)`},
		{"long overlap", base + "overlap = \"2m\"", `warning: overlap = "2m": a thief who replays inside the overlap is not seen`},
		{"too long an overlap", base + "overlap = \"11m\"", `overlap = "11m": a thief`},
		{"symmetric", base + "signing_algs = [\"HS256\"]", `signing_algs = "HS256": with a shared secret`},
		{"unknown algorithm", base + "signing_algs = [\"ES256\", \"ES257\"]", `signing_algs = "ES257": this algorithm is not known here`},
		{"algorithm twice", base + "signing_algs = [\"ES256\", \"ES256\"]", `stands there twice`},
		{"no algorithm", base + "signing_algs = []", `without an algorithm nothing can be signed`},
		{"issuer over http", "issuer = \"http://id.example.com\"", `h.toml:1: issuer = "http://id.example.com": over plain http everybody on the way can take passwords and tokens; use https`},
		{"issuer with a slash", "trusted_proxies = [\"127.0.0.1/32\"]\nissuer = \"https://id.example.com/\"", `write https://id.example.com [HF105]`},
		{"issuer with a query", "trusted_proxies = [\"127.0.0.1/32\"]\nissuer = \"https://id.example.com?x\"", `no query and no fragment`},
		{"issuer with a user", "trusted_proxies = [\"127.0.0.1/32\"]\nissuer = \"https://a@id.example.com\"", `this is no web address`},
		{"issuer in capitals", "trusted_proxies = [\"127.0.0.1/32\"]\nissuer = \"https://ID.example.com\"", `write https://id.example.com`},
		{"issuer without a scheme", "issuer = \"id.example.com\"", `this is no web address`},
		{"no issuer for the world", "listen = \":8420\"", `issuer: the server listens on :8420 and does not know under which address it is reached`},
		{"fast rotation", base + "key_rotation = \"1h\"", `key_rotation (1h) is shorter than 1h16m: jwks_max_age (15m), the longest access token (1h) and the skew of clocks together`},
		{"no rotation", base + "key_rotation = \"0\"", ``},
		{"unnamed proxy", issuer, `h.toml:1: warning: trusted_proxies: the issuer is https, so a proxy stands in front`},
		{"everybody a proxy", issuer + "trusted_proxies = [\"0.0.0.0/0\"]", `trusted_proxies = 0.0.0.0/0: this trusts everybody`},
		{"a proxy without a mask", issuer + "trusted_proxies = [\"10.0.0.1\"]", `trusted_proxies = "10.0.0.1": not a network; write a network in quotes, such as "10.0.0.0/8" or, for one address, "10.0.0.1/32"`},
		{"closed word", base + "log_level = \"warning\"", `log_level = "warning": this word is not known here; did you mean warn? [HF117]`},
		{"closed word, far", base + "log_level = \"chatty\"", `write one of debug, info, warn, error`},
		{"time out of range", base + "request_timeout = \"11s\"", `request_timeout = "11s": this time is outside its range; set 1s to 10s`},
		{"number out of range", base + "attempts_per_account = 0", `attempts_per_account = 0: this number is outside its range; set 1 to 100000`},
		{"drain under request", base + "drain_timeout = \"5s\"", `drain_timeout (5s) is shorter than request_timeout (10s)`},
		{"relaxed for nobody", base + "durability = \"relaxed\"\noverlap = \"0\"", `warning: durability: overlap is 0, and a client without an overlap is strict whatever durability says`},
		{"relaxed", base + "durability = \"relaxed\"", ""},
		{"a durability nobody knows", base + "durability = \"strickt\"", `durability = "strickt": this word is not known here; did you mean strict? [HF117]`},
		{"no limit at all", base + "idle_lifetime = \"0\"", `warning: idle_lifetime: neither limit is set`},
		{"idle over absolute", base + "idle_lifetime = \"60d\"\nabsolute_lifetime = \"30d\"", `warning: absolute_lifetime: the idle limit (60d) is never reached before absolute_lifetime (30d)`},
		{"port alone", base + "listen = \"8420\"", `listen = "8420": this is no address to listen on`},
		{"address as URL", base + "listen = \"http://127.0.0.1:8420\"", `this is no address to listen on`},
		{"a door nobody knows", base + "doors = [\"edxx\"]", `doors = "edxx": this door is not known here; did you mean edx? [HF128]`},
		{"a door twice", base + "doors = [\"edx\", \"edx\"]", `doors = "edx": this door stands there twice`},
		{"a door", base + "doors = [\"edx\"]", ""},
		{"doors with prefixes", base + "doors = [\"edx\", \"dot /o\", \"simplejwt /api/token app\", \"sliding /auth/sliding app\", \"drf-jwt /auth app\"]", ""},
		{"one dialect twice", base + "doors = [\"simplejwt /a app\", \"simplejwt /b app\"]", ""},
		{"one prefix twice", base + "doors = [\"simplejwt /a app\", \"simplejwt /a other\"]", `doors = "simplejwt /a other": this door stands there twice`},
		{"one path for two doors", base + "doors = [\"simplejwt /a app\", \"sliding /a/refresh app\"]", `doors = "sliding /a/refresh app": another door has the same path; choose another prefix [HF128]`},
		{"a door without its client", base + "doors = [\"simplejwt /api/token\"]", `doors = "simplejwt /api/token": this door is written in another way; write it like "simplejwt /api/token my-app"`},
		{"a door without a prefix", base + "doors = [\"dot\"]", `write it like "dot /o"`},
		{"a door that needs no prefix", base + "doors = [\"edx /edx\"]", `write it like "edx"`},
		{"a dialect misspelt", base + "doors = [\"simplejtw /a app\"]", `did you mean simplejwt?`},
		{"a prefix with a slash", base + "doors = [\"dot /o/\"]", `a prefix is a plain path`},
		{"a prefix that is a pattern", base + "doors = [\"dot /{o}\"]", `a prefix is a plain path`},
		{"a prefix for everything", base + "doors = [\"dot /\"]", `a prefix is a plain path`},
		{"a prefix that climbs", base + "doors = [\"dot /a/../o\"]", `a prefix is a plain path`},
		{"a prefix of ours", base + "doors = [\"dot /oauth2\"]", `doors = "dot /oauth2": paths under this prefix are this server's own`},
		{"cookies for others", base + "cookie_domain = \"example.org\"", `is not under this domain, so no browser would keep the cookies`},
		{"cookies for everybody", base + "cookie_domain = \"com\"", `is not under this domain`},
		{"one port for two", base + "metrics_listen = \"127.0.0.1:8420\"", `metrics and profiles would be open to everybody`},
		{"one port for operators and the world", base + "admin_listen = \"127.0.0.1:8420\"", `admin_listen: the operators' API has a listener of its own`},
		{"one port for operators and metrics", base + "metrics_listen = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:1\"", `give admin_listen a port of its own`},
		{"operators over the network", base + "admin_listen = \"10.0.0.1:8421\"", `warning: admin_listen = "10.0.0.1:8421": operators' tokens would cross the network in plain http`},
		{"operators off", base + "admin_listen = \"off\"", ""},
		{"no address for operators", base + "admin_listen = \"8421\"", `admin_listen = "8421": this is no address to listen on`},
		{"audit kept for no time", base + "audit_retention = \"0\"", `audit_retention = "0": this time is outside its range`},
		{"metrics off", base + "metrics_listen = \"off\"", ""},
		{"no data", base + "data = \" \"", `data: the server needs a directory`},
		{"unknown key", base + "refesh_lifetime = \"1d\"", `h.toml:3: refesh_lifetime: no setting has this name`},
		{"unknown key, near", base + "idle_lifetme = \"1d\"", `did you mean idle_lifetime? [HF110]`},
		{"root secret in the file", base + "root_secret = \"x\"", `root_secret: this secret may not stand in the file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := file(t, c.text)
			_, warnings, err := server.Load(server.LoadOptions{File: path})
			all := strings.TrimSpace(warnings.Error())
			if err != nil {
				all = strings.TrimSpace(all + "\n" + err.Error())
			}
			want := strings.ReplaceAll(c.want, "DIR", filepath.Dir(path))
			if want == "" && all != "" || !strings.Contains(all, want) {
				t.Errorf("missing %q in\n%s", want, all)
			}
			if isWarning := strings.Contains(want, "warning: "); want != "" && isWarning != (err == nil) {
				t.Errorf("err is %v", err)
			}
		})
	}
}

func TestRootSecretFileRules(t *testing.T) {
	path := file(t, "issuer = \"http://127.0.0.1:1\"")
	root := filepath.Join(filepath.Dir(path), "root.secret")
	err := os.Chmod(root, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = server.Load(server.LoadOptions{File: path})
	if err == nil || !strings.Contains(err.Error(), "h.toml:2: root_secret_file = ") || !strings.Contains(err.Error(), "run chmod 600") {
		t.Errorf("a readable root secret: %v", err)
	}
	_, _, err = server.Load(server.LoadOptions{File: path, Env: []string{"HOLDFAST_ROOT_SECRET=x"}})
	if err == nil || !strings.Contains(err.Error(), "the root secret is given twice (root_secret_file at "+path+":2, root_secret at HOLDFAST_ROOT_SECRET)") {
		t.Errorf("two root secrets: %v", err)
	}
	_, _, err = server.Load(server.LoadOptions{File: path, Flags: map[string]string{"root-secret": "leaked"}})
	if err == nil || !strings.Contains(err.Error(), "--root-secret: a secret on the command line") || strings.Contains(err.Error(), "leaked") {
		t.Errorf("a root secret as a flag: %v", err)
	}
}

func TestASettingsFileWithAPasswordIsPrivate(t *testing.T) {
	path := file(t, "issuer = \"http://127.0.0.1:1\"\ndatabase = \"postgres://h:swordfish@db/h\"")
	c, _, err := server.Load(server.LoadOptions{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.SQLite(); ok {
		t.Error("a postgres address is taken for a path")
	}
	_, _, err = server.Load(server.LoadOptions{File: path, Flags: map[string]string{"database": "/var/lib/h.db"}})
	if err != nil {
		t.Errorf("a path as a flag: %v", err)
	}
	_, _, err = server.Load(server.LoadOptions{File: path, Flags: map[string]string{"database": "postgres://h:swordfish@db/h"}})
	if err == nil || !strings.Contains(err.Error(), "--database: database: a password on the command line") || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("a password as a flag: %v", err)
	}
	_ = os.Chmod(path, 0o644)
	_, _, err = server.Load(server.LoadOptions{File: path})
	if err == nil || !strings.Contains(err.Error(), "h.toml:2: database: this file holds the password of the database, and every user of this machine may read") || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("%v", err)
	}
}

// TestRedisAddress: what protects Redis is looked at, and its password is shown
// nowhere.
func TestRedisAddress(t *testing.T) {
	for _, tt := range []struct{ redis, want string }{
		{"redis://127.0.0.1:6379", ""},
		{"unix:///run/redis.sock", ""},
		{"rediss://:swordfish@cache.example:6380/1", ""},
		{"redis://cache.example", "redis: whoever reaches a Redis without a password can make attempt limits whole"},
		{"redis://:swordfish@cache.example", "redis: the password of Redis crosses the network in the clear"},
		{"http://:swordfish@cache.example", "redis: this is no address of a Redis"},
		{"redis://:sword%zzfish@cache.example", "redis: this is no address of a Redis"},
		{"cache.example:6379", "redis: this is no address of a Redis"},
	} {
		path := file(t, "issuer = \"http://127.0.0.1:1\"\nredis = \""+tt.redis+"\"")
		c, warnings, err := server.Load(server.LoadOptions{File: path})
		got := warnings.Error()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || tt.want == "" && strings.Contains(got, "redis") || strings.Contains(got, "fish") {
			t.Errorf("%s: %s", tt.redis, got)
		}
		for _, s := range c.Effective() {
			if s.Key == "redis" && err == nil && s.Value != "[redacted]" {
				t.Errorf("%s is shown as %q", tt.redis, s.Value)
			}
		}
	}
	path := file(t, "issuer = \"http://127.0.0.1:1\"\nredis = \"unix://u:swordfish@/run/redis.sock\"")
	_ = os.Chmod(path, 0o644)
	_, _, err := server.Load(server.LoadOptions{File: path})
	if err == nil || !strings.Contains(err.Error(), "h.toml:2: redis: this file holds the password of Redis, and every user of this machine may read") || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("%v", err)
	}
	_, _, err = server.Load(server.LoadOptions{File: file(t, "issuer = \"http://127.0.0.1:1\""), Flags: map[string]string{"redis": "redis://:swordfish@127.0.0.1"}})
	if err == nil || !strings.Contains(err.Error(), "--redis: a secret on the command line") || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("a password as a flag: %v", err)
	}
}

func TestDevStaysOnThisMachine(t *testing.T) {
	_, _, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"listen": "0.0.0.0:8420"}})
	if err == nil || !strings.Contains(err.Error(), "--listen: listen = \"0.0.0.0:8420\": dev mode has well-known passwords") || len(err.(settings.Problems)) != 1 {
		t.Errorf("%v", err)
	}
	_, warnings, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"listen": "0.0.0.0:8420", "issuer": "http://10.0.2.2:8420"}})
	if err != nil || len(warnings) != 1 {
		t.Errorf("with an issuer: %v %v", err, warnings)
	}
}

func TestASyntaxErrorIsTheOnlyOne(t *testing.T) {
	_, _, err := server.Load(server.LoadOptions{File: file(t, "issuer = https://id.example.com\nunknown = 1"), Env: []string{"HOLDFAST_LOG_LEVEL=x"}})
	if problems, ok := err.(settings.Problems); !ok || len(problems) != 1 || problems[0].Code != settings.CodeSyntax || problems[0].At.Line != 1 {
		t.Errorf("%v", err)
	}
}

func TestAllProblemsAreCollected(t *testing.T) {
	_, _, err := server.Load(server.LoadOptions{File: file(t, "issur = \"https://id.example.com\"\nlisten = \":8420\"\nlog_format = \"maybe\"\naccess_lifetime = 900\nkey_rotation = \"1m\"")})
	var codes []string
	for _, p := range err.(settings.Problems) {
		codes = append(codes, p.Code)
	}
	// The issuer is missing only because its name is misspelt: once is enough.
	if got := strings.Join(codes, " "); got != "HF110 HF116 HF108 HF117" {
		t.Errorf("%s\n%v", got, err)
	}
}

func TestAnUnreadableSettingLeadsToNoOther(t *testing.T) {
	_, _, err := server.Load(server.LoadOptions{File: file(t, "access_lifetime = \"soon\"\nidle_lifetime = \"10m\"")})
	if problems, ok := err.(settings.Problems); !ok || len(problems) != 1 || problems[0].Code != settings.CodeValue {
		t.Errorf("%v", err)
	}
}

func TestAPortChosenBySystemNamesTheIssuer(t *testing.T) {
	c, _, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"listen": "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	bound := c
	bound.Bound(addr("127.0.0.1:4711"))
	if bound.Issuer != "http://127.0.0.1:4711" || bound.Listen != "127.0.0.1:4711" {
		t.Errorf("%+v", bound)
	}
	c, _, err = server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"issuer": "http://10.0.2.2:1"}})
	if c.Bound(addr("127.0.0.1:4711")); err != nil || c.Issuer != "http://10.0.2.2:1" {
		t.Errorf("a written issuer is replaced: %+v", c)
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func TestEveryConfigRuleIsTested(t *testing.T) {
	if n := len(server.ConfigRules()); n != 22 { // HF130 is in TestPairClient, HF131 in TestBreachedRule
		t.Errorf("%d rules; add the new one to the tables of this file", n)
	}
}
