package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/server"
)

// guard ends a wait of a test on the wire that would otherwise have no end. Nothing
// that is expected takes a hundredth of it.
const guard = 60 * time.Second

// running lets the house answer on a listener, with all its limits, until the test
// ends.
func (a attack) running() (address string) {
	a.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.server.Run(ctx, server.Listeners{Main: l}) }()
	a.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			a.Error(err)
		}
	})
	return l.Addr().String()
}

// What follows an attack on its connection: a request that somebody who reads the
// attack in another way takes for a part of it, and one that ends the connection
// however the rest was read, so that nobody waits.
const (
	hidden = "GET /oauth2/jwks HTTP/1.1\r\nHost: id.test\r\n\r\n"
	last   = "GET /healthz HTTP/1.1\r\nHost: id.test\r\nConnection: close\r\n\r\n"
)

// reading is what becomes of an attack.
type reading int

const (
	// refused: the listener answers 400, 501 or 505 and hangs up; no door hears of it.
	refused reading = iota
	// alone: it is answered, and the connection ends with that, so that whatever
	// follows is nobody's request.
	alone
	// inside: it has one reading, and there the hidden request is its body.
	inside
	// plain: it has one reading, and there the hidden request is an honest one.
	plain
)

// smuggle is one attack and what follows it.
type smuggle struct {
	name, sent string
	becomes    reading
}

// form is a token request with headers and a body of somebody's choice.
func form(headers, body string) string {
	return "POST /oauth2/token HTTP/1.1\r\nHost: id.test\r\nContent-Type: " + urlEncoded + "\r\n" + headers + "\r\n" + body + hidden + last
}

// probe is a request whose body nobody reads.
func probe(headers, body string) string {
	return "GET /healthz HTTP/1.1\r\nHost: id.test\r\n" + headers + "\r\n" + body + hidden + last
}

// Parts of attacks: a body of five bytes and one of none, in both ways to tell.
const (
	five    = "a=bcd"
	length  = "Content-Length: 5\r\n"
	chunked = "Transfer-Encoding: chunked\r\n"
	chunks  = "5\r\na=bcd\r\n0\r\n\r\n"
	none    = "0\r\n\r\n"
)

// smuggling is every attack: two lengths, doubtful lengths, doubtful chunks, and
// lines that readers end or join in different places (RFC 9112 sections 2.2, 5, 6,
// 7 and 11.2).
func smuggling() (all []smuggle) {
	add := func(becomes reading, kind string, attacks ...[2]string) {
		for _, one := range attacks {
			all = append(all, smuggle{kind + ", " + one[0], one[1], becomes})
		}
	}
	add(plain, "honest", [2]string{"length", form(length, five)}, [2]string{"no body", probe("", "")})
	add(alone, "honest", [2]string{"chunks", form(chunked, chunks)})
	all = append(all, codings()...)
	all = append(all, lengths()...)
	for _, c := range [][2]string{{"extension", "5;x=y\r\na=bcd\r\n0\r\n\r\n"}, {"space after", "5 \r\na=bcd\r\n0\r\n\r\n"},
		{"size ends with LF", "5\na=bcd\r\n0\r\n\r\n"}, {"extension ends with LF", "5;x\na=bcd\r\n0\r\n\r\n"}, {"extension with CR", "5;x\rX\r\na=bcd\r\n0\r\n\r\n"},
		{"0x", "0x5\r\na=bcd\r\n0\r\n\r\n"}, {"plus", "+5\r\na=bcd\r\n0\r\n\r\n"}, {"negative", "-5\r\na=bcd\r\n0\r\n\r\n"}, {"space before", " 5\r\na=bcd\r\n0\r\n\r\n"},
		{"too big", "10000000000000005\r\na=bcd\r\n0\r\n\r\n"}, {"no size", "\r\na=bcd\r\n0\r\n\r\n"}, {"data longer than its size", "4\r\na=bcd\r\n0\r\n\r\n"},
		{"data ends with LF", "5\r\na=bcd\n0\r\n\r\n"}, {"LF at the end", "5\r\na=bcd\r\n0\n\n"}, {"trailer with a length", "5\r\na=bcd\r\n0\r\nContent-Length: 62\r\n\r\n"},
		{"trailer with a coding", "5\r\na=bcd\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"}, {"trailer without colon", "5\r\na=bcd\r\n0\r\nfoo\r\n\r\n"}} {
		add(alone, "chunk", [2]string{c[0], form(chunked, c[1])})
	}
	for _, c := range [][2]string{{"no name", ": x\r\n"}, {"no colon", "foo\r\n"}, {"NUL in a name", "fo\x00o: x\r\n"}, {"NUL in a value", "foo: \x00\r\n"},
		{"space in a name", "fo o: x\r\n"}, {"CR in a value", "X: y\rZ: w\r\n"}, {"another host", "Host: evil.test\r\n"}} {
		add(refused, "header", [2]string{c[0], form(length+c[1], five)})
	}
	add(plain, "header", [2]string{"folded", form(length+"X: y\r\n z\r\n", five)}, [2]string{"LF", form(length+"X: y\nZ: w\r\n", five)})
	all = append(all, lines()...)
	return all
}

