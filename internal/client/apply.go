package client

import (
	"context"
	"errors"
	"slices"
	"strings"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// maxTries is how often a change decides anew when somebody else wrote the same
// client in between.
const maxTries = 3

// MaxDeclared bounds one Apply, in clients: a registry is held in memory.
const MaxDeclared = 10000

// Report says what an Apply did, by client id in the order of declaring.
type Report struct {
	Created, Updated, Unchanged []id.Client
	// Warnings are what is doubtful in what was applied.
	Warnings []Problem
}

// Apply creates or updates what is declared and leaves every other client
// alone. All of it is checked before any of it is written; then each client is
// written by compare-and-swap. Applying the same again changes nothing: a
// declared secret that matches the stored digest is no change.
//
// Errors are *fault.Error: InvalidRequest with every problem, Conflict or
// Unavailable; after the latter two the Report says how far it came, and applying
// again goes on from there.
func (r *Registry) Apply(ctx context.Context, declared []Declared) (Report, error) {
	var report Report
	declared = slices.Clone(declared)
	problems, err := r.examine(declared)
	if err != nil {
		return report, err
	}
	report.Warnings = problems
	known, err := r.look(ctx)
	if err != nil {
		return report, err
	}
	for _, d := range declared {
		err := r.applyOne(ctx, known, d, &report)
		if err != nil {
			return report, errors.Join(err, r.Reload(ctx))
		}
	}
	return report, r.reloaded(ctx)
}

// examine fills in defaults and returns the warnings, or all errors as one.
func (r *Registry) examine(declared []Declared) (warnings []Problem, err error) {
	if len(declared) > MaxDeclared {
		return nil, fault.Newf(fault.TooLarge, "at most %d clients can be applied at once", MaxDeclared)
	}
	var wrong []string
	seen := map[id.Client]bool{}
	for i := range declared {
		d := &declared[i]
		d.Client = d.Client.WithDefaults()
		if seen[d.ID] {
			wrong = append(wrong, "client "+string(d.ID)+" is declared twice")
		}
		seen[d.ID] = true
		for _, p := range Check(*d, r.Server) {
			if p.Warning {
				warnings = append(warnings, p)
			} else {
				wrong = append(wrong, p.String())
			}
		}
	}
	if wrong != nil {
		return nil, fault.New(fault.InvalidRequest, strings.Join(wrong, "\n"))
	}
	return warnings, nil
}

// applyOne brings one client to what is declared.
func (r *Registry) applyOne(ctx context.Context, known map[id.Client]Client, d Declared, report *Report) error {
	was, is, err := r.change(ctx, known, d.ID, func(c Client, found bool) (Client, error) {
		next := d.Client
		next.SecretHash, next.Disabled, next.Version = c.SecretHash, c.Disabled, c.Version
		if d.Stopped != nil {
			next.Disabled = *d.Stopped
		}
		switch {
		case !next.usesSecret():
			next.SecretHash = ""
		case !d.Secret.Empty() && !CheckSecret(c.SecretHash, d.Secret):
			next.SecretHash = HashSecret(d.Secret)
		case next.SecretHash == "":
			return Client{}, fault.Newf(fault.InvalidRequest, "client %s is new and has no secret; declare one", d.ID)
		}
		return next, nil
	})
	switch {
	case err != nil:
		return err
	case was.Version == 0:
		report.Created = append(report.Created, d.ID)
	case was.Version == is.Version:
		report.Unchanged = append(report.Unchanged, d.ID)
	default:
		report.Updated = append(report.Updated, d.ID)
	}
	return nil
}

// look reads every client from the store, which knows better than the registry.
func (r *Registry) look(ctx context.Context) (map[id.Client]Client, error) {
	all, err := r.Store.All(ctx)
	if err != nil {
		return nil, fault.Down(err)
	}
	known := make(map[id.Client]Client, len(all))
	for _, c := range all {
		known[c.ID] = c
	}
	return known, nil
}

// change replaces one client by what next makes of it, by compare-and-swap. It
// decides on known first, and looks again when somebody wrote in between. The
// zero Client stands for one that is not there. A next that differs in nothing
// is not written, and is then equals was.
func (r *Registry) change(ctx context.Context, known map[id.Client]Client, which id.Client, next func(c Client, found bool) (Client, error)) (was, is Client, err error) {
	for range maxTries {
		was, found := known[which]
		is, err = next(was, found)
		if err != nil {
			return was, is, err
		}
		if found && is.same(was) && is.SecretHash == was.SecretHash && is.Disabled == was.Disabled {
			return was, was, nil
		}
		is.Version = was.Version + 1
		err = r.Store.Put(ctx, Change{Next: is, Along: r.along(ctx, was, is)})
		if err == nil {
			return was, is, nil
		}
		if !errors.Is(err, ErrChanged) {
			return was, is, fault.Down(err)
		}
		known, err = r.look(ctx)
		if err != nil {
			return was, is, err
		}
	}
	return was, is, fault.Newf(fault.Conflict, "client %s is being changed by somebody else; try again", which)
}

// standing changes a client that must be there, and takes the change over.
func (r *Registry) standing(ctx context.Context, which id.Client, next func(Client) (Client, error)) error {
	known, err := r.look(ctx)
	if err != nil {
		return err
	}
	_, _, err = r.change(ctx, known, which, func(c Client, found bool) (Client, error) {
		if !found {
			return c, fault.New(fault.NotFound, "no such client")
		}
		return next(c)
	})
	if err != nil {
		return err
	}
	return r.reloaded(ctx)
}

// Disable stops a client: it is refused everywhere, and so are its sessions;
// followers of revocations hear of it in the same transaction. Disabling twice is
// no error.
func (r *Registry) Disable(ctx context.Context, which id.Client) error {
	return r.standing(ctx, which, func(c Client) (Client, error) { c.Disabled = true; return c, nil })
}

// Enable lets a client go on. Its sessions stand again: they were refused, not
// ended.
func (r *Registry) Enable(ctx context.Context, which id.Client) error {
	return r.standing(ctx, which, func(c Client) (Client, error) { c.Disabled = false; return c, nil })
}

// RotateSecret gives a confidential client a new generated secret, which is
// shown this once. The old one stops working at once. After Unavailable it is
// unknown which of the two works; rotate again.
func (r *Registry) RotateSecret(ctx context.Context, which id.Client) (secret.Text, error) {
	fresh := NewSecret()
	hash := HashSecret(fresh)
	err := r.standing(ctx, which, func(c Client) (Client, error) {
		if !c.usesSecret() {
			return c, fault.Newf(fault.InvalidRequest, "client %s has no secret to rotate", which)
		}
		c.SecretHash = hash
		return c, nil
	})
	if err != nil {
		return secret.Text{}, err
	}
	return fresh, nil
}

// Delete removes a client for good. Its sessions are refused, and followers of
// revocations hear of it in the same transaction.
func (r *Registry) Delete(ctx context.Context, which id.Client) error {
	now := r.Now()
	e := audit.New(ctx, audit.ClientDeleted, now)
	e.Client, e.Object = which, string(which)
	err := r.Store.Delete(ctx, which, Along{Entries: []feed.Entry{r.stopped(which, now)}, Audit: []audit.Event{e}})
	if errors.Is(err, ErrNotFound) {
		return fault.New(fault.NotFound, "no such client")
	}
	if err != nil {
		return fault.Down(err)
	}
	return r.reloaded(ctx)
}

// reloaded takes a change over that is durable already.
func (r *Registry) reloaded(ctx context.Context) error {
	err := r.Reload(ctx)
	if err != nil {
		return fault.Down(err)
	}
	return nil
}
