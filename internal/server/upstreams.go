package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"holdfast.example/internal/limit"
	"holdfast.example/internal/upstream"
)

// openUpstreams reads the providers whose users may sign in here.
func (s *Server) openUpstreams(ctx context.Context, p Parts) error {
	if p.Stores.Upstreams == nil {
		return nil
	}
	s.Upstreams = &upstream.Registry{Store: p.Stores.Upstreams, Seal: s.Keys, Log: p.Log, Now: p.Now}
	if p.Dev != nil {
		s.stage = newStage(p.Now)
		s.Upstreams.Transport = s.stage
	} else {
		s.Upstreams.Transport = http.DefaultTransport
	}
	err := s.Upstreams.Reload(ctx)
	if err != nil {
		return fmt.Errorf("the upstreams cannot be read: %w", err)
	}
	return nil
}

// The budget of failed token exchanges of one upstream, from everywhere: a flood
// of invented tokens must not use up what the provider allows us.
const (
	exchangeBurst = 1000
	exchangeEvery = 50 * time.Millisecond
)

// exchanges bounds failed token exchanges: of an address like failed sign-ins, of
// an upstream by a budget of its own.
func (s *Server) exchanges() *limit.Attempts {
	p := attempts(s.config)
	p.Account = limit.Rate{Burst: exchangeBurst, Every: exchangeEvery}
	return &limit.Attempts{Counters: s.counters(), Policy: p}
}
