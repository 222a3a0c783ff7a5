package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soakShort is how long the soak of a normal run takes: long enough to see that
// it runs. HOLDFAST_SOAK=10m, which make soak sets, is long enough to see a leak.
const soakShort = 5 * time.Second

// A busy machine gets soakMore to look leastSamples times and to refresh at all.
const (
	leastSamples = 8
	soakMore     = time.Minute
)

// sample is one look at the server.
type sample struct{ rss, goroutines, files float64 }

// TestSoak holds memory, goroutines and file handles flat while phones sign in,
// refresh, call APIs and sign out.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for some seconds; run without -short")
	}
	length := soakShort
	if s := os.Getenv("HOLDFAST_SOAK"); s != "" {
		var err error
		length, err = time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	err := os.WriteFile(filepath.Join(dir, "crash.toml"), []byte(crashManifest), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	listen, metrics := freePort(t), freePort(t)
	r := start(t, dir, listen, "dev", "--data", filepath.Join(dir, "data"), "--listen", listen, "--metrics", metrics, "--apply", filepath.Join(dir, "crash.toml"))
	var stop atomic.Bool
	var refreshed, lives, failed atomic.Int64
	var phones sync.WaitGroup
	for n := range 8 {
		phones.Go(func() {
			p := &crasher{n: n}
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for !stop.Load() {
				err := soakLife(c, r.base, p, &stop, &refreshed)
				if err != nil && !stop.Load() {
					failed.Add(1)
					t.Logf("phone %d: %v", n, err)
					return
				}
				lives.Add(1)
			}
		})
	}
	var samples []sample
	every := max(length/60, 500*time.Millisecond)
	for began := time.Now(); ; time.Sleep(every) {
		over := time.Since(began)
		if over >= length && (len(samples) >= leastSamples && refreshed.Load() > 0 || over >= length+soakMore) {
			break
		}
		samples = append(samples, look(t, metrics))
	}
	stop.Store(true)
	phones.Wait()
	err = r.stop()
	if err != nil {
		t.Error(err)
	}
	if failed.Load() > 0 || refreshed.Load() == 0 {
		t.Errorf("%d phones failed, %d refreshes", failed.Load(), refreshed.Load())
	}
	early, late := middle(samples[len(samples)/4:len(samples)/2]), middle(samples[len(samples)*3/4:])
	t.Logf("%v: %d lives, %d refreshes; second quarter: %.1f MB, %.0f goroutines, %.0f files; last quarter: %.1f MB, %.0f goroutines, %.0f files",
		length, lives.Load(), refreshed.Load(), early.rss/1e6, early.goroutines, early.files, late.rss/1e6, late.goroutines, late.files)
	if length < time.Minute {
		return // too short to tell a leak from a warm-up
	}
	if late.rss > early.rss*1.15+2e6 || late.goroutines > early.goroutines+8 || late.files > early.files+8 {
		t.Errorf("not flat: %+v grew to %+v", early, late)
	}
}

// soakLife is one device: it signs in, refreshes for a while, calls an API and
// signs out.
func soakLife(c *http.Client, base string, p *crasher, stop *atomic.Bool, refreshed *atomic.Int64) error {
	var err error
	p.refresh, err = signIn(c, base, fmt.Sprint("soak-", p.n))
	if err != nil {
		return err
	}
	for range 200 {
		if stop.Load() {
			return nil
		}
		a, status, err := post(c, base, url.Values{"grant_type": {"refresh_token"}, "client_id": {"crash"}, "refresh_token": {p.refresh}})
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("refresh: %d %v %w", status, a, err)
		}
		p.refresh = a["refresh_token"]
		refreshed.Add(1)
		r, _ := http.NewRequest(http.MethodGet, base+"/demo/api", nil)
		r.Header.Set("Authorization", "Bearer "+a["access_token"])
		res, err := c.Do(r)
		if err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("call: %v %w", res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		time.Sleep(3 * time.Millisecond)
	}
	res, err := c.PostForm(base+"/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {p.refresh}})
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("sign-out: %v %w", res, err)
	}
	return res.Body.Close()
}

// look reads the figures of one moment.
func look(t *testing.T, metrics string) sample {
	t.Helper()
	res, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	figure := func(name string) (f float64) {
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, name+" "); ok {
				_, err := fmt.Sscan(value, &f)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
		}
		t.Fatalf("no figure %s", name)
		return 0
	}
	return sample{figure("process_resident_memory_bytes"), figure("go_goroutines"), figure("process_open_fds")}
}

// middle is the median of each figure.
func middle(all []sample) sample {
	pick := func(of func(sample) float64) float64 {
		values := make([]float64, len(all))
		for i, s := range all {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{pick(func(s sample) float64 { return s.rss }), pick(func(s sample) float64 { return s.goroutines }), pick(func(s sample) float64 { return s.files })}
}
