package sqlite

import (
	"context"
	"os"
	"testing"
)

// The WAL begins anew when it has grown enough, although the writer does not ask
// after every operation how long it is.
func TestLogIsMovedIntoTheFile(t *testing.T) {
	db := openTest(t, Options{})
	db.writer.checkpointAt = askAfter
	const operations = 10 * askAfter
	for i := range operations {
		err := db.writer.write(context.Background(), func(c *conn) error {
			_, err := c.run("UPDATE client_revision SET revision = ?", i)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(db.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096 + 24
	if most := int64((aloneFactor + 2) * askAfter * page); info.Size() > most {
		t.Errorf("after %d operations of one page the WAL has %d bytes, more than %d", operations, info.Size(), most)
	}
}

// Most of the WAL is moved beside the writer; the writer moves the rest, and the
// operation after that begins the WAL anew.
func TestLogIsMovedBesideTheWriter(t *testing.T) {
	db := openTest(t, Options{})
	db.writer.checkpointAt = askAfter
	one := func() {
		t.Helper()
		err := db.writer.write(context.Background(), func(c *conn) error {
			_, err := c.run("UPDATE client_revision SET revision = revision + 1")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := db.writer.dial.open(writing)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	anew := func() bool {
		t.Helper()
		pages, err := c.walPages()
		if err != nil {
			t.Fatal(err)
		}
		return pages < askAfter
	}
	for range askAfter {
		one() // after the last of them the writer asks how long the WAL is
	}
	eventually(t, "the mover has moved", func() bool { return db.writer.mover.moved.Load() || anew() })
	// So few that the writer would not do it alone.
	for range askAfter {
		one()
		if anew() {
			return
		}
	}
	t.Error("the WAL was not begun anew")
}
