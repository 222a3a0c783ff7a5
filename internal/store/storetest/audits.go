package storetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
)

// exerciseAudit: what was added is found again, whole, by every filter, newest
// first, until it is forgotten.
func exerciseAudit(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	if w.Audit == nil {
		t.Skip("this store keeps no audit")
	}
	u, other := w.person(), w.person()
	at := func(i int) time.Time { return day.Add(time.Duration(i) * time.Hour) }
	home, away := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	events := []audit.Event{
		{At: at(0), Name: audit.SignedIn, Who: audit.Who{Actor: audit.ByUser, ID: u.ID.String(), From: home}, User: u.ID, Client: app, SID: "one"},
		{At: at(1), Name: audit.SignedIn, Who: audit.Who{Actor: audit.ByUser, ID: other.ID.String(), From: away}, User: other.ID, Client: "another", SID: "two"},
		{At: at(2), Name: audit.SessionEnded, Who: audit.Who{Actor: audit.ByOperator, ID: "ops", Via: "ops-tool", From: home}, User: u.ID, Client: app, SID: "one",
			Reason: fault.Operator, Object: "thing", Details: map[string]string{"device": "Phone"}},
		{At: at(3), Name: audit.KeyMade, Who: audit.Who{Actor: audit.BySystem}, Object: "7"},
	}
	for _, e := range events {
		if err := w.Audit.Add(w.ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	find := func(q audit.Query) []audit.Event {
		t.Helper()
		all, err := w.Audit.Find(w.ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for name, tt := range map[string]struct {
		q    audit.Query
		want []int
	}{
		"all":              {audit.Query{Limit: 10}, []int{3, 2, 1, 0}},
		"limit":            {audit.Query{Limit: 2}, []int{3, 2}},
		"no limit is none": {audit.Query{}, nil},
		"of a user":        {audit.Query{User: u.ID, Limit: 10}, []int{2, 0}},
		"of a client":      {audit.Query{Client: "another", Limit: 10}, []int{1}},
		"of a session":     {audit.Query{SID: "one", Limit: 10}, []int{2, 0}},
		"by name":          {audit.Query{Name: audit.SignedIn, Limit: 10}, []int{1, 0}},
		"by address":       {audit.Query{From: away, Limit: 10}, []int{1}},
		"until":            {audit.Query{Until: at(2), Limit: 10}, []int{1, 0}},
		"user and address": {audit.Query{User: u.ID, From: home, Name: audit.SignedIn, Limit: 10}, []int{0}},
		"none":             {audit.Query{User: u.ID, From: away, Limit: 10}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var want []audit.Event
			for _, i := range tt.want {
				want = append(want, events[i])
			}
			if d := cmp.Diff(want, find(tt.q), cmpopts.IgnoreFields(audit.Event{}, "Position"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Error(d)
			}
		})
	}
	all := find(audit.Query{Limit: 10})
	if rest := find(audit.Query{Before: all[1].Position, Limit: 10}); len(rest) != 2 || rest[0].Position != all[2].Position {
		t.Errorf("going on after the second gives %d events", len(rest))
	}
	if n, err := w.Audit.Forget(w.ctx, at(2), 1); err != nil || n != 1 {
		t.Errorf("forgot %d, the limit is 1 (%v)", n, err)
	}
	if n, err := w.Audit.Forget(w.ctx, at(2), 10); err != nil || n != 1 {
		t.Errorf("forgot %d, 1 was left (%v)", n, err)
	}
	if left := find(audit.Query{Limit: 10}); len(left) != 2 || !left[1].At.Equal(at(2)) {
		t.Errorf("%d events are left", len(left))
	}
}
