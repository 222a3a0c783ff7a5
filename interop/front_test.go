package interop

import (
	"bytes"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// weather is what a front does wrong, as shares of the requests: 0 is never, 1 is
// always.
type weather struct {
	// drop resets the connection; the request never arrives.
	drop float64
	// lose lets the request arrive and resets the connection instead of answering.
	lose float64
	// double lets the request arrive twice and hands on the second answer.
	double float64
	// delay lets the request wait before it arrives, and its answer after that, for
	// up to longest each.
	delay   float64
	longest time.Duration
	// fresh gives every request a connection of its own to the server.
	fresh bool
}

// badWeather is a bad mobile network, compressed in time.
var badWeather = weather{drop: 0.02, lose: 0.05, double: 0.05, delay: 0.05, longest: 8 * time.Millisecond}

// maxFrontBody bounds a request that may have to be sent twice.
const maxFrontBody = 64 << 10

// front stands between an application and its server: it loses, doubles and delays
// what passes, by the dice of a seed. The demo API and the clock it opens to pages
// of every origin, as the gateway before an API does; the doors answer for
// themselves.
type front struct {
	*httptest.Server
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	target    string
	weather   weather

	mu   sync.Mutex
	dice *rand.Rand
	done spoiled

	// gate is held by every request until it has arrived wherever it was sent, and
	// by the clock alone: time never jumps over a request that is on its way.
	gate sync.RWMutex
}

// spoiled counts what a front did.
type spoiled struct{ requests, dropped, lost, doubled, delayed int }

func newFront(t *testing.T, target string, seed uint64, w weather) *front {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{target: target, weather: w, dice: rand.New(rand.NewPCG(seed, 0)), transport: http.DefaultTransport.(*http.Transport).Clone()}
	f.transport.MaxIdleConnsPerHost, f.transport.DisableKeepAlives = 16, w.fresh
	f.proxy = &httputil.ReverseProxy{Transport: f.transport, ErrorLog: log.New(t.Output(), "front: ", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() { f.Close(); f.transport.CloseIdleConnections() })
	return f
}

// counts says what it did so far.
func (f *front) counts() spoiled {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}

// roll decides what happens to one request.
func (f *front) roll() (drop, lose, double bool, before, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done.requests++
	hit := func(share float64, count *int) bool {
		if f.dice.Float64() >= share {
			return false
		}
		*count++
		return true
	}
	if hit(f.weather.delay, &f.done.delayed) {
		before, after = time.Duration(f.dice.Int64N(int64(f.weather.longest))), time.Duration(f.dice.Int64N(int64(f.weather.longest)))
	}
	return hit(f.weather.drop, &f.done.dropped), hit(f.weather.lose, &f.done.lost), hit(f.weather.double, &f.done.doubled), before, after
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	open := strings.HasPrefix(r.URL.Path, "/demo/") || strings.HasPrefix(r.URL.Path, "/dev/")
	if open {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.Header().Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	if r.URL.Path == "/dev/clock" {
		f.gate.Lock()
		defer f.gate.Unlock()
		f.proxy.ServeHTTP(w, r)
		return
	}
	f.gate.RLock()
	defer f.gate.RUnlock()
	f.pass(w, r)
}

// pass hands a request on, or spoils it.
func (f *front) pass(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFrontBody))
	if err != nil {
		panic(http.ErrAbortHandler) // whoever sends this is gone, or no client of ours
	}
	drop, lose, double, before, after := f.roll()
	if drop {
		panic(http.ErrAbortHandler) // resets the connection
	}
	time.Sleep(before)
	if lose || double {
		f.send(r, body)
	}
	if lose {
		panic(http.ErrAbortHandler)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	f.proxy.ServeHTTP(&held{ResponseWriter: w, wait: after}, r)
}

// send lets a request arrive whose answer nobody will hear.
func (f *front) send(r *http.Request, body []byte) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, f.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return
	}
	out.Header = r.Header.Clone()
	res, err := f.transport.RoundTrip(out)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

// held lets an answer wait before its first byte.
type held struct {
	http.ResponseWriter
	wait time.Duration
}

// WriteHeader implements http.ResponseWriter.
func (h *held) WriteHeader(status int) {
	time.Sleep(h.wait)
	h.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is below.
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }
