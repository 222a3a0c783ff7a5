package drive

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Device is one installed app: it holds tokens and follows rotation.
type Device struct {
	Refresh string `json:"refresh"`
	Access  string `json:"access,omitempty"`
	// Dead: its refresh was refused, or it was revoked on purpose.
	Dead bool `json:"-"`
}

// A device comes back when the server is too busy to sign it in: signing in is
// not what is measured here.
const (
	signInTries = 30
	comeBack    = time.Second
)

// SignIn signs devices in with the password grant, on as many connections at
// once as asked.
func SignIn(o Options, devices, atOnce int) ([]*Device, error) {
	tokens, _, err := o.targets()
	if err != nil {
		return nil, err
	}
	all := make([]*Device, devices)
	errs := make([]error, atOnce)
	var group sync.WaitGroup
	for k := range atOnce {
		group.Go(func() {
			w := &worker{run: &run{Options: o}, token: tokens[k%len(tokens)], check: checker{jwt: o.JWT}}
			defer w.conn.close()
			for i := k; i < devices && errs[k] == nil; i += atOnce {
				t, err := w.signInPatiently(i)
				if err == nil && t.Refresh == "" {
					err = errors.New("the answer has no refresh token")
				}
				if err != nil {
					errs[k] = fmt.Errorf("device %d cannot sign in: %w", i, err)
				}
				all[i] = &Device{Refresh: t.Refresh, Access: t.Access}
			}
		})
	}
	group.Wait()
	return all, errors.Join(errs...)
}

func (w *worker) signInPatiently(n int) (tokens, error) {
	for try := 1; ; try++ {
		t, err := w.signIn(n)
		var no *refused
		if !errors.As(err, &no) || no.status != http.StatusServiceUnavailable || try == signInTries {
			return t, err
		}
		time.Sleep(comeBack)
	}
}

// maxDeviceLine bounds one line of a file of devices, in bytes.
const maxDeviceLine = 1 << 20

// LoadDevices reads what SaveDevices wrote, or one bare refresh token a line.
func LoadDevices(path string) ([]*Device, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []*Device
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxDeviceLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		d := &Device{Refresh: line}
		if strings.HasPrefix(line, "{") {
			d.Refresh = ""
			err := json.Unmarshal([]byte(line), d)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		if d.Refresh != "" {
			all = append(all, d)
		}
	}
	return all, lines.Err()
}

// SaveDevices writes the devices that live, so that a later run goes on with
// them: bare leaves everything but the refresh tokens out.
func SaveDevices(path string, devices []*Device, bare bool) error {
	var b strings.Builder
	for _, d := range devices {
		if d.Dead {
			continue
		}
		if bare {
			b.WriteString(d.Refresh)
		} else {
			line, err := json.Marshal(d)
			if err != nil {
				return err
			}
			b.Write(line)
		}
		b.WriteByte('\n')
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}
