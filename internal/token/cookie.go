package token

import (
	"context"
	"encoding/binary"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// WebSession is what the cookie of a web session says. Everything else is looked
// up: the session is asked at every use, so a cookie dies with it.
type WebSession struct {
	Session id.Session
	// Expires is the end that no use moves.
	Expires time.Time
}

const (
	// WebPrefix opens every web session cookie.
	WebPrefix = "hfw_"
	// webUse keeps a web session apart from everything else that is sealed under the
	// same key: no access token begins so.
	webUse = "holdfast/web/v1\n"
	// webSize is what is sealed, in bytes: the use, a session, whole seconds.
	webSize = len(webUse) + id.Size + 8
)

// Web seals a web session cookie. Two cookies of one session never are the same
// text.
func (m Minter) Web(w WebSession) secret.Text {
	b := append(make([]byte, 0, webSize), webUse...)
	b = append(b, w.Session[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(w.Expires.Unix()))
	return secret.New(WebPrefix + b64.EncodeToString(m.Keys.SealOpaque(b)))
}

// ReadWeb is OpenWeb for a server that has company, as Refreshes.Open is Decode: the
// error is ErrNotOurs, or a *fault.Error of kind Unavailable when nobody can tell.
func (m Minter) ReadWeb(ctx context.Context, t secret.Text, now time.Time) (WebSession, error) {
	return again(ctx, m.Keys, func() (WebSession, error) { return m.OpenWeb(t, now) })
}

// OpenWeb reads a web session cookie back. ErrNotOurs when it is not one, or when
// it has expired.
func (m Minter) OpenWeb(t secret.Text, now time.Time) (WebSession, error) {
	plain, err := m.unsealed(t, WebPrefix)
	if err != nil {
		return WebSession{}, err
	}
	if len(plain) != webSize || string(plain[:len(webUse)]) != webUse {
		return WebSession{}, ErrNotOurs
	}
	w := WebSession{Session: id.Session(plain[len(webUse) : len(webUse)+id.Size]), Expires: time.Unix(int64(binary.BigEndian.Uint64(plain[len(webUse)+id.Size:])), 0).UTC()}
	if !now.Before(w.Expires) {
		return WebSession{}, ErrNotOurs
	}
	return w, nil
}
