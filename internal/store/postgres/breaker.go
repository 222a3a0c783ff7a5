package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Limits of the breaker.
const (
	// BreakAfter is how many calls in a row find no answer before those after them
	// are refused at once: each would wait AcquireWait or StatementWait for nothing,
	// and keep its request's memory and connection that long.
	BreakAfter = 5
	// ProbeEvery is the pause between two looks at a database that did not answer.
	ProbeEvery = 200 * time.Millisecond
	// ProbeWait is how long one look may take, and probeConnect how much of that one
	// address of the URL may take to be connected to.
	ProbeWait    = 2 * time.Second
	probeConnect = 400 * time.Millisecond
)

// errBroken is what calls get while the breaker is open. Nothing was sent.
var errBroken = errors.New("postgres: the database did not answer the last calls; it is looked at until it does")

// signal is what a call said about the database.
type signal int

const (
	silent   signal = iota // no connection, or no answer on it
	answered               // an answer, be it an error
	nothing                // the caller left before, or the store is closed
)

// breaker refuses calls at once while the database does not answer. Open, it looks
// at the database by itself on a connection of its own, so that it closes without
// anybody's request as soon as there is an answer; after each look that failed it
// lets one real call through with its ordinary limits, in case the database is
// only slower than a look may be.
type breaker struct {
	// probe looks at the database once.
	probe func(context.Context) error
	every time.Duration

	mu sync.Mutex
	// failures counts silent calls since the last answer.
	failures int
	open     bool
	// trial: the next call goes through.
	trial bool
	// opened counts how often it opened, refused the calls it refused.
	opened, refused uint64

	life context.Context
	end  context.CancelFunc
	done sync.WaitGroup
}

func newBreaker(probe func(context.Context) error) *breaker {
	b := &breaker{probe: probe, every: ProbeEvery}
	b.life, b.end = context.WithCancel(context.Background())
	return b
}

// admit reports whether a call may begin.
func (b *breaker) admit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return nil
	case b.trial:
		b.trial = false
		return nil
	}
	b.refused++
	return notWritten(errBroken)
}

// note takes in what a call that was admitted, or that went around, said.
func (b *breaker) note(s signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch s {
	case answered:
		b.failures, b.open, b.trial = 0, false, false
	case silent:
		b.failures++
		if b.open || b.failures < BreakAfter || b.life.Err() != nil {
			return
		}
		b.open = true
		b.opened++
		b.done.Go(b.look)
	}
}

// look probes until the database answers, somebody else heard it answer, or the
// store is closed.
func (b *breaker) look() {
	t := time.NewTimer(b.every)
	defer t.Stop()
	for {
		ctx, cancel := context.WithTimeout(b.life, ProbeWait)
		err := b.probe(ctx)
		cancel()
		b.mu.Lock()
		switch {
		case err == nil:
			b.failures, b.open, b.trial = 0, false, false
		default:
			b.trial = b.open
		}
		open := b.open
		b.mu.Unlock()
		if !open {
			return
		}
		t.Reset(b.every)
		select {
		case <-t.C:
		case <-b.life.Done():
			return
		}
	}
}

// close ends the looking.
func (b *breaker) close() {
	b.mu.Lock()
	b.end()
	b.mu.Unlock()
	b.done.Wait()
}

// heard says what the error of a connection or a call tells about the database.
func heard(ctx context.Context, err error) signal {
	switch {
	case err == nil:
		return answered
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return nothing // the caller left, and nobody knows what would have been
	case broken(err) || errors.Is(err, context.DeadlineExceeded):
		return silent
	}
	return answered
}

// unheard says what a call tells that got no connection.
func unheard(ctx context.Context, err error) signal {
	if errors.Is(err, errClosed) || ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return nothing
	}
	return silent
}

// probeWith is a look on a connection of its own: the pool's may be dead.
func probeWith(config *pgx.ConnConfig) func(context.Context) error {
	config = config.Copy()
	config.ConnectTimeout = min(config.ConnectTimeout, probeConnect)
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is kept on either side
	return func(ctx context.Context) (err error) {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close(ctx)) }()
		return alive(ctx, conn)
	}
}

// errStandby: the server answers with what was true a moment ago. The connection
// was made before it became one, or a pooler was led to another server.
var errStandby = errors.New("postgres: the server is a standby, which cannot be written and lags behind the primary")

// alive asks a server for one row, and whether it is the primary.
func alive(ctx context.Context, c *pgx.Conn) error {
	var standby bool
	err := c.QueryRow(ctx, "SELECT pg_is_in_recovery() FROM client_revision").Scan(&standby)
	switch {
	case err != nil:
		return fmt.Errorf("postgres: the look at the database: %w", err)
	case standby:
		return errors.Join(errStandby, c.Close(ctx)) // the next connection may lead elsewhere
	}
	return nil
}
