// Command holdfast is the one binary: the server, and the operator's command
// line. Flags and exit codes only; what they mean is in the rooms.
//
// Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"holdfast.example/internal/user"
)

// commands is the whole command line; each field is a verb.
type commands struct {
	Dev     devCmd     `cmd:"" help:"Run everything on loopback with an embedded database and demo data."`
	Try     tryCmd     `cmd:"" help:"Make the three calls of the main job against a running dev server."`
	Serve   serveCmd   `cmd:"" help:"Run for real, from a configuration file."`
	Apply   applyCmd   `cmd:"" help:"Create or update what a manifest declares; again changes nothing."`
	User    userCmd    `cmd:"" help:"Look after accounts."`
	Client  clientCmd  `cmd:"" help:"Look after registered applications."`
	Session sessionCmd `cmd:"" help:"Look after signed-in devices."`
	Key     keyCmd     `cmd:"" help:"Look after signing and sealing keys."`
	Audit   auditCmd   `cmd:"" help:"Read what happened."`
	Check   checkCmd   `cmd:"" help:"Hold the configuration against its rules, and the database against itself."`
	Why     whyCmd     `cmd:"" help:"Say why a token works or does not."`
	Migrate migrateCmd `cmd:"" help:"Bring the database to this version's schema."`
	Backup  backupCmd  `cmd:"" help:"Write the whole database to a file, while the server runs."`
	Restore restoreCmd `cmd:"" help:"Fill an empty database from a backup; what ended since stays ended."`
	Move    moveCmd    `cmd:"" help:"Move everything to another database; nobody is signed out."`
	Version versionCmd `cmd:"" help:"Say which version this is."`
}

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	env      []string
}

// lookup finds an environment variable.
func (t terminal) lookup(name string) (string, bool) {
	for _, kv := range t.env {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			return v, true
		}
	}
	return "", false
}

// hashVerb is what this program calls itself with to hash passwords apart from
// the server: for its own use, so it is no verb of the command line.
const hashVerb = "hash-passwords-for-the-server"

func main() {
	if len(os.Args) == 2 && os.Args[1] == hashVerb {
		err := user.ServeHashes(os.Stdin, os.Stdout)
		if err != nil {
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr, os.Environ()}))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, t terminal) int {
	var c commands
	c.Serve.settingFlags = newSettingFlags("listen", "issuer", "data", "database")
	exit := -1
	parser, err := kong.New(&c, kong.Name("holdfast"),
		kong.Description("Keeps people signed in for years and signs anyone out in a second."),
		kong.Writers(t.out, t.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(code int) { exit = code }))
	if err != nil {
		fmt.Fprintln(t.err, "holdfast:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintf(t.err, "holdfast: %v (see `%s --help`)\n", err, meant(err))
		return 2
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(t)
	err = k.Run()
	var said *alreadySaid
	switch {
	case err == nil:
		return 0
	case errors.As(err, &said):
		return 1
	default:
		fmt.Fprintln(t.err, "holdfast:", err)
		return 1
	}
}

// meant is the command that wrong usage was about, as far as it was understood.
func meant(err error) string {
	if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
		if at := wrong.Context.Selected(); at != nil {
			return at.FullPath()
		}
	}
	return "holdfast"
}

// alreadySaid is an error whose words the command has printed itself.
type alreadySaid struct{ error }
