package grant

import (
	"context"
	"errors"
	"slices"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
	"holdfast.example/internal/user"
)

const (
	// GrantWeb says of a session that it is a device's WebView.
	GrantWeb = "webview"
	// WebLife is the longest life of a WebView's cookie, counted from the issue of
	// the access token that earned it: showing one token again and again never
	// moves the end.
	WebLife = 14 * 24 * time.Hour
)

// Why an access token that is good earns something less. They are the causes of
// *fault.Error, for doors that word them apart.
var (
	// ErrExpired: the token was good, its time is over, and the sign-in behind it
	// still stands.
	ErrExpired = errors.New("grant: the access token has expired")
	// ErrNotForWeb: tokens of this grant, or of this client, open no web session.
	ErrNotForWeb = errors.New("grant: this access token opens no web session")
)

// Shown checks an access token for the APIs of the client's own system: those of
// this server, and those that the client's tokens are made for. Unlike Bearer it
// tells a token whose only fault is its age (the cause is ErrExpired): an app
// refreshes then, and would be signed out by any other answer. A token that was
// ended is never called expired.
func (is *Issuer) Shown(ctx context.Context, t secret.Text) (Bearer, error) {
	b, err := is.active(ctx, t)
	if fault.Is(err, fault.InvalidToken) {
		return Bearer{}, is.aged(ctx, t, err)
	}
	if err != nil {
		return Bearer{}, err
	}
	c, _ := is.Clients.Get(b.Access.Client)
	ours := append(slices.Clone(c.Audiences), is.Minter.Issuer)
	if !slices.ContainsFunc(b.Access.Audience, func(aud string) bool { return slices.Contains(ours, aud) }) {
		return Bearer{}, fault.New(fault.InvalidToken, "the access token is for another API")
	}
	return b, nil
}

// aged tells a refused token that merely expired from all others.
func (is *Issuer) aged(ctx context.Context, t secret.Text, refused error) error {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return fault.Down(err)
	}
	a, ok := is.Reader.Expired(ctx, t, now)
	if !ok {
		a, ok = is.Reader.Gone(ctx, t, now)
	}
	if !ok {
		return refused
	}
	b, err := is.standing(ctx, a)
	if err != nil {
		return err
	}
	if a.SID != "" && b.Session.Client != a.Client {
		return refused
	}
	c, _ := is.Clients.Get(a.Client)
	if idle := is.policyOf(c, b.Session.Grant).Idle; a.SID != "" && idle > 0 && now.Sub(b.Session.UsedAt) > idle {
		return &fault.Error{Kind: fault.InvalidToken, Reason: fault.Idle, Words: fault.Idle.Sentence()} // no refresh can follow
	}
	return fault.Wrap(fault.InvalidToken, ErrExpired, "the access token has expired")
}

// Web is a live web session.
type Web struct {
	Session session.Session
	Client  client.Client
	User    user.User
	// Cookie is set when the session was just opened.
	Cookie  secret.Text
	Expires time.Time
	Now     time.Time
}

// OpenWeb swaps a good access token of a device for the cookie of a web session
// that hangs under the device's session and ends with it. A device has one; who
// comes again gets another cookie of the same. before is the cookie that came with
// the request: a session that somebody planted ends, and nothing of it is taken
// over.
//
// Errors are *fault.Error: Forbidden with the cause ErrNotForWeb, or Unavailable.
func (is *Issuer) OpenWeb(ctx context.Context, b Bearer, before secret.Text) (Web, error) {
	c, _ := is.Clients.Get(b.Access.Client)
	if !swappable(c, b) {
		return Web{}, fault.Wrap(fault.Forbidden, ErrNotForWeb, "this access token opens no web session")
	}
	s, now, err := is.webUnder(ctx, c, b.Session)
	if err != nil {
		return Web{}, err
	}
	err = is.displaced(ctx, before, s.ID, now)
	if err != nil {
		return Web{}, err
	}
	end := b.Access.IssuedAt.Add(WebLife)
	if l := is.lifetimes(c); l.Absolute > 0 {
		end = earlier(end, b.Session.CreatedAt.Add(l.Absolute))
	}
	w := Web{Session: s, Client: c, Expires: end.Truncate(time.Second), Now: now}
	w.Cookie = is.Minter.Web(token.WebSession{Session: s.ID, Expires: w.Expires})
	return w, nil
}

// displaced ends the web session of a cookie that stood in a browser before another
// session came, unless it is that very one.
func (is *Issuer) displaced(ctx context.Context, before secret.Text, by id.Session, now time.Time) error {
	old, err := is.Minter.OpenWeb(before, now)
	if err != nil || old.Session == by {
		return nil
	}
	return is.endIfThere(ctx, old.Session, fault.Replaced)
}

// swappable: the whole grant of a person who signed in at a client that opens
// course pages. A token that was narrowed may not be widened into a cookie, and a
// web session's own token may not prolong it.
func swappable(c client.Client, b Bearer) bool {
	if !c.WebView || c.Restricted || b.User.IsZero() || !b.Session.Parent.IsZero() {
		return false
	}
	switch b.Access.Grant {
	case client.GrantPassword, client.GrantTokenExchange, "urn:ietf:params:oauth:grant-type:token-exchange":
	case client.GrantCode:
		if !c.FirstParty {
			return false
		}
	default:
		return false
	}
	has := fields(b.Access.Scope)
	for _, s := range fields(both(b.Session.Scope, c.Available())) {
		if !slices.Contains(has, s) {
			return false
		}
	}
	return true
}

