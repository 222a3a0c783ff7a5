package testsvc

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Faults are what a Proxy does wrong. Each number but Longest is a share: 0 is
// never, 1 is always. A chunk is what one read of a connection brought, which for
// small messages on a machine that is not overwhelmed is one message.
type Faults struct {
	// Mute takes a connection and never answers on it; nobody is called.
	Mute float64
	// Drop resets both ends instead of passing a chunk on.
	Drop float64
	// Hold swallows everything in one direction from a chunk on, and leaves the
	// connection open.
	Hold float64
	// Delay lets a chunk wait, for up to Longest, even when its sender has left.
	Delay   float64
	Longest time.Duration
	// Cut passes on a part of an answer, then resets both ends.
	Cut float64
	// Lose lets a request arrive and drops the answer with the connection.
	Lose float64
}

// Counts are what a Proxy did so far.
type Counts struct{ Connections, Chunks, Muted, Dropped, Held, Delayed, Cut, Lost int64 }

// Add is the sum of two counts.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.Connections + d.Connections, c.Chunks + d.Chunks, c.Muted + d.Muted, c.Dropped + d.Dropped,
		c.Held + d.Held, c.Delayed + d.Delayed, c.Cut + d.Cut, c.Lost + d.Lost}
}

// Limits of a Proxy. A write waits as long as its connection stands, which is until
// the test ends at the latest.
const (
	proxyChunk = 64 << 10
	proxyDial  = 5 * time.Second
)

// Proxy stands before an address on a loopback port of its own and spoils what
// passes, by the dice of a seed. It can be told at any time to spoil something
// else.
type Proxy struct {
	network, address string
	listener         net.Listener
	seed             uint64
	faults           atomic.Pointer[Faults]

	// gate is held by whoever calls the far side, and by Pause.
	gate sync.RWMutex

	mu     sync.Mutex
	closed bool
	links  map[*link]bool
	serial uint64

	connections, chunks, muted, dropped, held, delayed, cut, lost atomic.Int64
	dialled, open                                                 atomic.Int64
	work                                                          sync.WaitGroup
}

// NewProxy stands before an address until the test ends. It spoils nothing until
// Set says what.
func NewProxy(t testing.TB, seed uint64, network, address string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{network: network, address: address, listener: l, seed: seed, links: map[*link]bool{}}
	p.Set(Faults{})
	p.work.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set says what the proxy does wrong from now on.
func (p *Proxy) Set(f Faults) { p.faults.Store(&f) }

// Counts says what it did so far.
func (p *Proxy) Counts() Counts {
	return Counts{p.connections.Load(), p.chunks.Load(), p.muted.Load(), p.dropped.Load(), p.held.Load(), p.delayed.Load(), p.cut.Load(), p.lost.Load()}
}

// Dialled is how many connections to the far side there ever were.
func (p *Proxy) Dialled() int64 { return p.dialled.Load() }

// Open is how many connections to the far side there are.
func (p *Proxy) Open() int64 { return p.open.Load() }

// Reset ends every connection.
func (p *Proxy) Reset() { p.reset(func(*link) bool { return true }) }

// Pause keeps the proxy from calling the far side until Resume; whoever connects
// meanwhile waits. Connections that are spoiled, or on which the far side never
// said anything, are ended, so that behind each one that stands somebody answers.
func (p *Proxy) Pause() {
	p.gate.Lock()
	p.reset(func(l *link) bool { return l.spoiled.Load() || !l.answered.Load() })
}

// Resume ends a Pause.
func (p *Proxy) Resume() { p.gate.Unlock() }

// Close ends the proxy and everything that passes through it.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Reset()
	p.work.Wait()
}

func (p *Proxy) reset(which func(*link) bool) {
	p.mu.Lock()
	var all []*link
	for l := range p.links {
		if which(l) {
			all = append(all, l)
		}
	}
	p.mu.Unlock()
	for _, l := range all {
		l.end(true)
	}
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.connections.Add(1)
		l := &link{p: p, near: near, over: make(chan struct{})}
		p.mu.Lock()
		p.serial++
		l.seed = p.serial
		p.links[l] = true
		closed := p.closed
		p.mu.Unlock()
		if closed {
			l.end(true)
			return
		}
		p.work.Go(l.serve)
	}
}

