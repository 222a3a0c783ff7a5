package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/server"
)

// guess is one sign-in at demo-native.
func (a attack) guess(name, password string, fields ...string) answer {
	a.Helper()
	return a.post("/oauth2/token", append([]string{"grant_type", "password", "client_id", "demo-native", "username", name, "password", password}, fields...)...)
}

// TestNobodyIsTold (LOGIN-01, LOGIN-02, INV-07): whether an account exists, is
// disabled or has no password shows in nothing: not in the status, the body, the
// headers, nor in how many hashes were computed for the answer.
func TestNobodyIsTold(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.AttemptsPerAccount, c.AttemptsPerAddress = 1000, 1000 })}
	a.apply("[[users]]\nusername = \"alice\"\nemail = \"alice@example.com\"\npassword = \"the-password-of-alice\"\n" +
		"[[users]]\nusername = \"carol\"\npassword = \"the-password-of-carol\"\n[[users]]\nusername = \"nopass\"\n")
	a.operator("POST", "/admin/v1/users/carol/disable", "")
	for what, password := range map[string]string{"wrong": "wrong-password", "empty": "", "one byte": "x", "too long": strings.Repeat("x", 1025),
		"another's": "demo-password", "NUL": "pass\x00word"} {
		a.in("LOGIN-01 LOGIN-02 "+what, func(a attack) {
			var first answer
			var hashes float64
			for i, who := range []string{"alice", "zed", "ALICE@example.com", "nobody@example.com", "carol", "nopass", "", "\u200b"} {
				if who == "" && what != "empty" {
					continue // no name at all is no sign-in
				}
				if who == "carol" && what == "wrong" {
					password = "the-password-of-carol" // right, and disabled
				}
				before := a.figure("holdfast_password_hashes_total")
				got := a.guess(who, password)
				work := a.figure("holdfast_password_hashes_total") - before
				got.header.Del("Date")
				if i == 0 {
					first, hashes = got, work
				}
				if got.status != first.status || !bytes.Equal(got.body, first.body) || !maps.EqualFunc(got.header, first.header, slices.Equal[[]string]) || work != hashes || got.status == 200 {
					a.Errorf("%q is answered %d %s with %v hashes, alice %d %s with %v", who, got.status, got.body, work, first.status, first.body, hashes)
				}
			}
		})
	}
	if got := a.request("POST", "/oauth2/token", urlEncoded, "grant_type=password&client_id=demo-native&username=alice&password="+strings.Repeat("x", 1<<20), nil); got.status != 413 {
		t.Errorf("1 MB: %d", got.status)
	}
}

// TestSpray (LOGIN-04): one address that tries one password on many accounts is
// stopped; other addresses, signed-in devices and refreshes are not.
func TestSpray(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) {
		c.AttemptsPerAddress = 5
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})}
	from := func(address, name, password string, fields ...string) answer {
		return a.request("POST", "/oauth2/token", urlEncoded, encode(append([]string{"grant_type", "password", "client_id", "demo-native", "username", name, "password", password}, fields...)),
			http.Header{"X-Forwarded-For": {address}})
	}
	h := a.holds(from("9.9.9.9", "demo", "demo-password", "install_id", "phone"), "demo-native")
	for i := range 8 {
		want := 400
		if i >= 5 {
			want = 429
		}
		if got := from("9.9.9.9", fmt.Sprintf("account-%d", i), "a-common-password"); got.status != want {
			t.Errorf("account %d is answered %d", i, got.status)
		}
	}
	if got := from("9.9.9.9", "demo", "demo-password"); got.status != 429 {
		t.Errorf("a stranger behind the address is answered %d", got.status)
	}
	if got := from("9.9.9.9", "demo", "demo-password", "install_id", "phone"); got.status != 200 {
		t.Errorf("a known phone behind the address is answered %d", got.status)
	}
	if got := from("8.8.8.8", "demo", "demo-password"); got.status != 200 {
		t.Errorf("another address is answered %d", got.status)
	}
	a.want(a.refresh(h), 400, "invalid_grant", "replaced") // by the sign-in of the same phone above
	if got := from("2001:db8::1", "nobody", "x-password"); got.status != 400 {
		t.Errorf("an IPv6 address is answered %d", got.status)
	}
	for i := range 5 { // one customer has a whole /64
		from(fmt.Sprintf("2001:db8::%x", i+2), "nobody", "x-password")
	}
	if got := from("2001:db8::ffff", "demo", "demo-password"); got.status != 429 {
		t.Errorf("the same /64 is answered %d", got.status)
	}
}

