package server_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestRefreshLife (REFRESH-01..04, 14; INV-01, INV-05, V09): one chain from its first
// token to its theft.
func TestRefreshLife(t *testing.T) {
	a := attacks(t)
	a.in("REFRESH-01", func(a attack) {
		h := a.signIn("demo-native", "scope", "openid read", "device_name", "phone")
		first := h
		for range 5 {
			a.clock.advance(2 * time.Minute)
			next := a.refreshed(h)
			if next.Refresh == h.Refresh || next.Scope != h.Scope || sidOf(next.Access) != sidOf(first.Access) ||
				claims(next.Access)["sub"] != claims(first.Access)["sub"] || claims(next.Access)["auth_time"] != claims(first.Access)["auth_time"] {
				a.Errorf("%v, then %v", claims(h.Access), claims(next.Access))
			}
			h = next
		}
		a.alive(first.Access) // ten minutes old, and still good
		a.clock.advance(6 * time.Minute)
		a.dead(first.Access, "")
		a.alive(h.Access)
	})
	a.in("REFRESH-02 balanced", func(a attack) {
		other := a.signIn("demo-native", "install_id", "tablet")
		r1 := a.signIn("demo-native", "install_id", "phone")
		r2 := a.refreshed(r1)
		a.clock.advance(time.Hour)
		r3 := a.refreshed(r2)
		a.clock.advance(10 * time.Minute)
		before := a.figure(`session_ended_total{reason="reuse"}`)
		a.want(a.refresh(r1), 400, "invalid_grant", "reuse")
		for _, dead := range []held{r1, r2, r3} {
			a.want(a.refresh(dead), 400, "invalid_grant", "reuse")
		}
		a.dead(r3.Access, "reuse")
		a.refreshed(other)
		if a.figure(`session_ended_total{reason="reuse"}`) != before+1 || !strings.Contains(a.log.String(), `"session ended","sid":"`+sidOf(r3.Access)) {
			a.Error("neither counted nor logged once")
		}
	})
	a.in("REFRESH-02 strict", func(a attack) {
		r1 := a.signIn("demo-strict")
		r2 := a.refreshed(r1)
		a.want(a.refresh(r1), 400, "invalid_grant", "reuse")
		a.want(a.refresh(r2), 400, "invalid_grant", "reuse")
		a.dead(r2.Access, "reuse")
	})
	a.in("REFRESH-03", func(a attack) {
		r1 := a.signIn("demo-native")
		a.clock.advance(time.Hour)
		lost := a.refreshed(r1)
		a.clock.advance(59 * time.Second)
		if again := a.refreshed(r1); again.Refresh != lost.Refresh || again.Access == lost.Access {
			a.Error("the repeated answer is another token, or an old access token")
		}
		a.clock.advance(time.Hour)
		a.refreshed(lost)
	})
	a.in("REFRESH-04", func(a attack) {
		r1 := a.signIn("demo-native")
		a.clock.advance(time.Hour)
		r2 := a.refreshed(r1)
		for range 5 { // inside the overlap whoever comes is given the newest
			for _, h := range []held{r1, r2} {
				if got := a.refreshed(h); got.Refresh != r2.Refresh {
					a.Error("a second newest token")
				}
			}
		}
		a.clock.advance(61 * time.Second)
		r3 := a.refreshed(r2)
		if got := a.refreshed(r2); got.Refresh != r3.Refresh {
			a.Error("a fork")
		}
		a.want(a.refresh(r1), 503, "temporarily_unavailable", "late") // overtaken a moment ago: no tokens, no end
		a.clock.advance(10 * time.Minute)
		r4 := a.refreshed(r3)
		a.want(a.refresh(r1), 400, "invalid_grant", "reuse")
		a.want(a.refresh(r4), 400, "invalid_grant", "reuse")
	})
	a.in("REFRESH-14", func(a attack) {
		r1 := a.signIn("demo-native")
		a.clock.advance(time.Hour)
		lost := a.refreshed(r1)
		wait := 10 * time.Millisecond
		for range 20 { // every answer is lost, for half a minute and more
			got := a.refreshed(r1)
			if got.Refresh != lost.Refresh {
				a.Error("a retry inside the overlap brought another token")
			}
			a.clock.advance(min(wait, 3*time.Second))
			wait *= 2
		}
		a.refreshed(lost)
	})
}

// raceRounds is how often the race is run; HOLDFAST_RACE_ROUNDS asks for more,
// and the catalogue for 500.
func raceRounds(normal int) int {
	n, err := strconv.Atoi(os.Getenv("HOLDFAST_RACE_ROUNDS"))
	if err != nil {
		return normal
	}
	return n
}

