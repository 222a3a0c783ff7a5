package sqlite

import (
	"bufio"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKill kills a process that refreshes and acknowledges, again and again on
// one database. Every acknowledged refresh must be there for the next one, and
// the file must be sound.
func TestKill(t *testing.T) {
	path := prepared(t)
	const kills = 6
	acknowledged := acks{}
	heard := 0
	for range kills {
		cmd := child(t, nil, "refresh", path, Full.pragma(), "forever")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		first, err := said.ReadBytes('\n') // it works now
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(said)
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		all := append(first, rest...)
		n, err := acknowledged.hear(all[:lastLine(all)])
		if err != nil {
			t.Fatal(err)
		}
		heard += n
		if lost := acknowledged.missing(t, path); lost != 0 {
			t.Fatalf("%d acknowledged refreshes are gone", lost)
		}
	}
	db, err := Open(path, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rep, err := db.Check(t.Context())
	if err != nil || len(rep.Problems) != 0 || rep.Rows["session"] != powerSessions {
		t.Errorf("after %d kills and %d refreshes: %v %+v", kills, heard, err, rep)
	}
	t.Logf("%d kills, %d acknowledged refreshes", kills, heard)
}

// lastLine is where the last complete line ends.
func lastLine(b []byte) int {
	for i := len(b); i > 0; i-- {
		if b[i-1] == '\n' {
			return i
		}
	}
	return 0
}
