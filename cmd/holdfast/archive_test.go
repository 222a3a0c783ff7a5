package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/testsvc"
)

// archivePhones is how many phones live through a backup or a move in a normal
// run; HOLDFAST_ARCHIVE_PHONES asks for more.
const archivePhones = 15

// handset is a phone with what it stores.
type handset struct {
	install, refresh, access string
	ended                    bool
}

// handsets signs phones in, a few at a time.
func handsets(t *testing.T, n *node, from, count int) []*handset {
	t.Helper()
	all := make([]*handset, count)
	turns := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = &handset{install: fmt.Sprint("phone-", from+i)}
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			token, err := signIn(http.DefaultClient, n.base, all[i].install)
			if err != nil {
				t.Error(err)
			}
			all[i].refresh = token
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// use refreshes and reports whether the phone is signed in.
func (h *handset) use(t *testing.T, n *node) bool {
	t.Helper()
	a, status, err := post(http.DefaultClient, n.base, refreshForm(h.refresh))
	if err != nil {
		t.Fatal(err)
	}
	if status == http.StatusOK {
		h.refresh, h.access = a["refresh_token"], a["access_token"]
		return true
	}
	if status != http.StatusBadRequest || a["error"] != "invalid_grant" {
		t.Fatalf("%s: %d %v", h.install, status, a)
	}
	return false
}

// signOut revokes the phone's token (RFC 7009), which ends its session.
func (h *handset) signOut(t *testing.T, n *node) {
	t.Helper()
	res, err := http.PostForm(n.base+"/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {h.refresh}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("signing out: %s", res.Status)
	}
	h.ended = true
}

// asStored fails unless exactly the phones that were not signed out are signed in.
func asStored(t *testing.T, all []*handset, n *node) {
	t.Helper()
	lost, back := 0, 0
	for _, h := range all {
		switch in := h.use(t, n); {
		case !in && !h.ended:
			lost++
		case in && h.ended:
			back++
		}
	}
	if lost+back > 0 {
		t.Errorf("of %d phones %d were signed out and %d came back to life\n%s", len(all), lost, back, tail(filepath.Join(n.dir, "server.log")))
	}
}

// tried runs a command that may fail, and gives what it said. after kills it when
// so much time has passed; 0 never does.
func (n *node) tried(t *testing.T, after time.Duration, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*startWithin)
	defer cancel()
	if after > 0 {
		ctx, cancel = context.WithTimeout(ctx, after)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, n.program, args...) // the context's end is kill -9
	cmd.Env = environment(n.program)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lonely is a node over a SQLite file, with more settings, and a user and a client.
func lonely(t *testing.T, settings string) *node {
	t.Helper()
	n := nodes(t, filepath.Join(t.TempDir(), "a.db"), 1)[0]
	n.set(t, settings)
	manifest := filepath.Join(n.dir, "crash.toml")
	if err := os.WriteFile(manifest, []byte(crashManifest+nodesUser), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	t.Cleanup(func() { n.kill() })
	n.command(t, "apply", "-f", manifest)
	return n
}

// set adds to the node's settings.
func (n *node) set(t *testing.T, settings string) {
	t.Helper()
	text, err := os.ReadFile(n.config)
	if err == nil {
		err = os.WriteFile(n.config, append(text, settings...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// moved is a copy of the node's configuration for another database.
func (n *node) moved(t *testing.T, database string) *node {
	t.Helper()
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "database = ") {
			lines[i] = fmt.Sprintf("database = %q", database)
		}
	}
	to := *n
	to.config = filepath.Join(t.TempDir(), "moved.toml")
	if err := os.WriteFile(to.config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return &to
}

// TestRestoreRevivesNothing (FAULT-11, FAULT-12): phones sign in, a backup is made
// while they refresh, then some sign out, all others go on, and the server is killed
// and its database lost. The backup and the journal bring everybody back but those
// who signed out.
func TestRestoreRevivesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers for some seconds; run without -short")
	}
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			n := lonely(t, fmt.Sprintf("journal = %q\n", filepath.Join(t.TempDir(), "other-disk", "journal")))
			count := times(t, "HOLDFAST_ARCHIVE_PHONES", archivePhones)
			all := handsets(t, n, 0, count)
			file := filepath.Join(t.TempDir(), "x.backup")
			backupUnderLoad(t, n, all, file)

			late := handsets(t, n, count, 2) // after the backup
			for i, h := range all {
				for range rand.IntN(3) {
					h.use(t, n)
				}
				if i%5 == 0 {
					h.signOut(t, n)
				}
			}
			n.kill()
			database := filepath.Join(t.TempDir(), "b.db")
			if kind == "postgres" {
				database = postgresOf(t)
			}
			n = n.moved(t, database)
			out := n.command(t, "restore", file)
			if !strings.Contains(out, fmt.Sprintf("ended again: %d sessions", (count+4)/5)) {
				t.Errorf("restore says %s", out)
			}
			n.start(t)
			t.Cleanup(func() { n.kill() })
			asStored(t, all, n)
			for _, h := range late {
				if h.use(t, n) {
					t.Error("a phone is signed in that no backup knows")
				}
			}
			if out := n.command(t, "check"); !strings.Contains(out, "database: in order") {
				t.Errorf("check says %s", out)
			}
			// What ends now is remembered, too.
			all[1].signOut(t, n)
			asStored(t, all, n)
		})
	}
}

// backupKills is how many backups are killed after a moment until one of them is in
// the middle. On a machine that is busy elsewhere a kill may come late.
const backupKills = 20

