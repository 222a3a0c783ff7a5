package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

// shape stands for a configuration and a manifest at once.
type shape struct {
	Listen   string          `toml:"listen"`
	Life     time.Duration   `toml:"access_lifetime"`
	Idle     *time.Duration  `toml:"idle_lifetime"`
	Recovery settings.Window `toml:"recovery"`
	Slots    int             `toml:"password_slots"`
	Debug    bool            `toml:"debug"`
	Key      secret.Text     `toml:"api_key"`
	Root     secret.Text     `toml:"root_secret" source:"env"`
	Algs     []string        `toml:"signing_algs"`
	Clients  []entry         `toml:"clients"`
	Unnamed  int             // no tag: not a setting
}

type entry struct {
	ID     string      `toml:"id"`
	Secret secret.Text `toml:"secret"`
	URIs   []string    `toml:"redirect_uris"`
}

func TestDecodeReadsEveryKind(t *testing.T) {
	doc, err := settings.Parse("h.toml", []byte(`# comment
listen = "127.0.0.1:1"
access_lifetime = "15m"
idle_lifetime = "90d"
recovery = "idle"
password_slots = 1_0
debug = true
api_key = "swordfish"
signing_algs = ["ES256",
  "RS256"]

[[clients]]
id = "a"
secret = "s"

[[clients]]
id = "b"
redirect_uris = ["x",
                 "y"]
`))
	if err != nil {
		t.Fatal(err)
	}
	var s shape
	places, problems := doc.Decode(&s)
	if problems != nil {
		t.Fatal(problems)
	}
	if s.Listen != "127.0.0.1:1" || s.Life != 15*time.Minute || *s.Idle != 90*24*time.Hour || s.Recovery != settings.AsIdle ||
		s.Slots != 10 || !s.Debug || s.Key.Reveal() != "swordfish" || len(s.Algs) != 2 || s.Algs[1] != "RS256" ||
		len(s.Clients) != 2 || s.Clients[0].Secret.Reveal() != "s" || s.Clients[1].URIs[1] != "y" {
		t.Fatalf("%+v", s)
	}
	for path, want := range map[string]string{
		"listen": "h.toml:2", "signing_algs": "h.toml:9", "signing_algs[1]": "h.toml:10",
		"clients[0]": "h.toml:12", "clients[1].id": "h.toml:17", "clients[1].redirect_uris[1]": "h.toml:19",
		"clients[1].name": "h.toml:16", "clients[1].redirect_uris[7]": "h.toml:18", "log_level": "the default",
	} {
		if got := places.At(path).String(); got != want {
			t.Errorf("%s stands at %s, want %s", path, got, want)
		}
	}
	if !places.Written("clients[1].id") || places.Written("clients[1].name") {
		t.Error("Written does not know what was written")
	}
}

