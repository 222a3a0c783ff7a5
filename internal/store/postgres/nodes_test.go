package postgres

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/limit"
	"holdfast.example/internal/limit/limittest"
	"holdfast.example/internal/once"
)

// nodesAt opens a database as so many nodes do.
func nodesAt(t *testing.T, count int, o Options) (all []*DB) {
	t.Helper()
	address := newDatabase(t) + "&pool_min_conns=0"
	for range count {
		all = append(all, openAt(t, address, o))
	}
	return all
}

// TestBudgets: what several nodes count together are the budgets of one.
func TestBudgets(t *testing.T) {
	address := newDatabase(t) + "&pool_min_conns=0"
	limittest.Exercise(t, limittest.Subject{Unit: time.Microsecond, Open: func(t *testing.T, nodes int, now func() time.Time) (all []limit.Counters) {
		for range nodes {
			all = append(all, openAt(t, address, Options{Now: now}).Budgets())
		}
		return all
	}})
}

// TestBudgetsByOneClock (FAULT-10): nodes whose clocks are minutes apart count by
// the database's.
func TestBudgetsByOneClock(t *testing.T) {
	two, key, r := nodesAt(t, 2, Options{}), limit.NewKey("k"), limit.Rate{Burst: 4, Every: time.Hour}
	passed := 0
	for i := range 12 {
		off := []time.Duration{-2 * time.Hour, 2 * time.Hour}[i%2]
		wait, err := two[i%2].Budgets().Take(t.Context(), time.Now().Add(off), key, r)
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
}

// TestBudgetsAreForgotten when they are whole, and no sooner.
func TestBudgetsAreForgotten(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	clock := func() time.Time { return time.Unix(0, now.Load()).UTC() }
	b, r := nodesAt(t, 1, Options{Now: clock})[0].Budgets(), limit.Rate{Burst: 3, Every: time.Minute}
	const keys = 2 * purgeDelete
	for i := range keys {
		if _, err := b.Take(t.Context(), clock(), limit.NewKey("k", string(rune(i))), r); err != nil {
			t.Fatal(err)
		}
	}
	busy := limit.NewKey("busy")
	for range 3 {
		if _, err := b.Take(t.Context(), clock(), busy, r); err != nil {
			t.Fatal(err)
		}
	}
	forget := func(limit int) int {
		t.Helper()
		n, err := b.Forget(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := forget(keys); n != 0 {
		t.Errorf("forgot %d that are not whole", n)
	}
	now.Add(int64(time.Minute + time.Microsecond))
	if n := forget(purgeDelete + 1); n != purgeDelete+1 {
		t.Errorf("forgot %d, the limit is %d", n, purgeDelete+1)
	}
	if n := forget(2 * keys); n != purgeDelete-1 {
		t.Errorf("forgot %d, %d were left", n, purgeDelete-1)
	}
	if wait, err := b.Take(t.Context(), clock(), busy, r); wait != 0 || err != nil {
		t.Errorf("one unit is back after a minute: %v %v", wait, err)
	}
	if wait, err := b.Take(t.Context(), clock(), busy, r); wait == 0 || err != nil {
		t.Errorf("a budget that is not whole was forgotten: %v %v", wait, err)
	}
}

// TestBudgetsAreForgottenByTheDatabasesClock, which nobody sets.
func TestBudgetsAreForgottenByTheDatabasesClock(t *testing.T) {
	b := openTest(t).Budgets()
	for _, r := range []limit.Rate{{Burst: 1, Every: time.Millisecond}, {Burst: 1, Every: time.Hour}} {
		if _, err := b.Take(t.Context(), time.Time{}, limit.NewKey("k", r.Every.String()), r); err != nil {
			t.Fatal(err)
		}
	}
	forgotten := 0
	for tries := 0; forgotten == 0 && tries < 1000; tries++ {
		n, err := b.Forget(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		forgotten += n
		time.Sleep(time.Millisecond)
	}
	if forgotten != 1 {
		t.Errorf("forgot %d of one that is whole and one that is not", forgotten)
	}
}

// TestBudgetsWaitForNoDisk: the table is not logged, so a Take commits nothing
// that would have to be synced.
func TestBudgetsWaitForNoDisk(t *testing.T) {
	db := openTest(t)
	var persistence string
	if err := db.pool.QueryRow(t.Context(), "SELECT relpersistence::text FROM pg_class WHERE oid = 'budget'::regclass").Scan(&persistence); err != nil || persistence != "u" {
		t.Errorf("the table of budgets has persistence %q (%v)", persistence, err)
	}
	if err := db.pool.QueryRow(t.Context(), "SELECT relpersistence::text FROM pg_class WHERE oid = 'single_use'::regclass").Scan(&persistence); err != nil || persistence != "p" {
		t.Errorf("the table of spent proofs has persistence %q (%v)", persistence, err)
	}
}

// TestOneProofOnManyNodes: of nodes that are shown one proof at the same
// moment exactly one is told that it is the first, again and again.
func TestOneProofOnManyNodes(t *testing.T) {
	const nodes, rounds, each = 3, 20, 4
	all := nodesAt(t, nodes, Options{})
	until := time.Now().Add(time.Minute)
	for round := range rounds {
		key := once.NewKey("jti", string(rune(round)))
		var first atomic.Int64
		var done sync.WaitGroup
		start := make(chan struct{})
		for i := range nodes * each {
			done.Go(func() {
				<-start
				won, err := all[i%nodes].Once().Spend(t.Context(), key, until)
				if err != nil {
					t.Error(err)
				}
				if won {
					first.Add(1)
				}
			})
		}
		close(start)
		done.Wait()
		if first.Load() != 1 {
			t.Fatalf("round %d: %d nodes were told that they are the first", round, first.Load())
		}
	}
}

// TestAProofOfUnknownOutcome is not spent for the one who asked, and spent for
// everybody after: a connection that dies after the change was sent.
func TestAProofOfUnknownOutcome(t *testing.T) {
	two := nodesAt(t, 2, Options{})
	key, until := once.NewKey("jti", "x"), time.Now().Add(time.Minute)
	tx, err := two[1].pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The proof is being spent elsewhere; whoever waits for it loses its connection.
	if _, err := tx.Exec(t.Context(), spend, key[:], until.UnixMilli()); err != nil {
		t.Fatal(err)
	}
	type told struct {
		first bool
		err   error
	}
	answer := make(chan told, 1)
	go func() {
		first, err := two[0].Once().Spend(t.Context(), key, until)
		answer <- told{first, err}
	}()
	for !waits(t, two[1]) {
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := two[1].pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-answer; a.first {
		t.Errorf("it was told that it is the first (%v)", a.err)
	}
	if first, err := two[0].Once().Spend(t.Context(), key, until); first || err != nil {
		t.Errorf("spent again: %v %v", first, err)
	}
}

// BenchmarkTakeBudget is one attempt at a budget of its own.
func BenchmarkTakeBudget(b *testing.B) {
	budgets, n := openTest(b).Budgets(), 0
	for b.Loop() {
		n++
		if _, err := budgets.Take(b.Context(), time.Time{}, limit.NewKey("bench", strconv.Itoa(n)), limit.Rate{Burst: 10, Every: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSpend is one proof.
func BenchmarkSpend(b *testing.B) {
	proofs, n, until := openTest(b).Once(), 0, time.Now().Add(time.Minute)
	for b.Loop() {
		n++
		if first, err := proofs.Spend(b.Context(), once.NewKey("bench", strconv.Itoa(n)), until); err != nil || !first {
			b.Fatal(first, err)
		}
	}
}
