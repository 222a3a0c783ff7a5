package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
)

func urlQuery(s string) string { return url.QueryEscape(s) }
func urlPath(s string) string  { return url.PathEscape(s) }

type userCmd struct {
	List     userListCmd   `cmd:"" help:"List accounts."`
	Add      userAddCmd    `cmd:"" help:"Create an account; the password comes from standard input."`
	Password userPassCmd   `cmd:"" help:"Set a password, from standard input; every session ends."`
	Disable  userActCmd    `cmd:"" help:"Disable an account; every session ends."`
	Enable   userEnableCmd `cmd:"" help:"Enable an account; nothing revives."`
	SignOut  userOutCmd    `cmd:"" name:"sign-out" help:"End every session of an account."`
}

type userListCmd struct {
	asking
	Login string `help:"Only this user name or e-mail address."`
	Limit int    `default:"100" help:"At most so many rows."`
}

// Run implements the verb.
func (c *userListCmd) Run(ctx context.Context, t terminal) error {
	return c.list(ctx, t, "/admin/v1/users", "users", c.Limit, map[string]string{"login": c.Login},
		"id", "username", "email", "email_verified", "disabled")
}

type userAddCmd struct {
	asking
	Username      string `arg:"" help:"User name."`
	Email         string `help:"E-mail address."`
	EmailVerified bool   `help:"The address is known to be the user's."`
	Name          string `help:"Full name."`
	NoPassword    bool   `help:"The account has no password."`
}

// Run implements the verb.
func (c *userAddCmd) Run(ctx context.Context, t terminal) error {
	in := map[string]any{"username": c.Username, "email": c.Email, "email_verified": c.EmailVerified, "name": c.Name}
	if !c.NoPassword {
		p, err := password(ctx, t)
		if err != nil {
			return err
		}
		in["password"] = p
	}
	return c.with(ctx, t, func(o *operator) error {
		var answer json.RawMessage
		err := o.call(ctx, http.MethodPost, "/admin/v1/users", in, &answer)
		if err != nil {
			return err
		}
		return c.show(t, answer, "", "id", "username", "email")
	})
}

// account is one user, named by id, user name or e-mail address.
type account struct {
	asking
	User string `arg:"" help:"Id, user name or e-mail address."`
}

// act posts one act on the account.
func (a account) act(ctx context.Context, t terminal, act string, in any, says string) error {
	return a.do(ctx, t, http.MethodPost, "/admin/v1/users/"+urlPath(a.User)+"/"+act, in, says)
}

type userPassCmd struct{ account }

// Run implements the verb.
func (c *userPassCmd) Run(ctx context.Context, t terminal) error {
	p, err := password(ctx, t)
	if err != nil {
		return err
	}
	return c.act(ctx, t, "password", map[string]string{"password": p}, "password set; every session of the account has ended")
}

type userActCmd struct{ account }

// Run implements the verb.
func (c *userActCmd) Run(ctx context.Context, t terminal) error {
	return c.act(ctx, t, "disable", nil, "disabled; every session of the account has ended")
}

type userEnableCmd struct{ account }

// Run implements the verb.
func (c *userEnableCmd) Run(ctx context.Context, t terminal) error {
	return c.act(ctx, t, "enable", nil, "enabled; the user may sign in again")
}

type userOutCmd struct{ account }

// Run implements the verb.
func (c *userOutCmd) Run(ctx context.Context, t terminal) error {
	return c.act(ctx, t, "sign-out", nil, "signed out everywhere")
}

type clientCmd struct {
	List    clientListCmd    `cmd:"" help:"List registered applications."`
	Secret  clientSecretCmd  `cmd:"" help:"Make a new secret; it is shown once."`
	Disable clientDisableCmd `cmd:"" help:"Stop an application; its sessions are refused."`
	Enable  clientEnableCmd  `cmd:"" help:"Let an application go on."`
	Delete  clientDeleteCmd  `cmd:"" help:"Remove a registration."`
}

type clientListCmd struct {
	asking
	Limit int `default:"1000" help:"At most so many rows."`
}

