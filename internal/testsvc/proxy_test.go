package testsvc

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo answers each message with the same, and remembers what it heard.
type echo struct {
	net.Listener
	mu    sync.Mutex
	heard bytes.Buffer
	done  sync.WaitGroup
}

func newEcho(t *testing.T) *echo {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{Listener: l}
	e.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.done.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); e.done.Wait() })
	return e
}

func (e *echo) serve(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1024)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.heard.Write(b[:n])
		e.mu.Unlock()
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func (e *echo) all() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard.String()
}

// patience is how long an answer is waited for; none comes in time only when the
// test fails.
const patience = 20 * time.Second

// say sends a word on a new connection and reads until the answer is whole or the
// connection breaks.
func say(t *testing.T, p *Proxy, word string) (got string, err error) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	b := make([]byte, len(word))
	n, err := io.ReadFull(c, b)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatal("the connection neither answered nor broke")
	}
	return string(b[:n]), err
}

func TestProxySpoils(t *testing.T) {
	for name, c := range map[string]struct {
		faults Faults
		heard  string // what the far side hears
		whole  bool   // whether the answer comes
		counts Counts
	}{
		"nothing": {Faults{}, "word", true, Counts{Connections: 1, Chunks: 2}},
		"drop":    {Faults{Drop: 1}, "", false, Counts{Connections: 1, Chunks: 1, Dropped: 1}},
		"lose":    {Faults{Lose: 1}, "word", false, Counts{Connections: 1, Chunks: 2, Lost: 1}},
		"cut":     {Faults{Cut: 1}, "word", false, Counts{Connections: 1, Chunks: 2, Cut: 1}},
		"delay":   {Faults{Delay: 1, Longest: time.Millisecond}, "word", true, Counts{Connections: 1, Chunks: 2, Delayed: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEcho(t)
			p := NewProxy(t, 1, "tcp", e.Addr().String())
			p.Set(c.faults)
			got, err := say(t, p, "word")
			p.Close()
			e.Close()
			e.done.Wait()
			if e.all() != c.heard || (err == nil) != c.whole || c.whole && got != "word" || !c.whole && got == "word" {
				t.Errorf("the far side heard %q, the answer is %q, %v", e.all(), got, err)
			}
			if p.Counts() != c.counts || p.Open() != 0 || p.Dialled() != 1 {
				t.Errorf("counted %+v, %d open of %d", p.Counts(), p.Open(), p.Dialled())
			}
		})
	}
}

// TestProxyHalfOpen: a connection that is taken and never answered breaks only when
// it is reset, and one that is held hears nothing from then on.
func TestProxyHalfOpen(t *testing.T) {
	for name, f := range map[string]Faults{"mute": {Mute: 1}, "hold": {Hold: 1}} {
		t.Run(name, func(t *testing.T) {
			e := newEcho(t)
			p := NewProxy(t, 1, "tcp", e.Addr().String())
			p.Set(f)
			var broken sync.WaitGroup
			var got string
			var err error
			broken.Go(func() { got, err = say(t, p, "word") })
			for c := p.Counts(); c.Muted+c.Held == 0; c = p.Counts() {
				time.Sleep(time.Millisecond)
			}
			p.Set(Faults{})
			if got, err := say(t, p, "other"); got != "other" || err != nil {
				t.Errorf("without faults: %q, %v", got, err)
			}
			p.Pause() // ends what is spoiled
			broken.Wait()
			p.Resume()
			if err == nil || got != "" || e.all() != "other" {
				t.Errorf("half-open: %q, %v; the far side heard %q", got, err, e.all())
			}
		})
	}
}

// TestProxyPause: nobody is called during a pause, and everybody after it.
func TestProxyPause(t *testing.T) {
	e := newEcho(t)
	p := NewProxy(t, 1, "tcp", e.Addr().String())
	p.Pause()
	var waiting sync.WaitGroup
	var got string
	var err error
	waiting.Go(func() { got, err = say(t, p, "word") })
	for p.Counts().Connections == 0 {
		time.Sleep(time.Millisecond)
	}
	if p.Dialled() != 0 {
		t.Error("called during a pause")
	}
	p.Resume()
	waiting.Wait()
	if got != "word" || err != nil {
		t.Errorf("after the pause: %q, %v", got, err)
	}
}

// TestProxyDice: the same seed spoils the same chunks of the same connections.
func TestProxyDice(t *testing.T) {
	play := func(seed uint64) (all []bool) {
		e := newEcho(t)
		p := NewProxy(t, seed, "tcp", e.Addr().String())
		p.Set(Faults{Drop: 0.3, Lose: 0.2})
		for range 40 {
			_, err := say(t, p, "word")
			all = append(all, err == nil)
		}
		return all
	}
	first, again, other := play(7), play(7), play(8)
	same, differs, whole := true, false, 0
	for i := range first {
		same = same && first[i] == again[i]
		differs = differs || first[i] != other[i]
		if first[i] {
			whole++
		}
	}
	if !same || !differs || whole == 0 || whole == len(first) {
		t.Errorf("seed 7: %v\nagain:  %v\nseed 8: %v", first, again, other)
	}
}