// codings tell the length twice: it reaches over the hidden request, and the chunks
// end before it. A reader who sees no chunks in the coding takes the length.
func codings() (all []smuggle) {
	over := fmt.Sprintf("Content-Length: %d\r\n", len(none+hidden))
	for becomes, codings := range map[reading][][2]string{
		refused: {{"unknown", "Transfer-Encoding: xchunked\r\n"}, {"list", "Transfer-Encoding: gzip, chunked\r\n"}, {"not the last", "Transfer-Encoding: chunked, identity\r\n"},
			{"identity", "Transfer-Encoding: identity\r\n"}, {"twice", chunked + chunked}, {"two", chunked + "Transfer-Encoding: x\r\n"}, {"quoted", "Transfer-Encoding: \"chunked\"\r\n"},
			{"parameter", "Transfer-Encoding: chunked;x=y\r\n"}, {"empty", "Transfer-Encoding:\r\n"}, {"vertical tab before", "Transfer-Encoding:\x0bchunked\r\n"},
			{"vertical tab after", "Transfer-Encoding: chunked\x0b\r\n"}, {"NUL", "Transfer-Encoding: chunked\x00\r\n"}, {"space before colon", "Transfer-Encoding : chunked\r\n"},
			{"tab before colon", "Transfer-Encoding\t: chunked\r\n"}, {"after a CR", "X: y\rTransfer-Encoding: chunked\r\n"}, {"two CR", "Transfer-Encoding: chunked\r\r\n"}},
		alone: {{"chunked", chunked}, {"tab", "Transfer-Encoding:\tchunked\r\n"}, {"capitals", "TRANSFER-ENCODING: CHUNKED\r\n"}, {"after an LF", "X: y\nTransfer-Encoding: chunked\r\n"},
			{"folded", "Transfer-Encoding:\r\n chunked\r\n"}},
		inside: {{"folded into another header", "X: y\r\n Transfer-Encoding: chunked\r\n"}, {"underscore", "Transfer_Encoding: chunked\r\n"}},
	} {
		for _, c := range codings {
			all = append(all, smuggle{"length and coding, " + c[0], form(over+c[1], none), becomes})
		}
	}
	return append(all, smuggle{"coding and length", form(chunked+over, none), alone},
		smuggle{"coding in HTTP/1.0", strings.Replace(form("Connection: keep-alive\r\n"+over+chunked, none), "HTTP/1.1", "HTTP/1.0", 1), alone})
}

// lengths are lengths of five that some readers take for another one.
func lengths() (all []smuggle) {
	for becomes, lines := range map[reading][][2]string{
		refused: {{"negative", "Content-Length: -5\r\n"}, {"plus", "Content-Length: +5\r\n"}, {"list", "Content-Length: 5, 5\r\n"}, {"list of two", "Content-Length: 5, 6\r\n"},
			{"two", length + "Content-Length: 6\r\n"}, {"0x", "Content-Length: 0x5\r\n"}, {"two numbers", "Content-Length: 5 6\r\n"}, {"too big", "Content-Length: 18446744073709551621\r\n"},
			{"empty", "Content-Length:\r\n"}, {"minus nought", "Content-Length: -0\r\n"}, {"vertical tab", "Content-Length: 5\x0b\r\n"}, {"NUL", "Content-Length: 5\x00\r\n"},
			{"space before colon", "Content-Length : 5\r\n"}, {"dot", "Content-Length: 5.0\r\n"}, {"exponent", "Content-Length: 5e0\r\n"}, {"quoted", "Content-Length: \"5\"\r\n"},
			{"separator", "Content-Length: 0_5\r\n"}},
		plain: {{"twice the same", length + length}, {"nought first", "Content-Length: 05\r\n"}, {"folded", "Content-Length:\r\n 5\r\n"}, {"a matter of the connection", "Connection: content-length\r\n" + length}},
	} {
		for _, c := range lines {
			all = append(all, smuggle{"length, " + c[0], form(c[1], five), becomes})
		}
	}
	return all
}

