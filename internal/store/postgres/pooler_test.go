package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/store/storetest"
)

// TestStoresBehindAPooler: the whole exercise through PgBouncer in transaction
// mode, which lends another server connection for every transaction. The store
// finds out by itself.
func TestStoresBehindAPooler(t *testing.T) {
	through := server.Bouncer(t)
	storetest.Exercise(t, func(t *testing.T) storetest.Bundle {
		address := through(newDatabase(t))
		db := openAt(t, address, Options{})
		if !db.pooled {
			t.Fatal("the pooler was not noticed")
		}
		return bundle(db, address)
	})
}

// TestDirectConnectionsKeepTheirStatements: without a pooler statements are
// prepared once, because planning them costs more than running them.
func TestDirectConnectionsKeepTheirStatements(t *testing.T) {
	address := newDatabase(t)
	db := openAt(t, address+"&pool_max_conns=1&pool_min_conns=0", Options{})
	_, s := signIn(t, db)
	for range 3 {
		if _, err := db.Sessions().Load(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
	}
	var generic, custom int
	err := db.pool.QueryRow(t.Context(), "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1", pgx.QueryExecModeExec, loadOne).Scan(&generic, &custom)
	if err != nil || db.pooled || generic < 3 || custom != 0 {
		t.Errorf("Load was planned %d times for its values and ran %d times with a kept plan (%v)", custom, generic, err)
	}
	told := openAt(t, address+"&default_query_exec_mode=cache_describe", Options{})
	if !told.pooled {
		t.Error("a URL that says how statements are sent was not heeded")
	}
	if _, err := told.Sessions().Load(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
	if _, err := configure(secretOf(address + "&default_query_exec_mode=exec")); err == nil {
		t.Error("a way of sending statements that cannot carry ours was accepted")
	}
}
