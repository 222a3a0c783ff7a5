package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/key"
	"holdfast.example/internal/testsvc"
)

// node is one server of several over one database.
type node struct {
	*running
	dir, listen, config string
}

// nodes prepares servers over one new PostgreSQL database: one issuer, one root
// secret, and a data directory each.
func nodes(t *testing.T, database string, count int) []*node {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root.secret")
	if err := key.WriteRootFile(root, key.NewRoot()); err != nil {
		t.Fatal(err)
	}
	var all []*node
	issuer := ""
	for range count {
		n := &node{dir: t.TempDir(), listen: freePort(t)}
		if issuer == "" {
			issuer = "http://" + n.listen
		}
		n.config = filepath.Join(n.dir, "holdfast.toml")
		text := fmt.Sprintf("issuer = %q\nlisten = %q\ndata = %q\ndatabase = %q\nroot_secret_file = %q\nmetrics_listen = \"off\"\n",
			issuer, n.listen, filepath.Join(n.dir, "data"), database, root)
		if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func (n *node) start(t *testing.T) {
	t.Helper()
	n.running = start(t, n.dir, n.listen, "serve", "--config", n.config)
}

// command runs an operator's command against the node's configuration.
func (n *node) command(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "--config", n.config)...)
	cmd.Env = append(os.Environ(), beHoldfast+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

const nodesUser = `
[[users]]
username = "demo"
email = "demo@example.com"
email_verified = true
password = "demo-password"
`

// nodeCycles is how often a node is killed.
const nodeCycles = 6

// TestTwoNodes (the short form of FAULT-02): two servers over one PostgreSQL.
// Phones refresh at whichever answers while nodes are killed, nobody is signed
// out, and who is signed out at one node is out at the other.
func TestTwoNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills servers for some seconds; run without -short")
	}
	pg := &testsvc.Postgres{Sync: true}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	two := nodes(t, pg.Database(t, nil), 2)
	manifest := filepath.Join(t.TempDir(), "crash.toml")
	if err := os.WriteFile(manifest, []byte(crashManifest+nodesUser), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := two[0].command(t, "apply", "-f", manifest); !strings.Contains(out, "clients: 1 created") {
		t.Fatalf("applied without a server: %s", out)
	}
	if out := two[1].command(t, "migrate"); !strings.Contains(out, "PostgreSQL database") || !strings.Contains(out, "is at schema") {
		t.Errorf("migrate says %s", out)
	}
	for _, n := range two {
		n.start(t)
	}
	const phones = 8
	all := make([]*crasher, phones)
	for i := range all {
		all[i] = &crasher{n: i}
		all[i].signIn(t, two[i%2].base)
	}
	for cycle := range nodeCycles {
		var down atomic.Bool
		var done sync.WaitGroup
		for i, p := range all {
			done.Go(func() { p.run(two[(i+cycle)%2].base, &down) })
		}
		time.Sleep(300 * time.Millisecond)
		victim := two[cycle%2]
		victim.kill()
		down.Store(true)
		done.Wait()
		for _, p := range all { // what the kill left open is settled by the other node
			p.once(two[(cycle+1)%2].base)
			if p.lost != "" {
				t.Fatalf("cycle %d: phone %d was signed out: %s", cycle, p.n, p.lost)
			}
		}
		victim.start(t)
	}
	rotated := 0
	for _, p := range all {
		rotated += p.rotated
	}
	if rotated < phones*nodeCycles {
		t.Errorf("only %d rotations: the kills hit nothing", rotated)
	}
	gone := all[0]
	res, err := http.PostForm(two[0].base+"/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {gone.refresh}})
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("revoke: %v %v", res, err)
	}
	res.Body.Close()
	a, status, err := post(http.DefaultClient, two[1].base, url.Values{"grant_type": {"refresh_token"}, "client_id": {"crash"}, "refresh_token": {gone.refresh}})
	if err != nil || status != http.StatusBadRequest || a["error"] != "invalid_grant" {
		t.Errorf("signed out at one node, the other answers %d %v %v", status, a, err)
	}
	all[1].spentIsDead(t, two[1].base)
	for _, n := range two {
		if err := n.stop(); err != nil {
			t.Errorf("it did not stop cleanly: %v\n%s", err, tail(filepath.Join(n.dir, "server.log")))
		}
	}
	if out := two[0].command(t, "check"); !strings.Contains(out, "database: in order") {
		t.Errorf("check says %s", out)
	}
	t.Logf("%d kills, %d phones over two nodes: %d rotations, 0 signed out", nodeCycles, phones, rotated)
}
