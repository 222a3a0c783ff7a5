package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/bench/drive"
	"holdfast.example/bench/proctree"
)

// The names of facts on PostgreSQL.
const (
	walHot       = "WAL for one refresh, pages in use"
	walCold      = "WAL for one refresh, first touch of most pages since a checkpoint"
	walSyncs     = "WAL syncs for one refresh, 16 connections"
	commits      = "transactions for one refresh"
	hotShare     = "share of updates that touch no index (HOT)"
	idleCPU      = "CPU of a node without requests and its database"
	deviceBytes  = "bytes of a device after six refreshes, indexes included"
	deviceTable  = "  of them in the table"
	accountBytes = "bytes of an account with two logins, indexes included"
	scaleCPU     = "refresh CPU with all those sessions / with ten thousand"
	scaleP99     = "refresh p99 with all those sessions / with ten thousand"
)

// peer is the most refreshes a second that were measured of the fastest durable
// server for PostgreSQL by others, on this kind of machine and with this kind of
// load, by connections.
var peer = map[int]float64{16: 529, 64: 615}

// postgresGoals are those of refreshes on PostgreSQL.
func (r *record) postgresGoals() (all []goal) {
	cpu := func(d drive.Result) float64 { return d.CPU }
	speed := func(d drive.Result) float64 { return d.PerSecond }
	for _, theirs := range []string{web, direct} {
		for _, c := range connections {
			if v, ok := r.between(onPostgres, theirs, c, cpu); ok {
				what := fmt.Sprintf("refresh CPU / %s CPU, %d connections", theirs, c)
				all = append(all, if1(c, justSo(what, v, "x"), atMost(what, v, "x", 1.5)))
			}
		}
	}
	for _, c := range connections {
		theirs, known := peer[c]
		if v, ok := r.median(onPostgres, drive.Refresh, c, speed); ok && known {
			all = append(all, atLeast(fmt.Sprintf("refreshes / the fastest peer's %g, %d connections", theirs, c), v/theirs, "x", 6))
		}
		if v, ok := r.between(twoNodes, onPostgres, c, speed); ok {
			all = append(all, justSo(fmt.Sprintf("refreshes of two nodes / of one, on one machine, %d connections", c), v, "x"))
		}
	}
	return all
}

// cluster is what runs on PostgreSQL.
type cluster struct {
	*plan
	pg       *pgServer
	one, two *server // nodes of one house; two is both of them to the load
	web      *server
	house    string // the URLs of two databases
	floor    string
}

// measurePostgres is one run on PostgreSQL: refreshes on one node and on two, in
// turns with two floors in the same database server.
func (p *plan) measurePostgres() (r record, err error) {
	r = record{Machine: thisMachine(), Began: time.Now().UTC().Truncate(time.Second), Runs: 1}
	r.Machine.Load = []string{loadAverage()}
	say("starting PostgreSQL and the servers in %s", p.dir)
	c := &cluster{plan: p}
	c.pg, err = startPostgres(p.dir, strings.FieldsFunc(p.settings, func(r rune) bool { return r == ',' })...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.pg.stop()) }()
	stop, err := c.start()
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return r, err
	}
	err = c.idle(&r)
	if err != nil {
		return r, err
	}
	for _, s := range []*server{c.one, c.two, c.web} {
		err = p.signIn(s, s.devices, phoneFlags(s))
		if err != nil {
			return r, err
		}
	}
	for round := range p.rounds {
		say("round %d of %d", round+1, p.rounds)
		err = errors.Join(c.round(&r, round), c.writes(&r))
		if err != nil {
			return r, err
		}
	}
	if p.profile != "" {
		err = p.profiles(c.one, c.web)
	}
	if p.millions > 0 {
		err = errors.Join(err, c.scale(&r))
	}
	r.Machine.Load = append(r.Machine.Load, loadAverage())
	return r, err
}

// start makes both databases, the nodes and the floor. stop ends what was started.
func (c *cluster) start() (stop func() error, err error) {
	var running []*server
	stop = func() (err error) {
		for _, s := range running {
			err = errors.Join(err, s.stop())
		}
		return err
	}
	for _, d := range []struct {
		name string
		into *string
	}{{"house", &c.house}, {"floor", &c.floor}} {
		*d.into, err = c.pg.database(d.name)
		if err != nil {
			return stop, err
		}
	}
	if pid := c.pg.pid(); pid == 0 {
		return stop, errors.New("the CPU of somebody else's PostgreSQL cannot be measured; set " + envPostgres + " to a directory of programs instead")
	}
	c.one, _, err = c.startNode("node1", "", c.house)
	if err != nil {
		return stop, err
	}
	running = append(running, c.one)
	err = c.furnish(c.one)
	if err != nil {
		return stop, err
	}
	second, err := c.secondNode("node2", c.one, c.house)
	if err != nil {
		return stop, err
	}
	running = append(running, second)
	both := *second
	both.name, both.also, both.apart = twoNodes, []int{c.one.pid()}, []int{c.pg.pid()}
	both.base = c.one.base + "/oauth2/token," + second.base
	both.devices = c.one.devices + ".both"
	c.two = &both
	c.one.name, c.one.apart = onPostgres, []int{c.pg.pid()}
	c.web, err = c.startFloor(web, "statements", "-database", c.floor)
	if err != nil {
		return stop, err
	}
	running = append(running, c.web)
	c.web.apart = c.one.apart
	return stop, nil
}

