package client

import (
	"context"
	"strings"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

// Put is one registration as an operator wants it to be.
type Put struct {
	Declared
	// Version, when set, is the version the registration must have: that which
	// the operator read, or 0 when he means a new one.
	Version *uint64
	// May, when set, is asked whether this operator may make this change; was is
	// the zero Client for a new one.
	May func(was, is Client) error
}

// PutReport says what a Put did.
type PutReport struct {
	Client  Client
	Created bool
	// Secret is the secret that was generated because none was declared and the
	// client had none. It is shown this once.
	Secret   secret.Text
	Warnings []Problem
}

// Refused is the cause of a refused registration: what is wrong, each with its
// field.
type Refused struct{ Problems []Problem }

// Error implements error with one line for each problem.
func (r *Refused) Error() string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Put creates or replaces one registration. What is left out has its default,
// but for the secret and for being stopped, which stay as they are. Putting the
// same again changes nothing.
//
// Errors are *fault.Error: InvalidRequest with a *Refused as its cause, Conflict
// with ErrChanged as its cause when the version is another, what p.May said, or
// Unavailable.
func (r *Registry) Put(ctx context.Context, p Put) (PutReport, error) {
	var report PutReport
	p.Client = p.Client.WithDefaults()
	var wrong Refused
	for _, one := range Check(p.Declared, r.Server) {
		if one.Warning {
			report.Warnings = append(report.Warnings, one)
		} else {
			wrong.Problems = append(wrong.Problems, one)
		}
	}
	if wrong.Problems != nil {
		return report, fault.Wrap(fault.InvalidRequest, &wrong, wrong.Error())
	}
	known, err := r.look(ctx)
	if err != nil {
		return report, err
	}
	was, is, err := r.change(ctx, known, p.ID, func(c Client, _ bool) (Client, error) {
		if p.Version != nil && *p.Version != c.Version {
			return Client{}, fault.Wrap(fault.Conflict, ErrChanged, "the client changed meanwhile; read it again and decide anew")
		}
		next := p.next(c, &report)
		if p.May == nil {
			return next, nil
		}
		return next, p.May(c, next)
	})
	if err != nil {
		return PutReport{}, err
	}
	report.Client, report.Created = is, was.Version == 0
	return report, r.reloaded(ctx)
}

// next is what the registration becomes.
func (p Put) next(was Client, report *PutReport) Client {
	next := p.Client
	next.SecretHash, next.Disabled, next.Version = was.SecretHash, was.Disabled, was.Version
	if p.Stopped != nil {
		next.Disabled = *p.Stopped
	}
	report.Secret = secret.Text{}
	switch {
	case !next.usesSecret():
		next.SecretHash = ""
	case !p.Secret.Empty() && !CheckSecret(was.SecretHash, p.Secret):
		next.SecretHash = HashSecret(p.Secret)
	case next.SecretHash == "":
		report.Secret = NewSecret()
		next.SecretHash = HashSecret(report.Secret)
	}
	return next
}
