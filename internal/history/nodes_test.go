package history_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/server"
	"holdfast.example/internal/session"
	"holdfast.example/internal/store/postgres"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/testsvc"
	"holdfast.example/internal/user"
)

// postgresql is the server of this package's tests.
var postgresql testsvc.Postgres

func TestMain(m *testing.M) {
	code := m.Run()
	if err := postgresql.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// clock is the time of all nodes, in whole seconds. It remembers every time that
// it showed.
type clock struct {
	mu    sync.Mutex
	times []int64
}

func newClock() *clock {
	return &clock{times: []int64{time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC).Unix()}}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(c.times[len(c.times)-1], 0).UTC()
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times = append(c.times, c.times[len(c.times)-1]+int64(d/time.Second))
}

// mark is a moment, since every time that was shown from a moment until now.
func (c *clock) mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times) - 1
}

func (c *clock) since(mark int) []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.times[mark:])
}

// node is one real server: its listener, its connections to the database, and a
// network before and behind it.
type node struct {
	*server.Server
	ping func(context.Context) error
	base string
	// straight is the node's own address, without a network before it.
	straight string
	// before is the network between clients and the node, behind the one between
	// the node and PostgreSQL; nil where there is none.
	before, behind *testsvc.Proxy
	// open is how many connections the node has.
	open atomic.Int64
}

// cluster is some nodes over one database.
type cluster struct {
	clock *clock
	// apart is how far each node's own clock is from the database's; those that it
	// does not reach are right.
	apart []time.Duration
	nodes []*node
	// watch sees the database without a network between; nil for SQLite.
	watch *pgx.Conn
}

// The clients of every cluster. The watcher asks about access tokens.
const (
	phone, strict, watcher = "phone", "phone-strict", "watcher"
	watcherSecret          = "watcher-secret-of-the-tests"
	idleLimit              = 10 * 24 * time.Hour
)

const manifest = `
[[clients]]
id = "phone"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["openid"]
idle_lifetime = "10d"

[[clients]]
id = "phone-strict"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["openid"]
refresh = "strict"
idle_lifetime = "10d"

[[clients]]
id = "watcher"
type = "confidential"
secret = "watcher-secret-of-the-tests"
grants = ["client_credentials"]
scopes = ["introspect"]
`

// settled bounds every wait for the cluster to come to rest.
const (
	settled     = 60 * time.Second
	settlePause = 2 * time.Millisecond
)

// wire changes a store before a node is made of it; nil changes nothing.
type wire func(node int, s session.Store) session.Store

// overPostgres makes a cluster of nodes over one new PostgreSQL database, each
// with a network before and behind it.
func overPostgres(t *testing.T, count int, seed uint64, change wire, apart ...time.Duration) *cluster {
	t.Helper()
	database := postgresql.Database(t, nil)
	c := &cluster{clock: newClock(), apart: apart}
	var err error
	c.watch, err = pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.watch.Close(context.Background()) })
	root := key.NewRoot()
	for i := range count {
		behind := testsvc.NewProxy(t, seed+uint64(2*i), "unix", filepath.Join(c.watch.Config().Host, fmt.Sprintf(".s.PGSQL.%d", c.watch.Config().Port)))
		db, err := postgres.Open(t.Context(), through(t, database, behind.Addr()), postgres.Options{Now: c.clock.Now, LoseAcknowledged: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		stores := server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(),
			Ready: db.Ping, Writable: db.Writable}
		if change != nil {
			stores.Sessions = change(i, stores.Sessions)
		}
		n := c.add(t, stores, root, i == 0)
		n.behind = behind
		n.before = testsvc.NewProxy(t, seed+uint64(2*i)+1, "tcp", n.base[len("http://"):])
		n.base = "http://" + n.before.Addr()
	}
	return c
}

// through leads a database URL over TCP through an address.
func through(t *testing.T, database, address string) secret.Text {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address
	u.RawQuery = url.Values{"sslmode": {"disable"}, "pool_max_conns": {"6"}, "pool_min_conns": {"2"}}.Encode()
	return secret.New(u.String())
}

