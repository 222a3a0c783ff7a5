package postgres

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/store/storetest"
	"holdfast.example/internal/testsvc"
)

// server is the PostgreSQL of this package's tests.
var server testsvc.Postgres

func TestMain(m *testing.M) {
	storetest.Child(func(address string) (storetest.Bundle, func() error, error) {
		db, err := Open(context.Background(), secret.New(address), Options{LoseAcknowledged: true})
		if err != nil {
			return storetest.Bundle{}, nil, err
		}
		return bundle(db, address), db.Close, nil
	})
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func bundle(db *DB, address string) storetest.Bundle {
	return storetest.Bundle{
		Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(), Once: db.Once(), Upstreams: db.Upstreams(),
		RemoveUser: func(ctx context.Context, u id.User) error { return db.Users().Remove(ctx, u, time.Hour) },
		Address:    address,
	}
}

// newDatabase gives the URL of a database with the schema.
func newDatabase(t testing.TB) string {
	t.Helper()
	return server.Database(t, func(url string) error {
		db, err := Open(context.Background(), secret.New(url), Options{LoseAcknowledged: true})
		if err != nil {
			return err
		}
		return db.Close()
	})
}

// openAt opens a database that is closed with the test.
func openAt(t testing.TB, url string, o Options) *DB {
	t.Helper()
	o.LoseAcknowledged = true
	db, err := Open(t.Context(), secret.New(url), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a test that failed may have left a connection hanging
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openTest(t testing.TB) *DB { return openAt(t, newDatabase(t), Options{}) }

func TestStores(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T) storetest.Bundle {
		url := newDatabase(t) + "&pool_min_conns=0" // nothing to keep warm
		return bundle(openAt(t, url, Options{}), url)
	})
}