// Run implements the verb.
func (c *clientListCmd) Run(ctx context.Context, t terminal) error {
	return c.list(ctx, t, "/admin/v1/clients", "clients", c.Limit, nil, "id", "type", "first_party", "refresh", "grants", "disabled")
}

// app is one registered application.
type app struct {
	asking
	Client string `arg:"" help:"client_id."`
}

func (a app) path() string { return "/admin/v1/clients/" + urlPath(a.Client) }

func (a app) act(ctx context.Context, t terminal, method, path, says string) error {
	return a.do(ctx, t, method, path, nil, says)
}

type clientSecretCmd struct{ app }

// Run implements the verb.
func (c *clientSecretCmd) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, t, func(o *operator) error {
		var answer json.RawMessage
		err := o.call(ctx, http.MethodPost, c.path()+"/secret", nil, &answer)
		if err != nil {
			return err
		}
		var fresh struct {
			Secret string `json:"client_secret"`
		}
		err = json.Unmarshal(answer, &fresh)
		if err == nil {
			err = c.tell(t, answer, fresh.Secret)
			fmt.Fprintln(t.err, "the old secret no longer works; this one is not shown again")
		}
		return err
	})
}

type clientDisableCmd struct{ app }

// Run implements the verb.
func (c *clientDisableCmd) Run(ctx context.Context, t terminal) error {
	return c.act(ctx, t, http.MethodPost, c.path()+"/disable", "stopped")
}

type clientEnableCmd struct{ app }

// Run implements the verb.
func (c *clientEnableCmd) Run(ctx context.Context, t terminal) error {
	return c.act(ctx, t, http.MethodPost, c.path()+"/enable", "enabled")
}

type clientDeleteCmd struct{ app }

// Run implements the verb.
func (c *clientDeleteCmd) Run(ctx context.Context, t terminal) error {
	return c.act(ctx, t, http.MethodDelete, c.path(), "deleted")
}

type sessionCmd struct {
	List sessionListCmd `cmd:"" help:"List signed-in devices."`
	End  sessionEndCmd  `cmd:"" help:"Sign one device out."`
}

type sessionListCmd struct {
	asking
	User   string `help:"Only this user: id, user name or e-mail address."`
	Client string `help:"Only this application."`
	Device string `help:"Only devices whose name or model contains this."`
	From   string `help:"Only sign-ins from this address." placeholder:"ADDR"`
	Ended  bool   `help:"Also those that ended, with the reason."`
	Limit  int    `default:"100" help:"At most so many rows."`
}

// Run implements the verb.
func (c *sessionListCmd) Run(ctx context.Context, t terminal) error {
	return c.list(ctx, t, "/admin/v1/sessions", "sessions", c.Limit, map[string]string{
		"user": c.User, "client": c.Client, "device": c.Device, "address": c.From, "ended": fmt.Sprint(c.Ended)},
		"sid", "user", "client", "device", "created_at", "used_at", "ended")
}

type sessionEndCmd struct {
	asking
	SID string `arg:"" help:"The session's sid."`
}

// Run implements the verb.
func (c *sessionEndCmd) Run(ctx context.Context, t terminal) error {
	return c.do(ctx, t, http.MethodPost, "/admin/v1/sessions/"+urlPath(c.SID)+"/end", nil, "signed out")
}

type auditCmd struct {
	List auditListCmd `cmd:"" help:"List what happened, newest first."`
}

type auditListCmd struct {
	asking
	User   string `help:"About this account: id, user name or e-mail address."`
	Client string `help:"About this application."`
	SID    string `name:"sid" help:"About this session." placeholder:"SID"`
	Name   string `help:"Only events of this name." placeholder:"NAME"`
	From   string `help:"Only what came from this address." placeholder:"ADDR"`
	Before string `help:"Only from before this time (RFC 3339)." placeholder:"TIME"`
	Limit  int    `default:"100" help:"At most so many rows."`
}

