package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// hashes counts argon2id hashes at OWASP's least parameters, those of the
// server, on so many cores at once, and returns how many a second there were.
func hashes(length time.Duration, cores int) float64 {
	runtime.GOMAXPROCS(max(cores, runtime.GOMAXPROCS(0)))
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range cores {
		all.Go(func() {
			for first := true; first || time.Since(began) < length; first = false { // one at least
				argon2.IDKey([]byte("correct horse battery staple"), []byte("0123456789abcdef"), 2, 19456, 1, 32)
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}
