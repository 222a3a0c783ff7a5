package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits and defaults of a JWKS.
const (
	// DefaultCoolDown is how long after a fruitless look no further one is
	// made for a key the issuer does not publish.
	DefaultCoolDown = 10 * time.Second
	// DefaultMaxStale is how long the last known keys are trusted while the
	// issuer does not answer.
	DefaultMaxStale = 24 * time.Hour
	// DefaultKeyWait is how long one request waits for a key.
	DefaultKeyWait = 2 * time.Second

	fetchTimeout = 5 * time.Second // one request to the issuer, answer included
	maxWaiters   = 256             // requests that wait for a key at one time

	// The issuer says by Cache-Control how long its keys stay fresh, within
	// these bounds: no less, so that "no-cache" is not a request per token; no
	// more, so that a withdrawn key is gone within the hour.
	minFresh     = 10 * time.Second
	defaultFresh = 5 * time.Minute
	maxFresh     = time.Hour

	// After a change the next looks come soon, then at doubling distances: an
	// issuer that rotates once a second is followed, one that rotates once a
	// month is asked ten times more.
	firstFresh = 500 * time.Millisecond

	// After a failure the next looks come at doubling distances.
	firstRetry = 1 * time.Second
	maxRetry   = 30 * time.Second

	missTTL   = time.Minute // a name that was looked for in vain is refused without another look
	maxMisses = 1024        // names that are remembered so
)

