package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// looks lets a test decide what each look of a breaker finds.
type looks struct {
	begun  chan struct{}
	result chan error
}

func newLooks() looks { return looks{make(chan struct{}), make(chan error)} }

func (l looks) probe(ctx context.Context) error {
	select {
	case l.begun <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func testBreaker(t *testing.T) (*breaker, looks) {
	t.Helper()
	l := newLooks()
	b := newBreaker(l.probe)
	b.every = time.Millisecond
	t.Cleanup(b.close)
	return b, l
}

// trip makes a breaker open.
func (b *breaker) trip(t *testing.T) {
	t.Helper()
	for n := range BreakAfter {
		if err := b.admit(); err != nil {
			t.Fatalf("refused after %d failures: %v", n, err)
		}
		b.note(silent)
	}
}

func TestTheBreakerOpensAfterFailuresInARow(t *testing.T) {
	b, _ := testBreaker(t)
	for range 3 { // one answer in between is enough
		for range BreakAfter - 1 {
			b.note(silent)
		}
		b.note(nothing)
		b.note(answered)
	}
	b.trip(t)
	err := b.admit()
	f := fault.As(err)
	if !errors.Is(err, errBroken) || f.Kind != fault.Unavailable || f.RetryAfter == 0 || !errors.Is(err, session.ErrReadOnly) {
		t.Errorf("an open breaker says %v", err)
	}
	if b.opened != 1 || b.refused != 1 {
		t.Errorf("opened %d times, refused %d calls", b.opened, b.refused)
	}
}

// TestTheBreakerLetsOneCallTry after each look that failed, and closes with the
// first answer: the look's, that call's, or one that went around.
func TestTheBreakerLetsOneCallTry(t *testing.T) {
	down := errors.New("still down")
	half := func(t *testing.T) (*breaker, looks) {
		b, l := testBreaker(t)
		b.trip(t)
		<-l.begun
		if b.admit() == nil {
			t.Fatal("a call went through before the look was over")
		}
		l.result <- down
		<-l.begun // the next look: the first one's end has been noted
		if err := b.admit(); err != nil {
			t.Fatalf("no call may try: %v", err)
		}
		if b.admit() == nil {
			t.Fatal("two calls may try")
		}
		return b, l
	}
	t.Run("the call finds nothing", func(t *testing.T) {
		b, _ := half(t)
		b.note(silent)
		if b.admit() == nil || b.opened != 1 {
			t.Error("it closed")
		}
	})
	t.Run("the call is answered", func(t *testing.T) {
		b, l := half(t)
		b.note(answered)
		if err := b.admit(); err != nil {
			t.Errorf("it stayed open: %v", err)
		}
		l.result <- down // the look that was under way is late, and changes nothing
		b.done.Wait()
		if err := b.admit(); err != nil {
			t.Errorf("a late look opened it: %v", err)
		}
	})
	t.Run("the look is answered", func(t *testing.T) {
		b, l := half(t)
		l.result <- nil
		b.done.Wait()
		if err := b.admit(); err != nil {
			t.Errorf("it stayed open: %v", err)
		}
	})
}

func TestWhatACallTellsTheBreaker(t *testing.T) {
	left, leave := context.WithCancel(t.Context())
	leave()
	late, stop := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer stop()
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error
		want signal
	}{
		"success":                  {t.Context(), nil, answered},
		"a refusal":                {t.Context(), refuse(session.ErrChanged), answered},
		"an error of the server":   {t.Context(), &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "53100"}, answered},
		"a limit of the server":    {t.Context(), &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: queryCanceled}, answered},
		"the server is ending":     {t.Context(), &pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, silent},
		"nobody answered in time":  {t.Context(), fmt.Errorf("timeout: %w", context.DeadlineExceeded), silent},
		"the request's time is up": {late, context.DeadlineExceeded, silent},
		"the connection broke":     {t.Context(), io.ErrUnexpectedEOF, silent},
		"the caller left":          {left, context.Canceled, nothing},
	} {
		if got := heard(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if unheard(t.Context(), notWritten(errClosed)) != nothing || unheard(left, gone(left)) != nothing || unheard(t.Context(), busy(nil)) != silent {
		t.Error("a call that got no connection")
	}
}

// TestASilentServer (FAULT-05): a server that does not answer costs its callers
// no more than the named limits; soon calls are refused at once; and its return is
// noticed although nobody asks.
func TestASilentServer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the limits of calls; run without -short")
	}
	p := newProxy(t, newDatabase(t))
	db := openAt(t, p.address, Options{})
	_, s := signIn(t, db)
	p.hold.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 8*CallWait) // a call that never ends fails here, not the test run
	defer cancel()
	var calls sync.WaitGroup
	for range BreakAfter {
		calls.Go(func() {
			if _, err := db.Sessions().Load(ctx, s.ID); err == nil || ctx.Err() != nil {
				t.Errorf("Load says %v", err)
			}
		})
	}
	calls.Wait()
	if st := db.Stats(); !st.Broken || st.Opened != 1 {
		t.Errorf("after %d silent calls: %+v", BreakAfter, st)
	}
	// They come at once: after each look that failed one of them may be let through
	// to try, which costs it its limits, and those limits outlast some looks.
	const more = 10
	for range more {
		calls.Go(func() {
			_, err := db.Sessions().Load(ctx, s.ID)
			if f := fault.As(err); err == nil || f.Kind != fault.Unavailable && f.Kind != fault.Busy || f.RetryAfter == 0 {
				t.Errorf("Load says %v", err)
			}
		})
	}
	calls.Wait()
	if st := db.Stats(); st.Refused < more/2 {
		t.Errorf("%d of %d calls were refused at once", st.Refused, more)
	}
	p.hold.Unlock()
	until(t, "the breaker to close", func() bool { return !db.Stats().Broken })
	if _, err := db.Sessions().Load(t.Context(), s.ID); err != nil {
		t.Errorf("after the server is back: %v", err)
	}
}

// TestReadinessGoesAroundTheBreaker: what it finds is true now, and closes it.
func TestReadinessGoesAroundTheBreaker(t *testing.T) {
	db := openTest(t)
	_, s := signIn(t, db)
	stuck := newLooks() // never answers
	db.breaker.probe = stuck.probe
	db.breaker.trip(t)
	if _, err := db.Sessions().Load(t.Context(), s.ID); !errors.Is(err, errBroken) {
		t.Fatalf("Load says %v", err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if _, err := db.Sessions().Load(t.Context(), s.ID); err != nil {
		t.Errorf("after a look that was answered: %v", err)
	}
}
