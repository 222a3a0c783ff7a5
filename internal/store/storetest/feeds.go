package storetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
)

func exerciseFeed(t *testing.T, open func(*testing.T) Bundle) {
	t.Run("record", func(t *testing.T) { recordsEntries(t, open) })
	t.Run("again", func(t *testing.T) { recordsAgain(t, open) })
	t.Run("forget", func(t *testing.T) { forgets(t, open) })
	t.Run("follow", func(t *testing.T) { followed(t, open) })
}

func recordsEntries(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	want := []feed.Entry{
		entry(feed.Session, "sid-1"),
		{Kind: feed.Subject, Key: "usr_x", Epoch: math.MaxUint32, ExceptSID: "sid-2", Reason: fault.Everywhere, At: day, Until: day.Add(time.Hour)},
		entry(feed.Token, "jti-1"), entry(feed.Client, "demo \"native\""), entry(feed.Key, "kid-1"),
	}
	for _, e := range want {
		if err := w.Feed.Record(w.ctx, e, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := w.record()
	last := int64(0)
	for i := range got {
		if got[i].Position <= last {
			t.Errorf("position %d follows %d", got[i].Position, last)
		}
		last = got[i].Position
		if i < len(want) {
			want[i].Position = last
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if two, err := w.Feed.Since(w.ctx, got[1].Position, 2); err != nil || cmp.Diff(want[2:4], two) != "" {
		t.Errorf("two entries after the second: %v %+v", err, two)
	}
	if none, err := w.Feed.Since(w.ctx, last, 10); err != nil || len(none) != 0 {
		t.Errorf("after the last: %v %+v", err, none)
	}
	for jti, want := range map[string]bool{"jti-1": true, "jti-2": false, "sid-1": false, "": false} {
		if got, err := w.Feed.TokenRevoked(w.ctx, jti); err != nil || got != want {
			t.Errorf("TokenRevoked(%q) = %v %v, want %v", jti, got, err, want)
		}
	}
}

// recordsAgain: the record is a set. Saying something again changes nothing for
// a follower, and saying less never weakens what was said.
func recordsAgain(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	subject := entry(feed.Subject, "usr_y")
	for _, epoch := range []uint32{3, 2, 3} {
		subject.Epoch = epoch
		if err := w.Feed.Record(w.ctx, subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	token := entry(feed.Token, "jti-3")
	short := token
	short.Until = day.Add(time.Minute)
	for _, e := range []feed.Entry{token, short, token} {
		if err := w.Feed.Record(w.ctx, e, nil); err != nil {
			t.Fatal(err)
		}
	}
	var epoch uint32
	var until time.Time
	for _, e := range w.record() {
		if e.Kind == feed.Subject {
			epoch = max(epoch, e.Epoch)
		} else if e.Until.After(until) {
			until = e.Until
		}
	}
	if epoch != 3 || !until.Equal(token.Until) {
		t.Errorf("a follower knows epoch %d until %v, want 3 until %v", epoch, until, token.Until)
	}
	const many = 50
	before := len(w.record())
	for range many {
		if err := w.Feed.Record(w.ctx, token, nil); err != nil {
			t.Fatal(err)
		}
	}
	if grown := len(w.record()) - before; grown >= many {
		t.Errorf("revoking one token %d times made %d entries: anybody can fill the record", many, grown)
	}
}

func forgets(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const many = 30
	for i := range many {
		e := entry(feed.Token, fmt.Sprintf("jti-%d", i))
		e.Until = day.Add(time.Duration(i) * time.Minute)
		if err := w.Feed.Record(w.ctx, e, nil); err != nil {
			t.Fatal(err)
		}
	}
	highest := w.record()[many-1].Position
	at := day.Add(10 * time.Minute)
	for _, want := range []int{4, 4, 2, 0} {
		if n, err := w.Feed.Forget(w.ctx, at, 4); err != nil || n != want {
			t.Errorf("forgot %d (%v), want %d", n, err, want)
		}
	}
	if left := w.record(); len(left) != many-10 || left[0].Key != "jti-10" {
		t.Errorf("%d entries are left, the first is %s; the one that is due this moment must stay", len(left), left[0].Key)
	}
	if n, err := w.Feed.Forget(w.ctx, day.Add(time.Hour), 1000); err != nil || n != many-10 {
		t.Errorf("forgot %d (%v)", n, err)
	}
	if err := w.Feed.Record(w.ctx, entry(feed.Token, "jti-new"), nil); err != nil {
		t.Fatal(err)
	}
	if got := w.record()[0].Position; got <= highest {
		t.Errorf("position %d was given twice: a follower that has seen %d would miss it", got, highest)
	}
}

// followed: a follower that resumes from the last position it saw misses
// nothing, while many write.
func followed(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const writers, each = 16, 20
	done := make(chan []error, 1)
	go func() {
		done <- every(writers, func(i int) error {
			for k := range each {
				if err := w.Feed.Record(w.ctx, entry(feed.Token, fmt.Sprintf("jti-%d-%d", i, k)), nil); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	seen := map[string]bool{}
	position := int64(0)
	for finished := false; ; {
		all, err := w.Feed.Since(w.ctx, position, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			seen[e.Key], position = true, e.Position
		}
		if len(all) > 0 {
			continue
		}
		if finished {
			break
		}
		select {
		case errs := <-done:
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			finished = true // one more look
		default:
		}
	}
	if len(seen) != writers*each {
		t.Errorf("the follower saw %d of %d entries", len(seen), writers*each)
	}
}
