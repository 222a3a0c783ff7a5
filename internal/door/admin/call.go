package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast.example/internal/cursor"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/idem"
	"holdfast.example/internal/problem"
)

// call is one call of a route, parsed.
type call struct {
	*http.Request
	caller
	w     http.ResponseWriter
	route Route
	query url.Values
	// sent is the body as it came.
	sent []byte
}

// reply is what a call is answered with: a JSON body, or a text of its own.
type reply struct {
	status int
	header map[string]string
	body   any
	text   string
}

// shown is an answer with a body.
func shown(body any) (reply, error) { return reply{status: http.StatusOK, body: body}, nil }

// done is the answer of an act that has nothing to tell.
func done(err error) (reply, error) {
	return reply{status: http.StatusOK, body: map[string]bool{"done": true}}, err
}

// settled holds back that something is over, or not there any more, until that can be
// acknowledged: an earlier call may have ended it and may have been answered with 503.
func (d *Door) settled(c *call, err error) error {
	if d.Settled == nil || err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if unsettled := d.Settled(c.Context()); unsettled != nil {
		return unsettled
	}
	return err
}

// parse reads what all calls have in common.
func (c *call) parse() error {
	if !plain(c.URL.Path) && c.Method != http.MethodPut { // what is to be made hears what a good name is
		return fault.New(fault.NotFound, "nothing here has such a name: it is not UTF-8 text")
	}
	err := c.parameters()
	if err != nil {
		return err
	}
	if c.Body == nil || c.Method == http.MethodGet || c.Method == http.MethodHead {
		return nil
	}
	c.sent, err = io.ReadAll(http.MaxBytesReader(c.w, c.Body, MaxBody))
	if err != nil {
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return fault.Newf(fault.TooLarge, "the body is larger than %d bytes", MaxBody)
		}
		return fault.Wrap(fault.InvalidRequest, err, "the body ended early; repeat the request")
	}
	return nil
}

// parameters reads the query. A parameter that is unknown, doubled or empty is
// refused, as a member of a body is: a filter that was left empty by mistake must
// not list everything.
func (c *call) parameters() error {
	var err error
	c.query, err = url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return fault.Wrap(fault.InvalidRequest, err, "the query cannot be read")
	}
	for name, values := range c.query {
		switch {
		case len(c.route.Query) == 0:
			return fault.New(fault.InvalidRequest, "this endpoint reads no parameters")
		case !slices.Contains(c.route.Query, name):
			return fault.New(fault.InvalidRequest, "this endpoint reads the parameters "+strings.Join(c.route.Query, ", ")+" and no other")
		case len(values) > 1 || values[0] == "":
			return fault.Newf(fault.InvalidRequest, "send %s once, with a value, or leave it out", name)
		case !plain(values[0]):
			return fault.Newf(fault.InvalidRequest, "the value of %s is not UTF-8 text", name)
		}
	}
	return nil
}

