package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/store/postgres"
	"holdfast.example/internal/token"
)

// postgresPlan fills a PostgreSQL database by SQL: millions of rows in minutes.
type postgresPlan struct {
	plan
	url, root, tokens string
	devices           int
	rewrite, logins   bool
}

// Rows are written and refreshed in pieces, so that space comes free meanwhile.
const (
	insertPiece   = 500_000
	rewritePieces = 256
	// fillWait bounds all of it.
	fillWait = 2 * time.Hour
)

const (
	sqlAccounts = `INSERT INTO account (id, epoch, version, created_at, updated_at, number, disabled, gone, email_verified, staff, superuser,
 username, email, name, given_name, family_name, password_hash)
 SELECT md5('account ' || i)::uuid, 1, 1, $3, $3, 0, false, false, true, false, false, 'user-' || md5(i::text), 'user-' || md5(i::text) || '@example.com',
 'Nora Example', 'Nora', 'Example', '$argon2id$v=19$m=19456,t=2,p=1$' || repeat('s', 22) || '$' || repeat('h', 43)
 FROM generate_series($1::int, $2::int) i`
	sqlLogins = `INSERT INTO login (canonical, account)
 SELECT 'user-' || md5(i::text) || tail, md5('account ' || i)::uuid FROM generate_series($1::int, $2::int) i, unnest(ARRAY['', '@example.com']) tail`
	sqlSessions = `INSERT INTO session (id, account, version, epoch, used_at, created_at, auth_time, install, secret, attempt, client, scope, earned, amr, bound_to,
 device_name, device_model, device_system, device_app, chain)
 SELECT gen_random_uuid(), md5('account ' || 1 + i % $4::int)::uuid, $5, 1, $3 - (i % 1000 + 8) * 3600000::bigint, $3 - (i % 1000 + 32) * 3600000::bigint,
 $3 - (i % 1000 + 32) * 3600000::bigint, gen_random_uuid(), uuid_send(gen_random_uuid()), substr(uuid_send(gen_random_uuid()), 1, 8),
 $6, $7, 'password', 'pwd', '', (ARRAY['Pixel 8 Pro', 'Nora''s iPhone', 'Galaxy A54'])[1 + i % 3], (ARRAY['GP4BC', 'iPhone16,2', 'SM-A546B'])[1 + i % 3],
 (ARRAY['Android 16', 'iOS 26.1', 'Android 15'])[1 + i % 3], '5.12.1', $8 FROM generate_series($1::int, $2::int) i`
	sqlRefresh = `UPDATE session SET version = version + 1, used_at = used_at + 3600000, chain = $3 WHERE id >= $1 AND id < $2`
)

func (p postgresPlan) fill() error {
	if p.users < 1 || p.sessions < 1 {
		return errors.New("at least one user and one session")
	}
	p.now = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), fillWait)
	defer cancel()
	c, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return err
	}
	err = errors.Join(p.rows(ctx, c), c.Close(ctx))
	if err != nil || p.tokens == "" {
		return err
	}
	return p.mint(ctx)
}

// rows writes accounts and sessions, refreshes the sessions, and has the database
// collect its statistics.
func (p postgresPlan) rows(ctx context.Context, c *pgx.Conn) error {
	at := p.now.UnixMilli()
	chains := p.chains()
	begin := chains[len(chains)-1]
	if p.rewrite {
		begin = chains[0]
	}
	_, err := c.Exec(ctx, "SET synchronous_commit = off")
	exec := func(text string, args ...any) {
		if err == nil {
			_, err = c.Exec(ctx, text, args...)
		}
	}
	pieces(p.users, func(from, to int) {
		exec(sqlAccounts, from, to, at)
		if p.logins {
			exec(sqlLogins, from, to)
		}
	})
	pieces(p.sessions, func(from, to int) {
		exec(sqlSessions, from, to, at, p.users, 1, p.client, "openid profile email offline_access read write", begin)
	})
	exec("VACUUM ANALYZE") // as autovacuum does when it comes round
	if p.rewrite {
		for _, chain := range chains[1:] {
			for i := range rewritePieces {
				exec(sqlRefresh, border(i), border(i+1), chain)
			}
		}
	}
	exec("CHECKPOINT")
	return err
}

// pieces calls do for the first and the last of each piece of 1..n.
func pieces(n int, do func(from, to int)) {
	for from := 1; from <= n; from += insertPiece {
		do(from, min(n, from+insertPiece-1))
	}
}

// border divides all ids into rewritePieces; ids are random, so each piece lies
// scattered over the whole table.
func border(i int) (b [id.Size]byte) {
	if i == rewritePieces {
		return [id.Size]byte([]byte(strings.Repeat("\xff", id.Size)))
	}
	b[0] = byte(i)
	return b
}

// chains are refresh chains as they are kept after 0, 1, 2 ... refreshes.
func (p postgresPlan) chains() (all [][]byte) {
	for k := range p.refreshes + 1 {
		q := p.plan
		q.refreshes = k
		s := q.session(0, id.NewUser())
		all = append(all, session.EncodeChain(s.Chain, s.UsedAt))
	}
	return all
}

// mint writes refresh tokens of sessions that lie scattered over the table.
func (p postgresPlan) mint(ctx context.Context) error {
	root, err := key.ReadRootFile(p.root)
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, secret.New(p.url), postgres.Options{})
	if err != nil {
		return err
	}
	text, err := p.minted(ctx, db, root)
	err = errors.Join(err, db.Close())
	if err != nil {
		return err
	}
	return os.WriteFile(p.tokens, []byte(text), 0o600)
}

func (p postgresPlan) minted(ctx context.Context, db *postgres.DB, root key.Root) (string, error) {
	ring, err := key.Open(ctx, db.Keys(), root, key.Options{Algs: []string{"ES256", "RS256"}, LongestAccess: time.Hour, Now: time.Now})
	if err != nil {
		return "", err
	}
	c, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	// A little more than is needed, because a sample has no exact size.
	share := min(100, 120*float64(p.devices)/float64(p.sessions))
	rows, err := c.Query(ctx, "SELECT id FROM session TABLESAMPLE BERNOULLI ($1) LIMIT $2", share, p.devices)
	if err != nil {
		return "", err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[[id.Size]byte])
	if err != nil {
		return "", err
	}
	tokens := token.Refreshes{Keys: ring}
	var b strings.Builder
	for _, which := range all {
		l, err := db.Sessions().Load(ctx, which)
		if err != nil {
			return "", err
		}
		s := l.Session
		fmt.Fprintln(&b, tokens.Encode(s.ID, s.Secret, uint32(s.Chain.Newest), s.Chain.IssuedAt).Reveal())
	}
	return b.String(), nil
}
