package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast.example/internal/fault"
)

// How long a provider's key set is kept.
const (
	// freshFor is how long it is used without another look.
	freshFor = time.Hour
	// coolDown is how long after a look a key that it lacks is not looked for again:
	// invented names must not become calls.
	coolDown = 10 * time.Second
	// staleFor is how long it is used while the provider does not answer.
	staleFor = 24 * time.Hour
	// maxKeys bounds a set.
	maxKeys = 64
)

// keySet is a provider's public keys, fetched when needed: once for all who wait.
type keySet struct {
	fetch func(context.Context) ([]byte, error)
	now   func() time.Time

	mu      sync.Mutex
	keys    map[string]publicKey
	fetched time.Time // when keys were
	looked  time.Time // when the last look began
	flight  *look
}

// look is one fetch, shared by everybody who waits for it.
type look struct {
	done chan struct{}
	err  error
}

// find gives the key of a name. found is false when the provider has no such key;
// an error of kind Unavailable means that nobody knows.
func (k *keySet) find(ctx context.Context, kid string) (key publicKey, found bool, err error) {
	for range 2 {
		k.mu.Lock()
		key, found = k.keys[kid]
		now := k.now()
		age, since := now.Sub(k.fetched), now.Sub(k.looked)
		known := k.keys != nil
		// A clock that went back is a set that is fresh, never one that is kept for ever.
		switch {
		case known && found && age < freshFor, known && since >= 0 && since < coolDown && (!found || age < staleFor):
			k.mu.Unlock()
			return key, found, nil
		}
		f := k.flight
		if f == nil {
			f = &look{done: make(chan struct{})}
			k.flight, k.looked = f, now
			go k.refresh(context.WithoutCancel(ctx), f)
		}
		k.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return publicKey{}, false, away(errors.New("its keys did not arrive in time"))
		}
		if f.err == nil {
			continue
		}
		if found && age < staleFor {
			return key, true, nil
		}
		return publicKey{}, false, f.err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, found = k.keys[kid]
	return key, found, nil
}

// refresh is the life of one look. Others wait for it too, so it does not end
// with the request that began it.
func (k *keySet) refresh(ctx context.Context, f *look) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	document, err := k.fetch(ctx)
	var keys map[string]publicKey
	if err == nil {
		keys, err = readKeys(document)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.keys, k.fetched = keys, k.now()
	}
	f.err = err
	k.flight = nil
	close(f.done)
}

// readKeys reads a JWK set (RFC 7517 section 5). Keys that are not for us are left
// out; a set in which none is left is no key set, and the provider counts as away.
func readKeys(document []byte) (map[string]publicKey, error) {
	set, err := parse(document)
	if err != nil {
		return nil, away(fmt.Errorf("its key set: %w", err))
	}
	keys := map[string]publicKey{}
	for _, text := range set.list("keys") {
		kid, key, ok := readKey(text)
		if _, twice := keys[kid]; twice || len(keys) == maxKeys {
			return nil, away(errors.New("its key set has a name twice, or too many keys"))
		}
		if ok {
			keys[kid] = key
		}
	}
	if len(keys) == 0 {
		return nil, &fault.Error{Kind: fault.Unavailable, RetryAfter: fault.RetrySoon,
			Words: "the sign-in provider does not answer right now; repeat the request", Cause: errors.New("upstream: the provider published no key that can be used")}
	}
	return keys, nil
}

// fetching is a keySet's fetch from a fixed address.
func fetching(c *caller, address func(context.Context) (string, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		where, err := address(ctx)
		if err != nil {
			return nil, err
		}
		a, err := c.get(ctx, where, nil, "")
		if err != nil {
			return nil, err
		}
		if a.refused() {
			return nil, away(fmt.Errorf("its key set answered %d", a.status))
		}
		return a.body, nil
	}
}
