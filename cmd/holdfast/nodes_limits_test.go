package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/testsvc"
)

// triesPerAccount is the limit that the nodes are given, and moreTries how many
// wrong passwords are sent.
const triesPerAccount, moreTries = 4, 12

// TestNodesCountTogether (FAULT-14, HTTP-08): wrong passwords at two nodes spend one budget,
// in the database and in Redis. Redis stops nobody by being gone: right passwords
// sign in, wrong ones are counted by each node, and no answer says that the server
// failed.
func TestNodesCountTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers for some seconds; run without -short")
	}
	cache := testsvc.StartRedis(t)
	pg := &testsvc.Postgres{}
	pg.Settings = []string{"fsync=on", "synchronous_commit=on"} // what a node insists on
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	two := nodes(t, pg.Database(t, nil), 2)
	for _, n := range two {
		n.add(t, fmt.Sprintf("attempts_per_account = %d\nattempts_window = \"1h\"\n", triesPerAccount))
	}
	manifest := filepath.Join(t.TempDir(), "limits.toml")
	if err := os.WriteFile(manifest, []byte(crashManifest+nodesUser), 0o600); err != nil {
		t.Fatal(err)
	}
	two[0].command(t, "apply", "-f", manifest)
	startAll := func() {
		for _, n := range two {
			n.start(t)
			t.Cleanup(func() { n.kill() }) // does nothing to one that was stopped
		}
	}
	startAll()
	if looked := guesses(t, two, "demo"); looked != triesPerAccount {
		t.Errorf("the database let two nodes look at %d wrong passwords, the budget is %d", looked, triesPerAccount)
	}
	if again := guesses(t, two[1:], "Demo"); again != 0 {
		t.Errorf("another node looked at %d more", again)
	}
	for _, n := range two {
		n.kill()
		n.add(t, fmt.Sprintf("redis = %q\n", cache.URL))
	}
	startAll()
	if looked := guesses(t, two, "nobody"); looked != triesPerAccount {
		t.Errorf("Redis let two nodes look at %d wrong passwords, the budget is %d", looked, triesPerAccount)
	}
	cache.Kill(t)
	if _, err := signIn(http.DefaultClient, two[0].base, "phone"); err != nil {
		t.Errorf("without Redis: %v", err)
	}
	if looked := guesses(t, two, "demo"); looked < triesPerAccount-1 || looked > 2*triesPerAccount {
		t.Errorf("without Redis two nodes looked at %d wrong passwords; each may look at %d", looked, triesPerAccount)
	}
	if looked := guesses(t, two, "nobody"); looked > triesPerAccount {
		t.Errorf("without Redis two nodes looked at %d more wrong passwords; together they remember %d", looked, triesPerAccount)
	}
}

// add writes settings into the node's configuration, over those of the same name.
func (n *node) add(t *testing.T, text string) {
	t.Helper()
	had, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(had)), "\n"), func(line string) bool {
		key, _, _ := strings.Cut(line, " = ")
		return strings.HasPrefix(text, key+" = ") || strings.Contains(text, "\n"+key+" = ")
	})
	if err := os.WriteFile(n.config, []byte(strings.Join(kept, "\n")+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// guesses sends wrong passwords to the nodes in turn and counts those that were
// looked at. Every other one must be told to wait.
func guesses(t *testing.T, all []*node, name string) (looked int) {
	t.Helper()
	for i := range moreTries {
		a, status, err := post(http.DefaultClient, all[i%len(all)].base, url.Values{"grant_type": {"password"}, "client_id": {"crash"},
			"username": {name}, "password": {fmt.Sprint("guess ", i)}})
		switch {
		case err != nil:
			t.Fatal(err)
		case status == http.StatusBadRequest && a["error"] == "invalid_grant":
			looked++
		case status != http.StatusTooManyRequests:
			t.Errorf("%s, guess %d: %d %s", name, i, status, strings.TrimSpace(fmt.Sprint(a)))
		}
	}
	return looked
}