// TestRefreshRace (REFRESH-05, INV-01): 2, 8, 64 and 256 refreshes with one token at
// the same moment, over and over: all are answered, all with the same successor,
// and nobody is signed out.
func TestRefreshRace(t *testing.T) {
	a := attacks(t)
	total := 0
	for callers, rounds := range map[int]int{2: raceRounds(4), 8: raceRounds(4), 64: raceRounds(12), 256: min(raceRounds(1), 20)} {
		h := a.signIn("demo-native")
		for round := range rounds {
			a.clock.advance(time.Hour)
			answers := make([]answer, callers)
			body := encode([]string{"grant_type", "refresh_token", "client_id", h.client, "refresh_token", h.Refresh})
			atOnce(callers, func(i int) {
				answers[i] = patient(func() answer {
					got, err := a.send(http.MethodPost, "/oauth2/token", urlEncoded, strings.NewReader(body), nil)
					if err != nil {
						a.Error(err)
					}
					return got
				})
			})
			next := a.holds(answers[0], h.client)
			for i, got := range answers {
				if one := a.holds(got, h.client); got.status != 200 || one.Refresh != next.Refresh || one.Refresh == h.Refresh {
					a.Fatalf("%d callers, round %d: answer %d is %d %s", callers, round, i, got.status, got.header.Get("Holdfast-Reason"))
				}
			}
			h = next
			total++
		}
	}
	if a.figure(`session_ended_total{reason="reuse"}`) != 0 || a.figure(`holdfast_refresh_total{answer="rotated"}`) != float64(total) {
		a.Errorf("%d rounds: %v rotations, %v ends", total, a.figure(`holdfast_refresh_total{answer="rotated"}`), a.figure(`session_ended_total{reason="reuse"}`))
	}
}

// TestRevokeAgainstRefresh (REFRESH-15, INV-04): a session is ended in one of four
// ways while phones refresh it as fast as they can. Once that is acknowledged,
// nothing that was ever issued works, not even what was issued at that moment.
func TestRevokeAgainstRefresh(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"racer\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\noverlap = \"1ms\"\nlate = \"0s\"\n")
	first := a.signIn("racer")
	ways := map[string]func(attack, held){
		"revoke": func(a attack, h held) {
			a.want(a.post("/oauth2/revoke", "client_id", h.client, "token", h.Refresh), 200, "", "")
		},
		"operator": func(a attack, h held) { a.operator("POST", "/admin/v1/sessions/"+sidOf(h.Access)+"/end", "") },
		"reuse":    func(a attack, h held) { a.refresh(h) },
		"everywhere": func(a attack, h held) {
			a.operator("POST", "/admin/v1/users/demo/sign-out", "{}")
		},
	}
	for name, end := range ways {
		a.in("REFRESH-15 "+name, func(a attack) {
			for range raceRounds(6) {
				h := first
				if h.Refresh == "" {
					h = a.signIn("racer")
				}
				first = held{}
				spent := h
				for range 3 { // so that the first token is long spent
					a.clock.advance(time.Second)
					h = a.refreshed(h)
				}
				target := h
				if name == "reuse" {
					target = spent
				}
				var mu sync.Mutex
				issued := []held{h}
				atOnce(4, func(i int) {
					if i == 0 {
						end(a, target)
						return
					}
					mine := h
					for range 6 {
						a.clock.advance(2 * time.Millisecond)
						got, err := a.send(http.MethodPost, "/oauth2/token", urlEncoded,
							strings.NewReader(encode([]string{"grant_type", "refresh_token", "client_id", "racer", "refresh_token", mine.Refresh})), nil)
						if err != nil || got.status != 200 {
							return
						}
						mine = a.holds(got, "racer")
						mu.Lock()
						issued = append(issued, mine)
						mu.Unlock()
					}
				})
				for _, one := range issued {
					if got := a.refresh(one); got.status != 400 {
						a.Fatalf("a refresh token works after the end: %d %s", got.status, got.body)
					}
					if got := a.call(one.Access); got.status != 401 {
						a.Fatalf("an access token works after the end: %d", got.status)
					}
				}
			}
		})
	}
}

// TestStrangerWithAToken (REFRESH-06, A24, REVOKE-02, V04, V05): whoever
// holds a token of another client can neither use nor end it.
func TestStrangerWithAToken(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"other-service\"\ntype = \"confidential\"\nsecret = \"the-secret-of-other-service\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\"]\n")
	h := a.signIn("demo-native")
	other := []string{"client_id", "other-service", "client_secret", "the-secret-of-other-service"}
	for range 2 {
		a.want(a.refresh(h, "client_id", "demo-strict"), 400, "invalid_grant", "wrong_client")
		a.want(a.refresh(h, other...), 400, "invalid_grant", "wrong_client")
		a.want(a.refresh(h, "client_id", ""), 401, "invalid_client", "")
		a.want(a.refresh(h, "client_id", "nobody"), 401, "invalid_client", "")
		for _, token := range []string{h.Refresh, h.Access} {
			a.want(a.post("/oauth2/revoke", "token", token, "client_id", "demo-strict"), 200, "", "")
			a.want(a.post("/oauth2/revoke", append([]string{"token", token}, other...)...), 200, "", "")
			a.want(a.post("/oauth2/revoke", "token", token), 401, "invalid_client", "")
			a.want(a.post("/oauth2/revoke", "token", token, "client_id", "other-service"), 401, "invalid_client", "")
		}
		a.alive(h.Access)
		a.clock.advance(2 * time.Minute)
		h = a.refreshed(h)
	}
}

