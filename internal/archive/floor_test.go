package archive

import (
	"context"
	"slices"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
)

var (
	made = time.UnixMilli(1_790_000_000_000).UTC()
	hour = made.Add(time.Hour)
)

// person is a row of the table user with an epoch.
func person(u id.User, epoch int64) Row {
	row := make(Row, len(tableUser.Columns))
	for i, c := range tableUser.Columns {
		row[i] = c.zero()
	}
	row[userID], row[userEpoch], row[userVersion], row[userHash] = u[:], epoch, int64(3), "hash"
	return row
}

// phone is a row of the table session with the epoch of its sign-in.
func phone(s id.Session, u id.User, epoch int64) Row {
	row := make(Row, len(tableSession.Columns))
	for i, c := range tableSession.Columns {
		row[i] = c.zero()
	}
	row[sessionID], row[sessionUser], row[sessionEpoch] = s[:], u[:], epoch
	return row
}

// town is a backup with real keys, two people, and a phone for each and one more
// that was signed out by an epoch before.
type town struct {
	*held
	root        key.Root
	ring        *key.Ring
	anna, ben   id.User
	a1, a2, old id.Session
	b1          id.Session
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{held: &held{rows: map[string][]Row{}, facts: Facts{Now: made, Head: 7}}, root: key.NewRoot(),
		anna: id.NewUser(), ben: id.NewUser(), a1: id.NewSession(), a2: id.NewSession(), old: id.NewSession(), b1: id.NewSession()}
	store := &heldKeys{}
	var err error
	w.ring, err = key.Open(context.Background(), store, w.root, options())
	if err != nil {
		t.Fatal(err)
	}
	w.rows["key_roll"] = []Row{{int64(store.rows.Version), store.rows.Roll}}
	for _, k := range store.rows.Keys {
		w.rows["wrapped_key"] = append(w.rows["wrapped_key"], Row{int64(k.ID), string(k.Purpose), k.Alg, k.KID, string(k.State), k.Wrapped,
			millis(k.CreatedAt), millis(k.ActiveAt), millis(k.RetiredAt)})
	}
	w.rows["user"] = []Row{person(w.anna, 4), person(w.ben, 1)}
	w.rows["login"] = []Row{{"anna", w.anna[:]}, {"ben", w.ben[:]}}
	w.rows["user_epoch"] = []Row{{w.anna[:], int64(4), "everywhere", millis(made)}}
	w.rows["client"] = []Row{{"app", int64(2), int64(0), "{}"}}
	w.rows["client_revision"] = []Row{{int64(5)}}
	w.rows["session"] = []Row{phone(w.a1, w.anna, 4), phone(w.a2, w.anna, 4), phone(w.old, w.anna, 3), phone(w.b1, w.ben, 1)}
	w.rows["record_head"] = []Row{{int64(7)}}
	return w
}

func options() key.Options {
	return key.Options{Algs: []string{"ES256"}, LongestAccess: time.Hour, EntryLife: time.Hour, Now: func() time.Time { return made }}
}

// after restores the backup above a floor.
func (w *town) after(t *testing.T, f Floor) (*held, Did) {
	t.Helper()
	f.Root, f.Options, f.Now = w.root, options(), hour
	h, err := restored(archived(t, w.held), &f)
	if err != nil {
		t.Fatal(err)
	}
	if !h.committed {
		t.Fatal("it was not committed")
	}
	return h, f.Did
}

// stands reports whether a session is signed in: not ended, and not behind.
func stands(h *held, s id.Session) bool {
	for _, row := range h.rows["session"] {
		if id.Session(row[sessionID].([]byte)) != s {
			continue
		}
		for _, u := range h.rows["user"] {
			if string(u[userID].([]byte)) == string(row[sessionUser].([]byte)) {
				return row[sessionReason] == nil && row[sessionEpoch] == u[userEpoch] && u[userDisabled] == int64(0)
			}
		}
	}
	return false
}

