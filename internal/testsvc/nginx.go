package testsvc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// envNginx is the program to use instead of the one on PATH.
const envNginx = "HOLDFAST_TEST_NGINX"

// nginxConfig is what stands around the configuration of a test: one worker that
// stays in the foreground and writes below its own folder alone.
const nginxConfig = `daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 512; }
http {
access_log off;
client_body_temp_path %[1]s/body;
proxy_temp_path %[1]s/proxy;
fastcgi_temp_path %[1]s/fastcgi;
uwsgi_temp_path %[1]s/uwsgi;
scgi_temp_path %[1]s/scgi;
%[2]s
}
`

// StartNginx starts an nginx of our own that answers on a listener until the test
// ends. servers is what stands in its http block; a server there listens on the
// listener's address. files are written beside the configuration, which names them
// without a folder. Without nginx the test is skipped, or fails when
// HOLDFAST_TEST_REQUIRE names nginx.
//
// The socket is handed over open, the way nginx hands it to its own next version, so
// nobody can take the port in between, and who calls early waits instead of being
// refused. The listener itself is closed.
func StartNginx(t testing.TB, on *net.TCPListener, servers string, files map[string][]byte) {
	t.Helper()
	program := needNginx(t)
	socket, err := on.File()
	if err = errors.Join(err, on.Close()); err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir, err := os.MkdirTemp("", "holdfast-nginx-")
	if err != nil {
		t.Fatal(err)
	}
	as, err := lowly(dir)
	config := filepath.Join(dir, "config")
	if err == nil {
		err = os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, servers), 0o644)
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	check := exec.Command(program, "-t", "-q", "-p", dir, "-c", config)
	check.Dir, check.SysProcAttr = dir, as
	check.ExtraFiles, check.Env = []*os.File{socket}, append(os.Environ(), "NGINX=3;")
	if said, err := check.CombinedOutput(); err != nil {
		t.Fatal(errors.Join(fmt.Errorf("nginx: %w\n%s", err, said), os.RemoveAll(dir)))
	}
	cmd := exec.Command("/bin/sh", "-c", watch, "watch", dir, program, "-p", dir, "-c", config)
	cmd.Dir, cmd.SysProcAttr = dir, as
	cmd.ExtraFiles, cmd.Env = []*os.File{socket}, append(os.Environ(), "NGINX=3;")
	hold, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("nginx: %s", text)
		}
		if err := errors.Join(hold.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
}

// needNginx finds the program.
func needNginx(t testing.TB) string {
	t.Helper()
	if given := os.Getenv(envNginx); given != "" {
		return given
	}
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	const why = "SKIPPED: no nginx here: install the package nginx, or set " + envNginx
	if required("nginx") {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}
