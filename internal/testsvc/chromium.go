package testsvc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Limits of a browser.
const (
	// chromiumAnswer is how long it may take for one answer, on a busy machine.
	chromiumAnswer = 90 * time.Second
	// chromiumEnd is how long it may take to write its files and end.
	chromiumEnd = 30 * time.Second
	// maxChromium is the longest message that is read from it, in bytes.
	maxChromium = 8 << 20
)

// Chromium is a browser without a window. It is spoken to in the DevTools protocol
// over two pipes, so it opens no port and ends when this process does.
type Chromium struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *os.File
	done chan struct{}

	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
	closed  bool
}

// reply is one answer of the protocol.
type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// NeedChromium skips a test where there is no Chromium, or fails it when
// HOLDFAST_TEST_REQUIRE names chromium. It returns the program.
func NeedChromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	const why = "SKIPPED: no Chromium here: install the package chromium"
	if required("chromium") {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}

// StartChromium starts a browser whose whole memory is a folder; it ends with the
// test at the latest. It reaches this machine alone.
func StartChromium(t testing.TB, profile string) *Chromium {
	t.Helper()
	program := NeedChromium(t)
	args := []string{"--headless", "--remote-debugging-pipe", "--user-data-dir=" + filepath.Join(profile, "data"),
		"--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-breakpad", "--password-store=basic",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"}
	if os.Getuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // it refuses to run as root otherwise; it shows our own pages alone
	}
	c := &Chromium{cmd: exec.Command(program, args...), done: make(chan struct{}), waiting: map[int]chan reply{}}
	c.cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile, "TMPDIR="+profile)
	theirs, ours, err := os.Pipe() // descriptor 3: what it reads
	if err != nil {
		t.Fatal(err)
	}
	from, to, err := os.Pipe() // descriptor 4: what it writes
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.ExtraFiles, c.in, c.out = []*os.File{theirs, to}, ours, from
	ownGroup(c.cmd)
	err = c.cmd.Start()
	_, _ = theirs.Close(), to.Close()
	if err != nil {
		t.Fatal(err)
	}
	go c.listen()
	t.Cleanup(func() { c.kill() })
	return c
}

// listen hands answers to who waits for them, until the browser ends.
func (c *Chromium) listen() {
	defer close(c.done)
	lines := bufio.NewScanner(c.out)
	lines.Buffer(nil, maxChromium)
	lines.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for lines.Scan() {
		var one struct {
			ID int
			reply
		}
		if json.Unmarshal(lines.Bytes(), &one) != nil || one.ID == 0 {
			continue // an event
		}
		c.mu.Lock()
		if w := c.waiting[one.ID]; w != nil {
			w <- one.reply
			delete(c.waiting, one.ID)
		}
		c.mu.Unlock()
	}
}

// ask sends one command, to the page of a session or to the browser itself.
func (c *Chromium) ask(t testing.TB, session, method string, params, into any) {
	t.Helper()
	c.mu.Lock()
	c.last++
	number, w := c.last, make(chan reply, 1)
	c.waiting[number] = w
	text, err := json.Marshal(map[string]any{"id": number, "method": method, "params": params})
	if session != "" && err == nil {
		text, err = json.Marshal(map[string]any{"id": number, "method": method, "params": params, "sessionId": session})
	}
	if err == nil {
		_, err = c.in.Write(append(text, 0))
	}
	c.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	wait := time.NewTimer(chromiumAnswer)
	defer wait.Stop()
	select {
	case got := <-w:
		if got.Error != nil {
			t.Fatalf("%s: %s", method, got.Error.Message)
		}
		if into != nil {
			err = json.Unmarshal(got.Result, into)
			if err != nil {
				t.Fatalf("%s: %v", method, err)
			}
		}
	case <-c.done:
		t.Fatalf("%s: the browser has ended", method)
	case <-wait.C:
		t.Fatalf("%s: the browser does not answer", method)
	}
}

// Tab is one page of a browser.
type Tab struct {
	browser *Chromium
	session string
}

// Open opens an address in a new tab. It does not wait until the page is loaded.
func (c *Chromium) Open(t testing.TB, address string) *Tab {
	t.Helper()
	var target struct{ TargetID string }
	c.ask(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	c.ask(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &Tab{c, attached.SessionID}
	p.Go(t, address)
	return p
}

// Go leads the tab to an address, or to the same one again.
func (p *Tab) Go(t testing.TB, address string) {
	t.Helper()
	var got struct{ ErrorText string }
	p.browser.ask(t, p.session, "Page.navigate", map[string]any{"url": address}, &got)
	if got.ErrorText != "" {
		t.Fatalf("%s: %s", address, got.ErrorText)
	}
}

// Eval computes an expression in the page, waits for it where it is a promise, and
// returns its value as JSON. An exception ends the test.
func (p *Tab) Eval(t testing.TB, expression string) string {
	t.Helper()
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.browser.ask(t, p.session, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &got)
	if e := got.ExceptionDetails; e != nil {
		t.Fatalf("%s\n%s %s", expression, e.Text, e.Exception.Description)
	}
	return string(got.Result.Value)
}

// DeleteCookie takes a cookie away as if its time were over.
func (p *Tab) DeleteCookie(t testing.TB, name, address string) {
	t.Helper()
	p.browser.ask(t, p.session, "Network.deleteCookies", map[string]any{"name": name, "url": address}, nil)
}

// Close ends the browser as its user does; it writes its files first.
func (c *Chromium) Close(t testing.TB) {
	t.Helper()
	c.ask(t, "", "Browser.close", struct{}{}, nil)
	wait := time.NewTimer(chromiumEnd)
	defer wait.Stop()
	select {
	case <-c.done:
	case <-wait.C:
		t.Fatal("the browser does not end")
	}
	c.kill()
}

// kill ends the browser and everything it started, and waits for it.
func (c *Chromium) kill() {
	if c.closed {
		return
	}
	c.closed = true
	_ = c.in.Close()
	endGroup(c.cmd)
	_ = c.cmd.Wait() // killed is not an error here
	_ = c.out.Close()
}
