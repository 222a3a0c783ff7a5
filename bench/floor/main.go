// Command floor is the least that a token endpoint can be, to measure ours
// against in the same run:
//
//	floor sign -listen ADDR           a form in, one ES256 signature, JSON out
//	floor row  -listen ADDR -db FILE  the same, after one durable row update
//	floor hash -d 3s                  argon2id on every core: hashes a second
//
// and for PostgreSQL, with the statements of a refresh as the house sends them:
//
//	floor statements -listen ADDR -database URL     as row, after one SELECT and
//	                                                one UPDATE through a pool
//	floor bare -database URL -c 16 -d 3s -pid PID   the SELECT and the UPDATE in 16
//	                                                loops: no HTTP, no signature
//
// It answers the password and refresh_token grants at /oauth2/token and keeps
// nothing but the counters of its rows: no client is checked, no token is known.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"holdfast.example/internal/store/postgres"
)

func main() {
	err := errors.New("usage: floor sign|row|statements|bare|hash [flags]")
	if len(os.Args) > 1 {
		err = run(os.Args[1], os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(verb string, args []string) error {
	fs := flag.NewFlagSet(verb, flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:8430", "address to listen on")
	file := fs.String("db", "", "database file of row")
	rows := fs.Int("rows", 128, "rows that row, statements and bare update")
	database := fs.String("database", "", "PostgreSQL database of statements and bare, empty at first")
	conns := fs.Int("conns", postgres.DefaultConns, "connections of their pool")
	loops := fs.Int("c", 16, "loops of bare at once")
	warm := fs.Duration("warm", time.Second, "how long bare runs before it counts")
	pid := fs.String("pid", "", "process of the database server, whose CPU bare counts too")
	length := fs.Duration("d", 3*time.Second, "how long hash and bare count")
	profiles := fs.String("profiles", "", "address for CPU profiles, empty for none")
	cores := fs.Int("cores", runtime.NumCPU(), "how many hashes at once")
	err := fs.Parse(args)
	if err != nil {
		return err
	}
	switch verb {
	case "sign":
		return serve(*listen, *profiles, nil)
	case "row":
		w, err := openWriter(*file, *rows)
		if err != nil {
			return err
		}
		return errors.Join(serve(*listen, *profiles, w), w.close())
	case "statements", "bare":
		s, err := openStatements(*database, *rows, *conns)
		if err != nil {
			return err
		}
		if verb == "bare" {
			return errors.Join(bare(s, *loops, *warm, *length, *pid), s.close())
		}
		return errors.Join(serve(*listen, *profiles, s), s.close())
	case "hash":
		fmt.Printf("%.2f\n", hashes(*length, *cores))
		return nil
	}
	return fmt.Errorf("there is no %q", verb)
}

func serve(listen, profiles string, w toucher) error {
	h, err := newHandler("http://"+listen, w)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /oauth2/token", h)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	s := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 2)
	go func() { failed <- s.ListenAndServe() }()
	if profiles != "" {
		go func() { failed <- http.ListenAndServe(profiles, http.HandlerFunc(pprof.Profile)) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return s.Close()
	}
}