func (w *town) alive(h *held) (all string) {
	for _, one := range []struct {
		name string
		s    id.Session
	}{{"a1 ", w.a1}, {"a2 ", w.a2}, {"old ", w.old}, {"b1 ", w.b1}} {
		if stands(h, one.s) {
			all += one.name
		}
	}
	return all
}

func end(kind feed.Kind, key string, epoch uint32, reason fault.Reason) feed.Entry {
	return feed.Entry{Position: 8, Kind: kind, Key: key, Epoch: epoch, Reason: reason, At: made.Add(time.Minute), Until: hour.Add(time.Minute)}
}

func TestFloor(t *testing.T) {
	w := newTown(t)
	except := end(feed.Subject, w.anna.String(), 5, fault.PasswordChanged)
	except.ExceptSID = w.ring.SID(w.a2)
	for _, c := range []struct {
		name  string
		floor Floor
		alive string
		did   Did
	}{
		{"nothing ended", Floor{}, "a1 a2 b1 ", Did{}},
		{"a phone was signed out", Floor{Ends: []feed.Entry{end(feed.Session, w.ring.SID(w.a1), 0, fault.SignedOut)}}, "a2 b1 ", Did{Sessions: 1}},
		{"signed out everywhere", Floor{Ends: []feed.Entry{end(feed.Subject, w.anna.String(), 5, fault.Everywhere)}}, "b1 ", Did{Accounts: 1}},
		{"a password was changed", Floor{Ends: []feed.Entry{except}}, "a2 b1 ", Did{Accounts: 1, Passwords: 1}},
		{"everywhere after that", Floor{Ends: []feed.Entry{end(feed.Subject, w.anna.String(), 6, fault.Everywhere), except}}, "b1 ", Did{Accounts: 1, Passwords: 1}},
		{"an end that the backup knows", Floor{Ends: []feed.Entry{end(feed.Subject, w.anna.String(), 4, fault.Everywhere)}}, "a1 a2 b1 ", Did{}},
		{"disabled", Floor{Ends: []feed.Entry{end(feed.Subject, w.ben.String(), 2, fault.Disabled)}}, "a1 a2 ", Did{Accounts: 1}},
		{"deleted", Floor{Ends: []feed.Entry{end(feed.Subject, w.ben.String(), 2, fault.Deleted)}}, "a1 a2 ", Did{Accounts: 1}},
		{"a client was stopped", Floor{Ends: []feed.Entry{end(feed.Client, "app", 0, fault.ClientStopped)}}, "a1 a2 b1 ", Did{Clients: 1}},
		{"what is not there", Floor{Ends: []feed.Entry{end(feed.Session, w.ring.SID(id.NewSession()), 0, fault.SignedOut),
			end(feed.Subject, id.NewUser().String(), 9, fault.Everywhere), end(feed.Client, "other", 0, fault.ClientStopped), end(feed.Key, "other", 0, fault.KeyCompromise)}},
			"a1 a2 b1 ", Did{}},
		{"everybody", Floor{Everybody: true}, "", Did{Accounts: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, did := w.after(t, c.floor)
			if alive := w.alive(h); alive != c.alive || did != c.did {
				t.Errorf("alive: %q, want %q; did %+v, want %+v", alive, c.alive, did, c.did)
			}
			hold(t, w, h)
		})
	}
}

// hold checks what holds after any restore.
func hold(t *testing.T, w *town, h *held) {
	t.Helper()
	began := map[string][]int64{}
	for _, row := range h.rows["user_epoch"] {
		u := string(row[0].([]byte))
		if slices.Contains(began[u], row[1].(int64)) {
			t.Errorf("epoch %d began twice", row[1])
		}
		began[u] = append(began[u], row[1].(int64))
	}
	for i, u := range h.rows["user"] {
		if u[userEpoch].(int64) < w.rows["user"][i][userEpoch].(int64)+EpochLeap {
			t.Errorf("an epoch is %d after %d: an old access token could pass", u[userEpoch], w.rows["user"][i][userEpoch])
		}
	}
	for _, s := range h.rows["session"] {
		for _, u := range h.rows["user"] {
			behind := s[sessionEpoch].(int64) < u[userEpoch].(int64)
			if string(u[userID].([]byte)) == string(s[sessionUser].([]byte)) && behind &&
				!slices.Contains(began[string(u[userID].([]byte))], s[sessionEpoch].(int64)+1) {
				t.Errorf("nobody can say why the session of epoch %d is over", s[sessionEpoch])
			}
		}
	}
	if head := h.rows["record_head"]; len(head) != 1 || head[0][0].(int64) < 7+PositionLeap {
		t.Errorf("the record goes on at %v: followers that saw more would miss entries", head)
	}
}

