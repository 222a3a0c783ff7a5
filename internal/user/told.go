package user

import (
	"context"
	"strconv"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
)

// told is the account of one change of an account: what it was, and which facts
// changed, before and after. A password is named, never shown, and neither is
// its hash.
func told(ctx context.Context, was User, c Change) audit.Event {
	is := c.Next
	name := audit.UserUpdated
	switch {
	case c.Ends == fault.PasswordChanged || c.Ends == fault.PasswordReset:
		name = audit.PasswordChanged
	case is.Disabled && !was.Disabled:
		name = audit.UserDisabled
	case was.Disabled && !is.Disabled:
		name = audit.UserEnabled
	case c.Rehash:
		name = audit.PasswordRehash
	}
	e := audit.New(ctx, name, is.UpdatedAt)
	e.User, e.Reason = is.ID, c.Ends
	e.Details = map[string]string{}
	for field, pair := range map[string][2]string{
		"username": {was.Username, is.Username}, "email": {was.Email, is.Email},
		"email_verified": {strconv.FormatBool(was.EmailVerified), strconv.FormatBool(is.EmailVerified)},
		"name":           {was.Name, is.Name}, "given_name": {was.GivenName, is.GivenName}, "family_name": {was.FamilyName, is.FamilyName},
		"staff":     {strconv.FormatBool(was.Staff), strconv.FormatBool(is.Staff)},
		"superuser": {strconv.FormatBool(was.Superuser), strconv.FormatBool(is.Superuser)},
	} {
		if pair[0] != pair[1] {
			e.Details[field] = strconv.Quote(pair[0]) + " -> " + strconv.Quote(pair[1])
		}
	}
	if was.PasswordHash != is.PasswordHash {
		e.Details["password"] = "changed"
		switch {
		case was.Version == 0:
			e.Details["password"] = "set"
		case c.Ends == "":
			e.Details["password"] = "kept under a newer hash"
		}
	}
	return e
}
