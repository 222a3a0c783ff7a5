package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.example/verify"
)

// publisher is an issuer's key endpoint without a network, so that it works on
// the virtual time of synctest.
type publisher struct {
	mu       sync.Mutex
	document []byte
	header   http.Header
	etag     string
	fail     error
	status   int
	slow     time.Duration
	fetches  []time.Time
	asked304 int
	urls     map[string]bool
}

func (p *publisher) publish(mints ...*mint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.document = jwks(mints...)
	if p.etag != "" {
		p.etag = fmt.Sprintf("%q", b64(sum256(p.document)))
	}
}

func (p *publisher) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fetches)
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.fetches = append(p.fetches, time.Now())
	if p.urls == nil {
		p.urls = map[string]bool{}
	}
	p.urls[r.URL.String()] = true
	document, status, fail, slow, etag := p.document, p.status, p.fail, p.slow, p.etag
	header := p.header.Clone()
	p.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if fail != nil {
		return nil, fail
	}
	if header == nil {
		header = http.Header{}
	}
	if status == 0 {
		status = 200
	}
	if etag != "" {
		header.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			p.set(func() { p.asked304++ })
			status, document = 304, nil
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(document)), Request: r}, nil
}

// follow makes a Verifier that fetches its keys from p.
func follow(t *testing.T, p *publisher, change func(*verify.JWKSConfig, *verify.Config)) (*verify.Verifier, *verify.JWKS) {
	t.Helper()
	config := verify.JWKSConfig{URL: issuer + "/oauth2/jwks", Client: &http.Client{Transport: p}}
	vc := verify.Config{}
	if change != nil {
		change(&config, &vc)
	}
	source, err := verify.NewJWKS(config)
	if err != nil {
		t.Fatal(err)
	}
	vc.Keys = source
	return newVerifier(t, vc), source
}

// check verifies a token of m at the virtual now and returns the kind of the
// refusal, 0 for none.
func check(t *testing.T, v *verify.Verifier, m *mint) verify.Kind {
	t.Helper()
	return checkToken(t, v, m.token(claims(with("iat", time.Now().Unix()), with("exp", time.Now().Add(15*time.Minute).Unix()))))
}

func checkToken(t *testing.T, v *verify.Verifier, token string) verify.Kind {
	t.Helper()
	_, err := v.Verify(t.Context(), token, time.Now())
	if err == nil {
		return 0
	}
	return verify.KindOf(err)
}

func want(t *testing.T, what string, got, want verify.Kind) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v; want %v", what, got, want)
	}
}

func wantFetches(t *testing.T, p *publisher, n int) {
	t.Helper()
	if got := p.count(); got != n {
		t.Errorf("%d fetches; want %d", got, n)
	}
}

