package upstream

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"time"
)

const facebookHost = "https://graph.facebook.com"

// facebookIssuers sign the tokens of Limited Login, which are ID tokens.
var facebookIssuers = []string{"https://www.facebook.com", "https://limited.facebook.com"}

const (
	facebookKeysHost = "https://www.facebook.com"
	facebookKeys     = "/.well-known/oauth/openid/jwks/"
)

// facebook asks debug_token, as our app, what an access token is, and then /me,
// with the proof that we hold the app's secret, who its user is.
type facebook struct {
	Upstream
	calls *caller
	ids   idTokens
	now   func() time.Time
}

func (f *facebook) verify(ctx context.Context, p Presented) (Identity, error) {
	if p.Form == IDToken || p.Form == Any && looksSigned(p.Token.Reveal()) {
		_, who, err := f.ids.verify(ctx, p)
		who.EmailVerified = false // Facebook says nothing about that
		return who, err
	}
	app := f.ClientIDs[0]
	if f.Secret.Empty() {
		return Identity{}, rejected("the upstream has no client secret to ask Facebook with")
	}
	told, err := ask(ctx, f.calls, f.at(facebookHost, "/debug_token"), url.Values{
		"input_token": {p.Token.Reveal()}, "access_token": {app + "|" + f.Secret.Reveal()}}, "")
	if err != nil {
		return Identity{}, err
	}
	data, err := told.object("data")
	if err != nil {
		return Identity{}, rejected("debug_token: %w", err)
	}
	expires, err := f.checkDebug(data)
	if err != nil {
		return Identity{}, err
	}
	mac := hmac.New(sha256.New, []byte(f.Secret.Reveal()))
	mac.Write([]byte(p.Token.Reveal()))
	me, err := ask(ctx, f.calls, f.at(facebookHost, "/me"), url.Values{"fields": {"id,name,first_name,last_name,email"},
		"access_token": {p.Token.Reveal()}, "appsecret_proof": {hex.EncodeToString(mac.Sum(nil))}}, "")
	if err != nil {
		return Identity{}, err
	}
	if me.text("id") != data.text("user_id") {
		return Identity{}, rejected("debug_token and /me name two people")
	}
	who := Identity{Subject: me.text("id"), Email: me.text("email"), Name: me.text("name"), GivenName: me.text("first_name"),
		FamilyName: me.text("last_name"), Expires: expires}
	if at, ok := data.time("issued_at"); ok && at.Unix() > 0 { // not told of every token
		who.AuthTime = at
	}
	return who, nil
}

// checkDebug holds what debug_token says to our app and to the time. A page's or
// an app's token is nobody's sign-in.
func (f *facebook) checkDebug(data object) (expires time.Time, err error) {
	switch {
	case data.text("app_id") != f.ClientIDs[0]:
		return expires, rejected("made for an app that is not ours")
	case !data.yes("is_valid"):
		return expires, rejected("no longer valid")
	case !strings.EqualFold(data.text("type"), "USER"):
		return expires, rejected("a token of type %.20q", data.text("type"))
	case data.text("user_id") == "":
		return expires, rejected("of nobody")
	}
	for _, name := range []string{"expires_at", "data_access_expires_at"} {
		at, ok := data.time(name)
		if !ok && data.has(name) || !ok && name == "expires_at" {
			return expires, rejected("without an end")
		}
		if at.Unix() > 0 && !f.now().Before(at) { // 0 is a token that does not end
			return expires, rejected("expired")
		}
		if name == "expires_at" {
			expires = at
		}
	}
	return expires, nil
}