// JWKSConfig says where the keys of an issuer are published. URL is enough.
type JWKSConfig struct {
	// URL is the issuer's jwks_uri. It must be https, or http on a loopback
	// address. Required. Nothing in a token can change it.
	URL string

	// Client makes the requests. Nil means a client of its own. Redirects are
	// never followed, and a request takes 5 s at most, whatever it says.
	Client *http.Client

	// CoolDown bounds what strangers can make us ask: after a look that found
	// no new key, no further one is made for an unknown key within this time.
	// It must not exceed the time the issuer publishes a key before it signs
	// with it (a look that did find a new key costs no cool-down, so an issuer
	// may rotate faster than that). Zero means 10 s.
	CoolDown time.Duration

	// MaxStale is how long the last known keys are trusted while the issuer
	// does not answer. Longer survives longer outages; it is also how long a
	// key that the issuer withdrew can be kept alive by cutting the line. Zero
	// means 24 h.
	MaxStale time.Duration

	// Wait is how long one request waits for a key, at most. Zero means 2 s.
	Wait time.Duration

	// AllowHTTP permits http to other hosts than loopback ones. Whoever can
	// change the answer on the way can then sign tokens: for private networks
	// that encrypt below.
	AllowHTTP bool

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// JWKS is a KeySource that fetches an issuer's JWK set and keeps it current.
// It starts with the first token (or with Ready) and needs no Close: what it
// has running ends by itself within a few seconds.
//
// A token whose key is in the set never waits. The set is fetched again in the
// background when it is no longer fresh, and at once, by one request for all,
// when a token names a key that it lacks. Three rules keep that from being a
// tool for strangers and from refusing honest tokens after a rotation:
//
//   - A look counts against the cool-down only if it brought no new key. So a
//     flood of invented names causes one request per cool-down, and an issuer
//     that rotates every second is asked every second.
//   - Only a look that began after the token was shown proves that a key does
//     not exist, or one less than a cool-down earlier.
//   - While the issuer does not answer, unknown keys are "not now" (503),
//     never "no" (401).
type JWKS struct {
	config JWKSConfig
	client *http.Client

	// state is what the last look left behind; nil before the first one ended.
	// It is replaced, never changed.
	state atomic.Pointer[keyState]

	// mu guards the fields below. It is never held during a request.
	mu       sync.Mutex
	flight   *flight              // the look that is planned or under way, nil for none
	begun    int                  // looks begun so far
	coolTill time.Time            // no look for an unknown key before
	misses   map[string]time.Time // names looked for in vain, and until when they are refused
	waiting  int                  // requests that wait for flight
}

// keyState is the outcome of a look.
type keyState struct {
	keys    *KeySet // nil: never fetched
	etag    string
	number  int           // the look that confirmed keys
	fetched time.Time     // when it did
	next    time.Time     // when to look again unasked
	fresh   time.Duration // from fetched to next, if the last look went well
	err     error         // why the last look failed, nil if it went well
	retry   time.Duration // from the failure to next
}

// flight is one look, shared by everyone who waits for it.
type flight struct {
	asked bool          // for an unknown key, not because the set was no longer fresh
	done  chan struct{} // closed when state has been replaced
}

// NewJWKS makes a JWKS. It makes no request yet.
func NewJWKS(config JWKSConfig) (*JWKS, error) {
	err := checkURL("JWKSConfig.URL", config.URL, config.AllowHTTP)
	if err != nil {
		return nil, err
	}
	if config.CoolDown < 0 || config.MaxStale < 0 || config.Wait < 0 {
		return nil, errors.New("verify: JWKSConfig.CoolDown, MaxStale and Wait must not be negative")
	}
	if config.CoolDown == 0 {
		config.CoolDown = DefaultCoolDown
	}
	if config.MaxStale == 0 {
		config.MaxStale = DefaultMaxStale
	}
	if config.Wait == 0 {
		config.Wait = DefaultKeyWait
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &JWKS{
		config: config,
		client: boundClient(config.Client),
		misses: make(map[string]time.Time),
	}, nil
}

// Current implements KeySource. When the set is no longer fresh it starts a
// look in the background and answers with what there is.
func (j *JWKS) Current() *KeySet {
	st := j.state.Load()
	if st == nil {
		return nil
	}
	now := j.config.Now()
	if !now.Before(st.next) && j.mu.TryLock() { // whoever holds mu sees to it, or the next token does
		if j.flight == nil {
			j.start(0, false)
		}
		j.mu.Unlock()
	}
	return j.trusted(st, now)
}

// trusted returns the keys of st unless they are too old.
func (j *JWKS) trusted(st *keyState, now time.Time) *KeySet {
	if st == nil || st.keys == nil || now.Sub(st.fetched) >= j.config.MaxStale {
		return nil
	}
	return st.keys
}

// Ready waits until there are keys to check tokens with, or returns why there
// are none. Call it before opening a listener or in a readiness probe; a
// service that does not is not open before, it answers 503.
func (j *JWKS) Ready(ctx context.Context) error {
	if j.Current() != nil {
		return nil
	}
	_, err := j.Find(ctx, "")
	if KindOf(err) == Unready {
		return err
	}
	return nil
}

// Find implements KeySource.
func (j *JWKS) Find(ctx context.Context, id string) (*Key, error) {
	ctx, cancel := context.WithTimeout(ctx, j.config.Wait)
	defer cancel()

	j.mu.Lock()
	defer j.mu.Unlock()
	shown := j.begun // a look with a higher number began after the token was shown
	for {
		now := j.config.Now()
		st := j.state.Load()
		keys := j.trusted(st, now)
		key := keys.Lookup(id)
		switch {
		case key != nil:
			return key, nil
		case keys != nil && now.Before(j.misses[id]):
			return nil, refuse(UnknownKey, nil)
		case keys != nil && st.number > shown:
			j.miss(id, now)
			return nil, refuse(UnknownKey, nil)
		}

		// Wait for the look that is planned or under way. If there is none,
		// plan one, unless it would come too late for this request.
		f := j.flight
		if f == nil {
			pause := j.pause(st, now)
			switch {
			case pause < j.config.Wait:
				f = j.start(pause, true)
			case st.err != nil:
				return nil, &Error{Kind: Unready, RetryAfter: pause, Cause: st.err}
			default:
				return nil, refuse(UnknownKey, nil)
			}
		}
		err := j.await(ctx, f)
		if err != nil {
			return nil, &Error{Kind: Unready, RetryAfter: firstRetry, Cause: err}
		}
		st = j.state.Load()
		if st.err != nil {
			return nil, &Error{Kind: Unready, RetryAfter: st.retry, Cause: st.err}
		}
		// Once more from the top: the key is there, or it is known that there
		// is none, or the look had begun before the token was shown, may have
		// been answered before the key was published, and proves nothing.
	}
}

// pause returns how long an unknown key has to wait for the next look: to the
// end of the cool-down, or to the look that is due anyway. j.mu is held.
func (j *JWKS) pause(st *keyState, now time.Time) time.Duration {
	if st == nil {
		return 0
	}
	at := st.next
	if st.err == nil && j.coolTill.Before(at) {
		at = j.coolTill
	}
	return max(0, at.Sub(now))
}

// await waits for a flight. j.mu is held, and released meanwhile.
func (j *JWKS) await(ctx context.Context, f *flight) error {
	if j.waiting == maxWaiters {
		return errors.New("too many requests wait for keys")
	}
	j.waiting++
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		j.waiting--
	}()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return errors.New("the keys did not arrive in time")
	}
}

