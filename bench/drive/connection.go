package drive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"
)

// Limits of one exchange. What goes beyond is an error of the server.
const (
	dialWithin   = 10 * time.Second
	answerWithin = 60 * time.Second
	maxLine      = 16 << 10 // bytes of one header line
	maxLines     = 100
	maxBody      = 1 << 20
	// idleAfter is how long a connection must have been unused for its end to be
	// nobody's fault. A server that closes a busy one has lost an answer.
	idleAfter = time.Second
)

// target is one endpoint with everything of a request that never changes.
type target struct {
	host string
	// head ends where the Content-Length of a POST is written; a GET's is whole.
	head []byte
	post bool
}

func newTarget(method, address string, headers ...string) (target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return target{}, err
	}
	if u.Scheme != "http" || u.Port() == "" {
		return target{}, fmt.Errorf("%q is not http with a port: this client speaks nothing else", address)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), u.Host)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	t := target{host: u.Host, post: method == "POST"}
	if t.post {
		b.WriteString("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ")
	} else {
		b.WriteString("\r\n")
	}
	t.head = b.Bytes()
	return t, nil
}

// connection is one kept-alive HTTP/1.1 connection. It is written by hand so
// that a measured server is not short of the processor that its client takes:
// one exchange is one write, one read and no allocation. It follows no redirect
// and is used by one goroutine.
type connection struct {
	host string
	raw  net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
	used time.Time
	// reopened counts connections that the server had closed while they were idle.
	reopened int64
}

// answer is what came back. The body is valid until the next exchange.
type answer struct {
	status int
	body   []byte
}

func (c *connection) close() {
	if c.raw != nil {
		_ = c.raw.Close() // nothing of interest is in it any more
		c.raw = nil
	}
}

// errIdleClosed: the server closed a kept-alive connection while it was idle, so
// the request was not taken (RFC 9112 section 9.3.1).
var errIdleClosed = errors.New("the server closed the idle connection")

// do sends one request and reads its answer. A request is sent again in one
// case only: the server had closed the kept-alive connection meanwhile.
func (c *connection) do(t target, body []byte) (answer, error) {
	a, err := c.once(t, body)
	if errors.Is(err, errIdleClosed) {
		c.reopened++
		a, err = c.once(t, body)
	}
	return a, err
}

func (c *connection) once(t target, body []byte) (answer, error) {
	if c.raw != nil && c.host != t.host {
		c.close()
	}
	fresh := c.raw == nil
	if fresh {
		raw, err := net.DialTimeout("tcp", t.host, dialWithin)
		if err != nil {
			return answer{}, fmt.Errorf("cannot connect: %w", plain(err))
		}
		c.raw, c.host = raw, t.host
		if c.in == nil {
			c.in = bufio.NewReaderSize(raw, maxLine)
		} else {
			c.in.Reset(raw)
		}
	}
	c.out = append(c.out[:0], t.head...)
	if t.post {
		c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
		c.out = append(c.out, "\r\n\r\n"...)
		c.out = append(c.out, body...)
	}
	now := time.Now()
	idle := !fresh && now.Sub(c.used) > idleAfter
	err := c.raw.SetDeadline(now.Add(answerWithin))
	if err == nil {
		_, err = c.raw.Write(c.out)
	}
	if err == nil {
		_, err = c.in.Peek(1)
	}
	if err != nil {
		c.close()
		if idle && !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer{}, errIdleClosed
		}
		return answer{}, fmt.Errorf("no answer: %w", plain(err))
	}
	a, last, err := c.read()
	c.used = now
	if err != nil || last {
		c.close()
	}
	if err != nil {
		return answer{}, fmt.Errorf("broken answer: %w", plain(err))
	}
	return a, nil
}

// read reads one answer (RFC 9112 sections 4 to 7). last means that the server
// closes the connection after it.
func (c *connection) read() (a answer, last bool, err error) {
	line, err := c.line()
	if err != nil {
		return a, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return a, false, errors.New("no HTTP/1.1 status line")
	}
	a.status, err = strconv.Atoi(string(line[9:12]))
	if err != nil || a.status < 200 || a.status > 599 {
		return a, false, errors.New("no final status")
	}
	length, chunked := -1, false
	for n := 0; ; n++ {
		line, err = c.line()
		if err != nil {
			return a, false, err
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || n == maxLines {
			return a, false, errors.New("a header that is none, or too many")
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(value))
			if err != nil || length < 0 || length > maxBody {
				return a, false, errors.New("no usable Content-Length")
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	c.body = c.body[:0]
	switch {
	case a.status == 204 || a.status == 304:
	case chunked:
		err = c.chunks()
	case length >= 0:
		err = c.more(length)
	default:
		err = errors.New("neither Content-Length nor chunked")
	}
	a.body = c.body
	return a, last, err
}

// line reads one line without its end. It is valid until the next read.
func (c *connection) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// more appends n bytes to the body.
func (c *connection) more(n int) error {
	if len(c.body)+n > maxBody {
		return errors.New("the body is too large")
	}
	from := len(c.body)
	c.body = slices.Grow(c.body, n)[:from+n]
	_, err := io.ReadFull(c.in, c.body[from:])
	return err
}

// chunks reads a body in the chunked coding (RFC 9112 section 7.1).
func (c *connection) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return errors.New("no size of a chunk")
		}
		if n == 0 {
			break
		}
		err = c.more(int(n))
		if err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) != 0 {
			return errors.New("a chunk is longer than it says")
		}
	}
	for { // trailers
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// plain leaves addresses and ports out of an error, so that equal failures
// count as one kind.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
