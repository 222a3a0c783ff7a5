package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// The power-loss test: a process refreshes sessions and acknowledges every
// refresh on its standard output; strace writes down what it does to its files.
// From that the files are made again as a power failure at each acknowledgement
// would leave them, with nothing that was written after the last sync of each
// file, or with some of it. The real code opens them, and every acknowledged
// refresh must be there.
const (
	powerSessions = 16
	powerRounds   = 20
	// powerCheckpoint makes the WAL move into the file several times.
	powerCheckpoint = 40
)

const envChild = "HOLDFAST_SQLITE_CHILD"

// children are the programs this test binary can be instead of a test.
var children = map[string]func(args []string) error{
	"refresh": refreshChild,
	"relaxed": relaxedChild,
}

// runChild runs the program named in the environment, if any.
func runChild() {
	args := strings.Fields(os.Getenv(envChild))
	if len(args) == 0 {
		return
	}
	if err := children[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child prepares this test binary to run as another program.
func child(t *testing.T, under []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(slices.Clone(under), self)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), envChild+"="+strings.Join(args, " "))
	return cmd
}

// refreshChild refreshes each session of a database, all at once, for some
// rounds (0 is for ever), and says ACK, session and generation after each.
func refreshChild(args []string) error {
	path, sync1, rounds := args[0], Full, powerRounds
	if args[1] == Normal.pragma() {
		sync1 = Normal
	}
	if args[2] == "forever" {
		rounds = 0
	}
	db, err := Open(path, Options{Now: time.Now, Synchronous: sync1, LoseAcknowledged: true})
	if err != nil {
		return err
	}
	db.writer.checkpointAt = powerCheckpoint
	all, err := db.Sessions().Find(context.Background(), session.Query{Limit: 100})
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	errs := make(chan error, len(all))
	for _, l := range all {
		wait.Go(func() {
			s := l.Session
			for n := 0; rounds == 0 || n < rounds; n++ {
				s = refreshed(s)
				if err := db.Sessions().Replace(context.Background(), session.Change{Next: s}); err != nil {
					errs <- err
					return
				}
				fmt.Fprintf(os.Stdout, "ACK %x %d\n", s.ID, s.Chain.Newest)
			}
		})
	}
	wait.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return db.Close()
	}
}