func TestFloorKeepsNothingOfTheDeleted(t *testing.T) {
	w := newTown(t)
	h, _ := w.after(t, Floor{Ends: []feed.Entry{end(feed.Subject, w.ben.String(), 2, fault.Deleted)}})
	ben := h.rows["user"][1]
	if ben[userGone] != int64(1) || ben[userHash] != "" || len(h.rows["login"]) != 1 {
		t.Errorf("what is left of the account: %v, names %v", ben, h.rows["login"])
	}
}

// TestFloorDropsKeys restores a backup that has a key which was compromised later.
func TestFloorDropsKeys(t *testing.T) {
	w := newTown(t)
	var kid string
	for _, row := range w.rows["wrapped_key"] {
		if row[1] == string(key.Sign) && row[4] == string(key.Current) {
			kid = row[3].(string)
		}
	}
	h, did := w.after(t, Floor{Ends: []feed.Entry{end(feed.Key, kid, 0, fault.KeyCompromise)}})
	if did.Keys != 1 {
		t.Errorf("%d keys were dropped", did.Keys)
	}
	store := &heldKeys{rows: key.Rows{Version: uint64(h.rows["key_roll"][0][0].(int64)), Roll: h.rows["key_roll"][0][1].([]byte)}}
	for _, row := range h.rows["wrapped_key"] {
		if row[3] == kid {
			t.Error("the compromised key is back")
		}
		store.rows.Keys = append(store.rows.Keys, key.Row{ID: uint32(row[0].(int64)), Purpose: key.Purpose(row[1].(string)), Alg: row[2].(string), KID: row[3].(string),
			State: key.State(row[4].(string)), Wrapped: row[5].([]byte), CreatedAt: fromMillis(row[6].(int64)), ActiveAt: fromMillis(row[7].(int64)), RetiredAt: fromMillis(row[8].(int64))})
	}
	ring, err := key.Open(context.Background(), store, w.root, options())
	if err != nil {
		t.Fatal(err)
	}
	if ring.SID(w.a1) != w.ring.SID(w.a1) {
		t.Error("sessions have other names now")
	}
}

// TestFloorTellsFollowers: what ended and has not expired is in the record again.
func TestFloorTellsFollowers(t *testing.T) {
	w := newTown(t)
	expired := end(feed.Token, "expired", 0, fault.SignedOut)
	expired.Until = hour
	h, _ := w.after(t, Floor{Ends: []feed.Entry{end(feed.Token, "jti", 0, fault.SignedOut), expired}})
	if rows := h.rows["revocation"]; len(rows) != 1 || rows[0][2] != "jti" || rows[0][0].(int64) <= PositionLeap {
		t.Errorf("the record is %v", rows)
	}
}

// TestFloorAfterARestore: the same backup was restored before, and the database it made
// gave out positions behind the leap. They are not given out again.
func TestFloorAfterARestore(t *testing.T) {
	w := newTown(t)
	last := end(feed.Session, w.ring.SID(w.a1), 0, fault.SignedOut)
	last.Position, last.Until = 7+PositionLeap+3, hour // it has expired
	h, _ := w.after(t, Floor{Ends: []feed.Entry{last}})
	if head := h.rows["record_head"][0][0].(int64); head <= last.Position {
		t.Errorf("the record goes on at %d, and %d was given out", head, last.Position)
	}
}
