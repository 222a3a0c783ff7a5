package archive

import (
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
)

// user raises an account to what its ends say.
func (f *Floor) user(row Row) Row {
	u := id.User(row[userID].([]byte))
	was := uint32(integer(row[userEpoch]))
	is := was
	var later []feed.Entry
	for _, e := range f.users[u] {
		if e.Epoch <= was { // the backup knows of it
			continue
		}
		later, is = append(later, e), e.Epoch
		switch e.Reason {
		case fault.Disabled:
			row[userDisabled] = int64(1)
		case fault.Deleted:
			f.gone[u] = true
		case fault.PasswordChanged, fault.PasswordReset:
			// The password of the backup is the one that was given up. The new one is
			// not known here, so that only the way over a reset is left.
			if row[userHash] != "" {
				row[userHash] = ""
				f.Did.Passwords++
			}
		}
	}
	if f.Everybody && row[userGone] == int64(0) {
		is++
		later = append(later, feed.Entry{Kind: feed.Subject, Key: u.String(), Epoch: is, Reason: fault.Operator, At: f.Now, Until: f.Now})
	}
	if f.gone[u] {
		row = blank(u, row)
	}
	if len(later) > 0 { // nothing is kept in mind of all the others
		f.Did.Accounts++
		f.raised[u] = raise{was: was, is: is, entries: later}
	}
	row[userEpoch] = int64(is) + EpochLeap
	row[userVersion] = integer(row[userVersion]) + EpochLeap
	return row
}

// blank is what stays of a deleted account.
func blank(u id.User, was Row) Row {
	row := make(Row, len(was))
	for i, c := range tableUser.Columns {
		row[i] = c.zero()
	}
	row[userID], row[userVersion] = was[userID], was[userVersion]
	row[userDisabled], row[userGone] = int64(1), int64(1)
	return row
}

// epochs puts, once, why the epochs of raised accounts began: before the first
// session. Sessions that are behind look for the epoch after their own.
func (f *Floor) epochs(put func(*Table, Row) error) error {
	if f.told {
		return nil
	}
	f.told = true
	for u, r := range f.raised {
		said := r.was
		for _, e := range r.entries {
			if said == r.was && e.Epoch != r.was+1 { // what came between is not known
				if err := put(tableEpoch, Row{u[:], int64(r.was) + 1 + EpochLeap, string(e.Reason), millis(e.At)}); err != nil {
					return err
				}
			}
			if e.Epoch == said { // two entries about one epoch
				continue
			}
			if err := put(tableEpoch, Row{u[:], int64(e.Epoch) + EpochLeap, string(e.Reason), millis(e.At)}); err != nil {
				return err
			}
			said = e.Epoch
		}
	}
	return nil
}

// client stops a client that was stopped.
func (f *Floor) client(row Row) Row {
	if integer(row[1]) == 0 {
		return row
	}
	row[1] = integer(row[1]) + EpochLeap
	if _, ends := f.clients[row[0].(string)]; ends && row[2] == int64(0) {
		row[2] = int64(1)
		f.Did.Clients++
	}
	return row
}

// session ends a session that ended. Its epoch leaps as its owner's does, so that
// one that stands goes on standing, and one that is behind stays behind.
func (f *Floor) session(row Row) Row {
	which := id.Session(row[sessionID].([]byte))
	row[sessionVersion] = integer(row[sessionVersion]) + EpochLeap
	if e, ends := f.sessions[which]; ends && row[sessionEnded] == nil {
		row[sessionEnded], row[sessionReason] = millis(e.At), string(e.Reason)
		f.Did.Sessions++
	}
	epoch := integer(row[sessionEpoch])
	if r, raised := f.raised[id.User(row[sessionUser].([]byte))]; raised && epoch == int64(r.was) && f.stays(which, r.entries) {
		epoch = int64(r.is)
	}
	row[sessionEpoch] = epoch + EpochLeap
	return row
}

// stays reports whether a session is the one that each of its owner's ends leaves.
func (f *Floor) stays(which id.Session, entries []feed.Entry) bool {
	sid := f.namer.SID(which)
	for _, e := range entries {
		if e.ExceptSID == "" || e.ExceptSID != sid {
			return false
		}
	}
	return true
}

func integer(v any) int64 { n, _ := v.(int64); return n }
func blob(v any) []byte   { b, _ := v.([]byte); return append([]byte(nil), b...) }

// orNull is NULL for nothing.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// Times are kept in whole milliseconds, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
