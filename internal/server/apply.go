package server

import (
	"context"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/manifest"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/upstream"
	"holdfast.example/internal/user"
)

// Count says what applying did to one kind of thing.
type Count struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
}

// ApplyReport says what applying a manifest did.
type ApplyReport struct {
	Clients Count `json:"clients"`
	Users   Count `json:"users"`
	// Upstreams are the providers of [[upstreams]].
	Upstreams Count    `json:"upstreams"`
	Warnings  []string `json:"warnings,omitempty"`
}

// Apply creates or updates what a manifest declares. Applying the same again
// changes nothing. file is its name in errors, and where files it names are
// looked for.
func (s *Server) Apply(ctx context.Context, file string, text []byte) (ApplyReport, error) {
	return s.apply(ctx, file, text, true)
}

// apply is Apply for somebody who may be elsewhere: unless he is local, nothing
// that the manifest names is read from this machine.
func (s *Server) apply(ctx context.Context, file string, text []byte, local bool) (ApplyReport, error) {
	m, warnings, err := manifest.Parse(file, text, manifest.Options{Env: s.env, Server: s.config.ForClients(), Alone: !local})
	if err != nil {
		return ApplyReport{}, fault.Wrap(fault.InvalidRequest, err, err.Error())
	}
	for _, u := range m.Users { // before anything is written: a mistake changes nothing
		err := declared(u).Check()
		if err != nil {
			return ApplyReport{}, misdeclared(u, err)
		}
	}
	report, err := s.applyAll(ctx, m)
	report.Warnings = append(report.Warnings, s.breached(m)...)
	for _, w := range warnings {
		report.Warnings = append(report.Warnings, w.Error())
	}
	return report, err
}

// ApplyDemo applies the manifest of holdfast dev.
func (s *Server) ApplyDemo(ctx context.Context) (ApplyReport, error) {
	m, err := manifest.Demo(s.config.ForClients())
	if err != nil {
		return ApplyReport{}, err
	}
	return s.applyAll(ctx, m)
}

func (s *Server) applyAll(ctx context.Context, m manifest.Manifest) (ApplyReport, error) {
	var report ApplyReport
	done, err := s.Clients.Apply(ctx, m.Clients)
	report.Clients = Count{len(done.Created), len(done.Updated), len(done.Unchanged)}
	if err != nil {
		return report, err
	}
	for _, u := range m.Upstreams {
		created, changed, err := s.Upstreams.Declare(ctx, upstream.Upstream{ID: u.ID, Kind: upstream.Kind(u.Kind), ClientIDs: u.ClientIDs,
			Secret: u.ClientSecret, Issuer: u.Issuer, BaseURL: u.BaseURL, Link: upstream.Rule(u.Link)})
		switch {
		case err != nil:
			return report, fault.Wrap(fault.As(err).Kind, err, u.At.String()+": upstream "+u.ID+": "+fault.As(err).Words)
		case created:
			report.Upstreams.Created++
		case changed:
			report.Upstreams.Updated++
		default:
			report.Upstreams.Unchanged++
		}
	}
	for _, u := range m.Users {
		_, lookErr := s.Users.ByLogin(ctx, u.Username)
		changed, err := s.Users.Apply(ctx, declared(u))
		switch {
		case err != nil:
			return report, misdeclared(u, err)
		case fault.Is(lookErr, fault.NotFound):
			report.Users.Created++
		case changed:
			report.Users.Updated++
		default:
			report.Users.Unchanged++
		}
	}
	return report, nil
}

// misdeclared says where in the manifest a refused user is.
func misdeclared(u manifest.User, err error) error {
	return fault.Wrap(fault.As(err).Kind, err, u.At.String()+": user "+u.Username+": "+fault.As(err).Words)
}

// breached warns of declared passwords that are on the list of breached ones. They
// are not refused: a manifest is its author's own word, and one that did today must
// do on another day, when it is applied to an empty database and the list has grown.
func (s *Server) breached(m manifest.Manifest) (warnings []string) {
	for _, u := range m.Users {
		if u.Password.Empty() {
			continue
		}
		listed, err := s.Users.IsBreached(u.Password)
		switch {
		case err != nil:
			s.log.Error("declared passwords were not compared with the list of breached ones", "error", err)
			return append(warnings, u.At.String()+": the list of breached passwords cannot be read, so that no password was compared with it")
		case listed:
			warnings = append(warnings, u.At.String()+": user "+u.Username+": the password became known in a breach of some service, so that guessers try it; declare another one")
		}
	}
	return warnings
}

// declared turns a manifest's user into what the room user applies. What a
// manifest leaves out stays as it is.
func declared(u manifest.User) user.Declared {
	said := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	d := user.Declared{Username: u.Username, Email: said(u.Email), EmailVerified: &u.EmailVerified,
		Profile: user.Profile{Name: said(u.Name), GivenName: said(u.GivenName), FamilyName: said(u.FamilyName)},
		Staff:   &u.Staff, Superuser: &u.Superuser, Disabled: u.Stopped,
		Password: u.Password, PasswordHash: u.PasswordHash.Reveal()}
	if u.Number != 0 {
		d.Number = &u.Number
	}
	return d
}

// EnsureAdmin makes dev's operator with this password and reports true, or
// leaves the one that is there alone.
func (s *Server) EnsureAdmin(ctx context.Context, password secret.Text) (made bool, err error) {
	u, err := s.Users.ByLogin(ctx, manifest.DemoAdmin)
	if err != nil || u.PasswordHash != "" {
		return false, err
	}
	_, err = s.Users.SetPassword(ctx, u.ID, user.NewPassword{Password: password})
	return err == nil, err
}
