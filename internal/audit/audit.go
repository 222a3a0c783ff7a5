// Package audit owns the account of what happened: who did what to whom, when,
// and from where, as rows that are only ever added.
//
// An event is one row in the transaction of the change it tells about: there is
// no change without its row and no row without its change. Rooms make events,
// their stores write them, doors show them. The room does not own the changes
// themselves, and nothing secret ever enters an event: no password, no token, no
// key, no hash of one.
package audit

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// Name says what happened. The names are an API: people filter by them.
type Name string

// The closed list of events.
const (
	SignedIn        Name = "signed_in"
	SignInRefused   Name = "sign_in_refused"
	SessionEnded    Name = "session_ended"
	SessionRenamed  Name = "session_renamed"
	SignedOutAll    Name = "signed_out_everywhere"
	TokenRevoked    Name = "token_revoked"
	PasswordChanged Name = "password_changed"
	PasswordRefused Name = "password_change_refused"
	PasswordRehash  Name = "password_rehashed"
	UserCreated     Name = "user_created"
	UserUpdated     Name = "user_updated"
	UserDisabled    Name = "user_disabled"
	UserEnabled     Name = "user_enabled"
	ClientCreated   Name = "client_created"
	ClientUpdated   Name = "client_updated"
	ClientDisabled  Name = "client_disabled"
	ClientEnabled   Name = "client_enabled"
	ClientDeleted   Name = "client_deleted"
	SecretRotated   Name = "client_secret_rotated"
	KeyMade         Name = "key_made"
	KeyRotated      Name = "key_rotated"
	KeyRetired      Name = "key_retired"
	KeyDropped      Name = "key_dropped"
	RootChanged     Name = "root_secret_changed"
	UpstreamCreated Name = "upstream_created"
	UpstreamUpdated Name = "upstream_updated"
	Linked          Name = "upstream_linked"
	Unlinked        Name = "upstream_unlinked"
)

// sentences say each event to the person whose account it is about.
// An event without a sentence is not shown to users.
var sentences = map[Name]string{
	SignedIn:        "Signed in",
	SignInRefused:   "A sign-in was refused",
	SessionEnded:    "A device was signed out",
	SessionRenamed:  "A device was renamed",
	SignedOutAll:    "Signed out everywhere",
	TokenRevoked:    "An access token was revoked",
	PasswordChanged: "The password was changed",
	PasswordRefused: "A change of the password was refused",
	UserCreated:     "The account was created",
	UserUpdated:     "The account was changed",
	UserDisabled:    "The account was disabled",
	UserEnabled:     "The account was enabled",
	Linked:          "A sign-in with another provider was linked to the account",
	Unlinked:        "A sign-in with another provider was taken off the account",
}

// Names lists every event.
func Names() []Name {
	return []Name{SignedIn, SignInRefused, SessionEnded, SessionRenamed, SignedOutAll, TokenRevoked, PasswordChanged,
		PasswordRefused, PasswordRehash, UserCreated, UserUpdated, UserDisabled, UserEnabled, ClientCreated, ClientUpdated, ClientDisabled, ClientEnabled,
		ClientDeleted, SecretRotated, KeyMade, KeyRotated, KeyRetired, KeyDropped, RootChanged,
		UpstreamCreated, UpstreamUpdated, Linked, Unlinked}
}

// Sentence says the event to its user, "" when it is none of his business.
func (n Name) Sentence() string { return sentences[n] }

// Actor is what kind of party acted.
type Actor string

// The actors.
const (
	ByUser     Actor = "user"     // the account's owner, with a password or a token
	ByClient   Actor = "client"   // an application for itself
	ByOperator Actor = "operator" // through the admin API or the command line
	BySystem   Actor = "system"   // the server by itself: a rotation, a purge, a reuse found
)

// Who is who acts in one request, and from where. It travels in the context
// from the door to the rooms that make events.
type Who struct {
	Actor Actor
	// ID names the actor: a subject, a client_id, an operator's subject; "" when
	// the actor says it all.
	ID string
	// Via is the application that the actor's token was issued to, "" where no
	// token was shown.
	Via  id.Client
	From netip.Addr
}

type whoKey struct{}

// As returns a context in which w acts.
func As(ctx context.Context, w Who) context.Context { return context.WithValue(ctx, whoKey{}, w) }

// Acting tells who acts in a context: the server itself when nobody was named.
func Acting(ctx context.Context) Who {
	w, ok := ctx.Value(whoKey{}).(Who)
	if !ok {
		return Who{Actor: BySystem}
	}
	return w
}

// Event is one row.
type Event struct {
	// Position orders events; the store sets it.
	Position int64
	At       time.Time
	Name     Name
	Who      Who
	// User is the account it is about, zero for none; Client, SID and Object name
	// the application, the session and any other thing (a key, a client).
	User   id.User
	Client id.Client
	SID    string
	Object string
	// Reason is why a session ended or a sign-in was refused.
	Reason fault.Reason
	// Details are further facts, and what was before and after; never a secret.
	Details map[string]string
}

// New is an event of the actor in a context. Its time is the store's, or the
// time the change was decided at.
func New(ctx context.Context, n Name, at time.Time) Event {
	return Event{Name: n, At: at, Who: Acting(ctx)}
}

// maxDetails bounds what one row keeps of its details, in bytes.
const maxDetails = 4096

// EncodeDetails writes the details for a column; too large ones are cut to a
// note that says so.
func (e Event) EncodeDetails() string {
	if len(e.Details) == 0 {
		return ""
	}
	b, err := json.Marshal(e.Details)
	if err != nil || len(b) > maxDetails {
		return `{"note":"the details were too large to keep"}`
	}
	return string(b)
}

// DecodeDetails reads what EncodeDetails wrote.
func DecodeDetails(s string) (map[string]string, error) {
	if s == "" {
		return nil, nil
	}
	var m map[string]string
	err := json.Unmarshal([]byte(s), &m)
	return m, err
}

// Query selects events, newest first. Empty fields do not restrict.
type Query struct {
	User   id.User
	Client id.Client
	SID    string
	Name   Name
	// From is the address it came from.
	From netip.Addr
	// Until restricts to events from before a time.
	Until time.Time
	// Before is the position to go on from (exclusive); 0 starts at the newest.
	Before int64
	Limit  int
}

// Store keeps events. Changes bring their events to the store of the change;
// Add is for what changes nothing else, like a refused sign-in.
type Store interface {
	// Add writes one event durably.
	Add(ctx context.Context, e Event) error
	// Find lists events that match, newest first, at most q.Limit.
	Find(ctx context.Context, q Query) ([]Event, error)
	// Forget deletes at most limit events from before a time and reports how many.
	Forget(ctx context.Context, before time.Time, limit int) (int, error)
}
