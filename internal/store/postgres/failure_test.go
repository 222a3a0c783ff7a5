package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// signIn makes an account with one session.
func signIn(t testing.TB, db *DB) (user.User, session.Session) {
	t.Helper()
	u := user.User{ID: id.NewUser(), Epoch: 1, Version: 1, CreatedAt: day, UpdatedAt: day}
	u.Username = u.ID.String()
	if err := db.Users().Create(t.Context(), u, nil); err != nil {
		t.Fatal(err)
	}
	_ = db.Clients().Put(t.Context(), client.Change{Next: client.Client{ID: "demo", Version: 1}}) // there already, the second time
	s := session.Session{ID: id.NewSession(), User: u.ID, Client: "demo", Epoch: 1, AuthTime: day, CreatedAt: day, UsedAt: day, Version: 1,
		Chain: session.Chain{Newest: 1, First: 1, IssuedAt: day}}
	if err := db.Sessions().Open(t.Context(), session.Opening{Session: s}); err != nil {
		t.Fatal(err)
	}
	return u, s
}

// rotated is the next state of a session.
func rotated(s session.Session) session.Session {
	s.Version++
	s.Attempt = [8]byte{byte(s.Version), 1}
	return s
}

func TestWhatAnErrorMeans(t *testing.T) {
	server := func(severity, code, constraint string) error {
		return fmt.Errorf("around: %w", &pgconn.PgError{SeverityUnlocalized: severity, Severity: "FEHLER", Code: code, ConstraintName: constraint})
	}
	for name, tt := range map[string]struct {
		err  error
		want verdict
	}{
		"serialization failure":          {server("ERROR", "40001", ""), again},
		"deadlock":                       {server("ERROR", "40P01", ""), again},
		"a statement the pooler lacks":   {server("ERROR", "26000", ""), again},
		"a result type that changed":     {server("ERROR", "0A000", ""), again},
		"two events at one position":     {server("ERROR", "23505", "audit_pkey"), again},
		"another unique violation":       {server("ERROR", "23505", "login_pkey"), never},
		"disk full":                      {server("ERROR", "53100", ""), never},
		"read only":                      {server("ERROR", "25006", ""), never},
		"statement timeout":              {server("ERROR", "57014", ""), never},
		"lock timeout":                   {server("ERROR", "55P03", ""), never},
		"the server goes down":           {server("FATAL", "57P01", ""), unknown},
		"the server crashed":             {server("PANIC", "XX000", ""), unknown},
		"the connection broke":           {io.ErrUnexpectedEOF, unknown},
		"nobody answered":                {context.DeadlineExceeded, unknown},
		"a bug of ours":                  {errors.New("scan"), unknown},
		"fatal, whatever the code means": {server("FATAL", "40001", ""), unknown},
		"the pooler lost the server":     {&pgconn.PgError{Severity: "FATAL", Code: "08P01", Message: "server conn crashed?"}, unknown},
		"an older pooler lost it":        {&pgconn.PgError{Severity: "ERROR", Code: "08P01", Message: "server conn crashed?"}, unknown},
		"a pooler without a code":        {&pgconn.PgError{Severity: "FATAL", Code: "57014"}, unknown},
		"completion unknown":             {server("ERROR", "40003", ""), unknown},
	} {
		if got := judge(tt.err); got != tt.want {
			t.Errorf("%s: verdict %d, want %d", name, got, tt.want)
		}
		told := settle(tt.err)
		f := fault.As(told)
		readOnly := errors.Is(told, session.ErrReadOnly)
		if certain := readOnly || f.Kind == fault.Busy; certain != (tt.want != unknown) || f.RetryAfter == 0 {
			t.Errorf("%s: the caller is told %v", name, told)
		}
	}
	if err := settle(refuse(session.ErrChanged)); err != session.ErrChanged {
		t.Errorf("a refusal became %v", err)
	}
}

