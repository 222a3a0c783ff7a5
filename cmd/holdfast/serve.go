package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"holdfast.example/internal/secret"
	"holdfast.example/internal/server"
)

type serveCmd struct {
	Config   string `help:"Configuration file (TOML)." type:"path" placeholder:"FILE"`
	Listen   string `help:"Address to listen on." placeholder:"ADDR"`
	Issuer   string `help:"Issuer URL, as clients know it." placeholder:"URL"`
	Data     string `help:"Data directory." type:"path" placeholder:"DIR"`
	Database string `help:"SQLite file, or postgres:// URL." placeholder:"PATH"`
	settingFlags
}

// Run implements the verb.
func (c *serveCmd) Run(ctx context.Context, t terminal) error {
	flags := c.given()
	for name, v := range map[string]string{"listen": c.Listen, "issuer": c.Issuer, "data": c.Data, "database": c.Database} {
		if v != "" {
			flags[name] = v
		}
	}
	config, warnings, err := server.Load(server.LoadOptions{File: c.Config, Env: t.env, Flags: flags})
	for _, w := range warnings {
		fmt.Fprintln(t.err, w)
	}
	if err != nil {
		return err
	}
	main, err := bind(&config)
	if err != nil {
		return err
	}
	collectSeldom(t)
	h, err := openHouse(ctx, config, t, time.Now, nil)
	if err != nil {
		return errors.Join(err, main.Close())
	}
	return errors.Join(h.run(ctx, config, main, func() {
		h.log.Info("serving", "listen", config.Listen, "issuer", config.Issuer, "database", where(config), "admin_socket", config.Socket())
	}), h.close())
}

// bind opens the main listener, because only then a port that the system
// chooses is known, and with it the issuer that nobody wrote.
func bind(c *server.Config) (net.Listener, error) {
	main, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", c.Listen, err)
	}
	c.Bound(main.Addr())
	return main, nil
}

// run opens the other listeners and serves until the context ends.
func (h *house) run(ctx context.Context, c server.Config, main net.Listener, ready func()) error {
	l := server.Listeners{Main: main}
	var err error
	if c.Socket() != "" {
		l.Admin, err = server.ListenAdmin(c.Socket())
		if err != nil {
			return errors.Join(err, main.Close())
		}
	}
	for _, more := range []struct {
		on   *net.Listener
		addr string
		what string
	}{{&l.Metrics, c.MetricsListen, "metrics"}, {&l.Operators, c.AdminListen, "operators"}} {
		if more.addr == "" || more.addr == server.Off {
			continue
		}
		*more.on, err = net.Listen("tcp", more.addr)
		if err != nil {
			return errors.Join(fmt.Errorf("cannot listen on %s for %s: %w", more.addr, more.what, err), main.Close())
		}
	}
	if ready != nil {
		ready()
	}
	quietly, stop := context.WithCancel(ctx)
	defer stop()
	go giveBack(quietly, h.server.Served)
	return h.server.Run(ctx, l)
}

type devCmd struct {
	Data      string   `help:"Data directory; ./holdfast-data unless given." default:"./holdfast-data" env:"HOLDFAST_DATA" type:"path" placeholder:"DIR"`
	Listen    string   `help:"Address to listen on; 127.0.0.1:8420 unless given. Loopback, unless --issuer says otherwise." default:"127.0.0.1:8420" env:"HOLDFAST_LISTEN" placeholder:"ADDR"`
	Issuer    string   `help:"Issuer URL, for emulators that reach this machine by another name." placeholder:"URL"`
	Metrics   string   `help:"Address for /metrics and profiles; none unless given." placeholder:"ADDR"`
	Apply     []string `help:"A further manifest to apply; may be given more than once." type:"existingfile" placeholder:"FILE"`
	TestClock bool     `help:"Open POST /dev/clock, which moves the time."`
}