// TestEndsReachEverything (REFRESH-07..10, A25, Y03, INV-04): what an operator or the
// owner ends is over at once for refresh tokens, access tokens and introspection,
// and nothing else is.
func TestEndsReachEverything(t *testing.T) {
	devices := func(a attack) (one, two, three held) {
		return a.signIn("demo-native", "install_id", "one"), a.signIn("demo-native", "install_id", "two"), a.signIn("demo-strict", "install_id", "three")
	}
	over := func(a attack, reason string, all ...held) {
		a.Helper()
		for _, h := range all {
			a.want(a.refresh(h), 400, "invalid_grant", reason)
			a.dead(h.Access, reason)
		}
	}
	t.Run("REFRESH-07 disabled", func(t *testing.T) {
		a := attacks(t)
		one, two, three := devices(a)
		a.operator("POST", "/admin/v1/users/demo/disable", "")
		over(a, "disabled", one, two, three)
		a.operator("POST", "/admin/v1/users/demo/enable", "")
		over(a, "disabled", one, two, three)
		a.refreshed(a.signIn("demo-native"))
	})
	t.Run("REFRESH-08 password changed", func(t *testing.T) {
		a := attacks(t)
		one, two, three := devices(a)
		a.operator("POST", "/admin/v1/users/demo/password", fmt.Sprintf(`{"password":"another-password","except":%q}`, sidOf(one.Access)))
		over(a, "password_changed", two, three)
		a.clock.advance(time.Hour)
		a.alive(a.refreshed(one).Access)
	})
	t.Run("REFRESH-09 signed out", func(t *testing.T) {
		a := attacks(t)
		one, two, three := devices(a)
		listed := func() int { return len(a.operator("GET", "/admin/v1/sessions?user=demo", "")["sessions"].([]any)) }
		if listed() != 3 {
			a.Errorf("%d sessions are listed", listed())
		}
		a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", two.Refresh), 200, "", "")
		over(a, "signed_out", two)
		a.operator("POST", "/admin/v1/sessions/"+sidOf(three.Access)+"/end", "")
		over(a, "operator", three)
		a.alive(one.Access)
		one = a.refreshed(one)
		if listed() != 1 {
			a.Errorf("%d sessions are listed", listed())
		}
	})
	t.Run("REFRESH-10 client disabled", func(t *testing.T) {
		a := attacks(t)
		one, _, three := devices(a)
		a.operator("POST", "/admin/v1/clients/demo-native/disable", "")
		a.want(a.refresh(one), 401, "invalid_client", "")
		a.dead(one.Access, "client_stopped")
		a.alive(a.refreshed(three).Access)
	})
	t.Run("REFRESH-10 client deleted and made again", func(t *testing.T) {
		a := attacks(t)
		made := "[[clients]]\nid = \"again\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\n"
		a.apply(made)
		h := a.signIn("again", "install_id", "phone")
		a.operator("DELETE", "/admin/v1/clients/again", "")
		a.want(a.refresh(h), 401, "invalid_client", "")
		a.dead(h.Access, "client_stopped")
		a.apply(made) // another application may have the name now
		a.want(a.refresh(h), 400, "invalid_grant", "client_stopped")
		a.dead(h.Access, "client_stopped")
		next := a.signIn("again", "install_id", "phone")
		a.alive(next.Access)
		a.clock.advance(time.Hour)
		a.refreshed(next)
		a.want(a.refresh(h), 400, "invalid_grant", "client_stopped")
	})
	t.Run("REFRESH-10 scope taken from the client", func(t *testing.T) {
		a := attacks(t)
		made := "[[clients]]\nid = \"shrinks\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [%s]\n"
		a.apply(fmt.Sprintf(made, `"openid", "read", "write"`))
		h := a.signIn("shrinks")
		a.apply(fmt.Sprintf(made, `"openid", "read"`))
		a.clock.advance(time.Hour)
		a.want(a.refresh(h, "scope", "write"), 400, "invalid_scope", "")
		h = a.refreshed(h)
		if h.Scope != "openid read" || claims(h.Access)["scope"] != "openid read" {
			a.Errorf("scope %q", h.Scope)
		}
	})
	t.Run("REFRESH-10 grant taken from the client", func(t *testing.T) {
		a := attacks(t)
		made := "[[clients]]\nid = \"shrinks\"\ntype = \"public\"\nfirst_party = true\ngrants = [%s]\nscopes = [\"openid\"]\n"
		a.apply(fmt.Sprintf(made, `"password", "refresh_token"`))
		h := a.signIn("shrinks")
		a.apply(fmt.Sprintf(made, `"password"`))
		a.want(a.refresh(h), 400, "unauthorized_client", "")
		if again := a.signIn("shrinks"); again.Refresh != "" {
			a.Error("a client without the refresh grant was given a refresh token")
		}
	})
	t.Run("REFRESH-11 other wishes", func(t *testing.T) {
		a := attacks(t)
		h := a.signIn("demo-native", "device_name", "phone", "install_id", "phone")
		a.clock.advance(time.Hour)
		next := a.refreshed(h, "audience", "https://elsewhere", "resource", "https://elsewhere", "sub", "admin", "username", "admin",
			"device_name", "another", "install_id", "another", "sid", "x", "user_id", "1")
		was, is := claims(h.Access), claims(next.Access)
		for _, c := range []string{"sub", "aud", "sid", "client_id", "scope", "epoch", "iss", "auth_time"} {
			if fmt.Sprint(was[c]) != fmt.Sprint(is[c]) {
				a.Errorf("%s was %v and is %v", c, was[c], is[c])
			}
		}
		if s := a.operator("GET", "/admin/v1/sessions/"+sidOf(next.Access), ""); s["device"] != "phone" {
			a.Errorf("the device is called %v", s["device"])
		}
	})
}