// Run implements the verb.
func (c *auditListCmd) Run(ctx context.Context, t terminal) error {
	return c.list(ctx, t, "/admin/v1/audit", "events", c.Limit, map[string]string{"user": c.User, "client": c.Client, "sid": c.SID,
		"name": c.Name, "address": c.From, "before": c.Before},
		"at", "name", "actor", "actor_id", "address", "user", "client", "sid", "object", "reason")
}

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List keys; private parts are never shown."`
	Rotate keyRotateCmd `cmd:"" help:"Make the published next key current."`
	Drop   keyDropCmd   `cmd:"" help:"Take a compromised key out at once."`
}

type keyListCmd struct{ asking }

// Run implements the verb.
func (c *keyListCmd) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, t, func(o *operator) error {
		var answer json.RawMessage
		err := o.call(ctx, http.MethodGet, "/admin/v1/keys", nil, &answer)
		if err != nil {
			return err
		}
		return c.show(t, answer, "keys", "id", "purpose", "alg", "state", "kid", "active_at")
	})
}

type keyRotateCmd struct {
	asking
	Purpose string `enum:"sign,seal,opaque" default:"sign" help:"sign, seal or opaque."`
	Alg     string `help:"Signing algorithm; the server's default when left out."`
	Force   bool   `help:"Do not wait until caches have seen the next key."`
}

// Run implements the verb.
func (c *keyRotateCmd) Run(ctx context.Context, t terminal) error {
	return c.do(ctx, t, http.MethodPost, "/admin/v1/keys/rotate", map[string]any{"purpose": c.Purpose, "alg": c.Alg, "force": c.Force},
		"rotated; nobody is signed out")
}

type keyDropCmd struct {
	asking
	Key string `arg:"" help:"kid or id."`
}

// Run implements the verb.
func (c *keyDropCmd) Run(ctx context.Context, t terminal) error {
	return c.do(ctx, t, http.MethodPost, "/admin/v1/keys/drop", map[string]string{"key": c.Key},
		"dropped; what it signed or sealed is refused from now on")
}

type checkCmd struct{ asking }

// Run implements the verb.
func (c *checkCmd) Run(ctx context.Context, t terminal) error {
	_, err := c.load(t, nil, false) // prints warnings, refuses with every error
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintln(t.out, "configuration: in order")
	}
	return c.with(ctx, t, func(o *operator) error {
		var raw json.RawMessage
		err := o.call(ctx, http.MethodGet, "/admin/v1/check", nil, &raw)
		if err != nil {
			return err
		}
		if c.JSON {
			return pretty(t, raw)
		}
		var answer struct {
			Database, Root string
			Keys           int
		}
		err = json.Unmarshal(raw, &answer)
		if err == nil {
			fmt.Fprintf(t.out, "database: %s\nkeys: %d, under root secret %s\n", answer.Database, answer.Keys, answer.Root)
		}
		return err
	})
}

type whyCmd struct {
	asking
	Token string `arg:"" help:"The token, or - to read it from standard input (a command line is visible to others)."`
}

// Run implements the verb.
func (c *whyCmd) Run(ctx context.Context, t terminal) error {
	token := c.Token
	if token == "-" {
		s := bufio.NewScanner(t.in)
		s.Scan()
		token = strings.TrimSpace(s.Text())
	}
	return c.with(ctx, t, func(o *operator) error {
		var answer json.RawMessage
		err := o.call(ctx, http.MethodPost, "/admin/v1/why", map[string]string{"token": token}, &answer)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.show(t, answer, "")
		}
		var e map[string]any
		err = json.Unmarshal(answer, &e)
		if err != nil {
			return err
		}
		for _, k := range []string{"what", "works", "would_be", "reason", "sentence", "client", "user", "sid", "generation", "newest", "issued_at", "expires_at", "ended_at"} {
			if v, there := e[k]; there {
				fmt.Fprintf(t.out, "%-11s %s\n", k, cell(v))
			}
		}
		return nil
	})
}

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run implements the verb.
func (c *versionCmd) Run(t terminal) error {
	version := "(devel)"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		version = b.Main.Version
	}
	if c.JSON {
		return json.NewEncoder(t.out).Encode(map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	fmt.Fprintf(t.out, "holdfast %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
