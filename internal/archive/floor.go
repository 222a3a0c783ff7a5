package archive

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
)

// What numbers jump by when a backup is restored. Nobody knows which numbers were
// given out after it was made, and none of them may be given out again: an access
// token with an epoch from the lost time would pass as newer than the next
// sign-out everywhere, and a follower that had seen a position would never ask for
// the entries that get it a second time.
const (
	// EpochLeap is for epochs and versions: more than one account can raise in the
	// life of a backup, and a million restores before the number is used up.
	EpochLeap = 1 << 12
	// PositionLeap is for positions of the record.
	PositionLeap = 1 << 32
)

// MaxEnds is how many ends a floor remembers, all in memory: about 1 GiB.
const MaxEnds = 4 << 20

// Floor is what a restore may not fall below: it ends what ended after the backup
// was made, and lets no number go backwards.
type Floor struct {
	// Ends are the entries of the record since the backup, from a journal.
	Ends []feed.Entry
	// Everybody ends every session: for when nobody knows what ended.
	Everybody bool
	// Root and Options open the keys of the backup, to read which sessions the
	// entries name.
	Root    key.Root
	Options key.Options
	// Now is the time of the restore, for what ends by it.
	Now time.Time

	// Did counts what was ended.
	Did Did

	keys     *heldKeys
	sessions map[id.Session]feed.Entry
	users    map[id.User][]feed.Entry
	clients  map[string]feed.Entry
	raised   map[id.User]raise
	gone     map[id.User]bool
	namer    names
	position int64
	told     bool
}

// Did is what a floor changed.
type Did struct {
	Sessions, Accounts, Passwords, Clients, Keys int64
}

// raise is what became of an account's epoch.
type raise struct {
	was, is uint32 // before the leap
	entries []feed.Entry
}

// heldKeys is a key.Store in memory: the keys of a backup while they are restored.
type heldKeys struct{ rows key.Rows }

// Load implements key.Store.
func (h *heldKeys) Load(context.Context) (key.Rows, error) {
	rows := h.rows
	rows.Keys = slices.Clone(h.rows.Keys)
	return rows, nil
}

// Replace implements key.Store.
func (h *heldKeys) Replace(_ context.Context, next key.Rows) error {
	if next.Version != h.rows.Version+1 {
		return key.ErrChanged
	}
	h.rows = next
	return nil
}

// The columns a floor looks at.
var (
	tableRoll, tableKey     = TableOf("key_roll"), TableOf("wrapped_key")
	tableUser, tableLogin   = TableOf("user"), TableOf("login")
	tableEpoch, tableClient = TableOf("user_epoch"), TableOf("client")
	tableSession, tableHead = TableOf("session"), TableOf("record_head")
	tableRecord, tableLink  = TableOf("revocation"), TableOf("upstream_link")
	tableRevision           = TableOf("client_revision")

	userID, userEpoch, userVersion       = tableUser.Index("id"), tableUser.Index("epoch"), tableUser.Index("version")
	userDisabled, userGone               = tableUser.Index("disabled"), tableUser.Index("gone")
	userHash                             = tableUser.Index("password_hash")
	sessionID, sessionUser, sessionEpoch = tableSession.Index("id"), tableSession.Index("user"), tableSession.Index("epoch")
	sessionVersion                       = tableSession.Index("version")
	sessionEnded, sessionReason          = tableSession.Index("ended_at"), tableSession.Index("end_reason")
)

// row takes a row of the backup and puts what should become of it.
func (f *Floor) row(ctx context.Context, t *Table, row Row, put func(*Table, Row) error) error {
	if f.keys == nil {
		f.keys = &heldKeys{}
	}
	switch t {
	case tableRoll:
		f.keys.rows.Version, f.keys.rows.Roll = uint64(integer(row[0])), blob(row[1])
		return nil
	case tableKey:
		f.keys.rows.Keys = append(f.keys.rows.Keys, key.Row{ID: uint32(integer(row[0])), Purpose: key.Purpose(row[1].(string)), Alg: row[2].(string),
			KID: row[3].(string), State: key.State(row[4].(string)), Wrapped: blob(row[5]),
			CreatedAt: fromMillis(integer(row[6])), ActiveAt: fromMillis(integer(row[7])), RetiredAt: fromMillis(integer(row[8]))})
		return nil
	}
	if f.users == nil {
		if err := f.begin(ctx, put); err != nil {
			return err
		}
	}
	switch t {
	case tableUser:
		return put(t, f.user(slices.Clone(row)))
	case tableLogin:
		if f.gone[id.User(row[1].([]byte))] {
			return nil
		}
	case tableLink:
		if f.gone[id.User(row[2].([]byte))] {
			return nil
		}
	case tableEpoch:
		row = Row{row[0], integer(row[1]) + EpochLeap, row[2], row[3]}
	case tableClient:
		row = f.client(slices.Clone(row))
	case tableRevision:
		row = Row{integer(row[0]) + EpochLeap}
	case tableSession:
		if err := f.epochs(put); err != nil {
			return err
		}
		row = f.session(slices.Clone(row))
	case tableRecord:
		f.position = max(f.position, integer(row[0]))
	case tableHead:
		f.position = max(f.position, integer(row[0]))
		return nil // after what is added to the record
	}
	return put(t, row)
}

