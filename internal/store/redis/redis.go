// Package redis keeps the budgets that nodes share in a Redis (or Valkey) server:
// one script for each attempt, and keys that expire by themselves.
//
// It owns the connection, its limits, and the scripts. It does not own any truth:
// nothing is kept here whose loss would matter. A Redis that restarts, is flushed,
// is full or is a replica that lags forgets budgets, which makes them whole; what
// must not be forgotten (sessions, spent proofs) is in the database and never here
// (docs/adr/0012-what-nodes-share.md). When Redis does not answer, the caller goes
// on without it (limit.Fallback).
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"holdfast.example/internal/secret"
)

// Limits of the connection. Together they are shorter than limit.AskWait, so that
// a Redis that hangs is noticed here.
const (
	// DialWait is how long opening a connection may take.
	DialWait = 400 * time.Millisecond
	// AnswerWait is how long a write to Redis, or an answer, may take.
	AnswerWait = 400 * time.Millisecond
	// MaxConns is how many connections a node opens at most, and IdleConns how many
	// it keeps. Whoever finds none free waits as long as the caller's context lets
	// him.
	MaxConns  = 16
	IdleConns = 4
	// idleLife is how long a connection that nobody uses is kept, and connLife how
	// long any is, so that nodes follow a moved address.
	idleLife, connLife = 5 * time.Minute, time.Hour
)

// defaultPort is that of an address that names none.
const defaultPort = "6379"

// Options are what the caller decides.
type Options struct {
	// Now replaces Redis's clock, for tests with a virtual one. In production it is
	// nil: the one clock that all nodes share is Redis's.
	Now func() time.Time
}

// DB is a Redis server. It is safe for concurrent use.
type DB struct {
	pool *redis.Pool
	now  func() time.Time
}

// place is what an address says.
type place struct {
	network, address string
	options          []redis.DialOption
}

// Open reads the address, redis://, rediss:// (TLS) or unix://, and connects when
// something is first asked: a Redis that is not there stops no start. Errors are
// about the address and never show it, because it may hold a password.
func Open(address secret.Text, o Options) (*DB, error) {
	p, err := parse(address)
	if err != nil {
		return nil, err
	}
	return &DB{now: o.Now, pool: &redis.Pool{
		MaxActive: MaxConns, MaxIdle: IdleConns, Wait: true, IdleTimeout: idleLife, MaxConnLifetime: connLife,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, p.network, p.address, p.options...)
		},
	}}, nil
}

// errAddress says what an address looks like.
var errAddress = errors.New("redis: the address cannot be read; write redis://[[user]:password@]host:port[/database], rediss:// for TLS, or unix:///path/to/socket")

func parse(address secret.Text) (place, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return place{}, errAddress // the parser's own words show the address
	}
	p := place{network: "tcp", options: []redis.DialOption{redis.DialConnectTimeout(DialWait), redis.DialTLSHandshakeTimeout(DialWait),
		redis.DialReadTimeout(AnswerWait), redis.DialWriteTimeout(AnswerWait)}}
	database := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		if u.Hostname() == "" || u.RawQuery != "" {
			return place{}, errAddress
		}
		p.address = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPort))
		p.options = append(p.options, redis.DialUseTLS(u.Scheme == "rediss"))
	case "unix":
		database = u.Query().Get("db")
		p.network, p.address = "unix", u.Path
		if u.Host != "" || p.address == "" {
			return place{}, errAddress
		}
	default:
		return place{}, errAddress
	}
	if database != "" {
		n, err := strconv.ParseUint(database, 10, 16)
		if err != nil {
			return place{}, fmt.Errorf("redis: a database is a number, not %.20q", database)
		}
		p.options = append(p.options, redis.DialDatabase(int(n)))
	}
	if password, set := u.User.Password(); set {
		p.options = append(p.options, redis.DialUsername(u.User.Username()), redis.DialPassword(password))
	}
	return p, nil
}

// Ping reports whether Redis answers, for the operator.
func (db *DB) Ping(ctx context.Context) error {
	conn, err := db.pool.GetContext(ctx)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	_, err = redis.DoContext(conn, ctx, "PING")
	return errors.Join(err, conn.Close())
}

// Close closes all connections. Calls that come later fail.
func (db *DB) Close() error { return db.pool.Close() }