// miss remembers a name that was looked for in vain. j.mu is held.
func (j *JWKS) miss(id string, now time.Time) {
	if len(j.misses) >= maxMisses {
		clear(j.misses) // invented names pushed it over: the cool-down bounds what that can cost
	}
	j.misses[id] = now.Add(missTTL)
}

// start plans a look after pause. j.mu is held and there is no flight.
func (j *JWKS) start(pause time.Duration, asked bool) *flight {
	f := &flight{asked: asked, done: make(chan struct{})}
	j.flight = f
	go j.look(f, pause)
	return f
}

// look is the life of one flight.
func (j *JWKS) look(f *flight, pause time.Duration) {
	time.Sleep(pause) // at most config.Wait

	j.mu.Lock()
	j.begun++
	number := j.begun
	j.mu.Unlock()

	// Not the context of the request that asked: others wait for this too.
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	prior := j.state.Load()
	if prior == nil {
		prior = &keyState{}
	}
	answer, err := j.fetch(ctx, prior.etag)

	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.config.Now()
	next, news := prior.after(answer, err, number, now)
	switch {
	case news:
		j.coolTill = time.Time{}
	case f.asked:
		j.coolTill = now.Add(j.config.CoolDown)
	}
	j.state.Store(next)
	j.flight = nil
	close(f.done)
}

// keyAnswer is what a look brought.
type keyAnswer struct {
	keys  *KeySet // nil: not changed (304)
	etag  string
	fresh time.Duration
}

// after decides what follows a look. It reports whether the look brought a key
// that was not there before.
func (st *keyState) after(answer keyAnswer, err error, number int, now time.Time) (next *keyState, news bool) {
	if err != nil {
		failed := *st
		failed.err = err
		failed.retry = min(max(firstRetry, 2*st.retry), maxRetry)
		failed.next = now.Add(failed.retry)
		return &failed, false
	}
	next = &keyState{keys: st.keys, etag: st.etag, number: number, fetched: now, fresh: answer.fresh}
	if answer.keys != nil {
		next.keys, news = answer.keys.adopt(st.keys)
		next.etag = answer.etag
	}
	switch {
	case st.keys == nil: // the first look: every key is news, but nothing rotated
	case news:
		next.fresh = min(firstFresh, answer.fresh)
	case st.err == nil && st.fresh > 0:
		next.fresh = min(2*st.fresh, answer.fresh)
	}
	next.next = now.Add(next.fresh)
	return next, news
}

// fetch asks the issuer once.
func (j *JWKS) fetch(ctx context.Context, etag string) (keyAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.config.URL, nil)
	if err != nil {
		return keyAnswer{}, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := j.client.Do(req)
	if err != nil {
		return keyAnswer{}, err
	}
	defer resp.Body.Close()

	answer := keyAnswer{etag: resp.Header.Get("ETag"), fresh: freshFor(resp.Header)}
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		return answer, nil
	case resp.StatusCode != http.StatusOK:
		return keyAnswer{}, fmt.Errorf("the key document answered %d", resp.StatusCode)
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, MaxKeyDocument+1))
	if err != nil {
		return keyAnswer{}, err
	}
	answer.keys, err = ParseKeySet(document)
	return answer, err
}

// freshFor reads Cache-Control (RFC 9111 section 5.2.2), within our bounds.
func freshFor(h http.Header) time.Duration {
	fresh := defaultFresh
	for _, directive := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err == nil && seconds >= 0 {
				fresh = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}