// webInstall begins what a web session has for an install_id: with a control
// character, which no app's has, so that nobody signs in as a WebView.
const webInstall = "\x00webview of "

// webUnder finds or opens the web session under a device's.
func (is *Issuer) webUnder(ctx context.Context, c client.Client, device session.Session) (session.Session, time.Time, error) {
	name := webInstall + is.Sessions.Names.SID(device.ID)
	install := session.InstallDigest(name)
	l, err := is.Sessions.Store.ByInstall(ctx, device.User, c.ID, install)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return session.Session{}, time.Time{}, fault.Down(err)
	}
	if err == nil && l.Session.Parent == device.ID && l.Session.Ended(l.Standing, is.policy(c), l.Now) == "" {
		s, err := is.Sessions.Touch(ctx, l, is.policy(c)) // or it ended idle under its pages
		return s, l.Now, err
	}
	facts := device.Device
	facts.Install = install
	turn, err := is.Sessions.Open(ctx, session.SignIn{User: device.User, Epoch: device.Epoch, Client: c.ID, Parent: device.ID,
		Scope: device.Scope, Grant: GrantWeb, AMR: device.AMR, AuthTime: device.AuthTime, AuthTimeUnknown: device.AuthTime.IsZero(),
		Device: facts, Attempt: name, Policy: is.policy(c)})
	return turn.Session, turn.Now, err
}

// Web says whose live web session a cookie is. Errors are *fault.Error:
// InvalidToken with the reason, or Unavailable.
func (is *Issuer) Web(ctx context.Context, cookie secret.Text) (Web, error) {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return Web{}, fault.Down(err)
	}
	said, err := is.Minter.ReadWeb(ctx, cookie, now)
	if fault.Is(err, fault.Unavailable) {
		return Web{}, err
	}
	if err != nil {
		return Web{}, &fault.Error{Kind: fault.InvalidToken, Reason: fault.Malformed, Words: fault.Malformed.Sentence(), Cause: err}
	}
	l, err := is.Sessions.Store.Load(ctx, said.Session)
	if errors.Is(err, session.ErrNotFound) {
		return Web{}, &fault.Error{Kind: fault.InvalidToken, Reason: fault.SignedOut, Words: fault.SignedOut.Sentence()}
	}
	if err != nil {
		return Web{}, fault.Down(err)
	}
	c, found := is.Clients.Get(l.Session.Client)
	why := l.Session.Ended(l.Standing, is.policy(c), l.Now)
	switch {
	case !found || c.Disabled || !c.WebView:
		why = fault.ClientStopped
	case l.Session.Grant != GrantWeb:
		why = fault.Malformed
	case why == "":
		why, err = is.pastDevice(ctx, c, l.Session.Parent)
		if err != nil {
			return Web{}, err
		}
	}
	if why != "" {
		return Web{}, &fault.Error{Kind: fault.InvalidToken, Reason: why, Words: why.Sentence()}
	}
	u, err := is.Users.Get(ctx, l.Session.User)
	if err != nil {
		return Web{}, err
	}
	return Web{Session: l.Session, Client: c, User: u, Expires: said.Expires, Now: l.Now}, nil
}

// pastDevice says why the device of a web session is over, "" while it stands. What was
// written of its end came with the web session; a limit that was lowered since has no
// row that says so. Idle is not asked for: the web session has a limit of that kind
// itself, and no page moves it.
func (is *Issuer) pastDevice(ctx context.Context, c client.Client, device id.Session) (fault.Reason, error) {
	l, err := is.Sessions.Store.Load(ctx, device)
	if errors.Is(err, session.ErrNotFound) {
		return fault.SignedOut, nil
	}
	if err != nil {
		return "", fault.Down(err)
	}
	p := is.policyOf(c, l.Session.Grant)
	p.Idle = 0
	return l.Session.Ended(l.Standing, p, l.Now), nil
}

// EndWeb ends the web session of a cookie; the device stays signed in. One that
// does not stand is no error.
func (is *Issuer) EndWeb(ctx context.Context, cookie secret.Text) error {
	w, err := is.Web(ctx, cookie)
	if fault.Is(err, fault.InvalidToken) || fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = is.Sessions.End(ctx, w.Session.ID, fault.SignedOut)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// WebToken makes an access token for the pages of a web session. It never
// outlives the session's cookie.
func (is *Issuer) WebToken(ctx context.Context, w Web, scope string) (Issued, error) {
	if w.Client.Claims != client.OpenEdX {
		return Issued{}, fault.New(fault.Forbidden, "the pages of this client read no token")
	}
	e := earned{scope: both(scope, w.Client.Available()), turn: &session.Turn{Session: w.Session}, signedIn: &w.User, now: w.Now}
	e.until = w.Expires
	issued, err := is.issue(ctx, w.Client, client.JWT, e)
	issued.RefreshToken, issued.IDToken = secret.Text{}, secret.Text{}
	return issued, err
}

// Behind is the name of the user behind an access token of ours, whether or not it
// still stands: for the words in which its bearer is refused. "" is nobody.
func (is *Issuer) Behind(ctx context.Context, t secret.Text) (string, error) {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return "", fault.Down(err)
	}
	a, err := is.Reader.Access(ctx, t, now)
	if err != nil {
		expired, ok := is.Reader.Expired(ctx, t, now)
		if !ok {
			return "", nil
		}
		a = expired
	}
	who, err := id.ParseUser(a.Subject)
	if err != nil {
		return "", nil
	}
	u, err := is.Users.Get(ctx, who)
	return u.Username, err
}