// secondNode starts another node of a house, with a data directory of its own.
func (p *plan) secondNode(folder string, first *server, database string) (*server, error) {
	root, err := os.ReadFile(filepath.Join(filepath.Dir(first.log), "root.secret"))
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(p.dir, folder)
	err = errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "root.secret"), root, 0o600))
	if err != nil {
		return nil, err
	}
	s, _, err := p.startNode(folder, first.base, database)
	return s, err
}

// round measures every cell of the table once. Who goes first changes.
func (c *cluster) round(r *record, round int) error {
	for _, n := range connections {
		turns := []func() error{}
		for _, s := range []*server{c.one, c.two, c.web} {
			turns = append(turns, func() error { return c.sample(r, s, round, c.refreshes(s, n)) })
		}
		turns = append(turns, func() error { return c.direct(r, round, n) })
		for i := range turns {
			err := turns[(i+round)%len(turns)]()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) refreshes(s *server, connections int) []string {
	return append(phoneFlags(s), "-scenario", drive.Refresh, "-c", strconv.Itoa(connections), "-tokens", s.devices, "-save", s.devices)
}

// direct measures the floor that has no HTTP.
func (c *cluster) direct(r *record, round, loops int) error {
	var got drive.Result
	out, err := exec.Command(c.program("floor"), "bare", "-database", c.floor, "-c", strconv.Itoa(loops), "-rows", strconv.Itoa(devices),
		"-d", c.window.String(), "-warm", c.warm.String(), "-pid", strconv.Itoa(c.pg.pid())).CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		return fmt.Errorf("floor bare: %w: %s", err, out)
	}
	got.Name = direct
	say("  %s", got)
	r.Samples = append(r.Samples, sample{direct, round, got})
	return nil
}

// idleFor is how long nothing is asked of a node to see what it does by itself.
const idleFor = 5 * time.Second

// idle measures what two nodes and their database use without requests, halved.
func (c *cluster) idle(r *record) error {
	roots := slices.Concat([]int{c.two.pid()}, c.two.also, c.two.apart)
	time.Sleep(time.Second) // what a start leaves to do
	before, err := proctree.Read(roots...)
	time.Sleep(idleFor)
	after, failed := proctree.Read(roots...)
	r.fact(idleCPU, inMS(after.CPU-before.CPU)/2/idleFor.Seconds())
	return errors.Join(err, failed)
}

// statsWait is how long PostgreSQL's processes keep counts to themselves at most
// when they have nothing to do.
const statsWait = 11 * time.Second

// written is what the database server says of its writing.
type written struct {
	lsn, syncs, commits, updated, hot int64
}

func (c *cluster) written() (w written, err error) {
	err = ask(c.house, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, (SELECT wal_sync FROM pg_stat_wal),
 (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
 (SELECT sum(n_tup_upd)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'session\_%'),
 (SELECT sum(n_tup_hot_upd)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'session\_%')`).Scan(&w.lsn, &w.syncs, &w.commits, &w.updated, &w.hot)
	})
	return w, err
}

// writes runs a window of refreshes alone and asks the database what it wrote.
func (c *cluster) writes(r *record) error {
	time.Sleep(statsWait)
	before, err := c.written()
	if err != nil {
		return err
	}
	got, err := c.measured(c.one, append(c.refreshes(c.one, 16), "-d", c.window.String(), "-warm", "0s"))
	if err != nil {
		return err
	}
	time.Sleep(statsWait)
	after, err := c.written()
	if err != nil {
		return err
	}
	n := float64(after.updated - before.updated)
	if n < float64(got.Operations) {
		return fmt.Errorf("the database counts %.0f updates and the load %d refreshes", n, got.Operations)
	}
	r.fact(walHot, float64(after.lsn-before.lsn)/n)
	r.fact(walSyncs, float64(after.syncs-before.syncs)/n)
	r.fact(commits, float64(after.commits-before.commits)/n)
	r.fact(hotShare, float64(after.hot-before.hot)/n)
	return nil
}
