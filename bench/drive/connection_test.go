package drive

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// scripted answers each request on each connection with the next raw text, and
// closes the connection after an empty one.
func scripted(t *testing.T, answers ...string) (target, func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	taken := make(chan struct{}, 100)
	go func() {
		for next := 0; ; {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for next < len(answers) {
				r, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				_, _ = in.Discard(int(r.ContentLength))
				taken <- struct{}{}
				text := answers[next]
				next++
				_, _ = c.Write([]byte(text))
				if text == "" || strings.Contains(text, "cut") {
					break
				}
			}
			c.Close()
		}
	}()
	to, err := newTarget("POST", "http://"+l.Addr().String()+"/token")
	if err != nil {
		t.Fatal(err)
	}
	return to, func() int { return len(taken) }
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestAnswers(t *testing.T) {
	for _, one := range []struct{ name, raw, body, err string }{
		{"length", ok, "ok", ""},
		{"names in any case", "HTTP/1.1 200\r\ncontent-LENGTH:2\r\n\r\nok", "ok", ""},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: x\r\n\r\n", "abcd", ""},
		{"nothing", "HTTP/1.1 204 No Content\r\n\r\n", "", ""},
		{"chunk longer than it says", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", "", "broken"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nok", "", "broken"},
		{"too long", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nok", "", "broken"},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", "", "broken"},
		{"other protocol", "SSH-2.0-x\r\n\r\n", "", "broken"},
		{"no header", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "", "broken"},
		{"hangs up", "", "", "no answer"},
	} {
		t.Run(one.name, func(t *testing.T) {
			to, _ := scripted(t, one.raw)
			var c connection
			defer c.close()
			a, err := c.do(to, []byte("a=b"))
			switch {
			case one.err == "" && (err != nil || string(a.body) != one.body):
				t.Errorf("got %q, %v", a.body, err)
			case one.err != "" && (err == nil || !strings.Contains(err.Error(), one.err)):
				t.Errorf("got %q, %v; want %q", a.body, err, one.err)
			}
		})
	}
}

// Nothing that the server may have taken is sent twice.
func TestRepeatsOnlyWhatWasNotTaken(t *testing.T) {
	to, taken := scripted(t, ok, "", ok)
	var c connection
	defer c.close()
	if _, err := c.do(to, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.do(to, nil); err == nil { // a busy connection that ends without an answer
		t.Fatal("a lost answer was hidden")
	}
	if n := taken(); n != 2 || c.reopened != 0 {
		t.Fatalf("%d requests, %d reopened", n, c.reopened)
	}
	if a, err := c.do(to, nil); err != nil || a.status != 200 {
		t.Fatal(err)
	}

	to, taken = scripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ncut", ok) // closes after its first answer
	c.close()
	if _, err := c.do(to, nil); err != nil {
		t.Fatal(err)
	}
	c.used = time.Now().Add(-2 * idleAfter)
	if _, err := c.do(to, nil); err != nil || c.reopened != 1 || taken() != 2 {
		t.Fatalf("%v, %d reopened, %d taken", err, c.reopened, taken())
	}
}

func TestClosesWhenTold(t *testing.T) {
	to, _ := scripted(t, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", ok)
	var c connection
	defer c.close()
	if _, err := c.do(to, nil); err != nil || c.raw != nil {
		t.Fatalf("the connection is still open: %v", err)
	}
}
