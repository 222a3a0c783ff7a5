package interop

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What these tests need beside Go, by the words of HOLDFAST_TEST_REQUIRE. A word
// that stands there makes the thing's absence a failure; otherwise the test says
// that it did not run.
const (
	needReact    = "react"                // Node and the packages of interop/react
	needSimple   = "simplejwt"            // Debian's python3-djangorestframework-simplejwt
	needToolkit  = "django-oauth-toolkit" // Debian's python3-django-oauth-toolkit, besides
	needOAuthlib = "requests-oauthlib"    // Debian's python3-requests-oauthlib
	needEdX      = "edx"                  // Node and the packages of interop/edx
	needPyJWT    = "pyjwt"                // Debian's python3-jwt and python3-cryptography
	needChromium = "chromium"
)

// missing ends a test whose tool is not here.
func missing(t *testing.T, word, what string) {
	t.Helper()
	for _, required := range strings.Split(os.Getenv("HOLDFAST_TEST_REQUIRE"), ",") {
		if required == word {
			t.Fatalf("not here: %s", what)
		}
	}
	t.Skipf("not here, so not tested: %s", what)
}

// tool finds a program by its names.
func tool(t *testing.T, word string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, word, strings.Join(names, " or "))
	return ""
}

// python finds an interpreter that has modules: Debian's packages belong to
// /usr/bin/python3, which need not be the first on PATH.
func python(t *testing.T, word, modules string) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import "+modules).Run() == nil {
			return name
		}
	}
	missing(t, word, "python3 with "+modules)
	return ""
}

// node finds Node, and the packages that npm ci puts beside the client.
func node(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"axios", "jwt-decode"} {
		if _, err := os.Stat(filepath.Join("react", "node_modules", name, "package.json")); err != nil {
			missing(t, needReact, "npm package "+name+" (npm ci --prefix interop/react)")
		}
	}
	return tool(t, needReact, "node")
}

// endWithin is how long a child may take to end when it is asked to.
const endWithin = 10 * time.Second

// child is a command whose whole process group ends with the test at the latest.
// Whoever runs it to its end calls Output; one that goes on is for background.
func child(ctx context.Context, t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = endWithin
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
		}
	})
	return cmd
}

// background starts a child and tells when it ended. The test does not end before
// it: what it writes to is gone after that.
func background(t *testing.T, cmd *exec.Cmd) <-chan error {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, waited := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(waited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-waited
	})
	return ended
}

// awaitHealthy waits until a server answers.
func awaitHealthy(t *testing.T, base string, output *syncBuffer) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(base + "/healthz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Since(began) > startWithin {
			t.Fatalf("no answer within %s: %s", startWithin, output.String())
		}
	}
}

// startAnother runs a demo server of its own for one test.
func startAnother(t *testing.T, manifest string, settings ...string) *program {
	t.Helper()
	p, err := start(holdfast.binary, t.TempDir(), manifest, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("the server did not stop cleanly: %v", err)
		}
		if t.Failed() {
			t.Logf("the end of its log:\n%s", tail(p.log.String()))
		}
	})
	return p
}

// tail is the end of a long text.
func tail(s string) string {
	const longest = 8 << 10
	return s[max(0, len(s)-longest):]
}

// startDjango runs the project of interop/django for one test. name is the
// interpreter.
func startDjango(t *testing.T, name string) string {
	t.Helper()
	data := t.TempDir()
	listen, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	site := filepath.Join("django", "site.py")
	env := append(os.Environ(), "DJANGO_DATA="+data, "PYTHONDONTWRITEBYTECODE=1")
	migrate := child(t.Context(), t, name, site, "migrate")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	output := new(syncBuffer)
	serve := child(t.Context(), t, name, site, "runserver", "--noreload", listen)
	serve.Env, serve.Stdout, serve.Stderr = env, output, output
	background(t, serve)
	awaitHealthy(t, "http://"+listen, output)
	return "http://" + listen
}

// drillWithin bounds one story in a browser on a busy machine.
const drillWithin = 2 * time.Minute

// opened opens a page in a browser with a profile of its own and waits for its
// report.
func opened[report any](t *testing.T, browser, address string, reports <-chan report) report {
	t.Helper()
	output := new(syncBuffer)
	args := []string{"--headless", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
		"--disable-component-update", "--disable-breakpad", "--user-data-dir=" + t.TempDir(), "--enable-logging=stderr"}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium's sandbox is not for root
	}
	cmd := child(t.Context(), t, browser, append(args, address)...)
	cmd.Stdout, cmd.Stderr = output, output
	ended := background(t, cmd)
	select {
	case r := <-reports:
		return r
	case err := <-ended:
		t.Fatalf("the browser left: %v: %s", err, tail(output.String()))
	case <-time.After(drillWithin):
		t.Fatalf("no report within %s: %s", drillWithin, tail(output.String()))
	}
	var none report
	return none
}
