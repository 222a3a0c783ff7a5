// Command seed fills the embedded database of a server that does not run with
// accounts and signed-in devices, through the server's own store, to measure a
// server that has been in use for years:
//
//	seed -db holdfast-data/holdfast.db -client demo-native -sessions 1000000
//
// or a PostgreSQL database on which the server may run meanwhile:
//
//	seed -database URL -root root.secret -client demo-native -sessions 10000000 -tokens FILE
//
// which also writes refresh tokens of devices that lie scattered in the table.
//
// For a file it prints how many bytes the file has before, with the accounts, and with the
// sessions too. It gives up durability for speed, so a power failure while it runs leaves a
// database to throw away.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/user"
)

func main() {
	var p plan
	flag.StringVar(&p.file, "db", "", "database file; the server made it and does not run")
	flag.StringVar(&p.client, "client", "demo-native", "client the sessions are of")
	flag.IntVar(&p.sessions, "sessions", 1_000_000, "devices to sign in")
	flag.IntVar(&p.users, "users", 500_000, "accounts that own them, two devices each by default")
	flag.IntVar(&p.refreshes, "refreshes", 6, "refreshes that each device has behind it, an hour apart")
	var q postgresPlan
	flag.StringVar(&q.url, "database", "", "PostgreSQL database; the server made its schema and keys")
	flag.StringVar(&q.root, "root", "", "file with the server's root secret")
	flag.StringVar(&q.tokens, "tokens", "", "write refresh tokens of -devices of the sessions to this file")
	flag.IntVar(&q.devices, "devices", 10_000, "how many tokens")
	flag.BoolVar(&q.rewrite, "rewrite", false, "refresh in the database, a row at a time as hours would, instead of writing rows that have been refreshed")
	flag.BoolVar(&q.logins, "logins", false, "also write the two logins of each account")
	flag.Parse()
	fill := p.fill
	if q.url != "" {
		q.plan = p
		fill = q.fill
	}
	err := fill()
	if err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
}

type plan struct {
	file, client               string
	sessions, users, refreshes int
	now                        time.Time
}

// fill writes the accounts, then the devices. The file is closed after each, so
// that its size says what they take.
func (p plan) fill() error {
	if p.file == "" || p.users < 1 || p.sessions < 1 {
		return errors.New("name the database with -db, and at least one user and one session")
	}
	p.now = time.Now()
	owners := make([]id.User, p.users)
	for _, step := range []func(*sqlite.DB) error{
		func(*sqlite.DB) error { return nil },
		func(db *sqlite.DB) error {
			return many(p.users, func(i int) error {
				u := p.user(i)
				owners[i] = u.ID
				return db.Users().Create(context.Background(), u, nil)
			})
		},
		func(db *sqlite.DB) error {
			return many(p.sessions, func(i int) error {
				return db.Sessions().Open(context.Background(), session.Opening{Session: p.session(i, owners[i%len(owners)])})
			})
		},
	} {
		err := p.with(step)
		if err != nil {
			return err
		}
		info, err := os.Stat(p.file)
		if err != nil {
			return err
		}
		fmt.Println(info.Size())
	}
	return nil
}

// with opens the database for one step.
func (p plan) with(step func(*sqlite.DB) error) error {
	db, err := sqlite.Open(p.file, sqlite.Options{Now: time.Now, Synchronous: sqlite.Off, LoseAcknowledged: true})
	if err != nil {
		return err
	}
	return errors.Join(step(db), db.Close())
}

// atOnce is how many operations wait for the store at once: a full batch of it.
const atOnce = sqlite.MaxBatch

// many calls do for 0..n-1 on many goroutines, until the first error.
func many(n int, do func(int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for range atOnce {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := do(i)
				if err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	all.Wait()
	return first
}

// user is an account as a person makes one. Nobody signs in to it: the hash is
// one of the right length and no password.
func (p plan) user(i int) user.User {
	return user.User{ID: id.NewUser(), Epoch: 1, Version: 1, CreatedAt: p.now, UpdatedAt: p.now,
		Username: fmt.Sprintf("person%d", i), Email: fmt.Sprintf("person%d@example.com", i), EmailVerified: true,
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$" + text(22) + "$" + text(43)}
}

// text is random base64.
func text(n int) string {
	t := rand.Text()
	for len(t) < n {
		t += rand.Text()
	}
	return t[:n]
}

// models are phones of today, so that what apps tell about themselves has the
// length that it has.
var models = []session.Device{
	{Name: "Pixel 8 Pro", Model: "GP4BC", System: "Android 16", App: "5.12.1"},
	{Name: "Nora's iPhone", Model: "iPhone16,2", System: "iOS 26.1", App: "5.12.0"},
	{Name: "Galaxy A54", Model: "SM-A546B", System: "Android 15", App: "5.11.3"},
}

// session is a device that was signed in some weeks ago and has been refreshed
// since.
func (p plan) session(i int, owner id.User) session.Session {
	ago := time.Duration(i%1000+2*p.refreshes) * time.Hour // its last refresh is not in the future
	at := session.FromMillis(p.now.Add(-ago).UnixMilli())
	s := session.Session{ID: id.NewSession(), User: owner, Client: id.Client(p.client), Epoch: 1,
		Scope: "openid profile email offline_access read write", Grant: "password", AMR: "pwd",
		AuthTime: at, CreatedAt: at, UsedAt: at, Version: 1, Device: models[i%len(models)],
		Chain: session.Chain{Newest: 1, First: 1, IssuedAt: at}}
	rand.Read(s.Secret[:])
	rand.Read(s.Attempt[:])
	rand.Read(s.Device.Install[:])
	policy := session.Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * 24 * time.Hour}
	for k := range p.refreshes {
		at = at.Add(time.Hour + time.Duration((i+k)%100_000)*time.Millisecond)
		next, v := s.Refresh(session.Presented{Client: s.Client, Generation: s.Chain.Newest, Genuine: true, IssuedAt: at}, session.Standing{}, policy, at)
		if v.Answer == session.Rotated {
			s = next
			s.Version++
		}
	}
	return s
}
