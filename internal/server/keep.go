package server

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/idem"
	"holdfast.example/internal/key"
)

// The rounds of the house-keeper.
const (
	tickEvery  = key.ReloadEvery
	purgeBatch = 500
	// proofBatch and budgetBatch are how many of the rows that live for seconds or
	// minutes are deleted in a round: whoever floods the server makes one for each
	// request.
	proofBatch, budgetBatch = 5_000, 20_000
)

// Keep does the regular work until the context ends: key life, clients changed
// by another process, and the purge of what is long over. Each piece is bounded
// and safe to be cut off anywhere.
func (s *Server) Keep(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			err := s.Tick(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				s.log.Warn("house-keeping failed and will be tried again", "error", err)
			}
		}
	}
}

// Tick is one round of the house-keeper.
func (s *Server) Tick(ctx context.Context) error {
	before := s.now()
	now, err := s.stores.Sessions.Now(ctx)
	if err != nil {
		return err
	}
	if ahead, tell := s.drift.look(before, now, s.now()); tell {
		s.log.Warn("this machine's clock is not the database's: set it right, or its log is dated wrongly", "ahead_seconds", ahead.Seconds())
	}
	_, forgetErr := s.stores.Feed.Forget(ctx, now, purgeBatch)
	// As long as what opened a session may be repeated, nobody may find its id free.
	remembered := now.Add(-max(s.config.EndedRetention, client.OverlapCap))
	_, purgeErr := s.stores.Sessions.Purge(ctx, remembered, remembered.Add(-s.config.LongestIdle(s.Clients)), purgeBatch)
	_, auditErr := s.stores.Audit.Forget(ctx, now.Add(-s.config.AuditRetention), purgeBatch)
	_, callsErr := s.stores.Calls.Forget(ctx, now.Add(-idem.Life), purgeBatch)
	onceErr := s.Once.Tick(ctx, now, proofBatch)
	var budgetErr error
	if s.stores.Budgets != nil {
		_, budgetErr = s.stores.Budgets.Forget(ctx, budgetBatch)
	}
	var upstreamErr error
	if s.Upstreams != nil {
		upstreamErr = errors.Join(s.Upstreams.Reload(ctx), s.Upstreams.Reseal(ctx))
	}
	return errors.Join(upstreamErr, s.Keys.Tick(ctx, now), s.Clients.Reload(ctx), forgetErr, purgeErr, auditErr, callsErr, onceErr, budgetErr)
}