func TestJWKS(t *testing.T) {
	a, b, c := newMint(t, "a", "ES256"), newMint(t, "b", "Ed25519"), newMint(t, "c", "ES256")

	bubble := func(name string, f func(t *testing.T, p *publisher)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &publisher{}
				p.publish(a, b)
				f(t, p)
			})
		})
	}

	bubble("RS08 a flood of invented kids costs one fetch per cool-down", func(t *testing.T, p *publisher) {
		v, _ := follow(t, p, nil)
		want(t, "a", check(t, v, a), 0)
		wantFetches(t, p, 1)
		start := time.Now()
		for i := 0; time.Since(start) < 60*time.Second; i++ {
			for n := range 20 {
				want(t, "invented", check(t, v, &mint{fmt.Sprintf("x%d-%d", i, n), "ES256", c.private}), verify.UnknownKey)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := p.count() - 1; n < 6 || n > 7 { // at 0, 10, 20 ... s
			t.Errorf("%d fetches in 60 s of flood; want one per cool-down", n)
		}
		for i := 2; i < len(p.fetches); i++ {
			if gap := p.fetches[i].Sub(p.fetches[i-1]); gap < verify.DefaultCoolDown {
				t.Errorf("fetch %d came %v after the one before", i, gap)
			}
		}
		want(t, "a after the flood", check(t, v, a), 0)
	})

	bubble("RS08 junk that no key could save causes no fetch", func(t *testing.T, p *publisher) {
		v, _ := follow(t, p, nil)
		want(t, "none", checkToken(t, v, a.sign(`{"alg":"none","kid":"x","typ":"at+jwt"}`, `{}`)), verify.BadSignature)
		want(t, "typ", checkToken(t, v, a.sign(`{"alg":"ES256","kid":"x","typ":"JWT"}`, `{}`)), verify.WrongType)
		want(t, "no kid", checkToken(t, v, a.sign(`{"alg":"ES256","typ":"at+jwt"}`, `{}`)), verify.UnknownKey)
		want(t, "junk", checkToken(t, v, "x.y.z"), verify.Malformed)
		wantFetches(t, p, 0)
	})

	bubble("RS08 single flight", func(t *testing.T, p *publisher) {
		v, _ := follow(t, p, nil)
		p.slow = time.Second
		var good atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if check(t, v, a) == 0 {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		wantFetches(t, p, 1)
		if good.Load() != 100 {
			t.Errorf("%d of 100 first requests accepted", good.Load())
		}
	})

	bubble("RS08 a name looked for in vain is remembered", func(t *testing.T, p *publisher) {
		v, _ := follow(t, p, nil)
		want(t, "a", check(t, v, a), 0)
		want(t, "unknown", check(t, v, c), verify.UnknownKey)
		wantFetches(t, p, 2)
		time.Sleep(30 * time.Second)
		want(t, "unknown again", check(t, v, c), verify.UnknownKey)
		wantFetches(t, p, 2)
		p.publish(a, b, c)
		time.Sleep(31 * time.Second)
		want(t, "published meanwhile", check(t, v, c), 0)
		wantFetches(t, p, 3)
	})

	bubble("RS09 boot without keys", func(t *testing.T, p *publisher) {
		p.fail = errors.New("connection refused")
		v, source := follow(t, p, nil)
		want(t, "token", check(t, v, a), verify.Unready)
		if err := source.Ready(t.Context()); verify.KindOf(err) != verify.Unready || err == nil {
			t.Errorf("ready: %v", err)
		}
		p.set(func() { p.fail = nil })
		time.Sleep(2 * time.Second)
		want(t, "token, the issuer is back", check(t, v, a), 0)
		if err := source.Ready(t.Context()); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})

	bubble("RS09 the issuer hangs at boot", func(t *testing.T, p *publisher) {
		p.slow = time.Hour
		v, _ := follow(t, p, nil)
		start := time.Now()
		want(t, "token", check(t, v, a), verify.Unready)
		if waited := time.Since(start); waited != verify.DefaultKeyWait {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(time.Minute)
	})

	bubble("RS09 waiting requests are bounded", func(t *testing.T, p *publisher) {
		p.slow = time.Second
		v, _ := follow(t, p, nil)
		var kinds [2]atomic.Int32
		var wg sync.WaitGroup
		for range 400 {
			wg.Go(func() {
				if check(t, v, a) == verify.Unready {
					kinds[1].Add(1)
				} else {
					kinds[0].Add(1)
				}
			})
		}
		wg.Wait()
		if kinds[0].Load() != 256 || kinds[1].Load() != 144 {
			t.Errorf("%d waited, %d were told to come back", kinds[0].Load(), kinds[1].Load())
		}
	})

	bubble("RS09 cached keys go on until they are too old", func(t *testing.T, p *publisher) {
		v, source := follow(t, p, func(c *verify.JWKSConfig, vc *verify.Config) { c.MaxStale = time.Hour; vc.Memo = 16 })
		remembered := a.token(claims(with("iat", time.Now().Unix()), with("exp", time.Now().Add(10*time.Hour).Unix())))
		want(t, "a", checkToken(t, v, remembered), 0)
		p.set(func() { p.fail = errors.New("no route") })
		for range 59 {
			time.Sleep(time.Minute)
			want(t, "a, issuer away", check(t, v, a), 0)
			want(t, "unknown, issuer away", check(t, v, c), verify.Unready)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		want(t, "a, too old", check(t, v, a), verify.Unready)
		want(t, "remembered, too old", checkToken(t, v, remembered), verify.Unready)
		if source.Current() != nil {
			t.Error("keys are still current")
		}
		p.set(func() { p.fail = nil })
		time.Sleep(30 * time.Second)
		want(t, "a, the issuer is back", check(t, v, a), 0)
	})

	bubble("RS09 failures are asked at doubling distances", func(t *testing.T, p *publisher) {
		p.fail = errors.New("no route")
		v, _ := follow(t, p, nil)
		for range 600 {
			check(t, v, a)
			time.Sleep(100 * time.Millisecond)
		}
		if n := p.count(); n > 8 {
			t.Errorf("%d fetches in a minute of failure", n)
		}
	})

	for name, change := range map[string]func(*publisher){
		"500": func(p *publisher) { p.status = 500 }, "redirect": func(p *publisher) {
			p.status, p.header = 302, http.Header{"Location": {"https://evil.test/jwks"}}
		},
		"garbage": func(p *publisher) { p.document = []byte("<html>") }, "no keys": func(p *publisher) { p.document = []byte(`{"keys":[]}`) },
		"too long": func(p *publisher) {
			p.document = append(p.document, bytes.Repeat([]byte(" "), verify.MaxKeyDocument)...)
		},
		"304 unasked":    func(p *publisher) { p.status = 304 },
		"private key":    func(p *publisher) { p.document = []byte(`{"keys":[{"kty":"EC","d":"AA"}]}`) },
		"duplicate kids": func(p *publisher) { p.document = jwks(a, &mint{"a", "ES256", c.private}) },
	} {
		bubble("RS09 a bad answer is no answer: "+name, func(t *testing.T, p *publisher) {
			p.set(func() { change(p) })
			v, _ := follow(t, p, nil)
			want(t, "a", check(t, v, a), verify.Unready)
			for u := range p.urls {
				if u != issuer+"/oauth2/jwks" {
					t.Errorf("RS07: fetched %s", u)
				}
			}
			// The same answer later does not take the good keys away.
			q := &publisher{}
			q.publish(a, b)
			v, _ = follow(t, q, nil)
			want(t, "a", check(t, v, a), 0)
			q.set(func() { change(q) })
			time.Sleep(10 * time.Minute)
			want(t, "a", check(t, v, a), 0)
			synctest.Wait()
			want(t, "a", check(t, v, a), 0)
		})
	}

	bubble("RS07 a foreign issuer causes no fetch", func(t *testing.T, p *publisher) {
		v, _ := follow(t, p, nil)
		want(t, "foreign", checkToken(t, v, a.token(claims(with("iss", "https://evil.test")))), verify.WrongIssuer)
		if len(p.urls) != 1 || !p.urls[issuer+"/oauth2/jwks"] {
			t.Errorf("fetched %v", p.urls)
		}
	})

	bubble("ETag and max-age", func(t *testing.T, p *publisher) {
		p.etag = `"1"`
		p.header = http.Header{"Cache-Control": {"public, max-age=60"}}
		v, _ := follow(t, p, nil)
		want(t, "a", check(t, v, a), 0)
		for range 590 {
			time.Sleep(time.Second)
			want(t, "a", check(t, v, a), 0)
			synctest.Wait()
		}
		wantFetches(t, p, 10)
		if p.asked304 != 9 {
			t.Errorf("%d of 9 refreshes answered 304", p.asked304)
		}
	})

	for value, fresh := range map[string]time.Duration{
		"": 5 * time.Minute, "max-age=0": 10 * time.Second, "no-cache": 10 * time.Second, "no-store, max-age=900": 10 * time.Second, "max-age=900": 15 * time.Minute,
		`Public, MAX-AGE="30"`: 30 * time.Second, "max-age=31536000": time.Hour, "max-age=99999999999999": 5 * time.Minute, "max-age=-5": 5 * time.Minute, "max-age=x": 5 * time.Minute,
	} {
		bubble("freshness bounds: "+value, func(t *testing.T, p *publisher) {
			p.header = http.Header{"Cache-Control": {value}}
			v, _ := follow(t, p, nil)
			want(t, "a", check(t, v, a), 0)
			time.Sleep(fresh - time.Nanosecond)
			check(t, v, a)
			synctest.Wait()
			wantFetches(t, p, 1)
			time.Sleep(time.Nanosecond)
			check(t, v, a)
			synctest.Wait()
			wantFetches(t, p, 2)
		})
	}

	bubble("JW12 a dropped key takes what was remembered with it", func(t *testing.T, p *publisher) {
		v, source := follow(t, p, func(_ *verify.JWKSConfig, vc *verify.Config) { vc.Memo = 16 })
		token := a.token(claims(with("iat", time.Now().Unix()), with("exp", time.Now().Add(10*time.Hour).Unix())))
		want(t, "a", checkToken(t, v, token), 0)
		want(t, "a, remembered", checkToken(t, v, token), 0)
		key := source.Current().Lookup("a")
		p.publish(a, b, c) // a stays the same key: what is known about it stays
		time.Sleep(10 * time.Minute)
		source.Current()
		synctest.Wait()
		if source.Current().Lookup("a") != key {
			t.Error("an unchanged key was replaced")
		}
		p.publish(b)
		time.Sleep(10 * time.Minute)
		source.Current()
		synctest.Wait()
		want(t, "a, dropped", checkToken(t, v, token), verify.UnknownKey)
		n := p.count()
		want(t, "a, dropped", checkToken(t, v, token), verify.UnknownKey)
		wantFetches(t, p, n) // no refetch loop
	})

	bubble("a key of the same name is another key", func(t *testing.T, p *publisher) {
		v, source := follow(t, p, func(_ *verify.JWKSConfig, vc *verify.Config) { vc.Memo = 16 })
		token := a.token(claims(with("iat", time.Now().Unix()), with("exp", time.Now().Add(10*time.Hour).Unix())))
		want(t, "a", checkToken(t, v, token), 0)
		p.publish(&mint{"a", "ES256", c.private})
		time.Sleep(10 * time.Minute)
		source.Current()
		synctest.Wait()
		want(t, "signed by the old a", checkToken(t, v, token), verify.BadSignature)
	})

	// An issuer that publishes a key one second before it signs with it, and
	// rotates every second, for two minutes; it says that its document is good
	// for five. With strangers inventing names all the time, the first seconds
	// after the start are the only ones in which a key may be missed.
	for _, flood := range []bool{false, true} {
		bubble(fmt.Sprintf("rotation every second, flood %v", flood), func(t *testing.T, p *publisher) {
			p.header = http.Header{"Cache-Control": {"max-age=300"}}
			keys := []*mint{a, c}
			p.publish(keys...)
			v, _ := follow(t, p, nil)
			refused := 0
			start := time.Now()
			for second := range 120 {
				for tick := range 20 {
					if check(t, v, keys[len(keys)-2]) != 0 && time.Since(start) > verify.DefaultCoolDown+time.Second {
						refused++
					}
					if !flood && check(t, v, keys[len(keys)-2]) != 0 {
						refused++
					}
					if flood {
						go check(t, v, &mint{fmt.Sprintf("x%d-%d", second, tick), "ES256", c.private})
					}
					time.Sleep(50 * time.Millisecond)
				}
				keys = append(keys, newMint(t, fmt.Sprint("k", second), "ES256"))
				p.publish(keys[max(0, len(keys)-4):]...)
			}
			if refused != 0 {
				t.Errorf("%d honest tokens refused", refused)
			}
			if n := p.count(); n > 300 {
				t.Errorf("%d fetches in 120 s", n)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestRotationUnderLoad runs a real issuer that rotates every second and a
// real service behind it: no request with a good token may be answered 401.
func TestRotationUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s; run without -short")
	}
	for _, attack := range []bool{false, true} {
		t.Run(fmt.Sprintf("rotation/attack %v", attack), func(t *testing.T) {
			t.Parallel()
			rotationUnderLoad(t, attack)
		})
	}
}

func rotationUnderLoad(t *testing.T, attack bool) {
	const (
		rotations = 4
		every     = time.Second
		patience  = time.Minute // of which a machine that does nothing else needs a tenth
	)
	var mu sync.Mutex
	keys := []*mint{newMint(t, "k0", "ES256"), newMint(t, "k1", "ES256")} // the last is published, not yet used
	var fetches atomic.Int32
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		mu.Lock()
		document := jwks(keys[max(0, len(keys)-4):]...)
		mu.Unlock()
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(document)
	}))
	defer authority.Close()

	config := verify.JWKSConfig{URL: authority.URL + "/oauth2/jwks"}
	if attack {
		// Strangers can use up the cool-down; then it must be shorter than the
		// time between publishing a key and using it.
		config.CoolDown = every / 4
	}
	source, err := verify.NewJWKS(config)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: newVerifier(t, verify.Config{Keys: source, Memo: 1024})})
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(guard.Protect(verify.Need{Scope: "read"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer service.Close()
	client := service.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 32

	ask := func(token string) int {
		r, _ := http.NewRequest("GET", service.URL, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}

	began := time.Now()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		for n := 2; ; n++ {
			select {
			case <-ctx.Done():
				t.Errorf("%d rotations in %v", n-2, patience)
				return
			case <-time.After(every):
			}
			if n == rotations+2 {
				return
			}
			next := newMint(t, fmt.Sprint("k", n), "ES256")
			mu.Lock()
			keys = append(keys, next)
			mu.Unlock()
			if !attack {
				continue
			}
			// The time before it is used is the service's to hear of it. A machine that
			// stands still for most of that second is given more.
			for heard := fetches.Load(); fetches.Load() < heard+2 && ctx.Err() == nil; {
				time.Sleep(every / 100)
			}
		}
	})
	var good, refused, later atomic.Int32
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				current := keys[len(keys)-2]
				mu.Unlock()
				now := time.Now()
				token := current.token(claims(with("iat", now.Unix()), with("exp", now.Add(time.Minute).Unix())))
				for range 3 {
					switch ask(token) {
					case 200:
						good.Add(1)
					case 401:
						refused.Add(1)
					default:
						later.Add(1)
					}
				}
			}
		})
	}
	if attack {
		stranger := newMint(t, "x", "ES256")
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				token := (&mint{fmt.Sprint("x", n), "ES256", stranger.private}).token(claims())
				if code := ask(token); code == 200 {
					t.Error("a stranger's token was accepted")
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d accepted, %d refused with 401, %d told to come back, %d fetches", good.Load(), refused.Load(), later.Load(), fetches.Load())
	if refused.Load() != 0 || later.Load() != 0 || good.Load() < 100 {
		t.Errorf("%d accepted, %d false 401, %d false 503", good.Load(), refused.Load(), later.Load())
	}
	if limit := int32(time.Since(began)/every)*6 + 4; fetches.Load() > limit {
		t.Errorf("%d fetches; want %d at most", fetches.Load(), limit)
	}
}

func TestJWKSAddressIsChecked(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://id.test/jwks": true, "http://127.0.0.1:8420/jwks": true, "http://[::1]/jwks": true, "http://localhost/jwks": true,
		"http://id.test/jwks": false, "http://localhost.evil.test/": false, "http://127.0.0.1@evil.test/": false, "https://user:pass@id.test/": false,
		"file:///etc/passwd": false, "ftp://id.test": false, "": false, "/jwks": false, "https:///jwks": false, "%": false,
	} {
		_, err := verify.NewJWKS(verify.JWKSConfig{URL: address})
		if (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	_, err := verify.NewJWKS(verify.JWKSConfig{URL: "http://holdfast:8420/jwks", AllowHTTP: true})
	if err != nil {
		t.Error(err)
	}
}
