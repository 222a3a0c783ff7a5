//go:build !unix

package testsvc

import "testing"

// Kill skips the test: only Unix has the signals.
func (p *Postgres) Kill(t testing.TB) {
	t.Helper()
	t.Skip("SKIPPED: a PostgreSQL server is killed on Unix only")
}

// Restart is never reached.
func (p *Postgres) Restart(testing.TB) {}
