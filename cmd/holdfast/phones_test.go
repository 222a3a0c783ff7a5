package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crashManifest has one client whose tokens rotate at every refresh (an overlap
// of a millisecond), and where a spent token is theft at once (late is off).
const crashManifest = `
[[clients]]
id = "crash"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read"]
overlap = "1ms"
late = "0s"
`

// crasher is one phone that refreshes in a loop and follows rotation, at whichever
// of the servers it meets, and keeps the ledger of what it was told.
type crasher struct {
	n      int
	bases  []string
	answer func(base string, asked time.Time) // when set, hears of each refresh that was answered

	refresh, parent, grandpa   string
	leaving                    bool     // it asked for its sign-out and goes on asking until that is acknowledged
	dead                       []string // what must never work again: its end was acknowledged
	rotated, repeated, retried int
	signedOut, stolen          int
	lost                       string // why it was signed out, "" while it is not
}

// The life of a phone that also signs out, is stolen from, and shows what is dead:
// how many refreshes lie between two of each, on average.
const (
	signOutEvery = 150
	stolenEvery  = 150
	deadEvery    = 20
)

// appPause is what a phone waits when nobody answered.
const appPause = 2 * time.Millisecond

func (p *crasher) base() string { return p.bases[rand.IntN(len(p.bases))] }

func (p *crasher) signIn(t *testing.T) {
	t.Helper()
	token, err := signIn(http.DefaultClient, p.base(), fmt.Sprint("phone-", p.n))
	if err != nil {
		t.Fatal(err)
	}
	p.hold(token)
}

func (p *crasher) hold(token string) { p.refresh, p.parent, p.grandpa = token, "", "" }

// signIn signs an install in and follows Retry-After while the server is busy,
// as an app does: on a loaded machine password hashes take their time.
func signIn(c *http.Client, base, install string) (refresh string, err error) {
	const patience = 30
	for range patience {
		a, status, err := post(c, base, signInForm(install))
		switch {
		case err != nil:
			return "", err
		case status == http.StatusOK:
			return a["refresh_token"], nil
		case status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests:
			return "", fmt.Errorf("%s cannot sign in: %d %v", install, status, a)
		}
		time.Sleep(time.Second)
	}
	return "", fmt.Errorf("%s cannot sign in: the server stayed busy", install)
}

func signInForm(install string) url.Values {
	return url.Values{"grant_type": {"password"}, "client_id": {"crash"},
		"username": {"demo"}, "password": {"demo-password"}, "install_id": {install}}
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {"crash"}, "refresh_token": {token}}
}

// run refreshes until the server is gone.
func (p *crasher) run(down *atomic.Bool) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for !down.Load() && p.lost == "" {
		if !p.try(client) {
			time.Sleep(time.Millisecond)
		}
	}
}

// live is a whole life among servers that come and go: refresh, sign out and in
// again, find out a thief, and look whether the dead stay dead.
func (p *crasher) live(stop *atomic.Bool) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for !stop.Load() && p.lost == "" {
		done := true
		switch {
		case p.refresh == "":
			done = p.again(client)
		case p.leaving || rand.IntN(signOutEvery) == 0:
			done = p.signOut(client)
		case p.grandpa != "" && rand.IntN(stolenEvery) == 0:
			p.theft(client)
		case len(p.dead) > 0 && rand.IntN(deadEvery) == 0:
			done = p.showDead(client, p.base(), p.dead[rand.IntN(len(p.dead))])
		default:
			done = p.try(client)
		}
		if !done {
			time.Sleep(appPause)
		}
	}
}

// again signs in, if somebody answers.
func (p *crasher) again(client *http.Client) (answered bool) {
	a, status, err := post(client, p.base(), signInForm(fmt.Sprint("phone-", p.n)))
	switch {
	case err == nil && status == http.StatusOK:
		p.hold(a["refresh_token"])
		return true
	case err == nil && status < 500 && status != http.StatusTooManyRequests:
		p.lost = fmt.Sprintf("it cannot sign in: %d %v", status, a)
	}
	time.Sleep(10 * appPause)
	return false
}

// signOut ends the session. Once that was acknowledged, both of its tokens are dead.
func (p *crasher) signOut(client *http.Client) (answered bool) {
	p.leaving = true
	res, err := client.PostForm(p.base()+"/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {p.refresh}})
	if err != nil {
		return false
	}
	res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
		p.signedOut++
		p.bury()
		return true
	case res.StatusCode < 500:
		p.lost = "its sign-out was answered " + res.Status
	}
	return false
}

