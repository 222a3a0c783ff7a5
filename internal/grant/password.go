package grant

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/limit"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// password is RFC 6749 section 4.3: first-party apps of today sign in this way.
// RFC 9700 wants it gone, so a client must list it and must be first-party.
func (is *Issuer) password(ctx context.Context, c client.Client, r Request) (earned, error) {
	if !c.FirstParty {
		return earned{}, fault.New(fault.UnauthorizedClient, "the password grant is for first-party clients only")
	}
	if r.Username == "" || r.Password.Empty() {
		return earned{}, fault.New(fault.InvalidRequest, "username and password are needed")
	}
	c, err := is.current(ctx, r.Client)
	if err != nil {
		return earned{}, err
	}
	scope, err := scopeOf(r.Scope, c.Available())
	if err != nil {
		return earned{}, err
	}
	err = r.Device.check()
	if err != nil {
		return earned{}, err
	}
	u, err := is.prove(ctx, c, r)
	if err != nil {
		return earned{}, err
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByUser, ID: u.ID.String(), From: r.From})
	turn, err := is.Sessions.Open(ctx, session.SignIn{
		User: u.ID, Epoch: u.Epoch, Client: c.ID, Scope: scope, Grant: opens(c, r), AMR: "pwd",
		Device: r.Device.facts(), Attempt: r.Device.AttemptID, Policy: is.policyOf(c, opens(c, r)),
	})
	if err != nil {
		return earned{}, err
	}
	return earned{scope: scope, turn: &turn, signedIn: &u, now: turn.Now}, nil
}

// prove checks user name and password under the attempt limits. They slow down
// who guesses; a refresh never passes here, so nobody is signed out by them, and
// an install that is signed in has a budget of its own, so that nobody is kept
// out of the phone in his hand by guesses made elsewhere.
func (is *Issuer) prove(ctx context.Context, c client.Client, r Request) (user.User, error) {
	who, err := is.Users.Find(ctx, r.Username)
	if err != nil {
		return user.User{}, err
	}
	try := limit.Try{Account: who.Key(), Address: r.From}
	if r.Device.InstallID != "" {
		install := session.InstallDigest(r.Device.InstallID)
		// The same look is made for an account that does not exist, at the same cost.
		_, err := is.Sessions.Store.ByInstall(ctx, who.ID(), c.ID, install)
		switch {
		case err == nil:
			try.Install = budgetOf(install)
		case !errors.Is(err, session.ErrNotFound):
			return user.User{}, fault.Down(err)
		}
	}
	u, err := is.attempt(ctx, who, try, r.Password)
	if fault.Is(err, fault.InvalidGrant) {
		return user.User{}, is.refusedSignIn(ctx, c, who, r, err)
	}
	return u, err
}

// budgetOf names the budget of a known install: the same for a sign-in and for
// a change of the password.
func budgetOf(install [16]byte) string { return string(install[:]) }

// attempt proves a password as one counted attempt. InvalidGrant is a wrong one.
func (is *Issuer) attempt(ctx context.Context, who user.Candidate, try limit.Try, password secret.Text) (user.User, error) {
	err := is.Attempts.Begin(ctx, is.Now(), try)
	if err != nil {
		return user.User{}, err
	}
	u, err := is.Users.Prove(ctx, who, password)
	if !fault.Is(err, fault.InvalidGrant) {
		_ = is.Attempts.Return(ctx, is.Now(), try) // an attempt too many counted heals with time
	}
	return u, err
}

// refusedSignIn writes the account of a failed attempt on an account that
// exists, and returns the refusal. A store that cannot write answers 503: what
// happened must not go unrecorded.
func (is *Issuer) refusedSignIn(ctx context.Context, c client.Client, who user.Candidate, r Request, refusal error) error {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return fault.Down(err)
	}
	e := audit.New(ctx, audit.SignInRefused, now)
	e.User, e.Client = who.ID(), c.ID
	e.Details = map[string]string{"device": r.Device.Name, "why": errors.Unwrap(refusal).Error()}
	err = is.Audit.Add(ctx, e)
	if err != nil {
		return fault.Down(err)
	}
	return refusal
}

// The limits of what an app may tell about itself, in bytes.
const (
	maxInstallID = 128
	maxFact      = 128
)

// check bounds the device facts. They are shown to people, so control
// characters have no place in them.
func (d Device) check() error {
	for _, f := range []struct {
		name, value string
		max         int
	}{
		{"install_id", d.InstallID, maxInstallID}, {"attempt_id", d.AttemptID, maxInstallID},
		{"device_name", d.Name, maxFact}, {"device_model", d.Model, maxFact},
		{"device_os", d.System, maxFact}, {"app_version", d.App, maxFact},
	} {
		err := checkFact(f.name, f.value, f.max)
		if err != nil {
			return err
		}
	}
	return nil
}

func checkFact(name, value string, longest int) error {
	if len(value) > longest {
		return fault.Newf(fault.InvalidRequest, "%s is longer than %d bytes", name, longest)
	}
	if strings.ContainsFunc(value, unicode.IsControl) { // those of C1 too: terminals obey them
		return fault.Newf(fault.InvalidRequest, "%s contains a control character", name)
	}
	return nil
}

// facts is how a session remembers the device.
func (d Device) facts() session.Device {
	f := session.Device{Name: d.Name, Model: d.Model, System: d.System, App: d.App}
	if d.InstallID != "" {
		f.Install = session.InstallDigest(d.InstallID)
	}
	return f
}
