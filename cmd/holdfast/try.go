package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type tryCmd struct {
	Server string `help:"Address of the dev server; http://127.0.0.1:8420 unless given." default:"http://127.0.0.1:8420" placeholder:"URL"`
}

// tokens is what the token endpoint answers.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ExpiresIn int    `json:"expires_in"`
	Error     string `json:"error"`
	Words     string `json:"error_description"`
	reason    string
	status    int
}

// Run makes the calls of the main job: sign in, call an API, refresh; then, on
// the strict client, an old refresh token is replayed and caught.
func (c *tryCmd) Run(ctx context.Context, t terminal) error {
	base := strings.TrimSuffix(c.Server, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	p := &phone{ctx: ctx, base: base, client: "demo-native", http: &http.Client{Timeout: callWithin}}
	install := fmt.Sprintf("try-%d", time.Now().UnixNano())

	fmt.Fprintln(t.out, "1. a phone signs in (demo-native)")
	first, err := p.token("password", "username", "demo", "password", "demo-password", "install_id", install, "device_name", "holdfast try")
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "   access token for %d s, refresh token %s\n", first.ExpiresIn, short(first.Refresh))

	fmt.Fprintln(t.out, "2. it calls an API")
	hello, err := p.call(first.Access)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "   %s\n", hello)

	fmt.Fprintln(t.out, "3. it refreshes, and the network loses the answer: the same request again")
	second, err := p.token("refresh_token", "refresh_token", first.Refresh)
	if err != nil {
		return err
	}
	again, err := p.token("refresh_token", "refresh_token", first.Refresh)
	if err != nil {
		return err
	}
	if again.Refresh != second.Refresh {
		return fmt.Errorf("the repeated refresh brought another token: %s, then %s", short(second.Refresh), short(again.Refresh))
	}
	fmt.Fprintf(t.out, "   both answers carry %s: still signed in\n", short(again.Refresh))

	fmt.Fprintln(t.out, "4. a thief replays an old refresh token (demo-strict)")
	p.client = "demo-strict"
	strict, err := p.token("password", "username", "demo", "password", "demo-password", "install_id", install, "device_name", "holdfast try")
	if err != nil {
		return err
	}
	_, err = p.token("refresh_token", "refresh_token", strict.Refresh)
	if err != nil {
		return err
	}
	caught, err := p.ask("refresh_token", "refresh_token", strict.Refresh)
	if err != nil {
		return err
	}
	if caught.status != http.StatusBadRequest || caught.Error != "invalid_grant" || caught.reason != "reuse" {
		return fmt.Errorf("the old token was answered %d %s (%s), not refused as reuse", caught.status, caught.Error, caught.reason)
	}
	fmt.Fprintf(t.out, "   caught: %s, reason %s\n   %s\n", caught.Error, caught.reason, caught.Words)
	fmt.Fprintln(t.out, "all four did what they should")
	return nil
}

// phone is a client of the server.
type phone struct {
	ctx    context.Context
	base   string
	client string
	http   *http.Client
}

// ask posts a grant and returns whatever was answered.
func (p *phone) ask(grant string, fields ...string) (tokens, error) {
	f := url.Values{"grant_type": {grant}, "client_id": {p.client}}
	for i := 0; i < len(fields); i += 2 {
		f.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, p.base+"/oauth2/token", strings.NewReader(f.Encode()))
	if err != nil {
		return tokens{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := p.http.Do(r)
	if err != nil {
		return tokens{}, fmt.Errorf("no dev server answers at %s; start one with `holdfast dev`: %w", p.base, err)
	}
	defer res.Body.Close()
	var t tokens
	err = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&t)
	t.status, t.reason = res.StatusCode, res.Header.Get("Holdfast-Reason")
	return t, err
}

// token is ask for when only success will do.
func (p *phone) token(grant string, fields ...string) (tokens, error) {
	t, err := p.ask(grant, fields...)
	if err == nil && t.status != http.StatusOK {
		err = fmt.Errorf("%s on %s was answered %d %s: %s", grant, p.client, t.status, t.Error, t.Words)
	}
	return t, err
}

// call asks the demo API.
func (p *phone) call(access string) (string, error) {
	r, err := http.NewRequestWithContext(p.ctx, http.MethodGet, p.base+"/demo/api", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	res, err := p.http.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the API answered %s: %s", res.Status, b)
	}
	return strings.TrimSpace(string(b)), err
}

// short shows enough of a token to tell two apart, and not enough to use it.
func short(token string) string {
	if len(token) < 24 {
		return token
	}
	return token[:8] + "…" + token[len(token)-6:]
}
