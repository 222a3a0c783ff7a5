package verify

import (
	"context"
	"errors"
	"strings"
	"time"

	"holdfast.example/verify/internal/jose"
)

// MaxIssuers is the largest number of issuers one Issuers accepts.
const MaxIssuers = 256

// Issuers accepts the tokens of several issuers (tenants), each checked by the
// Verifier of its issuer alone: keys, audience and limits are never mixed. The
// list is fixed when it is made; a token cannot add to it or cause a request
// to an issuer that is not on it.
type Issuers struct {
	byIssuer map[string]*Verifier
	opaque   *Verifier // the one that is asked about opaque tokens; nil for none
}

// NewIssuers makes an Issuers. At most one Verifier may accept opaque tokens:
// they do not say whose they are, and asking everybody would show a token to
// an issuer it is not from.
func NewIssuers(verifiers ...*Verifier) (*Issuers, error) {
	if len(verifiers) == 0 || len(verifiers) > MaxIssuers {
		return nil, errors.New("verify: NewIssuers takes 1 to 256 verifiers")
	}
	s := &Issuers{byIssuer: make(map[string]*Verifier, len(verifiers))}
	for _, v := range verifiers {
		if s.byIssuer[v.config.Issuer] != nil {
			return nil, errors.New("verify: two verifiers for one issuer")
		}
		s.byIssuer[v.config.Issuer] = v
		if v.config.Opaque != nil {
			if s.opaque != nil {
				return nil, errors.New("verify: two verifiers that accept opaque tokens")
			}
			s.opaque = v
		}
	}
	return s, nil
}

// Verify implements Checker. The issuer is read from the token before anything
// is verified, to choose who verifies it; the chosen Verifier believes nothing
// of that and checks it again.
func (s *Issuers) Verify(ctx context.Context, token string, now time.Time) (*Claims, error) {
	if strings.HasPrefix(token, OpaquePrefix) {
		if s.opaque == nil {
			return nil, refuse(WrongType, nil)
		}
		return s.opaque.Verify(ctx, token, now)
	}
	issuer, err := claimedIssuer(token)
	if err != nil {
		return nil, refuse(Malformed, err)
	}
	v := s.byIssuer[issuer]
	if v == nil {
		return nil, refuse(WrongIssuer, nil)
	}
	return v.Verify(ctx, token, now)
}

func claimedIssuer(token string) (issuer string, err error) {
	parts, err := jose.Split(token)
	if err != nil {
		return "", err
	}
	payload, err := jose.Decode(parts.Payload)
	if err != nil {
		return "", err
	}
	err = jose.Members(string(payload), func(name string, v jose.Value) error {
		if name == "iss" {
			issuer, _ = v.Text()
		}
		return nil
	})
	return issuer, err
}
