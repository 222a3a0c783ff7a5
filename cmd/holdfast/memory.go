package main

import (
	"context"
	"runtime/debug"
	"time"
)

// collectAt is how much garbage may lie about before it is collected, in per
// cent of what lives. What lives is about a megabyte: accounts and sessions are
// in the database. At Go's own 100 the collector would run every four megabytes,
// some two hundred refreshes, and take a tenth of the processor; at 400 it runs
// a quarter as often, for twelve megabytes more under load.
const collectAt = 400

// collectSeldom sets collectAt, unless the operator chose with GOGC.
func collectSeldom(t terminal) {
	if _, chosen := t.lookup("GOGC"); !chosen {
		debug.SetGCPercent(collectAt)
	}
}

const (
	// restEvery is how often the process asks whether it has become quiet.
	restEvery = 10 * time.Second
	// quiet is how many requests in that time are nothing: probes and scrapes.
	quiet = 100
)

// giveBack returns memory to the system each time the server becomes quiet,
// until the context ends. Go would keep it for minutes.
func giveBack(ctx context.Context, served func() uint64) {
	t := time.NewTicker(restEvery)
	defer t.Stop()
	r := rest{busy: true} // starting up makes garbage too
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if r.begins(served()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// rest finds the moments when a busy server becomes quiet.
type rest struct {
	served uint64
	busy   bool
}

// begins is asked once in restEvery, with the number of requests served so far.
func (r *rest) begins(served uint64) bool {
	was := r.busy
	r.busy = served-r.served > quiet
	r.served = served
	return was && !r.busy
}
