package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"holdfast.example/internal/fault"
)

// The fence around one provider.
const (
	// verifyWithin bounds everything that is asked about one token.
	verifyWithin = 4 * time.Second
	// callWithin bounds one call, its answer included.
	callWithin = 3 * time.Second
	// maxAnswer is the largest answer that is read, in bytes.
	maxAnswer = 256 << 10
	// atOnce is how many calls to one provider may be under way. More are told to
	// come back: a provider that is slow must not take the server's memory.
	atOnce = 32
	// breakAfter failures in a row stop calls for restFor; then one is let through
	// to see.
	breakAfter = 5
	restFor    = 10 * time.Second
)

// caller makes calls to one provider.
type caller struct {
	client *http.Client
	slots  chan struct{}
	now    func() time.Time

	mu     sync.Mutex
	failed int       // failures in a row
	until  time.Time // while the breaker is open
	trying bool      // one call is under way to see
}

func newCaller(transport http.RoundTripper, now func() time.Time) *caller {
	return &caller{now: now, slots: make(chan struct{}, atOnce), client: &http.Client{Transport: transport, Timeout: callWithin,
		// A redirect would carry a token, or our secret, to whom nobody chose.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is what a provider said: only JSON, and only when it meant us.
type answer struct {
	status int
	body   []byte
	// said is the body of an answer that is no refusal.
	said object
}

// refused: the provider understood, and says no.
func (a answer) refused() bool { return a.status >= 400 }

// get asks an address. token, when set, goes into the Authorization header.
// Errors are *fault.Error of kind Unavailable or Busy: nothing is known about
// what was asked.
func (c *caller) get(ctx context.Context, address string, query url.Values, token string) (answer, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return answer{}, &fault.Error{Kind: fault.Busy, RetryAfter: fault.RetrySoon, Words: "too many sign-ins wait for this provider; repeat the request"}
	}
	if !c.begin() {
		return answer{}, away(errors.New("it failed too often a moment ago"))
	}
	a, err := c.call(ctx, address, query, token)
	c.end(err, ctx.Err())
	if err != nil {
		return answer{}, away(err)
	}
	return a, nil
}

func (c *caller) call(ctx context.Context, address string, query url.Values, token string) (answer, error) {
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, errors.New("the address is none") // the parser's own words would repeat the query
	}
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return answer{}, bare(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout:
		return answer{}, fmt.Errorf("it answered %d", resp.StatusCode)
	case resp.StatusCode < 200 || resp.StatusCode >= 300 && resp.StatusCode < 400:
		return answer{}, fmt.Errorf("it answered %d, which is no answer here", resp.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isJSON := err == nil && (kind == "application/json" || kind == "text/javascript" || strings.HasSuffix(kind, "+json"))
	if !isJSON && resp.StatusCode < 300 {
		return answer{}, errors.New("it did not answer with JSON")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, bare(err)
	case len(body) > maxAnswer:
		return answer{}, fmt.Errorf("it answered with more than %d bytes", maxAnswer)
	}
	a := answer{status: resp.StatusCode, body: body}
	if !a.refused() {
		a.said, err = parse(body) // one that makes no sense is a failure like any
	}
	return a, err
}

// bare is an error without the address that it was about: a query holds a token.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// begin reports whether a call may be made.
func (c *caller) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed < breakAfter {
		return true
	}
	if c.trying || c.now().Before(c.until) {
		return false
	}
	c.trying = true
	return true
}

// end counts what became of a call. One that the caller himself gave up says
// nothing about the provider, but one that ran out of time does.
func (c *caller) end(err, gaveUp error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trying = false
	switch {
	case err == nil:
		c.failed = 0
	case errors.Is(gaveUp, context.Canceled):
	default:
		c.failed++
		c.until = c.now().Add(restFor)
	}
}

// away is the answer while a provider cannot be asked: never that the token is
// bad, which a phone would take for a refusal.
func away(cause error) error {
	return &fault.Error{Kind: fault.Unavailable, RetryAfter: fault.RetrySoon,
		Words: "the sign-in provider does not answer right now; repeat the request", Cause: fmt.Errorf("upstream: the provider: %w", cause)}
}
