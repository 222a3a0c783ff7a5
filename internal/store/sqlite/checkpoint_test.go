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
	if most := int64(4 * askAfter * page); info.Size() > most {
		t.Errorf("after %d operations of one page the WAL has %d bytes, more than %d", operations, info.Size(), most)
	}
}
