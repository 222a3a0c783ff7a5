package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast.example/internal/secret"
)

// oldest is the oldest version of PostgreSQL this runs on, as
// server_version_num counts.
const oldest = 150000

// applicationName is what connections call themselves in pg_stat_activity.
const applicationName = "holdfast"

// configure reads the URL. What it does not say gets our values.
func configure(text secret.Text) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(text.Reveal())
	if err != nil {
		return nil, fmt.Errorf("postgres: the database URL cannot be read: %w", err) // the driver leaves the password out
	}
	if mode := c.ConnConfig.DefaultQueryExecMode; mode == pgx.QueryExecModeExec || mode == pgx.QueryExecModeSimpleProtocol {
		return nil, fmt.Errorf("postgres: default_query_exec_mode=%s sends values as text, which cannot carry all of ours; behind a pooler use cache_describe, or leave it out", mode)
	}
	said := func(string) bool { return false }
	if u, err := url.Parse(text.Reveal()); err == nil {
		said = u.Query().Has
	}
	if !said("pool_max_conns") {
		c.MaxConns = DefaultConns
	}
	if !said("pool_min_conns") {
		c.MinConns = min(WarmConns, c.MaxConns)
	}
	c.MaxConnLifetime, c.MaxConnLifetimeJitter, c.MaxConnIdleTime = connLife, connLifeJitter, connIdle
	c.PingTimeout = pingWithin
	if !said("connect_timeout") {
		c.ConnConfig.ConnectTimeout = ConnectWait
	}
	if _, ok := c.ConnConfig.RuntimeParams["application_name"]; !ok {
		c.ConnConfig.RuntimeParams["application_name"] = applicationName
	}
	// A standby answers with what was true a moment ago, so only the primary among
	// the servers of the URL will do. A server becomes a standby only by a restart,
	// so it is enough to ask each new connection.
	switch attrs := attribute(text.Reveal()); attrs {
	case "", "any", "primary":
		c.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	case "read-write": // the driver asks whether it may write, too
	default:
		return nil, fmt.Errorf("postgres: target_session_attrs=%s leads to a server that cannot be written; use read-write, or leave it out", attrs)
	}
	c.ConnConfig.OnNotice = hearNotice
	return c, nil
}

// attribute is the target_session_attrs of a URL.
func attribute(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Query().Get("target_session_attrs")
}

// tune decides how statements are sent.
//
// A server of our own parses and plans each statement once per connection and
// keeps the plan (generic, because the plan never depends on the values): reading
// a session costs it a quarter of what planning it anew would. A pooler that lends
// server connections per transaction would lend us one without our statements, so
// through one each statement is sent whole and only the types of its result are
// remembered; and it refuses settings at the start of a connection, so the limits
// of this side stand alone there.
func tune(c *pgxpool.Config, pooler bool) {
	if pooler {
		if c.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
			c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
		return
	}
	for name, value := range map[string]string{
		"statement_timeout":                   milliseconds(statementTimeout),
		"lock_timeout":                        milliseconds(lockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(StatementWait),
		"plan_cache_mode":                     "force_generic_plan",
	} {
		if _, ok := c.ConnConfig.RuntimeParams[name]; !ok {
			c.ConnConfig.RuntimeParams[name] = value
		}
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// found is what the first connection learned about the server.
type found struct {
	pooler   bool
	warnings []string
}

// prepare looks at the server with a connection of its own and brings the schema
// up to date.
func prepare(ctx context.Context, config *pgx.ConnConfig, o Options) (f found, err error) {
	config = config.Copy()
	explicit := config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is kept on either side
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return found{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	f, err = look(ctx, conn, o)
	if err != nil {
		return found{}, err
	}
	f.pooler = f.pooler || explicit // whoever chose the mode knows what is in between
	if err := refuseMoved(ctx, conn); err != nil {
		return found{}, err
	}
	if o.KeepSchema {
		return f, upToDate(ctx, conn)
	}
	return f, migrate(ctx, conn)
}

// look refuses a server on which the promises of this store would not hold.
func look(ctx context.Context, conn *pgx.Conn, o Options) (f found, err error) {
	var version int
	var pid uint32
	var encoding, isolation, commit, fsync, pages, messages string
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_backend_pid(), current_setting('server_encoding'),
 current_setting('default_transaction_isolation'), current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
 current_setting('client_min_messages')`).
		Scan(&version, &pid, &encoding, &isolation, &commit, &fsync, &pages, &messages)
	if err != nil {
		return found{}, err
	}
	f.pooler = pid != conn.PgConn().PID() // a pooler speaks for another process than it named
	switch {
	case version < oldest:
		return found{}, fmt.Errorf("the server is PostgreSQL %d, and %d is the oldest that works", version/10000, oldest/10000)
	case encoding != "UTF8":
		return found{}, fmt.Errorf("the database has the encoding %s; create it with ENCODING 'UTF8'", encoding)
	case isolation != "read committed":
		return found{}, fmt.Errorf("default_transaction_isolation is %q for this role or database; set it to 'read committed', which the locks here count on", isolation)
	case messages == "error":
		return found{}, errors.New("client_min_messages is error for this role or database; set it to warning, because the server tells by a warning that a change did not reach the synchronous replica")
	}
	for name, value := range map[string]string{"synchronous_commit": commit, "fsync": fsync} {
		if value == "off" && !o.LoseAcknowledged {
			return found{}, fmt.Errorf("%s is off: acknowledged sign-outs and refreshes would be lost in a power failure; set it to on", name)
		}
	}
	if pages == "off" && !o.LoseAcknowledged {
		f.warnings = append(f.warnings, "full_page_writes is off on the database server: unless its disk writes pages whole, a power failure can damage it")
	}
	return f, nil
}
