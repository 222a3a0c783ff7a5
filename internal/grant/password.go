package grant

import (
	"context"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/limit"
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
	scope, err := scopeOf(r.Scope, c.Scopes)
	if err != nil {
		return earned{}, err
	}
	err = r.Device.check()
	if err != nil {
		return earned{}, err
	}
	u, err := is.prove(ctx, r)
	if err != nil {
		return earned{}, err
	}
	turn, err := is.Sessions.Open(ctx, session.SignIn{
		User: u.ID, Epoch: u.Epoch, Client: c.ID, Scope: scope, Grant: "password", AMR: "pwd",
		Device: r.Device.facts(), Attempt: r.Device.AttemptID, Policy: is.policy(c),
	})
	if err != nil {
		return earned{}, err
	}
	return earned{scope: scope, turn: &turn, signedIn: &u, now: turn.Now}, nil
}

// prove checks user name and password under the attempt limits. They slow down
// who guesses; a refresh never passes here, so nobody is signed out by them.
func (is *Issuer) prove(ctx context.Context, r Request) (user.User, error) {
	who, err := is.Users.Find(ctx, r.Username)
	if err != nil {
		return user.User{}, err
	}
	try := limit.Attempt{Account: who.Key(), From: r.From}
	err = is.Attempts.Take(is.Now(), try)
	if err != nil {
		return user.User{}, err
	}
	u, err := is.Users.Prove(ctx, who, r.Password)
	switch {
	case err == nil:
		is.Attempts.Succeeded(try)
	case !fault.Is(err, fault.InvalidGrant): // busy or unavailable: no password was checked
		is.Attempts.Undone(try)
	}
	return u, err
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
		if len(f.value) > f.max {
			return fault.Newf(fault.InvalidRequest, "%s is longer than %d bytes", f.name, f.max)
		}
		for _, r := range f.value {
			if r < 0x20 || r == 0x7f {
				return fault.Newf(fault.InvalidRequest, "%s contains a control character", f.name)
			}
		}
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
