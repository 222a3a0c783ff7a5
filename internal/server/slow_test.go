package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.example/internal/server"
)

// slowEach is how many connections of each slow kind there are;
// HOLDFAST_SLOW_CONNECTIONS=2000 runs the catalogue's number. slowMemory is what one of them
// may cost at most, both ends and the test's own goroutines included, in bytes.
const (
	slowEach   = 500
	slowMemory = 96 << 10
)

// pipes is a listener whose connections are in memory, where synctest's time rules.
type pipes struct {
	next   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.next:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.next <- theirs
	return ours
}

// ask sends one request on a connection of its own.
func (p *pipes) ask(t testing.TB, request string) answer {
	t.Helper()
	c := p.dial()
	defer c.Close()
	sent := make(chan error, 1)
	go func() { _, err := io.WriteString(c, request); sent <- err }()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// drip sends the beginning at once, then a byte each second, and reports when the
// server has hung up. Whatever is answered is read.
func drip(c net.Conn, begin string) time.Duration {
	began := time.Now()
	var read sync.WaitGroup
	read.Go(func() { _, _ = io.Copy(io.Discard, c) })
	_, err := io.WriteString(c, begin)
	for err == nil {
		time.Sleep(time.Second)
		_, err = io.WriteString(c, "a")
	}
	took := time.Since(began)
	c.Close()
	read.Wait()
	return took
}

// sip asks for a document and reads a byte of it each second until the server has
// hung up.
func sip(c net.Conn, request string) time.Duration {
	began := time.Now()
	defer c.Close()
	_, err := io.WriteString(c, request)
	for b := make([]byte, 1); err == nil; _, err = c.Read(b) {
		time.Sleep(time.Second)
	}
	return time.Since(began)
}

// TestSlowConnections (HTTP-01): thousands of connections send a header or a body, or
// read an answer, as slowly as they can. Each costs little memory and is cut off by
// its limit, and whoever else asks is answered at once. Time is virtual: nothing here
// depends on how fast this machine is.
func TestSlowConnections(t *testing.T) {
	each := slowEach
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_SLOW_CONNECTIONS")); err == nil {
		each = n
	}
	if _, err := template(); err != nil { // out of the bubble: others use it as well
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { slowConnections(t, each) })
}

func slowConnections(t *testing.T, each int) {
	a := attacks(t)
	a.http.Close() // nothing here may wait for the network: time would stand still
	on := &pipes{next: make(chan net.Conn), closed: make(chan struct{})}
	srv := a.server.Listen()
	var all sync.WaitGroup
	all.Go(func() {
		if err := srv.Serve(on); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	h := a.holds(on.ask(t, signInBy("demo-native")), "demo-native")
	before := memory()

	var mu sync.Mutex
	longest := map[string]time.Duration{}
	cut := func(kind string, f func(net.Conn, string) time.Duration, begin string) {
		for range each {
			c := on.dial()
			all.Go(func() {
				took := f(c, begin)
				mu.Lock()
				defer mu.Unlock()
				longest[kind] = max(longest[kind], took)
			})
		}
	}
	cut("header", drip, "POST /oauth2/token HTTP/1.1\r\nHost: id.test\r\nX: ")
	cut("body", drip, "POST /oauth2/token HTTP/1.1\r\nHost: id.test\r\nContent-Type: "+urlEncoded+"\r\nContent-Length: 4000\r\n\r\ngrant_type=")
	cut("answer", sip, "GET /oauth2/jwks HTTP/1.1\r\nHost: id.test\r\n\r\n")
	synctest.Wait()
	used := memory() - before
	t.Logf("%d slow connections take %d KB each", 3*each, used/int64(3*each)>>10)
	if used > int64(3*each)*slowMemory {
		t.Errorf("%d slow connections take %d bytes", 3*each, used)
	}
	for range int(server.WriteTimeout/time.Second) + 2 { // others go on meanwhile
		asked := time.Now()
		h = a.holds(on.ask(t, refreshOf(h)), h.client)
		if got := on.ask(t, last); h.status != 200 || got.status != 200 {
			t.Errorf("a refresh is answered %d, a question %d", h.status, got.status)
		}
		if waited := time.Since(asked); waited > 0 {
			t.Errorf("somebody else waited %v", waited)
		}
		a.clock.advance(time.Hour)
		time.Sleep(time.Second)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for kind, limit := range map[string]time.Duration{"header": server.HeaderTimeout, "body": server.ReadTimeout, "answer": server.WriteTimeout} {
		if took := longest[kind]; took < limit-2*time.Second || took > limit+time.Second {
			t.Errorf("a slow %s is cut off after %v, its limit is %v", kind, took, limit)
		}
	}
}

func signInBy(client string) string {
	return tokenRequest("grant_type", "password", "client_id", client, "username", "demo", "password", "demo-password", "scope", "openid")
}

func refreshOf(h held) string {
	return tokenRequest("grant_type", "refresh_token", "client_id", h.client, "refresh_token", h.Refresh)
}

// tokenRequest is a token request on the wire.
func tokenRequest(fields ...string) string {
	body := encode(fields)
	var b strings.Builder
	fmt.Fprintf(&b, "POST /oauth2/token HTTP/1.1\r\nHost: id.test\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", urlEncoded, len(body), body)
	return b.String()
}

// memory is what the process holds, in bytes.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
