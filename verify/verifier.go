package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.example/verify/internal/jose"
)

// Limits and defaults of a Verifier.
const (
	// MaxToken is the longest token that is looked at, in bytes.
	MaxToken = jose.MaxToken
	// DefaultSkew is how far the clocks of issuer and service may differ.
	DefaultSkew = 30 * time.Second
	// MaxSkew is the largest skew that can be configured: more would make
	// short-lived tokens pointless.
	MaxSkew = 60 * time.Second
	// MaxMemo is the largest number of tokens that can be remembered.
	MaxMemo = 1 << 20

	// maxKnownHeaders bounds the header fast path. An issuer writes one header
	// per key; a few spellings more are room for a change of its version.
	maxKnownHeaders = 2 * MaxKeys
)

// OpaquePrefix starts every opaque access token of a Holdfast server. No JWT
// can start with it.
const OpaquePrefix = "hfa_"

// jwksPath is where a Holdfast server publishes its keys.
const jwksPath = "/oauth2/jwks"

// Config says which tokens to accept. Issuer and Audience are enough.
type Config struct {
	// Issuer is the authorization server, compared with iss byte for byte: a
	// trailing slash or another case is another issuer. Required.
	Issuer string

	// Audience is the name of this service, as the authorization server knows
	// it. A token is accepted only if aud contains exactly this string.
	// Required: without it, a token for a sibling service would open this one.
	Audience string

	// AnyAudience accepts tokens for every audience; Audience must be empty then.
	// It is for the authorization server itself, which answers questions about
	// all tokens it issued. A service that sets it can be opened with a token
	// that was meant for another.
	AnyAudience bool

	// Keys is where the issuer's keys come from. Nil means the issuer's own
	// JWK set at Issuer + "/oauth2/jwks", with the defaults of JWKSConfig.
	Keys KeySource

	// Skew is how far the clocks may differ; it prolongs every token by as
	// much. Zero means 30 s, the largest is 60 s.
	Skew time.Duration

	// Memo is how many verified tokens are remembered, so that a token seen
	// again costs a hash instead of a signature check. Zero, the default,
	// remembers none; others are rounded up to a multiple of 16. An entry keeps the token's claims: about 1 KiB, 8 KiB at
	// most, so 10,000 cost some 10 MiB. It dies with the token's exp, with the
	// key that signed it, or when newer tokens need its place; Revocations are
	// asked on every use all the same.
	Memo int

	// Revocations is asked about every token that is otherwise good. Nil means
	// that a token lives to its exp, whatever happens to the session.
	Revocations Revocations

	// Opaque is asked about tokens that start with "hfa_". Nil means that they
	// are refused. *Introspector is one.
	Opaque OpaqueSource

	// Bound accepts tokens that are bound to a key of the sender (cnf). Set it
	// only where something after Verify checks that the sender holds the key
	// (Guard's Proof does): otherwise a stolen bound token works like a bearer
	// token.
	Bound bool
}

// Checker turns the text of an access token into its claims. *Verifier is one,
// *Issuers is one.
type Checker interface {
	// Verify returns the claims of a token that is good at now, else an
	// *Error. It may be called from many goroutines at once.
	Verify(ctx context.Context, token string, now time.Time) (*Claims, error)
}

// Revocations knows which tokens were ended before their time. It is the place
// for a follower of the server's revocation feed.
//
// Refuse is called for every token that is otherwise good or merely out of its
// time, every time it is shown, remembered or not. It must not wait: it looks into memory. It returns
// nil for a token that stands, an *Error of kind Revoked for one that was
// ended (by session, by subject and epoch, by token id, client or key), and an
// *Error of kind Unready if it cannot know, which closes the gate with 503.
// It must not keep or change the claims.
type Revocations interface {
	Refuse(c *Claims, now time.Time) error
}

// OpaqueSource says what an opaque token stands for: the claims of an active
// token, an *Error of kind Inactive, or one of kind Unready. Issuer, audience
// and times are checked by the Verifier afterwards.
type OpaqueSource interface {
	Introspect(ctx context.Context, token string, now time.Time) (*Claims, error)
}

