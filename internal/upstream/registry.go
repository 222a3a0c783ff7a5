package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

// Sealer encrypts and authenticates what only the server may read.
type Sealer interface {
	SealOpaque(plain []byte) []byte
	OpenOpaque(sealed []byte) (plain []byte, ok bool)
}

// Registry holds every upstream in memory, with a provider for each. Its methods
// are safe for concurrent use.
type Registry struct {
	Store Store
	Seal  Sealer
	Log   *slog.Logger
	Now   func() time.Time
	// Transport carries calls to providers; nil is the usual one.
	Transport http.RoundTripper

	loading sync.Mutex
	set     atomic.Pointer[map[string]*standing]
}

// standing is one upstream and what stands behind it.
type standing struct {
	Upstream
	provider provider
	// sealed is the secret as it is stored.
	sealed []byte
}

// Reload takes over what changed in the store. An upstream that stays the same
// keeps its provider, with the keys and the state of its breaker.
func (r *Registry) Reload(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	rows, err := r.Store.Upstreams(ctx)
	if err != nil {
		return err
	}
	was, next := r.current(), make(map[string]*standing, len(rows))
	for _, stored := range rows {
		u, err := r.decode(stored)
		if err != nil {
			return err
		}
		next[u.ID] = &standing{Upstream: u, sealed: stored.Sealed}
		if old := was[u.ID]; old != nil && old.same(u) {
			next[u.ID].provider = old.provider
		} else {
			next[u.ID].provider = r.provider(u)
		}
	}
	r.set.Store(&next)
	return nil
}

func (r *Registry) current() map[string]*standing {
	if r == nil {
		return nil
	}
	if s := r.set.Load(); s != nil {
		return *s
	}
	return nil
}

