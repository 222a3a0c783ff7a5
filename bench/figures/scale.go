package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"

	"holdfast.example/bench/drive"
)

const (
	// fewSessions is what many are compared with.
	fewSessions = 10_000
	// usedSessions are refreshed six times each to see what a device takes.
	usedSessions = 200_000
)

// scale compares a house of millions of sessions with one of few, and measures
// what a device takes in the database.
func (c *cluster) scale(r *record) error {
	err := c.weigh(r)
	if err != nil {
		return err
	}
	few, stopFew, err := c.seeded("few", fewSessions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopFew()) }()
	many, stopMany, err := c.seeded("many", int(c.millions*1e6))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopMany()) }()
	for round := range max(3, c.rounds) {
		var got [2]drive.Result
		for i := range got {
			s := []*server{few, many}[(i+round)%2]
			one, err := c.measured(s, append(c.refreshes(s, 16), "-d", c.window.String(), "-warm", c.warm.String()))
			if err != nil {
				return err
			}
			if one.Errors+one.Dead > 0 {
				return fmt.Errorf("%s", one)
			}
			say("  %s", one)
			got[(i+round)%2] = one
		}
		r.fact(scaleCPU, got[1].CPU/got[0].CPU)
		r.fact(scaleP99, got[1].P99/got[0].P99)
	}
	return c.coldWrites(r, many)
}

// coldWrites measures WAL when most refreshes are the first change of their page
// since a checkpoint, after which PostgreSQL logs whole pages.
func (c *cluster) coldWrites(r *record, s *server) error {
	err := c.pg.exec("CHECKPOINT")
	if err != nil {
		return err
	}
	before, err := c.written()
	if err != nil {
		return err
	}
	got, err := c.measured(s, append(c.refreshes(s, 16), "-d", "1s", "-warm", "0s"))
	if err != nil {
		return err
	}
	after, err := c.written()
	r.fact(walCold, float64(after.lsn-before.lsn)/float64(max(got.Operations, 1)))
	return err
}

// seeded starts a house with so many sessions in a database of its own. Its devices
// are those of sessions scattered over the table.
func (c *cluster) seeded(name string, sessions int) (s *server, stop func() error, err error) {
	url, err := c.pg.database(name)
	if err != nil {
		return nil, nil, err
	}
	s, _, err = c.startNode(name, "", url)
	if err != nil {
		return nil, nil, err
	}
	s.name, s.apart = fmt.Sprintf("%d sessions", sessions), []int{c.pg.pid()}
	err = c.furnish(s)
	if err == nil {
		err = c.seed(url, sessions, "-root", filepath.Join(filepath.Dir(s.log), "root.secret"), "-tokens", s.devices)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.stop())
	}
	return s, s.stop, nil
}

func (c *cluster) seed(url string, sessions int, more ...string) error {
	say("seeding %d sessions", sessions)
	out, err := exec.Command(c.program("seed"), append([]string{"-database", url, "-client", phone,
		"-sessions", strconv.Itoa(sessions), "-users", strconv.Itoa(max(1, sessions/2))}, more...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%d sessions cannot be seeded: %w: %s", sessions, err, out)
	}
	return nil
}

// weigh refreshes each of many sessions six times, autovacuum at work, and asks
// what they take.
func (c *cluster) weigh(r *record) error {
	url, err := c.pg.database("used")
	if err != nil {
		return err
	}
	s, _, err := c.startNode("used", "", url)
	if err != nil {
		return err
	}
	err = errors.Join(c.furnish(s), s.stop()) // all it was for is the schema
	if err == nil {
		err = c.seed(url, usedSessions, "-rewrite", "-logins")
	}
	if err != nil {
		return err
	}
	return ask(url, func(ctx context.Context, conn *pgx.Conn) error {
		var all, table, accounts int64
		err := conn.QueryRow(ctx, `SELECT sum(pg_total_relation_size(oid))::bigint, sum(pg_table_size(oid))::bigint,
 (SELECT sum(pg_total_relation_size(relname::regclass))::bigint FROM pg_class WHERE relname IN ('account', 'login'))
 FROM pg_class WHERE relname LIKE 'session\_%' AND relkind = 'r'`).Scan(&all, &table, &accounts)
		r.fact(deviceBytes, float64(all)/usedSessions)
		r.fact(deviceTable, float64(table)/usedSessions)
		r.fact(accountBytes, float64(accounts)/(usedSessions/2))
		return err
	})
}
