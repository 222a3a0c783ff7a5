package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
)

// along is what a change of a client brings with it: its account, and the entry
// for followers when the client was stopped.
func (r *Registry) along(ctx context.Context, was, is Client) Along {
	now := r.Now()
	e := audit.New(ctx, what(was, is), now)
	e.Client, e.Object = is.ID, string(is.ID)
	e.Details = differences(was, is)
	a := Along{Audit: []audit.Event{e}}
	if is.Disabled && !was.Disabled {
		a.Entries = []feed.Entry{r.stopped(is.ID, now)}
	}
	return a
}

// stopped is the entry that ends a client's access tokens for followers.
func (r *Registry) stopped(which id.Client, now time.Time) feed.Entry {
	return feed.Entry{Kind: feed.Client, Key: string(which), Reason: fault.ClientStopped, At: now, Until: now.Add(r.EntryLife)}
}

// what names a change.
func what(was, is Client) audit.Name {
	switch {
	case was.Version == 0:
		return audit.ClientCreated
	case is.Disabled && !was.Disabled:
		return audit.ClientDisabled
	case was.Disabled && !is.Disabled:
		return audit.ClientEnabled
	case is.same(was) && is.SecretHash != was.SecretHash:
		return audit.SecretRotated
	}
	return audit.ClientUpdated
}

// differences tells which fields changed, before and after. The digest of the
// secret is named, never shown.
func differences(was, is Client) map[string]string {
	before, after := document(was), document(is)
	found := map[string]string{}
	for field, value := range after {
		if old := before[field]; old != value {
			found[field] = fmt.Sprintf("%s -> %s", old, value)
		}
	}
	if was.SecretHash != is.SecretHash && was.Version > 0 {
		found["secret"] = "changed"
	}
	return found
}

// document is a client's fields as text, without its secret.
func document(c Client) map[string]string {
	c.SecretHash, c.Version = "", 0
	b, err := json.Marshal(c)
	if err != nil { // no field of a Client can fail to encode
		return nil
	}
	var raw map[string]json.RawMessage
	_ = json.Unmarshal(b, &raw)
	all := make(map[string]string, len(raw))
	for field, value := range raw {
		all[field] = string(value)
	}
	return all
}
