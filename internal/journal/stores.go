package journal

import (
	"context"
	"errors"
	"slices"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// The stores here are those of a database; a change that ends something returns
// only when the journal has it, too. Changes that end nothing are not touched.

// Sessions wraps a session.Store.
func (j *Journal) Sessions(s session.Store) session.Store { return sessions{s, j} }

// Users wraps a user.Store.
func (j *Journal) Users(s user.Store) user.Store { return users{s, j} }

// Clients wraps a client.Store.
func (j *Journal) Clients(s client.Store) client.Store { return clients{s, j} }

// Keys wraps a key.Store.
func (j *Journal) Keys(s key.Store) key.Store { return keys{s, j} }

// Feed wraps a feed.Store.
func (j *Journal) Feed(s feed.Store) feed.Store { return record{s, j} }

// after syncs when a change was made that ends something.
func (j *Journal) after(ctx context.Context, err error, ends bool) error {
	if err != nil || !ends {
		return err
	}
	return j.Sync(ctx)
}

type sessions struct {
	session.Store
	j *Journal
}

// Replace implements session.Store.
func (s sessions) Replace(ctx context.Context, c session.Change) error {
	ends := len(c.Entries) > 0
	err := s.j.after(ctx, s.Store.Replace(ctx, c), ends)
	if err != nil && ends && !errors.Is(err, session.ErrChanged) {
		s.j.owed.add(c.Next.ID)
	}
	return err
}

// Load implements session.Store. An end that was not acknowledged is first brought
// into the journal, and so is one so young that another node may have failed to.
func (s sessions) Load(ctx context.Context, which id.Session) (session.Loaded, error) {
	l, err := s.Store.Load(ctx, which)
	if err == nil && l.Session.EndReason != "" && (s.j.owed.has(which) || s.j.mayLack(l.Session.EndedAt)) {
		err = s.j.Sync(ctx)
	}
	if err != nil {
		return session.Loaded{}, err
	}
	return l, nil
}

// Open implements session.Store. Whether a sign-in that replaced another session may be
// answered a second time is the Keeper's question (session.Keeper.Settled).
func (s sessions) Open(ctx context.Context, o session.Opening) error {
	ends := slices.ContainsFunc(o.Replaces, func(c session.Change) bool { return len(c.Entries) > 0 })
	err := s.j.after(ctx, s.Store.Open(ctx, o), ends)
	if err != nil && ends && !errors.Is(err, session.ErrChanged) {
		for _, c := range o.Replaces {
			s.j.owed.add(c.Next.ID)
		}
	}
	return err
}

// EndAll implements session.Store.
func (s sessions) EndAll(ctx context.Context, e session.Everywhere) (epoch uint32, err error) {
	epoch, err = s.Store.EndAll(ctx, e)
	return epoch, s.j.after(ctx, err, true)
}

type users struct {
	user.Store
	j *Journal
}

// Replace implements user.Store.
func (u users) Replace(ctx context.Context, c user.Change) error {
	err := u.j.after(ctx, u.Store.Replace(ctx, c), c.Ends != "")
	if err != nil && c.Ends != "" && !errors.Is(err, user.ErrChanged) {
		u.j.owed.add(c.Next.ID)
	}
	return err
}

// ByID implements user.Store. That an account is disabled is first brought into the
// journal when it was not acknowledged.
func (u users) ByID(ctx context.Context, which id.User) (user.User, error) {
	is, err := u.Store.ByID(ctx, which)
	if err == nil && is.Disabled && u.j.owed.has(which) {
		err = u.j.Sync(ctx)
	}
	if err != nil {
		return user.User{}, err
	}
	return is, nil
}

type clients struct {
	client.Store
	j *Journal
}

// Put implements client.Store.
func (cs clients) Put(ctx context.Context, c client.Change) error {
	return cs.j.after(ctx, cs.Store.Put(ctx, c), len(c.Entries) > 0)
}

// Delete implements client.Store.
func (cs clients) Delete(ctx context.Context, c id.Client, along client.Along) error {
	return cs.j.after(ctx, cs.Store.Delete(ctx, c, along), true)
}

type keys struct {
	key.Store
	j *Journal
}

// Replace implements key.Store.
func (k keys) Replace(ctx context.Context, next key.Rows) error {
	return k.j.after(ctx, k.Store.Replace(ctx, next), len(next.Entries) > 0)
}

type record struct {
	feed.Store
	j *Journal
}

// Record implements feed.Store.
func (r record) Record(ctx context.Context, e feed.Entry, events []audit.Event) error {
	return r.j.after(ctx, r.Store.Record(ctx, e, events), true)
}

// Forget implements feed.Store. Nothing is forgotten that the journal does not
// have.
func (r record) Forget(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := r.j.Sync(ctx); err != nil {
		return 0, err
	}
	return r.Store.Forget(ctx, now, limit)
}
