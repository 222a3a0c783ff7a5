package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/testsvc"
)

// server syncs, because the store accepts no other.
var server = testsvc.Postgres{Sync: true}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The floor on PostgreSQL changes a row of the house's own table for each request.
func TestStatements(t *testing.T) {
	url := server.Database(t, nil)
	s, err := openStatements(url, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 10
	for range requests {
		if err := s.touch("", time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var rows, changes int
	err = c.QueryRow(t.Context(), "SELECT count(*), sum(version - 1) FROM session").Scan(&rows, &changes)
	if err != nil || rows != 3 || changes != requests {
		t.Errorf("%d requests changed %d rows %d times: %v", requests, rows, changes, err)
	}
}