// finish puts what comes after the last row.
func (f *Floor) finish(ctx context.Context, put func(*Table, Row) error) error {
	if f.users == nil { // there was nothing but keys, or nothing at all
		if f.keys == nil {
			f.keys = &heldKeys{}
		}
		if err := f.begin(ctx, put); err != nil {
			return err
		}
	}
	if err := f.epochs(put); err != nil { // when there was no session
		return err
	}
	for _, e := range f.Ends { // this backup may have been restored before
		f.position = max(f.position, e.Position)
	}
	f.position += PositionLeap
	for _, e := range f.Ends {
		if !e.Until.After(f.Now) {
			continue // what it speaks of has expired
		}
		f.position++
		err := put(tableRecord, Row{f.position, string(e.Kind), e.Key, int64(e.Epoch), e.ExceptSID, string(e.Reason), millis(e.At), millis(e.Until)})
		if err != nil {
			return err
		}
	}
	return put(tableHead, Row{f.position})
}

// begin sorts the ends and puts the keys, of which some may be dropped.
func (f *Floor) begin(ctx context.Context, put func(*Table, Row) error) error {
	f.sessions, f.users, f.clients = map[id.Session]feed.Entry{}, map[id.User][]feed.Entry{}, map[string]feed.Entry{}
	f.raised, f.gone = map[id.User]raise{}, map[id.User]bool{}
	if len(f.Ends) > MaxEnds {
		return refused("%d ends are more than a restore can keep in mind (%d); restore a newer backup", len(f.Ends), MaxEnds)
	}
	ring, err := f.ring(ctx)
	if err != nil {
		return err
	}
	for _, e := range f.Ends {
		switch e.Kind {
		case feed.Session:
			if which, ok := ring.Session(e.Key); ok {
				f.sessions[which] = e
			}
		case feed.Subject:
			if u, err := id.ParseUser(e.Key); err == nil {
				f.users[u] = append(f.users[u], e)
			}
		case feed.Client:
			f.clients[e.Key] = e
		case feed.Key:
			if _, err := ring.Drop(ctx, e.Key); err == nil {
				f.Did.Keys++
			} else if fe, ok := err.(*fault.Error); !ok || fe.Kind != fault.NotFound {
				return err
			}
		}
	}
	for _, all := range f.users {
		slices.SortFunc(all, func(a, b feed.Entry) int { return cmp.Compare(a.Epoch, b.Epoch) })
	}
	rows := f.keys.rows
	if err := put(tableRoll, Row{int64(rows.Version), orNull(rows.Roll)}); err != nil {
		return err
	}
	for _, k := range rows.Keys {
		err := put(tableKey, Row{int64(k.ID), string(k.Purpose), k.Alg, k.KID, string(k.State), orNull(k.Wrapped), millis(k.CreatedAt), millis(k.ActiveAt), millis(k.RetiredAt)})
		if err != nil {
			return err
		}
	}
	return nil
}

// names is the part of key.Ring that a floor needs.
type names interface {
	Session(sid string) (id.Session, bool)
	SID(id.Session) string
	Drop(ctx context.Context, ref string) (key.Info, error)
}

// ring opens the keys of the backup when an end names what only they can read.
// A backup without keys has no sessions either.
func (f *Floor) ring(ctx context.Context) (names, error) {
	if f.keys.rows.Version == 0 || !slices.ContainsFunc(f.Ends, func(e feed.Entry) bool { return e.Kind == feed.Session || e.Kind == feed.Key || e.ExceptSID != "" }) {
		f.namer = noNames{}
		return f.namer, nil
	}
	o := f.Options
	o.Now, o.Log = func() time.Time { return f.Now }, slog.New(slog.DiscardHandler)
	r, err := key.Open(ctx, f.keys, f.Root, o)
	if err != nil {
		return nil, err
	}
	f.namer = r
	return r, nil
}

// noNames knows no session.
type noNames struct{}

func (noNames) Session(string) (id.Session, bool) { return id.Session{}, false }
func (noNames) SID(id.Session) string             { return "" }
func (noNames) Drop(context.Context, string) (key.Info, error) {
	return key.Info{}, fault.New(fault.NotFound, "no key")
}
