// Command load drives the token endpoint of any OAuth 2.0 server and prints what
// it measured: see package drive, and bench/README.md for examples.
//
// Exit codes: 0 measured (errors of the server are in the result), 1 not
// measured, 2 wrong usage.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"holdfast.example/bench/drive"
)

// command is the command line.
type command struct {
	drive.Options
	signIn, atOnce     int
	from, save         string
	bare, opaque, json bool
	static             bool
	processes, apart   string
}

func (c *command) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.Name, "name", "", "label printed with the result")
	fs.StringVar(&c.Scenario, "scenario", drive.Refresh, strings.Join(drive.Scenarios, "|"))
	fs.StringVar(&c.URL, "token-url", "", "token endpoint, for refresh also several, comma separated; for get, the address")
	fs.StringVar(&c.IntrospectURL, "introspect-url", "", "introspection endpoint")
	fs.StringVar(&c.RevokeURL, "revoke-url", "", "revocation endpoint")
	fs.StringVar(&c.ClientID, "client-id", "", "client id")
	fs.StringVar(&c.ClientSecret, "client-secret", "", "client secret")
	fs.StringVar(&c.Auth, "auth", "none", "client authentication: none|basic|post")
	fs.StringVar(&c.User, "user", "", "user name; %d becomes the device's number modulo -users")
	fs.StringVar(&c.Password, "pass", "", "password of every user")
	fs.IntVar(&c.Users, "users", 1, "number of users behind %d")
	fs.StringVar(&c.Scope, "scope", "", "scope asked for at sign-in and by client_credentials")
	fs.BoolVar(&c.static, "static", false, "the server need not rotate refresh tokens")
	fs.BoolVar(&c.opaque, "opaque", false, "access tokens need not be JWTs")
	fs.BoolVar(&c.AccessTokens, "access", false, "introspect access tokens, not refresh tokens")
	fs.IntVar(&c.Connections, "c", 16, "connections")
	fs.Float64Var(&c.Rate, "rate", 0, "open loop: arrivals per second (0 = closed loop)")
	fs.DurationVar(&c.Duration, "d", 8*time.Second, "measured time; 0 only signs in")
	fs.DurationVar(&c.Warm, "warm", 2*time.Second, "warm-up, not counted")
	fs.StringVar(&c.processes, "pid", "", "server process ids, comma separated; their descendants count too")
	fs.StringVar(&c.apart, "apart", "", "those of -pid whose CPU is also told by itself, like a database's")
	fs.IntVar(&c.signIn, "seed", 0, "devices to sign in first")
	fs.IntVar(&c.atOnce, "seed-par", 8, "sign-ins under way at once meanwhile")
	fs.StringVar(&c.from, "tokens", "", "go on with the devices of this file")
	fs.StringVar(&c.save, "save", "", "write the devices that live to this file at the end")
	fs.BoolVar(&c.bare, "bare", false, "write bare refresh tokens, one a line")
	fs.BoolVar(&c.json, "json", false, "print the result as one line of JSON")
}

func main() {
	var c command
	c.flags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "load: what is %q?\n", flag.Arg(0))
		os.Exit(2)
	}
	// The client shares the machine with the server: it trades memory, of which it
	// needs little, for the time of its collector.
	debug.SetGCPercent(800)
	err := c.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func (c *command) run() error {
	c.MustRotate, c.JWT = !c.static, !c.opaque
	var devices []*drive.Device
	var err, failed error
	c.Processes, err = ids(c.processes)
	c.Apart, failed = ids(c.apart)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	switch {
	case c.from != "" && c.signIn > 0:
		return errors.New("-tokens and -seed both bring devices; choose one")
	case c.from != "":
		devices, err = drive.LoadDevices(c.from)
	case c.signIn > 0:
		devices, err = drive.SignIn(c.Options, c.signIn, max(1, c.atOnce))
	}
	if err != nil {
		return err
	}
	if c.Duration > 0 {
		err = c.measure(devices)
		if err != nil {
			return err
		}
	}
	if c.save != "" {
		return drive.SaveDevices(c.save, devices, c.bare)
	}
	return nil
}

// ids reads process ids that are separated by commas.
func ids(text string) (all []int, err error) {
	for _, p := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(strings.TrimSpace(p))
		if err != nil {
			return nil, fmt.Errorf("%q is no process id", p)
		}
		all = append(all, pid)
	}
	return all, nil
}

func (c *command) measure(devices []*drive.Device) error {
	r, err := drive.Run(c.Options, devices)
	if err != nil {
		return err
	}
	if c.json {
		err = json.NewEncoder(os.Stdout).Encode(r)
	} else {
		_, err = fmt.Println(r)
	}
	if err != nil || c.Scenario != drive.Revoke {
		return err
	}
	tried, alive, err := drive.StillAlive(c.Options, devices)
	if err == nil {
		fmt.Fprintf(os.Stderr, "revoked devices tried: %d, still served: %d\n", tried, alive)
	}
	return err
}
