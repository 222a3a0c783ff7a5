package session

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var chainDay = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// hourly is the chain of a phone that refreshes once an hour, n times.
func hourly(n int) (Chain, time.Time) {
	s := Session{Chain: Chain{Newest: 1, First: 1, IssuedAt: chainDay}, UsedAt: chainDay}
	now := chainDay
	for range n {
		now = now.Add(time.Hour + 137*time.Millisecond)
		s = s.rotated(s.Chain.Newest, Policy{Overlap: time.Minute, Late: 5 * time.Minute}, now)
	}
	return s.Chain, s.UsedAt
}

func TestChainRoundTrip(t *testing.T) {
	at := func(d time.Duration) time.Time { return chainDay.Add(d) }
	year, yearUsed := hourly(365 * 24)
	year.Seen = yearUsed.Add(40 * time.Second)
	tests := map[string]struct {
		c    Chain
		used time.Time
	}{
		"zero":              {Chain{}, time.Time{}},
		"sign-in":           {Chain{Newest: 1, First: 1, IssuedAt: chainDay}, chainDay},
		"a year of hours":   {year, yearUsed},
		"issued before use": {Chain{Newest: 1, First: 1, IssuedAt: chainDay}, at(time.Hour)},
		"issued after use":  {Chain{Newest: 1, First: 1, IssuedAt: at(time.Hour)}, chainDay},
		"several live": {Chain{Newest: 9, First: 4, IssuedAt: at(time.Hour), Seen: at(2 * time.Hour),
			Uses: []Use{{1, 1, 1, at(time.Minute)}, {3, 2, 3, at(time.Hour)}}}, at(time.Hour)},
		"the store lost commits": {Chain{Newest: 5001, First: 5001, IssuedAt: chainDay,
			Uses: []Use{{905, 904, 5000, chainDay}}}, chainDay},
		"the clock went back": {Chain{Newest: 3, First: 3, IssuedAt: at(-time.Hour), Seen: at(-2 * time.Hour),
			Uses: []Use{{1, 1, 1, at(0)}, {2, 2, 2, at(-time.Hour)}}}, at(-time.Hour)},
		"the last generation": {Chain{Newest: maxGeneration, First: maxGeneration, IssuedAt: chainDay,
			Uses: []Use{{0, 1<<32 - 1, 0, chainDay}}}, chainDay},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeChain(EncodeChain(tt.c, tt.used), tt.used)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.c, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestChainIsSmall(t *testing.T) {
	c, used := hourly(365 * 24)
	c.Seen = used.Add(40 * time.Minute)
	if got := len(EncodeChain(c, used)); got > 32 {
		t.Errorf("a year of hourly refreshes takes %d bytes, want at most 32", got)
	}
}

func TestChainRefusesOtherSpellings(t *testing.T) {
	c, used := hourly(2)
	good := EncodeChain(c, used)
	tests := map[string][]byte{
		"empty":                   {},
		"cut":                     good[:len(good)-1],
		"long varint":             append([]byte{0x83, 0x00}, good[1:]...),
		"generation over 32 bits": {0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0},
		"first below zero":        {1, 4, 0, 0},
		"time with leading zero":  {2, 0, 0, 0, 0x01, 0x00},
		"later by nothing":        {2, 0, 0, 0, useLater},
		"time of nine bytes":      {2, 0, 0, 0, 0x09, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		"announced as expected":   {2, 0, 0, 0, useGeneration, 1},
		"low is the generation":   {2, 0, 0, 0, useLow, 1},
		"seven uses":              {9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a byte too many":         append(bytes.Clone(good), 0x80),
	}
	if _, err := DecodeChain([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 0}, used); err != nil {
		t.Fatalf("six uses: %v", err)
	}
	for name, b := range tests {
		if c, err := DecodeChain(b, used); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

func TestChainKeepsWhatRefreshMakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Session{Chain: Chain{Newest: 1, First: 1, IssuedAt: chainDay}, UsedAt: chainDay, CreatedAt: chainDay, Client: "c"}
		pol := Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 24 * time.Hour}
		now := chainDay
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 7200_000).Draw(t, "gap")) * time.Millisecond)
			g := Generation(rapid.IntRange(1, int(s.Chain.Newest)+3).Draw(t, "generation"))
			s, _ = s.Refresh(Presented{Client: "c", Generation: g, Genuine: true, IssuedAt: now}, Standing{}, pol, now)
			got, err := DecodeChain(EncodeChain(s.Chain, s.UsedAt), s.UsedAt)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(s.Chain, got); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// FuzzDecodeChain: whatever is accepted is the one spelling of what it says.
func FuzzDecodeChain(f *testing.F) {
	for _, n := range []int{0, 1, 3, 6, 9000} {
		c, used := hourly(n)
		f.Add(EncodeChain(c, used), used.UnixMilli())
	}
	f.Fuzz(func(t *testing.T, b []byte, ms int64) {
		const farAway = 1 << 50 // 35,000 years: differences stay far from overflow
		if ms < 0 || ms > farAway {
			t.Skip()
		}
		used := FromMillis(ms)
		c, err := DecodeChain(b, used)
		if err != nil {
			return
		}
		if Millis(c.IssuedAt) < 0 || Millis(c.IssuedAt) > farAway || Millis(c.Seen) < 0 || Millis(c.Seen) > farAway {
			t.Skip()
		}
		for _, u := range c.Uses {
			if Millis(u.At) < 0 || Millis(u.At) > farAway {
				t.Skip()
			}
		}
		if again := EncodeChain(c, used); !bytes.Equal(b, again) {
			t.Errorf("%x was accepted, but %+v is written as %x", b, c, again)
		}
	})
}
