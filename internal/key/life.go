package key

import (
	"slices"
	"time"

	"holdfast.example/internal/fault"
)

// This file decides and does nothing: rows in, rows out, no keys, no clock.

const (
	// ReloadEvery is how often every node should call Reload or Tick. A node is
	// at most that far behind another one's change.
	ReloadEvery = 5 * time.Second

	// Answer and Skew: an access token leaves at most Answer after the moment it
	// is dated with, which also covers a node that has not reloaded yet, and
	// clocks may differ by Skew (design.md section 7).
	Answer = 10 * time.Second
	Skew   = 60 * time.Second

	// OpaqueKept is how long a retired key of opaque tokens is kept: what lives longest
	// of all that it seals is the cookie of a web session, for two weeks.
	OpaqueKept = 14 * 24 * time.Hour

	// opaqueRotateEvery bounds what one opaque key seals. Its nonces are random:
	// NIST SP 800-38D allows 2^32 of them, which 30 days reach at 1,600 tokens a
	// second. Nobody outside holds these keys, so turning them costs nothing.
	opaqueRotateEvery = 30 * 24 * time.Hour

	// MaxKeys bounds the rows, and with them the JWKS.
	MaxKeys = 512
)

// line is a succession of keys: one purpose, one algorithm, one key current.
type line struct {
	purpose Purpose
	alg     string
}

func (row Row) line() line { return line{row.Purpose, row.Alg} }

// hasNext reports whether the line keeps its next key ready, so that verifiers
// (JWKS) and other nodes know it before it is used. The name key has no next:
// it is never rotated.
func (l line) hasNext() bool { return l.purpose != Name }

// lines are those this server needs, signing algorithms first.
func lines(algs []string) []line {
	var all []line
	for _, alg := range algs {
		all = append(all, line{Sign, alg})
	}
	return append(all, line{Seal, ""}, line{Name, ""}, line{Opaque, ""})
}

// find gives the index of the key of a line in a state, or -1.
func find(rows []Row, l line, s State) int {
	return slices.IndexFunc(rows, func(row Row) bool { return row.line() == l && row.State == s })
}

// missing lists the keys to make so that each line has a current and, where it
// wants one, a next key. ID 0 marks a key that is not made yet. For a line
// without any key this begins it, which is an addition: the roll vouches that
// there never was one.
func missing(rows []Row, want []line, now time.Time) (add []Row) {
	for _, l := range want {
		if find(rows, l, Current) < 0 {
			add = append(add, Row{Purpose: l.purpose, Alg: l.alg, State: Current, CreatedAt: now, ActiveAt: now})
		}
		if l.hasNext() && find(rows, l, Next) < 0 {
			add = append(add, Row{Purpose: l.purpose, Alg: l.alg, State: Next, CreatedAt: now})
		}
	}
	return add
}

// rotate makes next current and retires current. A next key that verifiers may
// not have seen yet is refused unless forced.
func rotate(rows []Row, l line, now time.Time, published time.Duration, force bool) ([]Row, error) {
	if !l.hasNext() {
		return nil, fault.New(fault.InvalidRequest, "the key behind session names (sid) is never rotated; drop it if it is compromised")
	}
	next, current := find(rows, l, Next), find(rows, l, Current)
	if next < 0 || current < 0 {
		return nil, fault.Newf(fault.NotFound, "there is no next %s to rotate to", l)
	}
	if age := now.Sub(rows[next].CreatedAt); age < published && !force {
		e := fault.Newf(fault.Conflict, "the next %s was published %s ago and must be for %s before it is used, "+
			"or verifiers that cache the key set would refuse its tokens; repeat in %s, or force it after an incident",
			l, max(0, age).Round(time.Second), published, (published - age).Round(time.Second))
		e.RetryAfter = published - age
		return nil, e
	}
	rows = slices.Clone(rows)
	rows[current].State, rows[current].RetiredAt = Retired, now
	rows[next].State, rows[next].ActiveAt = Current, now
	return rows, nil
}

// expire drops the retired keys whose last possible token has expired. Retired
// sealing keys stay: a refresh token may come back after months, and one that
// is not recognised could not be told from garbage.
func expire(rows []Row, now time.Time, longestAccess time.Duration) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(row Row) bool {
		life := longestAccess
		if row.Purpose == Opaque {
			life = OpaqueKept
		}
		return row.State == Retired && row.Purpose != Seal && now.After(row.RetiredAt.Add(life+Answer+Skew))
	})
}

// due reports whether a line should rotate by itself now.
func due(rows []Row, l line, now time.Time, every, published time.Duration) bool {
	switch l.purpose {
	case Opaque:
		if every == 0 || every > opaqueRotateEvery {
			every = opaqueRotateEvery
		}
	case Sign:
	default:
		// A sealing key gains nothing by age: what it sealed stays good. An
		// operator turns it by hand.
		return false
	}
	next, current := find(rows, l, Next), find(rows, l, Current)
	return every > 0 && next >= 0 && current >= 0 &&
		now.Sub(rows[current].ActiveAt) >= every && now.Sub(rows[next].CreatedAt) >= published
}

// drop removes one key at once. If it was current, next takes over, however
// young: a compromised key must not sign once more.
func drop(rows []Row, i int, now time.Time) []Row {
	gone := rows[i]
	rows = slices.Delete(slices.Clone(rows), i, i+1)
	if gone.State == Current {
		if next := find(rows, gone.line(), Next); next >= 0 {
			rows[next].State, rows[next].ActiveAt = Current, now
		}
	}
	return rows
}

// String is how sentences call a line.
func (l line) String() string {
	switch l.purpose {
	case Sign:
		return l.alg + " signing key"
	case Seal:
		return "sealing key"
	case Name:
		return "name key"
	default:
		return string(l.purpose) + " key"
	}
}

// wellFormed holds what every set of rows satisfies. It cannot fail on rows
// that this code wrote and the roll vouches for.
func wellFormed(rows []Row) error {
	type place struct {
		line
		State
	}
	seen := make(map[place]bool)
	for _, row := range rows {
		at := place{row.line(), row.State}
		switch row.State {
		case Next, Current:
			if seen[at] {
				return refuse("there are two %s keys where one belongs, the second is %s; restore the stored keys from a backup", row.State, row.name())
			}
		case Retired:
		default:
			return refuse("%s is in the unknown state %q; use the release that wrote it", row.name(), row.State)
		}
		seen[at] = true
	}
	return nil
}
