package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

var benchDay = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// phone is a session as a phone app opens it, with everything it may tell.
func phone(u id.User) session.Session {
	at := benchDay.Add(-time.Duration(rand.IntN(1000)) * time.Hour)
	s := session.Session{
		ID: id.NewSession(), User: u, Client: "demo-native", Epoch: 1, Scope: "openid profile email offline_access read write",
		Grant: "authorization_code", AMR: "pwd", AuthTime: at, CreatedAt: at, UsedAt: at, Version: 1,
		Device: session.Device{Name: "Pixel 8 Pro", Model: "GP4BC", System: "Android 16", App: "5.12.1"},
		Chain:  session.Chain{Newest: 1, First: 1, IssuedAt: at},
	}
	for i := range 16 {
		s.Secret[i], s.Device.Install[i] = byte(rand.Uint32()), byte(rand.Uint32())
	}
	for i := range 8 {
		s.Attempt[i] = byte(rand.Uint32())
	}
	return s
}

// refreshed is s after one more hour and one more refresh.
func refreshed(s session.Session) session.Session {
	pol := session.Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * 24 * time.Hour}
	now := s.UsedAt.Add(time.Hour + time.Duration(rand.IntN(100_000))*time.Millisecond)
	next, v := s.Refresh(session.Presented{Client: s.Client, Generation: s.Chain.Newest, Genuine: true, IssuedAt: now}, session.Standing{}, pol, now)
	if v.Answer != session.Rotated {
		panic("not rotated: " + v.Answer.String())
	}
	next.Version++
	return next
}

// mature is a phone after so many hours.
func mature(u id.User, hours int) session.Session {
	s := phone(u)
	for range hours {
		s = refreshed(s)
	}
	return s
}

func openBench(tb testing.TB, o Options) *DB {
	tb.Helper()
	o.Now = time.Now
	db, err := Open(filepath.Join(tb.TempDir(), "holdfast.db"), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := db.Clients().Put(context.Background(), client.Change{Next: client.Client{ID: "demo-native", Version: 1}}); err != nil {
		tb.Fatal(err)
	}
	return db
}

// fill writes users and sessions in large transactions, past the queue.
func fill(tb testing.TB, db *DB, users, sessions, hours int) []session.Session {
	tb.Helper()
	refs := make([]id.User, users)
	all := make([]session.Session, 0, sessions)
	const chunk = 10_000
	at := benchDay
	for from := 0; from < users; from += chunk {
		err := db.writer.write(context.Background(), func(c *conn) error {
			for i := from; i < min(from+chunk, users); i++ {
				refs[i] = id.NewUser()
				u := user.User{ID: refs[i], Username: fmt.Sprintf("person%d", i), Email: fmt.Sprintf("person%d@example.com", i), Epoch: 1, Version: 1, CreatedAt: at, UpdatedAt: at,
					PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}
				ref, err := c.number(`INSERT INTO user (id, epoch, disabled, version, created_at, updated_at, number, email_verified, staff, superuser,
 username, email, name, given_name, family_name, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING ref`, append([]any{u.ID[:]}, userValues(u)...)...)
				if err != nil {
					return err
				}
				if err := claimNames(c, u, ref); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	for from := 0; from < sessions; from += chunk {
		err := db.writer.write(context.Background(), func(c *conn) error {
			for i := from; i < min(from+chunk, sessions); i++ {
				s := mature(refs[rand.IntN(users)], hours)
				ref, _, err := standingUser(c, s.User)
				if err != nil {
					return err
				}
				if err := insertSession(c, ref, s); err != nil {
					return err
				}
				all = append(all, s)
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

const benchSessions = 100_000

func BenchmarkLoad(b *testing.B) {
	db := openBench(b, Options{Synchronous: Off, LoseAcknowledged: true})
	all := fill(b, db, benchSessions/2, benchSessions, 6)
	store := db.Sessions()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, writes := range []bool{false, true} {
		b.Run(fmt.Sprintf("writes=%t", writes), func(b *testing.B) {
			var stop atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				for writes && !stop.Load() {
					i := rand.IntN(len(all))
					all[i] = refreshed(all[i])
					if err := store.Replace(ctx, session.Change{Next: all[i]}); err != nil {
						b.Error(err)
						return
					}
					time.Sleep(200 * time.Microsecond)
				}
			}()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				l, err := store.Load(ctx, all[rand.IntN(len(all))].ID)
				if err != nil || l.Session.Version == 0 {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			stop.Store(true)
			<-done
		})
	}
}

func BenchmarkReplace(b *testing.B) {
	for _, sync := range []Synchronous{Full, Normal} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", sync.pragma(), callers), func(b *testing.B) {
				benchReplace(b, sync, callers, false)
			})
		}
	}
}

// BenchmarkRefresh is what one refresh asks of the store: Load, decide, Replace.
func BenchmarkRefresh(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("FULL/callers=%d", callers), func(b *testing.B) { benchReplace(b, Full, callers, true) })
	}
}

func benchReplace(b *testing.B, sync Synchronous, callers int, load bool) {
	db := openBench(b, Options{Synchronous: sync, LoseAcknowledged: true})
	all := fill(b, db, benchSessions/2, benchSessions, 6)
	store := db.Sessions()
	before := db.Stats()
	took := make([][]time.Duration, callers)
	errs := make(chan error, callers)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for k := range callers {
		go func() {
			mine := all[k*len(all)/callers : (k+1)*len(all)/callers]
			for left.Add(-1) >= 0 {
				i := rand.IntN(len(mine))
				start := time.Now()
				s := mine[i]
				if load {
					l, err := store.Load(context.Background(), s.ID)
					if err != nil {
						errs <- err
						return
					}
					s = l.Session
				}
				mine[i] = refreshed(s)
				if err := store.Replace(context.Background(), session.Change{Next: mine[i]}); err != nil {
					errs <- errors.Join(errors.New("replace"), err)
					return
				}
				took[k] = append(took[k], time.Since(start))
			}
			errs <- nil
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	after := db.Stats()
	report(b, took)
	b.ReportMetric(float64(after.Ops-before.Ops)/float64(after.Batches-before.Batches), "ops/batch")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
