package sqlite

import (
	"context"
	"slices"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Open implements session.Store. All reasons to refuse are looked for before
// the first write.
func (s Sessions) Open(ctx context.Context, o session.Opening) error {
	return s.db.writer.write(ctx, func(c *conn) error {
		user, err := mayOpen(c, o)
		if err != nil {
			return err
		}
		for _, ch := range o.Replaces {
			if n, err := replaceSession(c, ch.Next); err != nil || n != 1 {
				return orCorrupt(err)
			}
			if err := account(c, ch.Entries, ch.Audit); err != nil {
				return err
			}
		}
		if err := insertSession(c, user, o.Session); err != nil {
			return err
		}
		return tell(c, o.Audit)
	})
}

// mayOpen finds the owner, or the reason why a session cannot be opened: the
// owner is gone or was signed out everywhere since the credential was verified,
// the id is in use, a row to replace changed, or another session of the install
// stands.
func mayOpen(c *conn, o session.Opening) (user int64, err error) {
	user, epoch, err := standingUser(c, o.Session.User)
	if err != nil {
		return 0, err
	}
	if user == 0 || epoch > o.Session.Epoch {
		return 0, refuse(session.ErrChanged)
	}
	key, _ := halves(o.Session.ID)
	taken, err := c.number("SELECT 1 FROM session WHERE key = ?", key)
	if err != nil {
		return 0, err
	}
	if taken != 0 {
		return 0, refuse(session.ErrChanged)
	}
	for _, ch := range o.Replaces {
		key, tail := halves(ch.Next.ID)
		version, err := c.number("SELECT version FROM session WHERE key = ? AND tail = ?", key, tail)
		if err != nil {
			return 0, err
		}
		if version == 0 || uint64(version) != ch.Next.Version-1 {
			return 0, refuse(session.ErrChanged)
		}
	}
	if !o.Session.Device.HasInstall() {
		return user, nil
	}
	stands, err := installsStanding(c, user, o.Session)
	if err != nil {
		return 0, err
	}
	for _, other := range stands {
		replaced := slices.ContainsFunc(o.Replaces, func(ch session.Change) bool { return ch.Next.ID == other && ch.Next.EndReason != "" })
		if !replaced {
			return 0, refuse(session.ErrChanged)
		}
	}
	return user, nil
}

// standingUser finds an account that is not gone; its number is 0 if there is
// none.
func standingUser(c *conn, u id.User) (ref int64, epoch uint32, err error) {
	_, err = c.one("SELECT ref, epoch FROM user WHERE id = ? AND gone = 0", []any{u[:]}, func(r row) error {
		ref, epoch = r.int(0), uint32(r.int(1))
		return nil
	})
	return ref, epoch, err
}

// whereInstall selects the sessions of one install that are not marked ended.
// A user has few sessions, so they are found by user and told apart by the
// install in the facts (pack.go: the 16 bytes after the head).
const whereInstall = ` s.user = ? AND s.ended_at IS NULL AND substr(s.facts, 2, 16) = ? AND c.id = ?`

// installsStanding lists the sessions of s's install that are not marked ended.
func installsStanding(c *conn, user int64, s session.Session) (all []id.Session, err error) {
	err = c.each(context.Background(), `SELECT s.key, s.tail FROM session s JOIN terms t ON t.ref = s.terms JOIN client c ON c.ref = t.client WHERE`+whereInstall,
		[]any{user, s.Device.Install[:], string(s.Client)}, func(r row) error {
			one, err := joined(r.int(0), r.blob(1))
			all = append(all, one)
			return err
		})
	return all, err
}

func insertSession(c *conn, user int64, s session.Session) error {
	terms, err := termsOf(c, s)
	if err != nil {
		return err
	}
	var parent any
	if !s.Parent.IsZero() {
		parent, _ = halves(s.Parent)
	}
	ended, reason := endColumns(s)
	key, tail := halves(s.ID)
	_, err = c.run(`INSERT INTO session (key, tail, version, epoch, user, terms, used_at, created_at, ended_at, end_reason, parent, facts, chain)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		key, tail, s.Version, s.Epoch, user, terms, session.Millis(s.UsedAt), session.Millis(s.CreatedAt), ended, reason, parent,
		packFacts(s), session.EncodeChain(s.Chain, s.UsedAt))
	return err
}

// EndAll implements session.Store.
func (s Sessions) EndAll(ctx context.Context, e session.Everywhere) (epoch uint32, err error) {
	err = s.db.writer.write(ctx, func(c *conn) error {
		user, was, err := standingUser(c, e.User)
		if err != nil {
			return err
		}
		if user == 0 {
			return refuse(session.ErrNotFound)
		}
		epoch = was + 1
		if _, err := c.run("UPDATE user SET epoch = ? WHERE ref = ?", epoch, user); err != nil {
			return err
		}
		return s.db.epochMoved(c, user, epoch, e)
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

// epochMoved writes down what follows from a user's new epoch: its reason, the
// entry for followers, and the epoch of the session that stays. A session that
// was behind already stays behind, whoever names it.
func (db *DB) epochMoved(c *conn, user int64, epoch uint32, e session.Everywhere) error {
	at := db.time()
	if _, err := c.run("INSERT INTO user_epoch (user, epoch, reason, at) VALUES (?, ?, ?, ?)", user, epoch, string(e.Reason), session.Millis(at)); err != nil {
		return err
	}
	if !e.Except.IsZero() {
		key, tail := halves(e.Except)
		// The version moves too: whoever loaded this session before must look again.
		_, err := c.run("UPDATE session SET epoch = ?, version = version + 1 WHERE key = ? AND tail = ? AND user = ? AND epoch = ?",
			epoch, key, tail, user, epoch-1)
		if err != nil {
			return err
		}
	}
	return account(c, []feed.Entry{{Kind: feed.Subject, Key: e.User.String(), Epoch: epoch, ExceptSID: e.ExceptSID,
		Reason: e.Reason, At: at, Until: at.Add(e.EntryLife)}}, e.Audit)
}

// orCorrupt is the error of a statement that changed another number of rows
// than a look in the same transaction had found.
func orCorrupt(err error) error {
	if err == nil {
		err = fault.New(fault.Internal, "the database contradicts itself; run a check")
	}
	return err
}