// prepared makes a database file with sessions in it, cleanly closed.
func prepared(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "holdfast.db")
	db, err := Open(path, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s := household(t, db)
	for range powerSessions - 1 {
		if err := db.Sessions().Open(t.Context(), session.Opening{Session: phone(s.User)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// acks is the newest acknowledged generation of each session.
type acks map[id.Session]session.Generation

// hear takes in what a refreshChild wrote.
func (a acks) hear(said []byte) (heard int, err error) {
	for line := range bytes.Lines(said) {
		var raw []byte
		var g session.Generation
		if _, err := fmt.Sscanf(string(line), "ACK %x %d\n", &raw, &g); err != nil || len(raw) != id.Size {
			return heard, fmt.Errorf("said %q", line)
		}
		a[id.Session(raw)] = max(a[id.Session(raw)], g)
		heard++
	}
	return heard, nil
}

// missing opens a database and counts the sessions whose acknowledged generation
// is not there.
func (a acks) missing(t *testing.T, path string) (lost int) {
	t.Helper()
	db, err := Open(path, Options{Now: time.Now, Readers: 1, Synchronous: Off, LoseAcknowledged: true}) // only read here
	if err != nil {
		t.Fatalf("the database cannot be opened after the failure: %v", err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for which, g := range a {
		l, err := db.Sessions().Load(t.Context(), which)
		if err != nil {
			t.Fatalf("a session cannot be read after the failure: %v", err)
		}
		if l.Session.Chain.Newest < g {
			lost++
		}
	}
	return lost
}

// disk is one file during a trace: what is safe, and the calls since the last
// sync that are not.
type disk struct {
	safe    []byte
	pending []call
}

func (c call) apply(b []byte) []byte {
	if c.name == "ftruncate" {
		return append(b, make([]byte, max(0, int(c.at)-len(b)))...)[:c.at]
	}
	if end := int(c.at) + len(c.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[c.at:], c.data)
	return b
}

// sync makes the pending calls safe that had finished before it began.
func (d *disk) sync(covered int) {
	for _, c := range d.pending[:covered] {
		d.safe = c.apply(d.safe)
	}
	d.pending = slices.Clone(d.pending[covered:])
}

// after is the file after a power failure: what is safe and, of the rest, what
// keep says.
func (d *disk) after(keep func() bool) []byte {
	b := slices.Clone(d.safe)
	for _, c := range d.pending {
		if keep() {
			b = c.apply(b)
		}
	}
	return b
}

// witness hears acknowledgements and holds a database against them.
type witness interface {
	hear(said []byte) (heard int, err error)
	missing(t *testing.T, path string) (lost int)
}

// powerLoss replays a trace and reports how many acknowledgements it heard and
// how often something that was promised was lost.
func powerLoss(t *testing.T, acknowledged witness, path string, before []byte, calls []call) (heard, lost int) {
	t.Helper()
	disks := map[string]*disk{path: {safe: before}, path + "-wal": {}}
	finished := map[string][]int{} // which calls each file's pending ones were
	random := rand.New(rand.NewPCG(1, 2))
	judged := 0
	// Between two syncs what is safe stays the same while acknowledgements are
	// added, so the last moment before a sync judges all of them.
	judge := func() {
		if judged == heard {
			return
		}
		judged = heard
		lost += lostNow(t, acknowledged, disks, path, func() bool { return false })
		if random.IntN(4) == 0 { // now and then with an arbitrary part of what was not synced
			lost += lostNow(t, acknowledged, disks, path, func() bool { return random.IntN(2) == 0 })
		}
	}
	for i, c := range calls {
		d := disks[c.path]
		switch {
		case lost > 0: // one is enough
		case d == nil && c.name == "write" && bytes.HasPrefix(c.data, []byte("ACK ")):
			n, err := acknowledged.hear(c.data)
			if err != nil {
				t.Fatal(err)
			}
			heard += n
		case d == nil:
		case c.name == "fsync" || c.name == "fdatasync":
			judge()
			covered := 0
			for covered < len(d.pending) && finished[c.path][covered] < c.begun {
				covered++
			}
			d.sync(covered)
			finished[c.path] = finished[c.path][covered:]
		default:
			d.pending = append(d.pending, c)
			finished[c.path] = append(finished[c.path], i)
		}
	}
	judge()
	return heard, lost
}

func lostNow(t *testing.T, a witness, disks map[string]*disk, path string, keep func() bool) int {
	t.Helper()
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(disks)) {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), disks[name].after(keep), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a.missing(t, filepath.Join(dir, filepath.Base(path)))
}

// stracer is the program that writes down what another does.
func stracer(t *testing.T) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	require(t, "strace", err)
	require(t, "strace", exec.Command(strace, "-o", os.DevNull, "true").Run())
	return strace
}

// traced runs one of this binary's other programs and gives what it did to files.
func traced(t *testing.T, strace string, args ...string) []call {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := child(t, []string{strace, "-f", "--seccomp-bpf", "-y", "-xx", "-s", "70000", "-o", trace,
		"-e", "trace=openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink,rename"}, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := readTrace(trace)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func TestPowerLoss(t *testing.T) {
	strace := stracer(t)
	for _, sync := range []Synchronous{Full, Normal} {
		t.Run(sync.pragma(), func(t *testing.T) {
			path := prepared(t)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			calls := traced(t, strace, "refresh", path, sync.pragma(), "rounds")
			heard, lost := powerLoss(t, acks{}, path, before, calls)
			if lost == 0 && heard != powerSessions*powerRounds {
				t.Fatalf("the trace has %d acknowledgements, want %d", heard, powerSessions*powerRounds)
			}
			t.Logf("%d acknowledgements, %d times something acknowledged was lost", heard, lost)
			if sync == Full && lost != 0 {
				t.Errorf("%d acknowledged refreshes would be lost in a power failure", lost)
			}
			if sync == Normal && lost == 0 {
				t.Error("synchronous=NORMAL lost nothing, so this test cannot see a loss")
			}
		})
	}
}
