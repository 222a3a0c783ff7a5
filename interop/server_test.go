package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manifest declares what the demo does not have: clients that libraries meet in
// the field.
const manifest = `
[[clients]]
id = "web app: 100%"
type = "confidential"
secret = "s3cret +&=%/ é that needs encoding"
first_party = true
grants = ["password", "refresh_token", "client_credentials"]
scopes = ["openid", "profile", "email", "read"]
redirect_uris = ["https://app.example/cb"]

[[clients]]
id = "rsa-app"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["openid", "profile", "email", "read"]
id_token_alg = "RS256"
access_alg = "RS256"

[[clients]]
id = "api-app"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["openid", "read"]
audiences = ["https://api.example"]
`

// program is the running server.
type program struct {
	base, dir string
	binary    string
	cmd       *exec.Cmd
	log       syncBuffer
	operators *http.Client // through the admin socket
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startWithin is how long a first start may take on a busy machine: it makes keys
// and hashes passwords.
const startWithin = time.Minute

// holdfast is the one server of these tests.
var holdfast *program

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "holdfast")
	build := exec.Command("go", "build", "-o", binary, "./cmd/holdfast")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("the program does not build: %w\n%s", err, out)
	}
	holdfast, err = start(binary, dir, manifest)
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := holdfast.stop(); stopErr != nil && err == nil {
			code, err = 1, fmt.Errorf("the server did not stop cleanly: %w\n%s", stopErr, holdfast.log.String())
		}
	}()
	return m.Run(), nil
}

// start runs a demo server of its own in a folder, with further clients and, as
// NAME=value, further settings.
func start(binary, dir, manifest string, settings ...string) (*program, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	err = os.WriteFile(filepath.Join(dir, "clients.toml"), []byte(manifest), 0o600)
	if err != nil {
		return nil, err
	}
	p := &program{base: "http://" + listen, dir: filepath.Join(dir, "data"), binary: binary}
	p.cmd = exec.Command(binary, "dev", "--data", p.dir, "--listen", listen, "--test-clock", "--apply", filepath.Join(dir, "clients.toml"))
	p.cmd.Env = append(append(os.Environ(), "HOLDFAST_LOG_LEVEL=debug"), settings...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.operators = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, "admin.sock"))
	}}}
	err = p.cmd.Start()
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Get(p.base + "/healthz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		if time.Since(began) > startWithin {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			return nil, fmt.Errorf("no answer within %s: %s", startWithin, p.log.String())
		}
	}
}

func (p *program) stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil {
		return err
	}
	return p.cmd.Wait()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// operate does something through the admin socket.
func (p *program) operate(t *testing.T, path, body string) {
	t.Helper()
	res, err := p.operators.Post("http://admin"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s was answered %s", path, res.Status)
	}
}

// advance moves the server's clock.
func (p *program) advance(t *testing.T, d time.Duration) {
	t.Helper()
	res, err := http.Post(p.base+"/dev/clock", "application/json", strings.NewReader(fmt.Sprintf(`{"advance":%q}`, d)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the clock was answered %s", res.Status)
	}
}
