package grant

import (
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/session"
)

// TestVisit (B02): a sign-in that is not remembered is over after a day without use
// whatever its client's limits are, unless they are shorter; all others keep theirs.
func TestVisit(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	day, hour, none := 24*time.Hour, time.Hour, time.Duration(0)
	for name, c := range map[string]struct {
		idle, absolute       *time.Duration
		refresh              client.Refresh
		grant                string
		limit, until, recall time.Duration
	}{
		"a visit":                    {nil, nil, client.Balanced, GrantVisit, day, day, day},
		"remembered":                 {nil, nil, client.Balanced, client.GrantPassword, 90 * day, 90 * day, 90 * day},
		"a visit, no limit":          {&none, nil, client.Balanced, GrantVisit, day, day, day},
		"remembered, no limit":       {&none, nil, client.Balanced, client.GrantPassword, 0, 0, 1<<63 - 1},
		"a visit, shorter":           {&hour, nil, client.Balanced, GrantVisit, hour, hour, hour},
		"a visit, strict":            {nil, nil, client.Strict, GrantVisit, day, day, 0},
		"a visit that ends sooner":   {nil, &hour, client.Balanced, GrantVisit, day, hour - time.Minute, day},
		"remembered, an end is near": {nil, &hour, client.Balanced, client.GrantPassword, 90 * day, hour - time.Minute, 90 * day},
	} {
		t.Run(name, func(t *testing.T) {
			is := &Issuer{Limits: client.Standard()}
			app := client.Client{IdleLifetime: c.idle, AbsoluteLifetime: c.absolute, Refresh: c.refresh}
			p := is.policyOf(app, c.grant)
			if p.Idle != c.limit || c.recall < 1<<62 && p.Recovery != c.recall {
				t.Errorf("idle %v, recovery %v", p.Idle, p.Recovery)
			}
			end := is.until(app, session.Session{Grant: c.grant, CreatedAt: now.Add(-time.Minute)}, now)
			if c.until == 0 != end.IsZero() || c.until != 0 && end.Sub(now) != c.until {
				t.Errorf("until %v", end)
			}
		})
	}
}