// whole fails unless a backup can be read to its end.
func (n *node) whole(t *testing.T, file string) {
	t.Helper()
	quiet := terminal{in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	_, _, root, err := place{Config: n.config}.standing(quiet)
	if err == nil {
		_, _, err = readThrough(t.Context(), quiet, file, sealedBy(root))
	}
	if err != nil {
		t.Errorf("half a backup has the name of a whole one: %v", err)
	}
}

// backupUnderLoad makes backups while phones refresh: one is killed in the middle
// and leaves nothing under its name, the other is whole.
func backupUnderLoad(t *testing.T, n *node, all []*handset, file string) {
	t.Helper()
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, part := range [][]*handset{all[:len(all)/2], all[len(all)/2:]} {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if !part[i%len(part)].use(t, n) {
					t.Error("a phone was signed out while a backup was made")
					return
				}
			}
		})
	}
	killed := false
	for try := 0; try < backupKills && !killed; try++ {
		_, err := n.tried(t, 5*time.Millisecond, "backup", "-o", file, "--config", n.config)
		killed = err != nil
		switch _, there := os.Stat(file); {
		case errors.Is(there, os.ErrNotExist):
		case there != nil:
			t.Fatal(there)
		default: // it came too late, or between the name and the last word
			killed = false
			n.whole(t, file)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !killed {
		t.Errorf("%d backups were done before they could be killed", backupKills)
	}
	n.command(t, "backup", "-o", file)
	close(stop)
	load.Wait()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v %v", info, err)
	}
}

// postgresOf is a new database of a server that lives as long as the test.
func postgresOf(t *testing.T) string {
	t.Helper()
	pg := &testsvc.Postgres{Sync: true}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	return pg.Database(t, nil)
}

// TestMove: from SQLite to PostgreSQL and back, with moves that are killed at any
// moment; nobody is signed out, nobody who was comes back, and keys, access tokens
// and the audit are what they were.
func TestMove(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers for some seconds; run without -short")
	}
	n := lonely(t, "")
	all := handsets(t, n, 0, times(t, "HOLDFAST_ARCHIVE_PHONES", archivePhones))
	for i, h := range all {
		h.use(t, n)
		if i%5 == 0 {
			h.signOut(t, n)
		}
	}
	there := n.moved(t, postgresOf(t))
	if out, err := n.tried(t, 0, "move", "--from", n.config, "--to", there.config); err == nil || !strings.Contains(out, "stop it first") {
		t.Fatalf("a database was moved under its server: %s", out)
	}
	keys, events := keySet(t, n), n.command(t, "audit", "list", "--json")
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	moveWithKills(t, n, there)
	if out, err := n.tried(t, 0, "session", "list", "--config", n.config); err == nil || !strings.Contains(out, "were moved to") {
		t.Errorf("the old database is still served: %s", out)
	}
	there.start(t)
	if now := keySet(t, there); now != keys {
		t.Errorf("the keys were %s and are %s", keys, now)
	}
	if now := there.command(t, "audit", "list", "--json"); now != events {
		t.Error("the audit is not what it was")
	}
	asStored(t, all, there)
	if err := there.stop(); err != nil {
		t.Fatal(err)
	}

	back := n.moved(t, filepath.Join(t.TempDir(), "back.db"))
	moveWithKills(t, there, back)
	back.start(t)
	t.Cleanup(func() { back.kill() })
	asStored(t, all, back)
	if out := back.command(t, "check"); !strings.Contains(out, "database: in order") {
		t.Errorf("check says %s", out)
	}
}

// overtaken is a database whose backup meets another one to the same file.
type overtaken struct {
	archive.Source
	part string
}

func (o overtaken) Facts(ctx context.Context) (archive.Facts, error) {
	if err := errors.Join(os.Remove(o.part), os.WriteFile(o.part, []byte("half of another backup"), 0o600)); err != nil {
		return archive.Facts{}, err
	}
	return o.Source.Facts(ctx)
}

// TestTwoBackupsToOneFile: neither gives its name to what the other has not finished.
func TestTwoBackupsToOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sqlite.Open(path, sqlite.Options{Now: time.Now, Synchronous: sqlite.Off, LoseAcknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	src, err := sqlite.OpenSnapshot(path, time.Now, false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	to := filepath.Join(t.TempDir(), "x.backup")
	if _, _, err := writeArchive(t.Context(), terminal{err: io.Discard}, overtaken{src, to + partSuffix}, to, archive.Sealed{Key: make([]byte, 32)}); err == nil {
		t.Error("a backup was reported that is another one's half")
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a backup has the name of a whole one: %v", err)
	}
}

// moveKills is how many moves are killed before one is let through.
const moveKills = 2

func moveWithKills(t *testing.T, from, to *node) {
	t.Helper()
	done := false
	for range moveKills {
		after := time.Duration(30+rand.IntN(600)) * time.Millisecond
		if _, err := from.tried(t, after, "move", "--from", from.config, "--to", to.config); err == nil {
			done = true
			break
		}
	}
	out, err := from.tried(t, 0, "move", "--from", from.config, "--to", to.config)
	switch {
	case done && (err == nil || !strings.Contains(out, "were moved to")):
		t.Fatalf("what was moved was moved again: %s", out)
	case !done && err != nil && !strings.Contains(out, "were moved to"): // killed just before its last word
		t.Fatalf("a move that was interrupted cannot be begun again: %s", out)
	}
}
