package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast.example/bench/drive"
	"holdfast.example/bench/proctree"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/store/postgres"
	"holdfast.example/internal/user"
)

// statements runs the two statements of a refresh straight through pgx: the text,
// the schema, the plans and the size of the pool are the house's. It reads every
// column and decodes none.
type statements struct {
	pool *pgxpool.Pool
	// free are the rows that nobody is at: two callers at one row would measure
	// how they wait for each other.
	free chan *session.Session
}

// prepareWait bounds the preparation.
const prepareWait = time.Minute

// openStatements makes an account and so many sessions in a database, through the
// house's own store, which it closes again.
func openStatements(url string, rows, conns int) (*statements, error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareWait)
	defer cancel()
	if url == "" || rows < 1 || conns < 1 {
		return nil, errors.New("statements and bare need -database URL, and at least one row and one connection")
	}
	db, err := postgres.Open(ctx, secret.New(url), postgres.Options{})
	if err != nil {
		return nil, err
	}
	s := &statements{free: make(chan *session.Session, rows)}
	err = errors.Join(s.fill(ctx, db, rows), db.Close())
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = int32(conns), min(int32(conns), postgres.WarmConns)
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan" // as the house does
	s.pool, err = pgxpool.NewWithConfig(context.Background(), config)
	return s, err
}

// fill opens sessions as long as they are after some refreshes.
func (s *statements) fill(ctx context.Context, db *postgres.DB, rows int) error {
	at := time.Now().Truncate(time.Millisecond).Add(-24 * time.Hour)
	owner := user.User{ID: id.NewUser(), Epoch: 1, Version: 1, Username: "floor" + strings.ToLower(rand.Text()), CreatedAt: at, UpdatedAt: at}
	err := db.Users().Create(ctx, owner, nil)
	if err != nil {
		return err
	}
	for range rows {
		one := session.Session{ID: id.NewSession(), User: owner.ID, Client: "floor", Epoch: 1, Scope: scope, Grant: "password", AMR: "pwd",
			AuthTime: at, CreatedAt: at, UsedAt: at, Version: 1, Chain: session.Chain{Newest: 1, First: 1, IssuedAt: at}}
		one.Device.Name, one.Device.Model, one.Device.System, one.Device.App = "Pixel 8 Pro", "GP4BC", "Android 16", "5.12.1"
		err := db.Sessions().Open(ctx, session.Opening{Session: one})
		if err != nil {
			return err
		}
		for k := range session.MaxUses {
			at := at.Add(time.Duration(k+1) * time.Hour)
			next, v := one.Refresh(session.Presented{Client: one.Client, Generation: one.Chain.Newest, Genuine: true, IssuedAt: at}, session.Standing{}, session.Policy{Rotate: true}, at)
			if v.Answer != session.Rotated {
				return fmt.Errorf("a session was not refreshed but %v", v.Answer)
			}
			one = next
		}
		s.free <- &one
	}
	return nil
}

// touch runs both statements for a row that nobody is at.
func (s *statements) touch(string, time.Time) error {
	row := <-s.free
	defer func() { s.free <- row }()
	ctx := context.Background()
	next := *row
	next.Version++
	load, replace, args := postgres.RefreshStatements(next)
	rows, err := s.pool.Query(ctx, load, [id.Size]byte(row.ID))
	if err != nil {
		return err
	}
	found := 0
	for rows.Next() {
		found += len(rows.RawValues())
	}
	if err := rows.Err(); err != nil || found == 0 {
		return errors.Join(err, errors.New("no row"))
	}
	tag, err := s.pool.Exec(ctx, replace, args...)
	if err == nil && tag.RowsAffected() != 1 {
		err = pgx.ErrNoRows
	}
	if err == nil {
		*row = next
	}
	return err
}

func (s *statements) close() error { s.pool.Close(); return nil }

// bare runs touch in so many loops at once, and prints what that costs this
// process and others, those of the database, as one line of JSON.
func bare(s *statements, loops int, warm, length time.Duration, database string) error {
	pid, err := strconv.Atoi(database)
	if err != nil {
		return fmt.Errorf("-pid is no process id: %w", err)
	}
	var phase atomic.Int32 // 0 warming, 1 measured, 2 over
	var all sync.WaitGroup
	counts, failed := make([]int64, loops), make([]error, loops)
	for i := range loops {
		all.Go(func() {
			for phase.Load() < 2 && failed[i] == nil {
				failed[i] = s.touch("", time.Time{})
				if phase.Load() == 1 {
					counts[i]++
				}
			}
		})
	}
	time.Sleep(warm)
	before, err := proctree.Read(os.Getpid())
	theirs, failedToo := proctree.Read(pid)
	began := time.Now()
	phase.Store(1)
	time.Sleep(length)
	phase.Store(2)
	took := time.Since(began)
	after, failedThen := proctree.Read(os.Getpid())
	theirsAfter, failedLast := proctree.Read(pid)
	all.Wait()
	if err = errors.Join(err, failedToo, failedThen, failedLast, errors.Join(failed...)); err != nil {
		return err
	}
	r := drive.Result{Scenario: drive.Refresh, Connections: loops, Seconds: took.Seconds()}
	for _, n := range counts {
		r.Operations += n
	}
	r.Rotated, r.PerSecond = r.Operations, float64(r.Operations)/took.Seconds()
	per := float64(max(r.Operations, 1)) * float64(time.Millisecond)
	r.Apart = float64(theirsAfter.CPU-theirs.CPU) / per
	r.CPU = float64(after.CPU-before.CPU)/per + r.Apart
	return json.NewEncoder(os.Stdout).Encode(r)
}
