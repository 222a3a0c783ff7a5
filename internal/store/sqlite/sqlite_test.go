package sqlite

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/store/storetest"
)

func TestMain(m *testing.M) {
	runChild()
	storetest.Main(m, func(path string) (storetest.Bundle, func() error, error) {
		db, err := Open(path, Options{Now: time.Now})
		if err != nil {
			return storetest.Bundle{}, nil, err
		}
		return bundle(db), db.Close, nil
	})
}

func bundle(db *DB) storetest.Bundle {
	return storetest.Bundle{
		Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(), Once: db.Once(), Upstreams: db.Upstreams(),
		RemoveUser: func(ctx context.Context, u id.User) error { return db.Users().Remove(ctx, u, time.Hour) },
		Address:    db.path,
	}
}

// openTest opens a new database that is closed with the test.
func openTest(t *testing.T, o Options) *DB {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	db, err := Open(filepath.Join(t.TempDir(), "holdfast.db"), o)
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

func TestStores(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T) storetest.Bundle { return bundle(openTest(t, Options{})) })
}