// overSQLite is one node over an embedded database.
func overSQLite(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{clock: newClock()}
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "holdfast.db"), sqlite.Options{Now: c.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	c.add(t, server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(),
		Ready: db.Ping, Writable: db.Writable}, key.NewRoot(), true)
	return c
}

// add makes a server over stores and lets it listen. The first one is told its
// clients.
func (c *cluster) add(t *testing.T, stores server.Stores, root key.Root, first bool) *node {
	t.Helper()
	config, _, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"issuer": "http://id.test", "data": t.TempDir(), "listen": "127.0.0.1:8420"}})
	if err != nil {
		t.Fatal(err)
	}
	config.SigningAlgs, config.KeyRotation = []string{"ES256"}, 0
	now := c.clock.Now
	if i := len(c.nodes); i < len(c.apart) {
		now = func() time.Time { return c.clock.Now().Add(c.apart[i]) }
	}
	s, err := server.New(t.Context(), config, server.Parts{Stores: stores, Root: root, Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if first {
		_, err = s.Apply(t.Context(), "history.toml", []byte(manifest))
	} else {
		err = s.Clients.Reload(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Server: s, ping: stores.Ready}
	n.listen(t)
	c.nodes = append(c.nodes, n)
	return n
}

// listen serves on a loopback port until the test ends, and counts connections.
func (n *node) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.base = "http://" + l.Addr().String()
	n.straight = n.base
	srv := &http.Server{Handler: n.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			n.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			n.open.Add(-1)
		}
	}}
	var served sync.WaitGroup
	served.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		srv.Close()
		served.Wait()
		n.Close()
	})
}

// spoil says what the networks do wrong from now on.
func (c *cluster) spoil(before, behind testsvc.Faults) {
	for _, n := range c.nodes {
		n.before.Set(before)
		n.behind.Set(behind)
	}
}

// rest ends all faults and returns when nothing is under way any more: no request
// that a client gave up, and no statement that a node gave up. What was unknown
// until then has happened or never will. No client may send meanwhile.
//
// A request is over when its connection is. A node takes connections in the order in
// which they were made, so when one that was made last has been answered, all others
// were taken. A statement that was given up is over when the
// process behind its connection has gone; behind each connection that stands there
// is one process, so when there are as many processes as connections there is no
// other.
func (c *cluster) rest(t *testing.T) {
	t.Helper()
	c.spoil(testsvc.Faults{}, testsvc.Faults{})
	for _, n := range c.nodes {
		n.before.Reset()
		n.behind.Pause() // ends what is spoiled
		n.behind.Resume()
		c.until(t, "a node takes no connections", func() bool { return n.before.Open() == 0 && n.answers(t) })
		c.until(t, "requests are still under way", func() bool { return n.open.Load() == 0 })
	}
	for _, n := range c.nodes {
		n.behind.Pause()
	}
	c.until(t, "statements are still under way", func() bool {
		var processes, connections int64
		for _, n := range c.nodes {
			connections += n.behind.Open()
		}
		err := c.watch.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()").Scan(&processes)
		if err != nil {
			t.Fatal(err)
		}
		return processes == connections
	})
	for _, n := range c.nodes {
		n.behind.Resume()
	}
	for _, n := range c.nodes {
		c.until(t, "a node does not reach its database", func() bool { return n.ping(t.Context()) == nil && n.heals(t.Context()) })
	}
}

// answers reports whether the node takes a new connection and answers on it.
func (n *node) answers(t *testing.T) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.straight+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// heals reports whether an ordinary read is answered again.
func (n *node) heals(ctx context.Context) bool {
	_, err := n.Users.List(ctx, id.User{}, 1)
	return err == nil
}

// until waits for something that comes to pass by itself.
func (c *cluster) until(t *testing.T, otherwise string, ok func() bool) {
	t.Helper()
	for waited := time.Duration(0); !ok(); waited += settlePause {
		if waited > settled {
			t.Fatal(otherwise)
		}
		time.Sleep(settlePause)
	}
}

// newUser makes an account. The clock goes on, as it does between two people.
func (c *cluster) newUser(t *testing.T, name string) user.User {
	t.Helper()
	c.clock.advance(time.Second)
	email := name + "@example.com"
	u, err := c.nodes[0].Users.Create(t.Context(), user.Declared{Username: name, Email: &email})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