// link is one connection and the one it leads to.
type link struct {
	p    *Proxy
	near net.Conn
	far  net.Conn // nil until the far side was called
	seed uint64
	// spoiled: something that passed here was swallowed or is waiting. answered:
	// the far side has said something.
	spoiled, answered atomic.Bool

	mu   sync.Mutex
	done bool
	over chan struct{}
}

func (l *link) serve() {
	dice := rand.New(rand.NewPCG(l.p.seed, 3*l.seed))
	if dice.Float64() < l.p.faults.Load().Mute {
		l.p.muted.Add(1)
		l.spoiled.Store(true)
		_, _ = io.Copy(io.Discard, l.near)
		l.end(false)
		return
	}
	if !l.call() {
		return
	}
	l.p.work.Go(func() { l.pump(l.far, l.near, true, rand.New(rand.NewPCG(l.p.seed, 3*l.seed+1))) })
	l.pump(l.near, l.far, false, rand.New(rand.NewPCG(l.p.seed, 3*l.seed+2)))
}

// call reaches the far side.
func (l *link) call() bool {
	l.p.gate.RLock()
	defer l.p.gate.RUnlock()
	far, err := net.DialTimeout(l.p.network, l.p.address, proxyDial)
	if err != nil {
		l.end(true)
		return false
	}
	l.p.dialled.Add(1)
	l.p.open.Add(1)
	l.mu.Lock()
	l.far = far
	done := l.done
	l.mu.Unlock()
	if done { // ended while it called
		far.Close()
		l.p.open.Add(-1)
	}
	return !done
}

// pump passes chunks from one end to the other.
func (l *link) pump(from, to net.Conn, answers bool, dice *rand.Rand) {
	buffer := make([]byte, proxyChunk)
	swallow := false
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			l.p.chunks.Add(1)
			if answers {
				l.answered.Store(true)
			}
		}
		if n > 0 && !swallow {
			var fine bool
			swallow, fine = l.pass(to, buffer[:n], answers, dice)
			if !fine {
				l.end(true)
				return
			}
		}
		if err != nil {
			l.end(!errors.Is(err, io.EOF))
			return
		}
	}
}

// pass hands one chunk over, or spoils it. fine is false when the connection is
// to be reset.
func (l *link) pass(to net.Conn, chunk []byte, answers bool, dice *rand.Rand) (swallow, fine bool) {
	f, p := l.p.faults.Load(), l.p
	roll := dice.Float64()
	hit := func(share float64, count *atomic.Int64) bool {
		if roll < share {
			roll = 2 // one fault for one chunk
			count.Add(1)
			return true
		}
		roll -= share
		return false
	}
	switch {
	case hit(f.Drop, &p.dropped):
		return false, false
	case hit(f.Hold, &p.held):
		l.spoiled.Store(true)
		return true, true
	case answers && hit(f.Lose, &p.lost):
		return false, false
	case answers && hit(f.Cut, &p.cut):
		_, _ = to.Write(chunk[:dice.IntN(len(chunk))])
		return false, false
	case hit(f.Delay, &p.delayed):
		was := l.spoiled.Swap(true)
		select {
		case <-time.After(time.Duration(dice.Int64N(int64(f.Longest) + 1))):
		case <-l.over:
			return false, false
		}
		l.spoiled.Store(was)
	}
	_, err := to.Write(chunk)
	return false, err == nil
}

// end closes both ends once: with a reset, or as a program that is done does.
func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return
	}
	l.done = true
	close(l.over)
	for _, c := range []net.Conn{l.near, l.far} {
		if c == nil {
			continue
		}
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
	if l.far != nil {
		l.p.open.Add(-1)
	}
	l.p.mu.Lock()
	delete(l.p.links, l)
	l.p.mu.Unlock()
}
