package proctree

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	// A command may hold spaces and parentheses.
	p, err := parseStat("4711 (a b) c (x) S 42 1 1 0 -1 4194560 100 0 0 0 150 25 300 4 20 0 9 0 100 200 300\n")
	if err != nil || p.parent != 42 || p.cpu != 4790*time.Millisecond {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, bad := range []string{"", "1 (a", "1 (a) S 42", "1 (a) S x 1 1 0 -1 4194560 100 0 0 0 150 25 300 4", "1 (a) S 4 1 1 0 -1 4194560 100 0 0 0 150 x 300 4"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseRollup(t *testing.T) {
	rss, pss := parseRollup("00400000-7ffd [rollup]\nRss:    27748 kB\nPss:      20010 kB\nPss_Anon: 9 kB\n")
	if rss != 27748<<10 || pss != 20010<<10 {
		t.Errorf("got rss %d, pss %d", rss, pss)
	}
}

// A child's time counts while it runs and after it has ended.
func TestTree(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's /proc")
	}
	if _, err := Read(1 << 30); err == nil {
		t.Error("a process that does not exist was measured")
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	s, err := Start(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(shell, "-c", "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; read line")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Start()
	if err != nil {
		t.Fatal(err)
	}
	alive, err := Read(os.Getpid())
	own, ownErr := Read(c.Process.Pid)
	if err != nil || ownErr != nil || own.PSS == 0 || alive.PSS < own.PSS || alive.RSS < own.RSS {
		t.Errorf("the tree has %+v, the child alone %+v: %v, %v", alive, own, err, ownErr)
	}
	_, err = in.Write([]byte("\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Stop()
	if child := c.ProcessState.UserTime() + c.ProcessState.SystemTime(); err != nil || u.CPU+2*tick < child {
		t.Errorf("%s of the tree do not contain the %s of a child that ended: %v", u.CPU, child, err)
	}
}
