package redis

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"holdfast.example/internal/limit"
	"holdfast.example/internal/limit/limittest"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/testsvc"
)

func openAt(t *testing.T, url string, o Options) *DB {
	t.Helper()
	db, err := Open(secret.New(url), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestBudgets: what several nodes count together are the budgets of one.
func TestBudgets(t *testing.T) {
	server := testsvc.StartRedis(t)
	limittest.Exercise(t, limittest.Subject{Unit: time.Microsecond, Open: func(t *testing.T, nodes int, now func() time.Time) (all []limit.Counters) {
		for range nodes {
			all = append(all, openAt(t, server.URL, Options{Now: now}).Budgets())
		}
		return all
	}})
}

// TestBudgetsByOneClock (FAULT-10): nodes whose clocks are hours apart count by
// Redis's, and its keys expire.
func TestBudgetsByOneClock(t *testing.T) {
	server := testsvc.StartRedis(t)
	db := openAt(t, server.URL, Options{})
	b, key, r := db.Budgets(), limit.NewKey("clock", t.TempDir()), limit.Rate{Burst: 4, Every: time.Hour}
	passed := 0
	for i := range 12 {
		off := []time.Duration{-2 * time.Hour, 2 * time.Hour}[i%2]
		wait, err := b.Take(t.Context(), time.Now().Add(off), key, r)
		if err != nil {
			t.Fatal(err)
		}
		if wait == 0 {
			passed++
		} else if wait > r.Every {
			t.Errorf("waits %s for one unit each %s", wait, r.Every)
		}
	}
	if passed != r.Burst {
		t.Errorf("%d passed, the budget is %d", passed, r.Burst)
	}
	ttl, err := b.run(t.Context(), redis.NewScript(1, `return redis.call("PTTL", KEYS[1])`), key, r)
	if life := time.Duration(ttl) * time.Millisecond; err != nil || life <= 3*time.Hour || life > 4*time.Hour {
		t.Errorf("an empty budget is kept for %s (%v), and is whole in 4h", life, err)
	}
	if err := b.Give(t.Context(), time.Now(), key, r); err != nil {
		t.Error(err)
	}
	if wait, err := b.Take(t.Context(), time.Now(), key, r); wait != 0 || err != nil {
		t.Errorf("what was given back cannot be taken: %v %v", wait, err)
	}
}

// TestRedisGoesAndComes (FAULT-14): while Redis is gone, restarts without its
// memory, or hangs, whoever signs in is counted by the node and never refused for
// it; afterwards it is asked again.
func TestRedisGoesAndComes(t *testing.T) {
	server := testsvc.StartRedis(t)
	f := &limit.Fallback{Nodes: openAt(t, server.URL, Options{}).Budgets(), Own: limit.NewMemory()}
	key, r := limit.NewKey("gone", t.TempDir()), limit.Rate{Burst: 6, Every: time.Hour}
	now := time.Now()
	take := func(want bool) {
		t.Helper()
		wait, err := f.Take(t.Context(), now, key, r)
		if err != nil || (wait == 0) != want {
			t.Errorf("took a unit: wait %s (%v), alone %d", wait, err, f.Alone())
		}
	}
	take(true)
	server.Kill(t)
	take(true)
	take(true)
	if f.Alone() != 2 {
		t.Errorf("%d were counted alone, want 2", f.Alone())
	}
	server.Restart(t)
	now = now.Add(limit.Rest)
	take(true) // Redis remembers none of the three
	if f.Alone() != 2 {
		t.Errorf("Redis is back, and was not asked: %d", f.Alone())
	}
	server.Hang(t)
	take(true)
	take(true)
	take(false) // the node remembers all six
	if f.Alone() != 5 {
		t.Errorf("%d were counted alone, want 5", f.Alone())
	}
	server.Wake(t)
	now = now.Add(limit.Rest)
	take(true)
	if f.Alone() != 5 {
		t.Errorf("Redis woke up, and was not asked: %d", f.Alone())
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"redis://db.example", "tcp db.example:6379"},
		{"redis://:swordfish@db.example:7000/3", "tcp db.example:7000"},
		{"rediss://u:swordfish@[::1]:7000", "tcp [::1]:7000"},
		{"unix:///run/redis/redis.sock?db=2", "unix /run/redis/redis.sock"},
		{"unix://u:swordfish@/run/redis.sock", "unix /run/redis.sock"},
		{"", ""}, {"db.example:6379", ""}, {"http://db.example", ""}, {"redis://", ""}, {"redis:///1", ""},
		{"redis://:swordfish@db.example/x", ""}, {"redis://:swordfish@db.example/70000", ""}, {"redis://:swordfish@db.example?x=1", ""},
		{"redis://:swordfish@db.example:port", ""}, {"redis://:sword%zz@db.example", ""}, {"unix://host/run/redis.sock", ""},
	} {
		p, err := parse(secret.New(c.address))
		got := strings.TrimSpace(p.network + " " + p.address)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q is %q (%v), want %q", c.address, got, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "swordfish") || strings.Contains(err.Error(), "%zz")) {
			t.Errorf("the error shows the address: %v", err)
		}
	}
}

// TestPasswordAndDatabase: what an address says is sent, and what is wrong with it
// is an error that does not show it.
func TestPasswordAndDatabase(t *testing.T) {
	server := testsvc.StartRedis(t, "--requirepass", "swordfish", "--user", "node", "on", ">tuna", "~holdfast:*", "+@all")
	path := strings.TrimPrefix(server.URL, "unix://")
	for _, c := range []struct {
		user string
		good bool
	}{{":swordfish@", true}, {"default:swordfish@", true}, {"node:tuna@", true}, {"", false}, {":swordfihs@", false}, {"node:swordfish@", false}} {
		db := openAt(t, "unix://"+c.user+path+"?db=3", Options{})
		err := db.Ping(t.Context())
		if (err == nil) != c.good || err != nil && strings.Contains(err.Error(), "swordf") {
			t.Errorf("%q: %v", c.user, err)
		}
		if !c.good {
			continue
		}
		wait, err := db.Budgets().Take(t.Context(), time.Now(), limit.NewKey("k", c.user), limit.Rate{Burst: 1, Every: time.Hour})
		if wait != 0 || err != nil {
			t.Errorf("%q: %v %v", c.user, wait, err)
		}
	}
	if err := openAt(t, "unix://:swordfish@"+path+"?db=999", Options{}).Ping(t.Context()); err == nil {
		t.Error("a database that is not there was opened")
	}
}

// BenchmarkTake is one attempt at a budget of its own.
func BenchmarkTake(b *testing.B) {
	db, err := Open(secret.New(testsvc.StartRedis(b).URL), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	budgets, n := db.Budgets(), 0
	for b.Loop() {
		n++
		if _, err := budgets.Take(b.Context(), time.Time{}, limit.NewKey("bench", strconv.Itoa(n)), limit.Rate{Burst: 10, Every: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoRedisAtStart: an address nobody answers at is no error until something is
// asked.
func TestNoRedisAtStart(t *testing.T) {
	db := openAt(t, "unix://"+t.TempDir()+"/socket", Options{})
	if err := db.Ping(t.Context()); err == nil {
		t.Error("nobody is there, and answered")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Budgets().Take(ctx, time.Now(), limit.NewKey("k"), limit.Rate{Burst: 1, Every: time.Second}); err == nil {
		t.Error("counted where nobody is")
	}
}
