package user

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkFairness measures what password work at full load does to everything
// else: hashes a second, how late a goroutine wakes that wants to run each
// millisecond, and how long a small HTTP request takes. Run it with
// -benchtime 1x; each case takes two seconds.
func BenchmarkFairness(b *testing.B) {
	cores := runtime.GOMAXPROCS(0)
	for name, o := range map[string]*HasherOptions{
		"idle":                   nil,
		"goroutine on each core": {Slots: cores},
		"goroutine less one":     {},
		"process on each core":   {Command: workerCommand(b)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fairness(b, o)
			}
		})
	}
}

func fairness(b *testing.B, o *HasherOptions) {
	const measured = 2 * time.Second
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	h := NewHasher(HasherOptions{})
	if o != nil {
		h = NewHasher(*o)
		for range 4 * cap(h.slots) {
			wg.Go(func() {
				for ctx.Err() == nil {
					_ = h.Probe(ctx)
				}
			})
		}
		time.Sleep(300 * time.Millisecond) // workers start
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	began, before := time.Now(), h.Load().Done
	var ticks, requests []time.Duration
	wg.Go(func() {
		for ctx.Err() == nil {
			t := time.Now()
			time.Sleep(time.Millisecond)
			ticks = append(ticks, time.Since(t)-time.Millisecond)
		}
	})
	for time.Since(began) < measured {
		t := time.Now()
		r, err := http.Get(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		requests = append(requests, time.Since(t))
		time.Sleep(2 * time.Millisecond)
	}
	b.ReportMetric(float64(h.Load().Done-before)/time.Since(began).Seconds(), "hashes/s")
	stop()
	wg.Wait()
	server.Close()
	h.Close()
	report := func(name string, d []time.Duration) {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(d[len(d)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	report("tick", ticks)
	report("http", requests)
	b.ReportMetric(0, "ns/op")
}
