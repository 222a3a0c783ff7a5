package user

import (
	"context"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// ByLogin finds an account by its user name or e-mail address in any spelling,
// for callers that may know whether it exists: operators, never a sign-in.
// Errors are *fault.Error: NotFound or Unavailable.
func (d *Directory) ByLogin(ctx context.Context, login string) (User, error) {
	u, err := d.Store.ByLogin(ctx, Canonical(login))
	if err != nil {
		return User{}, outside(err)
	}
	return u, nil
}

// List gives accounts in the order of their ids, after the given one. Errors are
// *fault.Error of kind Unavailable.
func (d *Directory) List(ctx context.Context, after id.User, limit int) ([]User, error) {
	list, err := d.Store.List(ctx, after, limit)
	if err != nil {
		return nil, fault.Down(err)
	}
	return list, nil
}