// TestLimitsOfASession (REFRESH-12, B02, Y04, J03): idle slides, absolute does
// not, and no access token lives past either cap.
func TestLimitsOfASession(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"short\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\"]\n" +
		"access_lifetime = \"5s\"\nidle_lifetime = \"20s\"\nabsolute_lifetime = \"60s\"\noverlap = \"2s\"\nlate = \"2s\"\n")
	a.in("REFRESH-12 idle", func(a attack) {
		h := a.signIn("short")
		a.clock.advance(19 * time.Second)
		h = a.refreshed(h)
		a.clock.advance(20*time.Second + time.Millisecond)
		a.want(a.refresh(h), 400, "invalid_grant", "idle")
	})
	a.in("REFRESH-12 absolute", func(a attack) {
		h := a.signIn("short")
		for range 11 {
			a.clock.advance(5 * time.Second)
			h = a.refreshed(h)
		}
		a.clock.advance(4 * time.Second) // 59 s
		h = a.refreshed(h)
		if h.ExpiresIn != 1 || claims(h.Access)["exp"].(float64)-claims(h.Access)["iat"].(float64) != 1 {
			a.Errorf("a token of 59 s lives for %d s more", h.ExpiresIn)
		}
		a.clock.advance(time.Second + time.Millisecond)
		a.want(a.refresh(h), 400, "invalid_grant", "absolute")
	})
	a.in("J03 caps", func(a attack) {
		for client, most := range map[string]int64{"demo-native": 900, "demo-edx": 3600, "short": 5} {
			if h := a.signIn(client); h.ExpiresIn != most || int64(claims(h.Access)["exp"].(float64)-claims(h.Access)["iat"].(float64)) != most {
				a.Errorf("%s: %d s", client, h.ExpiresIn)
			}
		}
	})
}

// TestKeysRotateUnderLoad (REFRESH-13, O18): refreshes go on while signing and
// sealing keys are rotated, and every access token's key is in the key set.
func TestKeysRotateUnderLoad(t *testing.T) {
	a := attacks(t)
	a.clock.advance(20 * time.Minute) // the next keys have been published long enough
	all := []held{a.signIn("demo-native"), a.signIn("demo-edx"), a.signIn("demo-strict")}
	for round := range 4 {
		a.clock.advance(10 * time.Minute)
		atOnce(len(all)+1, func(i int) {
			if i < len(all) {
				all[i] = a.refreshed(all[i])
				return
			}
			a.operator("POST", "/admin/v1/keys/rotate", fmt.Sprintf(`{"purpose":%q,"force":true}`, []string{"sign", "seal"}[round%2]))
		})
		jwks := string(a.request("GET", "/oauth2/jwks", "", "", nil).body)
		for _, h := range all {
			if !strings.Contains(jwks, fmt.Sprintf("%q:%q", "kid", kidOf(h.Access))) {
				a.Errorf("kid %s is not in %s", kidOf(h.Access), jwks)
			}
			if a.call(h.Access).status == 401 {
				a.Error("an access token is refused after a rotation")
			}
		}
	}
}