// lines are doubtful first lines, and what asks for more than an answer.
func lines() []smuggle {
	first := func(from, to string) string { return strings.Replace(form(length, five), from, to, 1) }
	whole := fmt.Sprintf("Content-Length: %d\r\n", len(hidden))
	return []smuggle{
		{"line, first header folded", first("Host", " Host"), refused}, {"line, no host", first("Host: id.test\r\n", ""), refused},
		{"line, two spaces", first("POST ", "POST  "), refused}, {"line, tab", first("POST ", "POST\t"), refused}, {"line, CR", first("POST ", "POST\r"), refused},
		{"line, HTTP/1.10", first("HTTP/1.1", "HTTP/1.10"), refused}, {"line, HTTP/2.0", first("HTTP/1.1", "HTTP/2.0"), refused}, {"line, HTTP/0.9", first(" HTTP/1.1", ""), refused},
		{"line, an empty one before", "\r\n" + form(length, five), refused},
		{"line, HTTP/1.2", first("HTTP/1.1", "HTTP/1.2"), plain}, {"line, a host in the address", first("/oauth2/token", "http://evil.test/oauth2/token"), plain},
		{"line, LF everywhere", strings.ReplaceAll(form(length, five), "\r\n", "\n"), plain},
		{"unread, length", probe(length, five), plain}, {"unread, chunks", probe(chunked, chunks), alone}, {"unread, a request", probe(whole, ""), inside},
		{"expected and unread", probe("Expect: 100-continue\r\n"+length, five), alone},
		{"expected", form("Expect: 100-continue\r\n"+length, five), plain}, {"expected, disguised", form("Expect: y 100-continue\r\n"+length, five), plain},
		{"upgrade", probe("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", ""), plain},
		{"tunnel", "CONNECT id.test:80 HTTP/1.1\r\nHost: id.test\r\n\r\n" + hidden + last, plain},
	}
}

// hear reads all answers of a connection until it ends. Those that only say "go on"
// are none.
func hear(c net.Conn) (answers []answer, err error) {
	r := bufio.NewReader(c)
	for {
		_, err := r.Peek(1)
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers, err
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return answers, err
		}
		if res.StatusCode != http.StatusContinue {
			answers = append(answers, answer{res.StatusCode, res.Header, body})
		}
	}
}

// exchanged sends bytes on a connection of their own and reads until it ends.
func (a attack) exchanged(dial func() (net.Conn, error), sent string) []answer {
	a.Helper()
	c, err := dial()
	if err != nil {
		a.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(guard))
	_, err = io.WriteString(c, sent)
	if err != nil {
		a.Fatal(err)
	}
	all, err := hear(c)
	if err != nil {
		a.Errorf("after %d answers: %v", len(all), err)
	}
	return all
}

func overTCP(address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial("tcp", address) }
}

// TestSmuggling (HTTP-04): a request whose end two readers could see in different
// places is refused, or is the last one of its connection. All others have the
// reading of RFC 9112.
func TestSmuggling(t *testing.T) {
	a := attacks(t)
	dial := overTCP(a.running())
	for _, s := range smuggling() {
		a.in(s.name, func(a attack) {
			before := a.server.Served()
			all := a.exchanged(dial, s.sent)
			heard := a.server.Served() - before
			var got []int
			for _, one := range all {
				got = append(got, one.status)
			}
			wants := map[reading]int{refused: 1, alone: 1, inside: 2, plain: 3}
			if len(all) != wants[s.becomes] {
				a.Fatalf("answered %v, want %d answers", got, wants[s.becomes])
			}
			switch s.becomes {
			case refused:
				if heard != 0 || got[0] != 400 && got[0] != 501 && got[0] != 505 {
					a.Errorf("%d requests were heard, and answered %v", heard, got)
				}
			case alone:
				if heard > 1 {
					a.Errorf("%d requests were heard", heard)
				}
			case plain:
				if !strings.Contains(string(all[1].body), `"keys"`) {
					a.Errorf("the second request is answered %s", all[1].body)
				}
			}
			if s.becomes != plain && strings.Contains(string(all[len(all)-1].body), `"keys"`) {
				a.Error("the hidden request is answered")
			}
		})
	}
}
