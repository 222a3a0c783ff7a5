package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Limits of waiting for a server.
const (
	startWithin = 20 * time.Second
	stopWithin  = 30 * time.Second
	// askEvery is how often a starting server is asked: often enough for a figure
	// in milliseconds, seldom enough to leave it the processor.
	askEvery = time.Millisecond
)

// server is a running program under measurement.
type server struct {
	name, base, metrics string
	command             *exec.Cmd
	log                 string
	// also are processes that work for it beside its own, and apart those of its
	// database, whose CPU is told by itself.
	also, apart []int
	// devices is the file its devices are kept in between two windows.
	devices string
}

func (s *server) pid() int { return s.command.Process.Pid }

// launch starts a program. Its output goes to a file beside its data.
func launch(name, log, program string, args ...string) (*server, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = f, f
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	err = c.Start()
	if err != nil {
		return nil, err
	}
	return &server{name: name, command: c, log: log, devices: log + ".devices"}, nil
}

// ready waits for the first 200 of an address, and reports how long that took
// since a moment.
func (s *server) ready(url string, since time.Time) (time.Duration, error) {
	client := &http.Client{Timeout: startWithin}
	defer client.CloseIdleConnections()
	for time.Since(since) < startWithin {
		res, err := client.Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return time.Since(since), nil
			}
		}
		time.Sleep(askEvery)
	}
	text, _ := os.ReadFile(s.log)
	return 0, errors.Join(fmt.Errorf("%s does not answer at %s; it said: %s", s.name, url, text), s.stop())
}

// stop ends the server as its supervisor would.
func (s *server) stop() error {
	err := s.command.Process.Signal(syscall.SIGTERM)
	if err != nil {
		return err
	}
	kill := time.AfterFunc(stopWithin, func() { _ = s.command.Process.Kill() })
	defer kill.Stop()
	err = s.command.Wait()
	if err != nil {
		return fmt.Errorf("%s did not end well: %w", s.name, err)
	}
	return nil
}

// freePorts finds ports that nobody listens on.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only when all are found, so that they differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// startFloor starts one of the floors.
func (p *plan) startFloor(name, verb string, more ...string) (*server, error) {
	at, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s, err := launch(name, filepath.Join(p.dir, verb+".log"), p.program("floor"), append([]string{verb, "-listen", at[0], "-profiles", at[1],
		"-db", filepath.Join(p.dir, verb+".db"), "-rows", fmt.Sprint(devices)}, more...)...)
	if err != nil {
		return nil, err
	}
	s.base, s.metrics = "http://"+at[0], "http://"+at[1]
	_, err = s.ready(s.base+"/healthz", time.Now())
	return s, err
}
