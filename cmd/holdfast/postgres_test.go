package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.example/internal/key"
	"holdfast.example/internal/testsvc"
)

// node is one server of several over one database.
type node struct {
	*running
	program, dir, listen, config string
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
		n := &node{program: builtProgram(t), dir: t.TempDir(), listen: freePort(t)}
		if issuer == "" {
			issuer = "http://" + n.listen
		}
		n.config = filepath.Join(n.dir, "holdfast.toml")
		text := fmt.Sprintf("issuer = %q\nlisten = %q\ndata = %q\ndatabase = %q\nroot_secret_file = %q\nmetrics_listen = \"off\"\nattempts_per_account = 100000\nattempts_per_address = 100000\n",
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
	n.running = startProgram(t, n.program, n.dir, n.listen, "serve", "--config", n.config)
}

// log is what the node wrote, from all its starts.
func (n *node) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// command runs an operator's command against the node's configuration.
func (n *node) command(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.program, append(args, "--config", n.config)...)
	cmd.Env = environment(n.program)
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

// cluster is two servers over one PostgreSQL that syncs its disk, with a client
// and a user, and a manifest's worth more when given.
func cluster(t *testing.T, more string) (*testsvc.Postgres, []*node) {
	t.Helper()
	pg := &testsvc.Postgres{Sync: true}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	two := nodes(t, pg.Database(t, nil), 2)
	manifest := filepath.Join(t.TempDir(), "crash.toml")
	if err := os.WriteFile(manifest, []byte(crashManifest+more+nodesUser), 0o600); err != nil {
		t.Fatal(err)
	}
	two[0].command(t, "apply", "-f", manifest)
	for _, n := range two {
		n.start(t)
		t.Cleanup(func() { n.kill() }) // does nothing to one that was stopped
	}
	return pg, two
}

// stopAll ends the nodes as an operator would and looks the database over.
func stopAll(t *testing.T, all []*node) {
	t.Helper()
	for _, n := range all {
		if err := n.stop(); err != nil {
			t.Errorf("it did not stop cleanly: %v\n%s", err, tail(filepath.Join(n.dir, "server.log")))
		}
	}
	if out := all[0].command(t, "check"); !strings.Contains(out, "database: in order") {
		t.Errorf("check says %s", out)
	}
}