func TestProblemsSayWhereWhatWhyAndHow(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key, near", `access_lifetme = "15m"`, `f:1: access_lifetme: no setting has this name; did you mean access_lifetime? [HF110]`},
		{"unknown key, swapped letters", `lsiten = "x"`, `did you mean listen?`},
		{"unknown key, dashes", `idle-lifetime = "1d"`, `did you mean idle_lifetime?`},
		{"unknown key, trailing space", `"listen " = "x"`, `f:1: listen : no setting has this name; did you mean listen?`},
		{"unknown key, other case", `Listen = "x"`, `did you mean listen?`},
		{"unknown key, far", `colour = "x"`, `remove it; the known ones are listen, access_lifetime`},
		{"unknown section", "\n[sever]\nport = 1", `f:2: sever: no setting has this name; settings stand at the top of the file, without a [section]`},
		{"unknown key in an entry", "[[clients]]\nid = 'a'\nscret = 'hunter2'", `f:3: scret: no setting has this name; did you mean secret? [HF110]`},
		{"number for text", `listen = 8420`, `f:1: listen = 8420: wants text in quotes, has a whole number; write text in quotes [HF116]`},
		{"number for a time", `access_lifetime = 900`, `f:1: access_lifetime = 900: wants a length of time in quotes, such as "15m" or "90d", has a whole number`},
		{"no unit", `access_lifetime = "900"`, `f:1: access_lifetime = "900": not a length of time; write a number and a unit`},
		{"negative time", `access_lifetime = "-5m"`, `not a length of time`},
		{"window", `recovery = "often"`, `f:1: recovery = "often": neither the word "idle" nor a length of time`},
		{"text for a number", `password_slots = "4"`, `wants a whole number, has text in quotes`},
		{"fraction for a number", `password_slots = 1.5`, `wants a whole number, has a number with a fraction`},
		{"text for a switch", `debug = "true"`, `wants true or false, has text in quotes`},
		{"text for a list", `signing_algs = "ES256"`, `wants a list such as ["a", "b"], has text in quotes`},
		{"number in a list", `signing_algs = ["ES256", 1]`, `f:1: signing_algs = 1: wants text in quotes, has a whole number`},
		{"table for entries", "[clients]\nid = 'a'", `wants one table for each entry, has a table; begin each entry with [[clients]]`},
		{"date", `listen = 2026-01-01`, `wants text in quotes, has a date or time`},
		{"number for a secret", `api_key = 12345678`, `f:1: api_key: wants text in quotes, has a whole number; write text in quotes [HF116]`},
		{"secret of the environment", `root_secret = "x"`, `f:1: root_secret: this secret may not stand in the file; put it into a file of its own and name that with root_secret_file`},
		{"field without a tag", `unnamed = 1`, `no setting has this name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := settings.Parse("f", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			_, problems := doc.Decode(&shape{})
			if len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("got  %v\nwant %s", problems, c.want)
			}
			if strings.Contains(problems.Error(), "hunter2") || strings.Contains(problems.Error(), "12345678") {
				t.Errorf("a secret is repeated: %v", problems)
			}
		})
	}
}

func TestAllProblemsAreCollected(t *testing.T) {
	doc, err := settings.Parse("f", []byte("listn = 'x'\ndebug = 1\naccess_lifetime = 'soon'\n[[clients]]\nid = 1"))
	if err != nil {
		t.Fatal(err)
	}
	_, problems := doc.Decode(&shape{})
	if len(problems) != 4 {
		t.Errorf("want 4 problems, got\n%v", problems)
	}
}

func TestASyntaxErrorStopsThere(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unquoted text", "debug = true\nlisten = somewhere\nlistn = 1\n", "f:2: not valid TOML: unexpected character"},
		{"unquoted text, mended", "listen = somewhere", `put text in double quotes`},
		{"doubled key", "listen = 'a'\ndebug = true\nlisten = 'b'", "f:3: not valid TOML: "},
		{"open string", "listen = 'a", "f:1: not valid TOML: "},
		{"open table", "[[clients", "f:1: not valid TOML: "},
		{"bad escape", `listen = "\q"`, "f:1: not valid TOML: "},
		{"huge number", "password_slots = 99999999999999999999", "f:1: not valid TOML: "},
		{"huge fraction", "api_key = 9999e9999", "f:1: not valid TOML: a number or date that cannot be read"},
		{"bad unicode", "listen = \"\xff\"", "f:1: not valid TOML: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := settings.Parse("f", []byte(c.text))
			problems, ok := err.(settings.Problems)
			if !ok || len(problems) != 1 || problems[0].Code != settings.CodeSyntax || !strings.Contains(problems.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "9999") {
				t.Errorf("a number that may be a secret is repeated: %v", err)
			}
		})
	}
}

func TestFilesHaveALimit(t *testing.T) {
	_, err := settings.Parse("f", make([]byte, settings.MaxFile+1))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
	_, err = settings.ReadFile(filepath.Join(t.TempDir(), "absent.toml"))
	if err == nil || !strings.Contains(err.Error(), "absent.toml: the file cannot be opened: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestOverlayLaysEnvironmentAndFlagsOver(t *testing.T) {
	s := shape{Listen: "file", Slots: 1}
	places := settings.Places{"listen": {File: "f", Line: 1}}
	problems := settings.Overlay(&s, places, []string{
		"PATH=/bin", "HOLDFAST_LISTEN=env", "HOLDFAST_PASSWORD_SLOTS=7", "HOLDFAST_SIGNING_ALGS=ES256, RS256", "HOLDFAST_ROOT_SECRET=from env",
		"HOLDFAST_IDLE_LIFETIME=1d", "HOLDFAST_DEBUG=yes", "HOLDFAST_ACCES_LIFETIME=1m", "HOLDFAST_OTHER=1",
	}, []string{"HOLDFAST_OTHER"}, map[string]string{"listen": "flag", "api-key": "leaked", "lisen": "x"})
	if s.Listen != "flag" || s.Slots != 7 || len(s.Algs) != 2 || s.Algs[1] != "RS256" || s.Root.Reveal() != "from env" || *s.Idle != 24*time.Hour {
		t.Errorf("%+v", s)
	}
	if places.At("listen").String() != "--listen" || places.At("password_slots").String() != "HOLDFAST_PASSWORD_SLOTS" {
		t.Errorf("%v", places)
	}
	all := problems.Error()
	for _, want := range []string{
		"HOLDFAST_DEBUG: debug = yes: neither true nor false; write true or false [HF116]",
		"HOLDFAST_ACCES_LIFETIME: warning: no setting reads this variable; did you mean HOLDFAST_ACCESS_LIFETIME? [HF120]",
		"--api-key: a secret on the command line can be read by every user of this machine; set HOLDFAST_API_KEY or use a file [HF122]",
		"--lisen: no setting has this flag; did you mean listen? [HF110]",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("missing %q in\n%s", want, all)
		}
	}
	if len(problems) != 4 || strings.Contains(all, "leaked") {
		t.Errorf("got\n%s", all)
	}
	errs, warnings := problems.Split()
	if len(errs) != 3 || len(warnings) != 1 || warnings.Err() != nil || problems.Err() == nil {
		t.Errorf("split into %v and %v", errs, warnings)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"idle_lifetime", "id", "late", "listen"}
	for unknown, want := range map[string]string{
		"idle_lifetme": "idle_lifetime", "ilde_lifetime": "idle_lifetime", "idel-lifetime": "idle_lifetime", "di": "id",
		"lat": "late", "latte": "late", "liste": "listen", "xyz": "", "": "", "completely_different": "", strings.Repeat("x", 200): "",
	} {
		if got := settings.Suggest(unknown, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", unknown, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "15m": 15 * time.Minute, "90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "250ms": 250 * time.Millisecond,
		"1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "106751d": 106751 * 24 * time.Hour,
	} {
		got, err := settings.ParseDuration(s)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "15", "-1m", "+1m", "d", "1.5d", "-1d", "1d-2h", "1d+2h", "1d2d", "106752d", "99999999999d", "1 d", "2w", "106751d24h"} {
		got, err := settings.ParseDuration(s)
		if err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0", 90 * 24 * time.Hour: "90d", 36 * time.Hour: "1d12h", 15 * time.Minute: "15m", 90 * time.Second: "1m30s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := settings.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
	if settings.AsIdle.String() != "idle" || settings.Window(time.Hour).String() != "1h" {
		t.Error("a window is not written as it is read")
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(content), 0o600)
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	s, p := settings.ReadSecret(file("good", "swordfish\n", 0o640))
	if p != nil || s.Reveal() != "swordfish" {
		t.Errorf("got %q, %v", s.Reveal(), p)
	}
	for _, c := range []struct{ path, want string }{
		{file("open", "x", 0o644), "every user of this machine may read or change this file (its mode is 0644); run chmod 600"},
		{file("writable", "x", 0o602), "its mode is 0602"},
		{file("empty", "\n", 0o600), "the file is empty"},
		{file("large", strings.Repeat("x", settings.MaxSecret+1), 0o600), "larger than 4096 bytes"},
		{filepath.Join(dir, "absent"), "no such file"},
		{dir, "not a regular file"},
	} {
		s, p := settings.ReadSecret(c.path)
		if p == nil || !s.Empty() || !strings.Contains(p.String(), c.want) {
			t.Errorf("%s: got %v, want %q", c.path, p, c.want)
		}
	}
}

func TestFieldsNameTheirVariableAndFlag(t *testing.T) {
	fields := settings.Fields(&shape{})
	if len(fields) != 10 || fields[1].Env() != "HOLDFAST_ACCESS_LIFETIME" || fields[1].Flag() != "access-lifetime" {
		t.Errorf("%+v", fields)
	}
	if root := fields[7]; !root.Secret || !root.EnvOnly || root.Flag() != "" || root.Go != "Root" {
		t.Errorf("%+v", root)
	}
}