// plain reports whether a text is one that every database can be asked for:
// UTF-8 without NUL.
func plain(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// read decodes the JSON body, strictly.
func (c *call) read(into any) error {
	c.Body, c.ContentLength = io.NopCloser(bytes.NewReader(c.sent)), int64(len(c.sent))
	err := problem.Read(c.w, c.Request, MaxBody, into)
	if _, known := errors.AsType[*fault.Error](err); err != nil && !known { // a member that reads itself, like a length of time
		err = fault.Wrap(fault.InvalidRequest, err, "a member of the body is wrong: "+err.Error())
	}
	return err
}

// nothing refuses a body that says something to an act that reads nothing.
func (c *call) nothing() error { return c.read(&struct{}{}) }

// limit reads ?limit=.
func (c *call) limit() (int, error) {
	s := c.query.Get("limit")
	if !c.query.Has("limit") {
		return usualPage, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxPage || strconv.Itoa(n) != s {
		return 0, fault.Newf(fault.InvalidRequest, "limit is a number from 1 to %d", MaxPage)
	}
	return n, nil
}

// flag reads a parameter that is true or false.
func (c *call) flag(name string) (bool, error) {
	switch c.query.Get(name) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if c.query.Has(name) {
		return false, fault.Newf(fault.InvalidRequest, "%s is true or false", name)
	}
	return false, nil
}

// list names the list that a cursor is for: the same one is asked for by the
// same caller with the same filters.
func (c *call) list() string {
	filters := url.Values{}
	for name, values := range c.query {
		if !slices.Contains(paging, name) {
			filters[name] = values
		}
	}
	b, err := json.Marshal([]string{c.route.Operation, c.URL.EscapedPath(), string(c.who.Actor), c.who.ID, string(c.who.Via), filters.Encode()})
	if err != nil { // text always encodes
		return ""
	}
	sum := sha256.Sum256(b)
	return "admin " + hex.EncodeToString(sum[:16])
}

// place reads ?cursor=: where the page before ended, "" for the beginning.
func (d *Door) place(c *call) (string, error) {
	if !c.query.Has("cursor") {
		return "", nil
	}
	p, err := cursor.Open(d.Keys, c.list(), c.query.Get("cursor"))
	return string(p), err
}

// page is the answer of a list. More may follow when the page is full; then
// place says where it ended.
func (d *Door) page(c *call, name string, rows any, full bool, place string) (reply, error) {
	body := map[string]any{name: rows}
	if full {
		body["next_cursor"] = cursor.Seal(d.Keys, c.list(), []byte(place))
	}
	return shown(body)
}

// once carries out the act of a call. A POST with an idempotency key is carried
// out once, however often it comes.
func (d *Door) once(c *call) (reply, error) {
	keys := c.Header["Idempotency-Key"]
	if c.Method != http.MethodPost || c.route.Reads || len(keys) == 0 {
		return c.route.act(d, c)
	}
	if len(keys) > 1 {
		return reply{}, fault.New(fault.InvalidRequest, "send one Idempotency-Key")
	}
	err := idem.CheckKey(keys[0])
	if err != nil {
		return reply{}, err
	}
	actor, err := json.Marshal([]string{string(c.who.Actor), c.who.ID, string(c.who.Via)})
	if err != nil {
		return reply{}, err
	}
	body := append([]byte(c.URL.RawQuery+"\n"), c.sent...)
	a, again, err := d.Calls.Do(c.Context(), idem.Call{Actor: string(actor), Route: c.Method + " " + strings.TrimSuffix(c.URL.EscapedPath(), "/"), Key: keys[0], Body: body},
		func() (idem.Answer, error) { return d.remembered(c) })
	if err != nil {
		return reply{}, err
	}
	out := reply{status: a.Status, header: map[string]string{}, body: json.RawMessage(a.Body)}
	for name, values := range a.Header {
		out.header[name] = values[0]
	}
	if again {
		out.header["Idempotency-Replayed"] = "true"
	}
	return out, nil
}

// remembered carries out the act and gives its answer the form it is kept in.
func (d *Door) remembered(c *call) (idem.Answer, error) {
	out, err := c.route.act(d, c)
	if err != nil {
		return idem.Answer{}, err
	}
	b, err := json.Marshal(out.body)
	if err != nil {
		return idem.Answer{}, err
	}
	a := idem.Answer{Status: out.status, Body: b, Header: http.Header{}}
	for name, value := range out.header {
		a.Header.Set(name, value)
	}
	return a, nil
}

// etag names a version of what is answered (RFC 9110 section 8.8.3).
func etag(version uint64) map[string]string {
	return map[string]string{"ETag": `"` + strconv.FormatUint(version, 10) + `"`}
}

// match reads If-Match and If-None-Match of a change: nil when any version will
// do, 0 when the thing must be new.
func (c *call) match() (*uint64, error) {
	is, none := c.Header["If-Match"], c.Header["If-None-Match"]
	switch {
	case len(is)+len(none) == 0:
		return nil, nil
	case len(is)+len(none) > 1:
		return nil, fault.New(fault.InvalidRequest, "send one of If-Match and If-None-Match, once")
	case len(none) == 1:
		if none[0] != "*" {
			return nil, fault.New(fault.InvalidRequest, "If-None-Match is * here: the thing must be new")
		}
		return new(uint64), nil
	}
	text, quoted := strings.CutPrefix(is[0], `"`)
	text, closed := strings.CutSuffix(text, `"`)
	version, err := strconv.ParseUint(text, 10, 64)
	if !quoted || !closed || err != nil || version == 0 {
		return nil, fault.New(fault.InvalidRequest, `If-Match is the ETag of what you read, such as "3"`)
	}
	return &version, nil
}

// stamp writes a time for JSON; the zero time is left out by omitempty.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