// Run implements the verb.
func (c *devCmd) Run(ctx context.Context, t terminal) error {
	flags := map[string]string{"data": c.Data, "listen": c.Listen}
	if c.Issuer != "" {
		flags["issuer"] = c.Issuer
	}
	if _, set := t.lookup("HOLDFAST_LOG_LEVEL"); !set {
		flags["log-level"] = "warn" // the banner is what a newcomer should read
	}
	if c.Metrics != "" {
		flags["metrics-listen"] = c.Metrics
	}
	config, warnings, err := server.Load(server.LoadOptions{Env: t.env, Flags: flags, Dev: true})
	for _, w := range warnings {
		fmt.Fprintln(t.err, w)
	}
	if err != nil {
		return err
	}
	dev, now := &server.Dev{}, time.Now
	if c.TestClock {
		dev.Clock = &server.Clock{}
		now = dev.Clock.Now
	}
	main, err := bind(&config)
	if err != nil {
		return err
	}
	collectSeldom(t)
	h, err := openHouse(ctx, config, t, now, func(p *server.Parts) { p.Dev = dev })
	if err != nil {
		return errors.Join(err, main.Close())
	}
	admin, err := h.demo(ctx, c.Apply)
	if err != nil {
		return errors.Join(err, main.Close(), h.close())
	}
	return errors.Join(h.run(ctx, config, main, func() { banner(t, config, admin) }), h.close())
}

// demo applies the demo manifest and further ones, and makes the operator's
// account with a generated password, which it returns the one time it is made.
func (h *house) demo(ctx context.Context, files []string) (adminPassword string, err error) {
	_, err = h.server.ApplyDemo(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		_, err = h.server.Apply(ctx, f, text)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f, err)
		}
	}
	p := newPassword()
	made, err := h.server.EnsureAdmin(ctx, secret.New(p))
	if err != nil || !made {
		return "", err
	}
	return p, nil
}

// newPassword is 120 random bits that can be typed.
func newPassword() string {
	var b [15]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// usualListen is where dev listens, and try looks for it, when nobody says.
const usualListen = "127.0.0.1:8420"

// banner says what to do next.
func banner(t terminal, c server.Config, admin string) {
	base := "http://" + c.Listen
	if admin == "" {
		admin = "(set at the first start; `holdfast user password admin` sets a new one)"
	}
	try := "holdfast try"
	if c.Listen != usualListen {
		try += " --server " + base
	}
	fmt.Fprintf(t.out, `Holdfast dev on %[1]s (issuer %[2]s), data in %[3]s

  sign in      curl -s %[1]s/oauth2/token -d grant_type=password -d client_id=demo-native -d username=demo -d password=demo-password -d device_name="My phone"
  call an API  curl -s %[1]s/demo/api -H "Authorization: Bearer $ACCESS_TOKEN"
  refresh      curl -s %[1]s/oauth2/token -d grant_type=refresh_token -d client_id=demo-native -d refresh_token=$REFRESH_TOKEN
  with Google  ID_TOKEN=$(curl -s %[1]s/dev/google/token -d email=demo@example.com | sed 's/.*"id_token":"\([^"]*\)".*/\1/')
               curl -s %[1]s/oauth2/token -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange -d client_id=demo-native -d subject_token=$ID_TOKEN -d subject_token_type=urn:ietf:params:oauth:token-type:id_token -d subject_issuer=demo-google

or, in another terminal:  %[5]s   (go run ./cmd/%[5]s)

  users        demo / demo-password, operator admin / %[4]s
  clients      demo-native, demo-strict, demo-spa, demo-edx, demo-pair (public), demo-web / demo-web-secret,
               demo-service / demo-service-secret (confidential)
  metadata     %[1]s/.well-known/openid-configuration
  keys         %[1]s/oauth2/jwks

DEV: the passwords are well known. Ctrl-C stops it; the data stays.
`, base, c.Issuer, c.Data, admin, try)
}

type migrateCmd struct {
	place
	Database string `help:"The same database by a role that may change the schema (a password goes into HOLDFAST_DATABASE)." placeholder:"URL"`
}

// Run implements the verb.
func (c *migrateCmd) Run(ctx context.Context, t terminal) error {
	flags := map[string]string{}
	if c.Database != "" {
		flags["database"] = c.Database
	}
	config, err := c.settingsWith(t, flags)
	if err != nil {
		return err
	}
	if config.AutoMigrate { // otherwise nobody else makes one
		if err := present(config); err != nil {
			return fmt.Errorf("%w; `holdfast serve` makes one at its first start", err)
		}
	}
	config.AutoMigrate = true // opening migrates, which is what was asked for
	db, err := openDatabase(ctx, config, time.Now)
	if err != nil {
		return err
	}
	schema, _, err := db.schema(ctx)
	if err == nil {
		fmt.Fprintf(t.out, "%s is at schema %d\n", where(config), schema)
	}
	return errors.Join(err, db.Close())
}
