package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// The position of an event is its time in milliseconds and positionBits random
// ones: unique without a sequence, and in order of time for whoever reads
// backwards. Two events of one millisecond that draw the same number meet at the
// primary key, and the change is sent again with another draw. Nobody follows the
// audit forwards; whoever comes to do so needs what the record has.
const (
	positionBits    = 20
	auditPrimaryKey = "audit_pkey"
)

func firstPosition(at time.Time) int64 { return session.Millis(at) << positionBits }

// accountFor is the part of a statement that writes what a change tells followers
// and what it tells people. It writes nothing when the part named from is empty.
// Its parameters begin at $n and are accountArgs: arrays, one for each column. An
// entry that says nothing beyond a recorded one is not written again; two that
// are written at the same moment may both be there, which a set does not mind.
func accountFor(from string, n int) string {
	p := func(i int, kind string) string { return fmt.Sprintf("$%d::%s[]", n+i, kind) }
	entries := []string{p(0, "text"), p(1, "text"), p(2, "bigint"), p(3, "text"), p(4, "text"), p(5, "bigint"), p(6, "bigint")}
	events := []string{p(7, "bigint"), p(8, "bigint"), p(9, "text"), p(10, "text"), p(11, "text"), p(12, "text"), p(13, "text"), p(14, "uuid"),
		p(15, "text"), p(16, "text"), p(17, "text"), p(18, "text"), p(19, "text")}
	return `entries AS (
 INSERT INTO revocation (written, kind, key, epoch, except_sid, reason, at, until)
 SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint, e.kind, e.key, e.epoch, e.except_sid, e.reason, e.at, e.until
 FROM ` + from + `, unnest(` + strings.Join(entries, ", ") + `) AS e (kind, key, epoch, except_sid, reason, at, until)
 WHERE NOT EXISTS (SELECT 1 FROM revocation r WHERE r.key = e.key AND r.kind = e.kind AND r.epoch >= e.epoch AND r.except_sid = e.except_sid AND r.until >= e.until)
), events AS (
 INSERT INTO audit (position, at, name, actor, actor_id, via, address, account, client, sid, object, reason, details)
 SELECT e.* FROM ` + from + `, unnest(` + strings.Join(events, ", ") + `) AS e
)`
}

// accountArgs are the parameters of accountFor.
func accountArgs(entries []feed.Entry, events []audit.Event) []any {
	var kinds, keys, excepts, reasons []string
	var epochs, ats, untils []int64
	for _, e := range entries {
		kinds, keys, epochs = append(kinds, string(e.Kind)), append(keys, e.Key), append(epochs, int64(e.Epoch))
		excepts, reasons = append(excepts, e.ExceptSID), append(reasons, string(e.Reason))
		ats, untils = append(ats, session.Millis(e.At)), append(untils, session.Millis(e.Until))
	}
	return append([]any{kinds, keys, epochs, excepts, reasons, ats, untils}, eventArgs(events)...)
}

func eventArgs(events []audit.Event) []any {
	var positions, ats []int64
	var names, actors, actorIDs, vias, addresses, clients, sids, objects, reasons, details []string
	var accounts []*[id.Size]byte
	draw := rand.Int64N(1<<positionBits - int64(len(events)%(1<<positionBits)))
	for i, e := range events {
		positions, ats = append(positions, firstPosition(e.At)+draw+int64(i)), append(ats, session.Millis(e.At))
		names, actors, actorIDs = append(names, string(e.Name)), append(actors, string(e.Who.Actor)), append(actorIDs, e.Who.ID)
		vias = append(vias, string(e.Who.Via))
		address := ""
		if e.Who.From.IsValid() {
			address = e.Who.From.String()
		}
		var account *[id.Size]byte
		if !e.User.IsZero() {
			account = (*[id.Size]byte)(&e.User)
		}
		addresses, accounts, clients = append(addresses, address), append(accounts, account), append(clients, string(e.Client))
		sids, objects, reasons = append(sids, e.SID), append(objects, e.Object), append(reasons, string(e.Reason))
		details = append(details, e.EncodeDetails())
	}
	return []any{positions, ats, names, actors, actorIDs, vias, addresses, accounts, clients, sids, objects, reasons, details}
}

// Add implements audit.Store.
func (a Audit) Add(ctx context.Context, e audit.Event) error {
	return a.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, recordOne, accountArgs(nil, []audit.Event{e})...)
		return err
	})
}

// Find implements audit.Store. The index on account serves a user's own page; an
// operator's other filters read backwards until the page is full.
func (a Audit) Find(ctx context.Context, q audit.Query) (all []audit.Event, err error) {
	w := &where{}
	if !q.User.IsZero() {
		w.and("account = ?", [id.Size]byte(q.User))
	}
	if q.Client != "" {
		w.and("client = ?", string(q.Client))
	}
	if q.SID != "" {
		w.and("sid = ?", q.SID)
	}
	if q.Name != "" {
		w.and("name = ?", string(q.Name))
	}
	if q.From.IsValid() {
		w.and("address = ?", q.From.String())
	}
	if !q.Until.IsZero() {
		w.and("position < ?", firstPosition(q.Until))
	}
	if q.Before > 0 {
		w.and("position < ?", q.Before)
	}
	text := `SELECT position, at, name, actor, actor_id, via, address, account, client, sid, object, reason, details FROM audit` +
		w.text() + " ORDER BY position DESC LIMIT " + w.arg(max(q.Limit, 0))
	err = a.db.longRead(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, text, w.args...)
		if err != nil {
			return err
		}
		all, err = collect(rows, scanEvent)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func scanEvent(row pgx.CollectableRow) (e audit.Event, err error) {
	var at int64
	var name, actor, via, address, client, reason, details string
	var account *[id.Size]byte
	err = row.Scan(&e.Position, &at, &name, &actor, &e.Who.ID, &via, &address, &account, &client, &e.SID, &e.Object, &reason, &details)
	if err != nil {
		return e, err
	}
	e.At, e.Name, e.Client, e.Reason = session.FromMillis(at), audit.Name(name), id.Client(client), fault.Reason(reason)
	e.Who.Actor, e.Who.Via = audit.Actor(actor), id.Client(via)
	if account != nil {
		e.User = *account
	}
	if address != "" {
		if e.Who.From, err = netip.ParseAddr(address); err != nil {
			return e, err
		}
	}
	e.Details, err = audit.DecodeDetails(details)
	return e, err
}

// Forget implements audit.Store. Positions rise with time, so the oldest rows are
// the first ones.
func (a Audit) Forget(ctx context.Context, before time.Time, limit int) (forgotten int, err error) {
	return a.db.inBatches(ctx, limit, `DELETE FROM audit WHERE position IN
 (SELECT position FROM audit WHERE position < $1 ORDER BY position LIMIT $2 FOR UPDATE SKIP LOCKED)`, firstPosition(before))
}