// TestConflictsAreTriedAgain (FAULT-06): a fifth of all changes is ended by the
// server, and no caller hears of it.
func TestConflictsAreTriedAgain(t *testing.T) {
	address := newDatabase(t)
	db := openAt(t, address, Options{})
	_, s := signIn(t, db)
	admin(t, address, `CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 IF random() < 0.2 THEN RAISE EXCEPTION 'forced' USING ERRCODE = CASE WHEN random() < 0.5 THEN '40001' ELSE '40P01' END; END IF; RETURN NEW; END $$`,
		"CREATE TRIGGER conflict BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION conflict()")
	const changes = 200
	for range changes {
		next := rotated(s)
		err := db.Sessions().Replace(t.Context(), session.Change{Next: next})
		if fault.Is(err, fault.Busy) { // one in 3,000: all tries met one
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	if st := db.Stats(); st.Retried == 0 || st.Ops < changes {
		t.Errorf("%d changes, %d tried again: nothing was forced", st.Ops, st.Retried)
	}
	l, err := db.Sessions().Load(t.Context(), s.ID)
	if err != nil || l.Session.Version != s.Version {
		t.Errorf("version %d (%v), want %d", l.Session.Version, err, s.Version)
	}
}

// TestReadOnly: a server that may not be written says so for certain, is still
// read, and is noticed when it has healed.
func TestReadOnly(t *testing.T) {
	address := newDatabase(t)
	_, s := signIn(t, openAt(t, address, Options{}))
	db := openAt(t, address+"&pool_max_conns=1&pool_min_conns=0", Options{})
	setReadOnly := func(on string) {
		t.Helper()
		if _, err := db.pool.Exec(t.Context(), "SET default_transaction_read_only = "+on); err != nil {
			t.Fatal(err)
		}
	}
	setReadOnly("on")
	err := db.Sessions().Replace(t.Context(), session.Change{Next: rotated(s)})
	if !errors.Is(err, session.ErrReadOnly) {
		t.Fatalf("Replace says %v, want ErrReadOnly", err)
	}
	if l, err := db.Sessions().Load(t.Context(), s.ID); err != nil || l.Session.Version != 1 {
		t.Errorf("it cannot be read: %v", err)
	}
	if db.Writable(t.Context()) == nil || db.Ping(t.Context()) != nil {
		t.Error("a server that can only be read must be readable and not writable")
	}
	setReadOnly("off")
	if err := db.Writable(t.Context()); err != nil {
		t.Errorf("healed, but %v", err)
	}
}

// TestATerminatedConnection: the server ends the connection in the middle of a
// change. Nobody knows what became of it; the next change works.
func TestATerminatedConnection(t *testing.T) {
	address := newDatabase(t)
	db := openAt(t, address, Options{})
	_, s := signIn(t, db)
	admin(t, address, `CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NEW; END $$`,
		"CREATE TRIGGER leave BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION leave()")
	err := db.Sessions().Replace(t.Context(), session.Change{Next: rotated(s)})
	if !fault.Is(err, fault.Unavailable) || errors.Is(err, session.ErrReadOnly) {
		t.Fatalf("Replace says %v, want an unknown outcome", err)
	}
	if err := db.Users().Create(t.Context(), user.User{ID: id.NewUser(), Username: "next", Version: 1}, nil); err != nil {
		t.Errorf("the next change: %v", err)
	}
}

// TestALostAnswer: the commit happened, its answer did not arrive. The caller is
// told that nobody knows, and finds its own write at the next look.
func TestALostAnswer(t *testing.T) {
	address := newDatabase(t)
	p := newProxy(t, address)
	db := openAt(t, p.address+"&pool_max_conns=1&pool_min_conns=0", Options{})
	_, s := signIn(t, db)
	s = rotated(s)
	if err := db.Sessions().Replace(t.Context(), session.Change{Next: s}); err != nil { // prepares the statement
		t.Fatal(err)
	}
	next := rotated(s)
	p.mute.Store(true)
	err := db.Sessions().Replace(t.Context(), session.Change{Next: next})
	p.mute.Store(false)
	if !fault.Is(err, fault.Unavailable) || errors.Is(err, session.ErrReadOnly) {
		t.Fatalf("Replace says %v, want an unknown outcome", err)
	}
	l, err := db.Sessions().Load(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if l.Session.Attempt != next.Attempt {
		t.Error("the write whose answer was lost is not there; the proxy should have let it through")
	}
}

// TestALostAnswerAboutAnAccount: whoever disables it again finds nothing to do, and is
// not told so before a later write was answered. A server that cannot be reached has
// answered nothing.
func TestALostAnswerAboutAnAccount(t *testing.T) {
	address := newDatabase(t)
	p := newProxy(t, address)
	db := openAt(t, p.address+"&pool_max_conns=1&pool_min_conns=0", Options{})
	u, _ := signIn(t, db)
	u.Version, u.Epoch = u.Version+1, u.Epoch+1
	reset := user.Change{Next: u, Ends: fault.PasswordReset, EntryLife: time.Hour}
	if err := db.Users().Replace(t.Context(), reset); err != nil { // prepares the statement
		t.Fatal(err)
	}
	u.Version, u.Epoch, u.Disabled = u.Version+1, u.Epoch+1, true
	p.mute.Store(true)
	err := db.Users().Replace(t.Context(), user.Change{Next: u, Ends: fault.Disabled, EntryLife: time.Hour})
	_, again := db.Users().ByID(t.Context(), u.ID)
	p.mute.Store(false)
	if !fault.Is(err, fault.Unavailable) || again == nil {
		t.Fatalf("Replace says %v and ByID %v, want an unknown outcome", err, again)
	}
	if _, doubtful := db.doubts.since[u.ID]; !doubtful {
		t.Error("the account is not in doubt")
	}
	is, err := db.Users().ByID(t.Context(), u.ID)
	if err != nil || !is.Disabled || db.doubts.any.Load() != 0 {
		t.Errorf("%+v, %v, and %d are in doubt", is, err, db.doubts.any.Load())
	}
}

// TestACallerWhoLeavesCostsNoConnection: people on bad networks leave all the
// time, and each connection they took with them would have to be made again.
func TestACallerWhoLeavesCostsNoConnection(t *testing.T) {
	address := newDatabase(t)
	db := openAt(t, address+"&pool_max_conns=1&pool_min_conns=0", Options{})
	_, s := signIn(t, db)
	pid := func() (n int) {
		t.Helper()
		if err := db.pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := pid()
	admin(t, address, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END $$`,
		"CREATE TRIGGER slow BEFORE UPDATE ON session FOR EACH ROW EXECUTE FUNCTION slow()")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	next := rotated(s)
	if err := db.Sessions().Replace(ctx, session.Change{Next: next}); err != nil {
		t.Logf("the caller left before it began: %v", err) // a very slow machine
	}
	if after := pid(); after != before {
		t.Error("the connection was given up")
	}
}

// proxy stands between a store and its server.
type proxy struct {
	address string
	// mute lets requests through and ends the connection instead of the answer.
	mute atomic.Bool
	// hold stops everything while it is locked.
	hold sync.Mutex
}

func newProxy(t *testing.T, address string) *proxy {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	network, target := "unix", filepath.Join(q.Get("host"), ".s.PGSQL.5432")
	if u.Host != "" {
		network, target = "tcp", u.Host
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	q.Del("host")
	q.Set("sslmode", "disable")
	u.Host, u.RawQuery = l.Addr().String(), q.Encode()
	p := &proxy{address: u.String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial(network, target)
			if err != nil {
				near.Close()
				continue
			}
			go p.carry(far, near, false)
			go p.carry(near, far, true)
		}
	}()
	return p
}

// carry copies what comes from one side to the other.
func (p *proxy) carry(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		p.hold.Lock()
		p.hold.Unlock() //lint:ignore SA2001 waits while the test holds it
		if err != nil || answers && p.mute.Load() {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestServersThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ setting, want string }{
		"isolation": {"default_transaction_isolation = 'repeatable read'", "read committed"},
		"sync":      {"synchronous_commit = off", "power failure"},
		"warnings":  {"client_min_messages = error", "client_min_messages"},
	} {
		t.Run(name, func(t *testing.T) {
			address := newDatabase(t)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			admin(t, address, "ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" SET "+tt.setting)
			db, err := Open(t.Context(), secretOf(address), Options{})
			if err == nil {
				db.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("opened with %s: %v", tt.setting, err)
			}
		})
	}
}