// Verifier checks the access tokens of one issuer for one audience. Make it
// once, with New; it is safe for concurrent use.
type Verifier struct {
	config Config
	memo   *memo // nil: nothing is remembered

	// known maps header segments, as they were sent, to the key they named.
	// The map is replaced, never changed, so reading it needs no lock. A
	// header gets in only when a signature under it has passed, so only the
	// issuer can fill it. An entry counts only while the current set holds its
	// key.
	known atomic.Pointer[map[string]*Key]
	learn sync.Mutex // held while known is replaced
}

// New makes a Verifier. The error says which field is wrong and how to mend
// it; a Verifier that was made can always be used.
func New(config Config) (*Verifier, error) {
	if config.Issuer == "" {
		return nil, errors.New(`verify: Config.Issuer is empty; set it to the iss of your tokens, for example "https://id.example.com"`)
	}
	if config.AnyAudience && config.Audience != "" {
		return nil, errors.New("verify: Config.Audience and Config.AnyAudience are both set; a service sets Audience alone")
	}
	if config.Audience == "" && !config.AnyAudience {
		return nil, errors.New(`verify: Config.Audience is empty; set it to the name of this service, for example "https://api.example.com"`)
	}
	if config.Skew == 0 {
		config.Skew = DefaultSkew
	}
	if config.Skew < 0 || config.Skew > MaxSkew {
		return nil, fmt.Errorf("verify: Config.Skew is %v; it must be between 0 and %v", config.Skew, MaxSkew)
	}
	if config.Memo < 0 || config.Memo > MaxMemo {
		return nil, fmt.Errorf("verify: Config.Memo is %d; it must be between 0 and %d", config.Memo, MaxMemo)
	}
	if config.Keys == nil {
		at, err := url.JoinPath(config.Issuer, jwksPath)
		if err != nil {
			return nil, fmt.Errorf("verify: Config.Issuer is no URL, so Config.Keys is needed: %w", err)
		}
		config.Keys, err = NewJWKS(JWKSConfig{URL: at})
		if err != nil {
			return nil, err
		}
	}
	v := &Verifier{config: config}
	v.known.Store(&map[string]*Key{})
	if config.Memo > 0 {
		v.memo = newMemo(config.Memo)
	}
	return v, nil
}

// Verify returns the claims of an access token that is good at now. The error
// is always an *Error.
//
// It makes no call over the network except, through Config.Keys, for a key
// that is not known yet and, through Config.Opaque, for an opaque token.
func (v *Verifier) Verify(ctx context.Context, token string, now time.Time) (*Claims, error) {
	if len(token) > MaxToken {
		return nil, refuse(Malformed, jose.ErrTooLong)
	}
	if strings.HasPrefix(token, OpaquePrefix) {
		return v.verifyOpaque(ctx, token, now)
	}
	if v.memo == nil {
		c, _, err := v.verifyJWT(ctx, token)
		if err != nil {
			return nil, err
		}
		err = v.stands(c, now)
		if err != nil {
			return nil, err
		}
		return c, nil
	}

	digest := digestOf(token)
	c := v.memo.recall(digest, v.config.Keys.Current())
	if c != nil {
		err := v.stands(c, now)
		if err != nil {
			if KindOf(err) == Expired {
				v.memo.forget(digest)
			}
			return nil, err
		}
		return c.own(), nil
	}
	c, key, err := v.verifyJWT(ctx, token)
	if err != nil {
		return nil, err
	}
	err = v.stands(c, now)
	if err != nil {
		return nil, err
	}
	v.memo.remember(digest, key, c)
	return c.own(), nil
}

// verifyJWT makes every check whose result is the same each time the same
// token is shown under the same keys.
func (v *Verifier) verifyJWT(ctx context.Context, token string) (*Claims, *Key, error) {
	// 1. Three canonical segments.
	parts, err := jose.Split(token)
	if err != nil {
		return nil, nil, refuse(Malformed, err)
	}

	// 2. The key, by the header as it stands or by reading it.
	key, known := v.knownKey(parts.Header)
	if !known {
		key, err = v.findKey(ctx, parts.Header)
		if err != nil {
			return nil, nil, err
		}
	}

	// 3. The signature, with the key's own algorithm.
	signature, err := jose.Decode(parts.Signature)
	if err != nil {
		return nil, nil, refuse(Malformed, err)
	}
	if !key.public.Verify([]byte(parts.Signed), signature) {
		return nil, nil, refuse(BadSignature, nil)
	}
	if !known {
		v.learnHeader(parts.Header, key)
	}

	// 4. The claims, which the issuer wrote: nobody else can make us read them.
	payload, err := jose.Decode(parts.Payload)
	if err != nil {
		return nil, nil, refuse(Malformed, err)
	}
	c, err := parseClaims(string(payload))
	if err != nil {
		return nil, nil, err
	}
	c.KeyID = key.id
	err = c.complete()
	if err != nil {
		return nil, nil, err
	}
	err = v.forUs(c)
	if err != nil {
		return nil, nil, err
	}
	return c, key, nil
}

