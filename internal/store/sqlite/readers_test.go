package sqlite

import (
	"context"
	"testing"
	"time"
)

// Callers that come one after the other share one connection and what it has
// cached; callers that come together have one each.
func TestHottestReaderFirst(t *testing.T) {
	db := openTest(t, Options{Readers: 3})
	ctx := context.Background()
	var first, second *conn
	err := db.readers.read(ctx, func(c *conn) error {
		first = c
		return db.readers.read(ctx, func(c *conn) error { second = c; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Fatal("two readers at once were lent one connection")
	}
	for i := range 4 {
		err := db.readers.read(ctx, func(c *conn) error {
			if c != first {
				t.Errorf("reading %d was not lent the connection that was given back last", i)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A reader waits when every connection is lent, and not for ever.
func TestReadersAreBounded(t *testing.T) {
	db := openTest(t, Options{Readers: 1})
	err := db.readers.read(context.Background(), func(*conn) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		return db.readers.read(ctx, func(*conn) error { t.Error("the one connection was lent twice"); return nil })
	})
	if err == nil {
		t.Error("a reader that waited in vain was served")
	}
	if err := db.Ping(context.Background()); err != nil {
		t.Errorf("after a failed reading: %v", err)
	}
}