// TestLockout (LOGIN-05, LOGIN-06): guesses from
// everywhere at one account, under all its names, share one budget; its owner's
// phone signs in and refreshes all the same.
func TestLockout(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})}
	h := a.signIn("demo-native", "install_id", "phone")
	names := []string{"demo", "DEMO", " demo ", "demo@example.com", "Demo@Example.COM", "ｄｅｍｏ", "demo\u200b", "de\u00admo"}
	refused, stopped := 0, 0
	for i := range 60 {
		got := a.request("POST", "/oauth2/token", urlEncoded, encode([]string{"grant_type", "password", "client_id", []string{"demo-native", "demo-strict", "demo-edx"}[i%3],
			"username", names[i%len(names)], "password", fmt.Sprintf("guessed-password-%d", i), "install_id", fmt.Sprint("guessed-", i)}),
			http.Header{"X-Forwarded-For": {fmt.Sprintf("10.%d.0.1", i)}})
		switch got.status {
		case 400:
			refused++
		case 429:
			a.want(got, 429, "temporarily_unavailable", "")
			stopped++
		default:
			t.Fatalf("guess %d is answered %d %s", i, got.status, got.body)
		}
	}
	if refused != 10 || stopped != 50 {
		t.Errorf("%d guesses were looked at, %d stopped; want 10 and 50", refused, stopped)
	}
	a.clock.advance(time.Minute) // not long enough for one more guess
	a.refreshed(h)
	if got := a.guess("demo", "demo-password"); got.status != 429 {
		t.Errorf("a stranger with the right password is answered %d", got.status)
	}
	h = a.signIn("demo-native", "install_id", "phone")
	a.refreshed(h)
	for i := range 12 { // the phone itself may mistype too, in a budget of its own
		a.guess("demo", fmt.Sprintf("mistyped-%d", i), "install_id", "phone")
	}
	a.refreshed(h)
	a.clock.advance(15 * time.Minute)
	a.signIn("demo-native")
}

// TestNameTwins (LOGIN-06, LOGIN-10 at the door): all spellings of a name are one
// account, and lookalikes in other scripts are nobody.
func TestNameTwins(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.AttemptsPerAccount, c.AttemptsPerAddress = 1000, 1000 })}
	for _, name := range []string{"DEMO", " demo", "ＤＥＭＯ", "demo@EXAMPLE.com", "d\u200demo"} {
		if got := a.guess(name, "demo-password"); got.status != 200 {
			t.Errorf("%q is answered %d", name, got.status)
		}
	}
	for _, name := range []string{"dеmo", "demo\x00", "demo%", "demo'--", "dem", "demoo", "demo@example.com.evil", "@example.com"} { // the first with a Cyrillic letter
		if got := a.guess(name, "demo-password"); got.status != 400 {
			t.Errorf("%q is answered %d", name, got.status)
		}
	}
}

// TestCrowdAtTheDoor (LOGIN-07): more sign-ins at once
// than can be served wait in a line of limited length, the rest are told to come
// back, and refreshes never stand in it.
func TestCrowdAtTheDoor(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) {
		c.PasswordSlots, c.PasswordQueue = 1, 2
		c.AttemptsPerAccount, c.AttemptsPerAddress = 1000, 1000
	})}
	h := a.signIn("demo-native")
	var served, busy, refreshes atomic.Int64
	atOnce(40, func(i int) {
		if i%4 == 0 {
			if got := a.refresh(h); got.status == 200 {
				refreshes.Add(1)
			}
			return
		}
		switch got := a.guess("demo", "demo-password"); got.status {
		case 200:
			served.Add(1)
		case 503:
			a.want(got, 503, "temporarily_unavailable", "")
			busy.Add(1)
		default:
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
	if refreshes.Load() != 10 || served.Load() == 0 || busy.Load() == 0 {
		t.Errorf("%d of 10 refreshes, %d sign-ins served, %d told to come back", refreshes.Load(), served.Load(), busy.Load())
	}
}

// TestWholePassword (LOGIN-08, LOGIN-09): every byte of a password counts, up to
// the limit, and beyond it is refused before any work.
func TestWholePassword(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.AttemptsPerAccount, c.AttemptsPerAddress = 1000, 1000 })}
	set := func(password string) answer {
		body, _ := json.Marshal(map[string]string{"password": password})
		got, err := a.operate("POST", "/admin/v1/users/demo/password", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	try := func(what, password string, status int) {
		a.Helper()
		if got := a.guess("demo", password); got.status != status {
			a.Errorf("%s is answered %d %s", what, got.status, got.body)
		}
	}
	for _, n := range []int{64, 72, 73, 128, 1024} {
		whole := strings.Repeat("abcdefghij", 103)[:n]
		if got := set(whole); got.status != 200 {
			t.Fatalf("%d bytes: %d %s", n, got.status, got.body)
		}
		try("the whole", whole, 200)
		try("one less", whole[:n-1], 400)
		try("another end", whole[:n-1]+"!", 400)
		if n > 72 {
			try("cut at 72", whole[:72], 400)
		}
		if n < 1024 {
			try("one more", whole+"k", 400)
		}
	}
	if got := set(strings.Repeat("x", 1025)); got.status != 400 {
		t.Errorf("1,025 bytes can be set: %d", got.status)
	}
	before := a.figure("holdfast_password_hashes_total")
	try("1,025 bytes", strings.Repeat("x", 1025), 400)
	if a.figure("holdfast_password_hashes_total") != before {
		t.Error("a password over the limit was hashed")
	}
	if got := set("☂ fünf Wörter  "); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	try("emoji and spaces", "☂ fünf Wörter  ", 200)
	try("NFD", "☂ fu\u0308nf Wo\u0308rter  ", 200)
	try("no-break space", "☂\u00a0fünf Wörter  ", 200)
	try("trimmed", "☂ fünf Wörter", 400)
	try("full-width", "☂ ｆünf Wörter  ", 400)
	if got := set("pass\u0000word-with-nul"); got.status != 400 {
		t.Errorf("a NUL can be set: %d", got.status)
	}
}