func (v *Verifier) verifyOpaque(ctx context.Context, token string, now time.Time) (*Claims, error) {
	if v.config.Opaque == nil {
		return nil, refuse(WrongType, errors.New("an opaque token, and no Config.Opaque to ask"))
	}
	c, err := v.config.Opaque.Introspect(ctx, token, now)
	if err != nil {
		return nil, classified(err)
	}
	err = v.forUs(c)
	if err != nil {
		return nil, err
	}
	err = v.stands(c, now)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// forUs checks who issued the token, for whom, and how it may be presented.
func (v *Verifier) forUs(c *Claims) error {
	if c.Issuer != v.config.Issuer {
		return refuse(WrongIssuer, nil)
	}
	if !v.config.AnyAudience && !slices.Contains(c.Audience, v.config.Audience) {
		return refuse(WrongAudience, nil)
	}
	if c.Confirmation != "" && !v.config.Bound {
		return refuse(Bound, nil)
	}
	return nil
}

// stands checks what can change between two uses of one token.
//
// A token that was revoked is called so even when its time is over too: an app
// that hears "expired" would go on refreshing a sign-in that is no more.
func (v *Verifier) stands(c *Claims, now time.Time) error {
	late := c.inTime(now, v.config.Skew)
	if v.config.Revocations == nil {
		return late
	}
	err := classified(v.config.Revocations.Refuse(c, now))
	if late != nil && (err == nil || KindOf(err) == Unready) {
		return late
	}
	return err
}

// knownKey is the fast path: a header that was seen under a good signature
// needs no JSON, and nothing in it can be misread.
func (v *Verifier) knownKey(header string) (*Key, bool) {
	key := (*v.known.Load())[header]
	if key == nil {
		return nil, false
	}
	set := v.config.Keys.Current()
	if set == nil || !set.holds(key) {
		return nil, false
	}
	return key, true
}

// findKey is the slow path: read the header strictly, then look for its key.
// Everything that can be refused without the key is refused before it is
// looked for, so junk costs the issuer no request.
func (v *Verifier) findKey(ctx context.Context, segment string) (*Key, error) {
	header, err := jose.ParseHeader(segment)
	if err != nil {
		return nil, refuse(Malformed, err)
	}
	if !jose.Supported(header.Algorithm) {
		return nil, refuse(BadSignature, jose.ErrAlgorithm)
	}
	if header.Type != "at+jwt" && header.Type != "application/at+jwt" {
		return nil, refuse(WrongType, nil)
	}
	if header.KeyID == "" || len(header.KeyID) > MaxKeyID {
		return nil, refuse(UnknownKey, nil)
	}
	key, err := v.config.Keys.Find(ctx, header.KeyID)
	if err != nil {
		return nil, classified(err)
	}
	if key.Algorithm() != header.Algorithm {
		return nil, refuse(BadSignature, jose.ErrKeyAlgorithm)
	}
	return key, nil
}

// learnHeader remembers a header under which a signature of key has passed.
// When there is no room, everything is forgotten: the headers in use are back
// after one token each, and those of dropped keys are gone.
func (v *Verifier) learnHeader(header string, key *Key) {
	v.learn.Lock()
	defer v.learn.Unlock()
	old := *v.known.Load()
	next := make(map[string]*Key, len(old)+1)
	if len(old) < maxKnownHeaders {
		for h, k := range old {
			next[h] = k
		}
	}
	next[strings.Clone(header)] = key // a copy: the header is a part of the whole token
	v.known.Store(&next)
}
