package grant

import (
	"context"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
)

// current authenticates a client against what the store says now. A node remembers
// registrations for some seconds, and a session's row tells a refresh whether its
// client was stopped meanwhile; where no session is behind a request, the store is
// asked here, so that a stop is obeyed at every node at once.
//
// The error is InvalidClient, or Unavailable when the store cannot be asked; then
// the client is as it is remembered.
func (is *Issuer) current(ctx context.Context, cred Credential) (client.Client, error) {
	asked := is.Clients.Fresh(ctx)
	c, err := is.authenticate(cred)
	if err == nil && asked != nil {
		err = fault.Down(asked)
	}
	return c, err
}
