package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"holdfast.example/verify/internal/jose"
)

// Limits of an Introspector.
const (
	// MaxIntrospectionCache is the longest time an answer may be reused: a
	// sign-out takes effect within a second.
	MaxIntrospectionCache = time.Second

	maxOpaqueToken   = 512      // bytes; ours have about 50
	maxIntrospection = 64 << 10 // bytes of an answer
	maxAnswers       = 4096     // answers kept at one time
	maxQuestions     = 64       // questions to the issuer at one time
	introspectRetry  = time.Second
)

// IntrospectorConfig says whom to ask about opaque tokens, and as whom.
type IntrospectorConfig struct {
	// URL is the issuer's introspection endpoint (RFC 7662). It must be https,
	// or http on a loopback address. Required.
	URL string

	// ClientID and Secret are this service's own credentials at the issuer,
	// sent as HTTP Basic. Secret is a function so that it can be read from a
	// file again after a change, and so that printing a configuration shows no
	// secret. Both are required.
	ClientID string
	Secret   func() string

	// Cache is how long the answer for an active token is reused, one second
	// at most. Zero asks for every request. Refusals are never reused.
	Cache time.Duration

	// Client makes the requests. Nil means a client of its own. Redirects are
	// never followed, and a request takes 5 s at most, whatever it says.
	Client *http.Client

	// AllowHTTP permits http to other hosts than loopback ones. Tokens and the
	// secret then travel in the clear.
	AllowHTTP bool
}

// Introspector is an OpaqueSource that asks the issuer (RFC 7662). Requests
// that show the same token at the same time share one question.
type Introspector struct {
	config    IntrospectorConfig
	client    *http.Client
	questions chan struct{} // holds one element per question under way

	// mu guards answers. It is never held during a request.
	mu      sync.Mutex
	answers map[digest]*answer
}

// answer is one question and what came back. claims and err are written before
// done is closed, and never after.
type answer struct {
	// until is when it may no longer be reused, counted from the asking: who
	// joins a question is told what was true at most that long ago, however
	// slow the answer.
	until  time.Time
	done   chan struct{}
	claims *Claims
	err    error
}

// NewIntrospector makes an Introspector. It makes no request yet.
func NewIntrospector(config IntrospectorConfig) (*Introspector, error) {
	err := checkURL("IntrospectorConfig.URL", config.URL, config.AllowHTTP)
	if err != nil {
		return nil, err
	}
	if config.ClientID == "" || config.Secret == nil {
		return nil, errors.New("verify: IntrospectorConfig needs ClientID and Secret: the issuer answers only to those it knows")
	}
	if config.Cache < 0 || config.Cache > MaxIntrospectionCache {
		return nil, fmt.Errorf("verify: IntrospectorConfig.Cache is %v; it must be between 0 and %v", config.Cache, MaxIntrospectionCache)
	}
	return &Introspector{
		config:    config,
		client:    boundClient(config.Client),
		questions: make(chan struct{}, maxQuestions),
		answers:   make(map[digest]*answer),
	}, nil
}

// Introspect implements OpaqueSource.
func (i *Introspector) Introspect(ctx context.Context, token string, now time.Time) (*Claims, error) {
	if !opaqueShape(token) {
		return nil, refuse(Malformed, nil) // not worth a question
	}
	if i.config.Cache == 0 {
		return i.ask(ctx, token)
	}
	d := digestOf(token)
	i.mu.Lock()
	a := i.answers[d]
	if a == nil || !now.Before(a.until) {
		a = &answer{until: now.Add(i.config.Cache), done: make(chan struct{})}
		i.room(now)
		i.answers[d] = a
		go i.settle(d, a, token)
	}
	i.mu.Unlock()

	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, unreachable(errors.New("the issuer did not answer in time"))
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.claims.own(), nil
}

// room makes place for one more answer. i.mu is held.
func (i *Introspector) room(now time.Time) {
	if len(i.answers) < maxAnswers {
		return
	}
	for d, a := range i.answers {
		if !now.Before(a.until) {
			delete(i.answers, d)
		}
	}
	if len(i.answers) >= maxAnswers {
		clear(i.answers) // who waits holds the answer itself: nobody loses one
	}
}

// settle asks a question and fills in its answer. It is not bound to the
// request that came first: others may wait for it.
func (i *Introspector) settle(d digest, a *answer, token string) {
	a.claims, a.err = i.ask(context.Background(), token)
	close(a.done)
	if a.err == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.answers[d] == a {
		delete(i.answers, d)
	}
}

// ask puts one question to the issuer.
func (i *Introspector) ask(ctx context.Context, token string) (*Claims, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	select {
	case i.questions <- struct{}{}:
		defer func() { <-i.questions }()
	case <-ctx.Done():
		return nil, unreachable(errors.New("too many questions to the issuer"))
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, unreachable(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749 section 2.3.1: both parts are form-encoded before Basic.
	req.SetBasicAuth(url.QueryEscape(i.config.ClientID), url.QueryEscape(i.config.Secret()))
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// 401 means that our own credentials are wrong: not the user's fault.
		return nil, unreachable(fmt.Errorf("introspection answered %d", resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxIntrospection+1))
	if err != nil || len(body) > maxIntrospection {
		return nil, unreachable(errors.New("the introspection answer was cut or too long"))
	}
	return parseIntrospection(string(body))
}

// parseIntrospection reads an answer (RFC 7662 section 2.2).
func parseIntrospection(body string) (*Claims, error) {
	c := &Claims{payload: body}
	active := false
	refresh := false
	err := jose.Members(body, func(name string, v jose.Value) error {
		switch name {
		case "active":
			active = v.IsTrue()
			return nil
		case "token_type":
			// An authorization server that answers for refresh tokens too must
			// not turn one into an access token here.
			kind, _ := v.Text()
			refresh = strings.Contains(strings.ToLower(kind), "refresh")
			return nil
		}
		return c.member(name, v)
	})
	switch {
	case err != nil:
		return nil, unreachable(err)
	case !active || refresh:
		return nil, refuse(Inactive, nil)
	case c.Subject == "" || c.ClientID == "" || c.Expires.IsZero():
		return nil, unreachable(errClaimMissing)
	}
	return c, nil
}

// opaqueShape reports whether a token could be one of ours.
func opaqueShape(token string) bool {
	if len(token) > maxOpaqueToken || len(token) == len(OpaquePrefix) {
		return false
	}
	for i := range len(token) {
		c := token[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func unreachable(cause error) error {
	return &Error{Kind: Unready, RetryAfter: introspectRetry, Cause: cause}
}