// bury writes down that what the phone holds is dead.
func (p *crasher) bury() {
	p.dead = append(p.dead, p.refresh)
	if p.parent != "" {
		p.dead = append(p.dead, p.parent)
	}
	p.hold("")
	p.leaving = false
}

// showDead presents a token whose session ended: it is refused, whoever is asked.
func (p *crasher) showDead(client *http.Client, base, token string) (answered bool) {
	a, status, err := post(client, base, refreshForm(token))
	if err != nil || status >= 500 {
		return false
	}
	if status != http.StatusBadRequest || a["error"] != "invalid_grant" {
		p.lost = fmt.Sprintf("a token whose end was acknowledged works again: %d %v", status, a["error"])
	}
	return true
}

// once refreshes until one answer came.
func (p *crasher) once() {
	for range 500 {
		if p.try(http.DefaultClient) || p.lost != "" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.lost = "no answer in 500 tries"
}

// try presents the token held. No answer, or a 5xx, leaves it as it is: the same
// token again (I10).
func (p *crasher) try(client *http.Client) (answered bool) {
	base, asked := p.base(), time.Now()
	a, status, err := post(client, base, refreshForm(p.refresh))
	switch {
	case err != nil || status >= 500:
		p.retried++
		return false
	case status != http.StatusOK:
		p.lost = fmt.Sprintf("%d %v", status, a)
		return false
	case a["refresh_token"] == p.refresh:
		p.repeated++
	default:
		p.rotated++
		p.grandpa, p.parent, p.refresh = p.parent, p.refresh, a["refresh_token"]
	}
	if p.answer != nil {
		p.answer(base, asked)
	}
	return true
}

// theft presents a token whose successor was used: it must be refused as reuse,
// and with it the newest one dies. The phone is signed out afterwards.
func (p *crasher) theft(client *http.Client) {
	time.Sleep(3 * time.Millisecond) // past the overlap
	p.once()                         // settles what a kill left open
	time.Sleep(3 * time.Millisecond)
	if p.grandpa == "" || p.lost != "" {
		return
	}
	for _, spent := range []string{p.grandpa, p.refresh} {
		for tries := 0; p.lost == "" && !p.showDead(client, p.base(), spent); tries++ {
			if tries == 500 {
				p.lost = "no answer in 500 tries"
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	p.stolen++
	p.bury()
}

// spentIsDead is theft, as a test of its own.
func (p *crasher) spentIsDead(t *testing.T) {
	t.Helper()
	p.theft(http.DefaultClient)
	if p.lost != "" {
		t.Errorf("phone %d: a spent token, or one whose session ended by reuse: %s", p.n, p.lost)
	}
}

// deadStayDead shows every token of the ledger to every server.
func deadStayDead(t *testing.T, all []*crasher) (shown int) {
	t.Helper()
	for _, p := range all {
		for _, base := range p.bases {
			for _, token := range p.dead {
				for tries := 0; !p.showDead(http.DefaultClient, base, token); tries++ {
					if tries == 500 {
						t.Fatalf("phone %d: nobody answers", p.n)
					}
					time.Sleep(10 * time.Millisecond)
				}
				shown++
			}
		}
		if p.lost != "" {
			t.Errorf("phone %d: %s", p.n, p.lost)
		}
	}
	return shown
}

// living lets phones live until the function it returns is called, which waits for
// them to come to rest.
func living(all []*crasher) (rest func()) {
	var stop atomic.Bool
	var done sync.WaitGroup
	for _, p := range all {
		done.Go(func() { p.live(&stop) })
	}
	return func() {
		stop.Store(true)
		done.Wait()
	}
}

func post(client *http.Client, base string, f url.Values) (map[string]string, int, error) {
	res, err := client.PostForm(base+"/oauth2/token", f)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, 0, err
	}
	var all map[string]any
	err = json.Unmarshal(b, &all)
	if err != nil {
		return nil, res.StatusCode, errors.New("not JSON: " + string(b))
	}
	out := map[string]string{}
	for k, v := range all {
		out[k] = fmt.Sprint(v)
	}
	return out, res.StatusCode, nil
}