// sealedSecret is what is sealed: bound to its upstream, so that nobody who can
// write into the database moves a secret to another one.
type sealedSecret struct {
	Use    string `json:"use"`
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

const use = "holdfast/upstream/v1"

func (r *Registry) encode(u Upstream) (Row, error) {
	doc, err := json.Marshal(u)
	if err != nil {
		return Row{}, fmt.Errorf("upstream: %w", err)
	}
	out := Row{ID: u.ID, Version: u.Version, Doc: string(doc)}
	if !u.Secret.Empty() {
		plain, err := json.Marshal(sealedSecret{use, u.ID, u.Secret.Reveal()})
		if err != nil {
			return Row{}, fmt.Errorf("upstream: %w", err)
		}
		out.Sealed = r.Seal.SealOpaque(plain)
	}
	return out, nil
}

func (r *Registry) decode(stored Row) (Upstream, error) {
	var u Upstream
	err := json.Unmarshal([]byte(stored.Doc), &u)
	if err != nil {
		return Upstream{}, fmt.Errorf("upstream %s: %w", stored.ID, err)
	}
	u.ID, u.Version = stored.ID, stored.Version
	if len(stored.Sealed) == 0 {
		return u, nil
	}
	plain, ok := r.Seal.OpenOpaque(stored.Sealed)
	var s sealedSecret
	if !ok || json.Unmarshal(plain, &s) != nil || s.Use != use || s.ID != u.ID {
		if r.Log != nil {
			r.Log.Error("the client secret of an upstream can no longer be read; apply its manifest again", "upstream", u.ID)
		}
		return u, nil // without its secret it refuses; the others go on
	}
	u.Secret = secret.New(s.Secret)
	return u, nil
}

// Get finds an upstream by its id, disabled ones too.
func (r *Registry) Get(which string) (Upstream, bool) {
	s := r.current()[which]
	if s == nil {
		return Upstream{}, false
	}
	return s.Upstream, true
}

// All lists every upstream, in order of id.
func (r *Registry) All() []Upstream {
	var all []Upstream
	for _, s := range r.current() {
		all = append(all, s.Upstream)
	}
	slices.SortFunc(all, func(a, b Upstream) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// aliases are the names that python-social-auth gave to providers, and that the
// phone apps of Open edX send.
var aliases = map[string]Kind{"google-oauth2": Google, "facebook": Facebook, "apple-id": Apple, "azuread-oauth2": Microsoft}

// Find finds an upstream by what somebody calls it: its id, its issuer, or the
// name that Open edX has for its kind. Where two upstreams could be meant, none is
// found: then only the id says which.
func (r *Registry) Find(name string) (Upstream, bool) {
	if u, ok := r.Get(name); ok {
		return u, true
	}
	var found []Upstream
	for _, u := range r.All() {
		if kind, known := aliases[name]; known && u.Kind == kind || u.signedBy(name) {
			found = append(found, u)
		}
	}
	if len(found) != 1 {
		return Upstream{}, false
	}
	return found[0], true
}

// OfToken finds the upstream that a signed token says it is of. The token is not
// believed by that: it is held to that upstream's keys next.
func (r *Registry) OfToken(t secret.Text) (Upstream, bool) {
	iss := unverifiedIssuer(t.Reveal())
	if iss == "" {
		return Upstream{}, false
	}
	return r.Find(iss)
}

// Verify asks what a provider's token says. Errors are *fault.Error:
// InvalidSubject with ErrRejected as its cause, or Unavailable and Busy when the
// provider cannot be asked; the token may be good, and repeating is safe.
func (r *Registry) Verify(ctx context.Context, which string, p Presented) (Identity, error) {
	s := r.current()[which]
	if s == nil {
		return Identity{}, fault.New(fault.Internal, "")
	}
	if p.Token.Empty() || len(p.Token.Reveal()) > MaxToken {
		return Identity{}, rejected("no token, or one longer than %d bytes", MaxToken)
	}
	ctx, cancel := context.WithTimeout(ctx, verifyWithin)
	defer cancel()
	who, err := s.provider.verify(ctx, p)
	if err != nil {
		return Identity{}, err
	}
	err = who.check()
	who.Upstream = s.ID
	return who, err
}

// check bounds what a provider says about somebody, and drops what is no name.
func (i *Identity) check() error {
	if i.Subject == "" || len(i.Subject) > MaxSubject || strings.ContainsFunc(i.Subject, func(c rune) bool { return c < 0x21 || c > 0x7e }) {
		return rejected("a subject that is none")
	}
	if len(i.Email) > maxEmail || strings.ContainsFunc(i.Email, func(c rune) bool { return c < 0x21 }) {
		i.Email = ""
	}
	i.EmailVerified = i.EmailVerified && i.Email != ""
	i.Authoritative = i.Authoritative && i.EmailVerified
	for _, name := range []*string{&i.Name, &i.GivenName, &i.FamilyName} {
		if len(*name) > maxName || strings.ContainsFunc(*name, func(c rune) bool { return c < 0x20 }) {
			*name = ""
		}
	}
	return nil
}

// rejected is the one answer to every token that does not hold. Why is private.
func rejected(format string, args ...any) error {
	return fault.Wrap(fault.InvalidSubject, fmt.Errorf("%w: "+format, append([]any{ErrRejected}, args...)...), "the token is not accepted")
}

// provider proves the tokens of one upstream.
type provider interface {
	verify(ctx context.Context, p Presented) (Identity, error)
}

// Declare creates or replaces an upstream. changed is false when it was so
// already. Whether it is disabled stays as it is. Errors are *fault.Error.
func (r *Registry) Declare(ctx context.Context, u Upstream) (created, changed bool, err error) {
	return r.put(ctx, u.ID, func(was *Upstream) (Upstream, error) {
		if was == nil {
			return u, nil
		}
		next := u
		next.Disabled = was.Disabled
		return next, nil
	})
}

// SetDisabled takes an upstream out of use, or into use again. Sessions that were
// begun through it go on, and links stay: both have ends of their own.
func (r *Registry) SetDisabled(ctx context.Context, which string, disabled bool) error {
	_, _, err := r.put(ctx, which, func(was *Upstream) (Upstream, error) {
		if was == nil {
			return Upstream{}, fault.New(fault.NotFound, "no such upstream")
		}
		next := *was
		next.Disabled = disabled
		return next, nil
	})
	return err
}

// putTries is how often a change decides anew when somebody else came first.
const putTries = 3

func (r *Registry) put(ctx context.Context, which string, decide func(was *Upstream) (Upstream, error)) (created, changed bool, err error) {
	for range putTries {
		err = r.Reload(ctx)
		if err != nil {
			return false, false, fault.Down(err)
		}
		var was *Upstream
		if u, ok := r.Get(which); ok {
			was = &u
		}
		next, err := decide(was)
		if err != nil {
			return false, false, err
		}
		event := audit.New(ctx, audit.UpstreamCreated, r.Now())
		if was != nil {
			event.Name = audit.UpstreamUpdated
			if was.same(next) && was.Disabled == next.Disabled {
				return false, false, nil
			}
			next.Version = was.Version
		}
		next.Version++
		event.Object, event.Details = next.ID, changes(was, next)
		stored, err := r.encode(next)
		if err != nil {
			return false, false, err
		}
		err = r.Store.PutUpstream(ctx, stored, []audit.Event{event})
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil {
			return false, false, fault.Down(err)
		}
		err = r.Reload(ctx)
		if err != nil {
			return was == nil, true, fault.Down(err)
		}
		return was == nil, true, nil
	}
	return false, false, fault.New(fault.Conflict, "the upstream is being changed by somebody else; try again")
}

// changes says what was before and after; that a secret changed, never what it is.
func changes(was *Upstream, next Upstream) map[string]string {
	old := Upstream{}
	if was != nil {
		old = *was
	}
	all := map[string]string{}
	for _, f := range []struct {
		name          string
		before, after any
	}{
		{"kind", string(old.Kind), string(next.Kind)}, {"client_ids", strings.Join(old.ClientIDs, " "), strings.Join(next.ClientIDs, " ")},
		{"issuer", old.Issuer, next.Issuer}, {"base_url", old.BaseURL, next.BaseURL}, {"link", string(old.Link), string(next.Link)},
		{"disabled", old.Disabled, next.Disabled},
	} {
		if f.before != f.after {
			all[f.name] = fmt.Sprintf("%#v -> %#v", f.before, f.after)
		}
	}
	if !old.Secret.Equal(next.Secret) {
		all["client_secret"] = "changed"
	}
	return all
}

// Reseal seals again what was sealed under a key that is no longer the current
// one, before that key is dropped. It is called every few seconds.
func (r *Registry) Reseal(ctx context.Context) error {
	probe := r.Seal.SealOpaque(nil)
	for _, s := range r.current() {
		if len(s.sealed) == 0 || s.Secret.Empty() || sameKey(s.sealed, probe) {
			continue
		}
		stored, err := r.encode(s.Upstream)
		if err != nil {
			return err
		}
		stored.Version++
		err = r.Store.PutUpstream(ctx, stored, nil)
		if err != nil && !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return r.Reload(ctx)
}

// sealHeader is the part of a sealed text that names its key (room key).
const sealHeader = 5

func sameKey(a, b []byte) bool {
	return len(a) >= sealHeader && len(b) >= sealHeader && string(a[:sealHeader]) == string(b[:sealHeader])
}
