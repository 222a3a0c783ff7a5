package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestWhatATableShows: nothing that a terminal obeys, and one line for one row.
func TestWhatATableShows(t *testing.T) {
	var out bytes.Buffer
	answer := json.RawMessage(`{"sessions":[{"sid":"s1","device":"a\u001b[2Jb\nc\td\u009b1m","ended":null,"grants":["x\u0007","y"]},{"sid":"s2","device":"Мой 👩‍💻"}]}`)
	err := asking{}.show(terminal{out: &out}, answer, "sessions", "sid", "device", "grants", "ended")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err != nil || len(lines) != 3 || strings.ContainsAny(out.String(), "\x1b\t\x07\u009b") {
		t.Fatalf("%q, %v", out.String(), err)
	}
	if !strings.Contains(lines[1], "a\ufffd[2Jb\ufffdc\ufffdd\ufffd1m") || !strings.Contains(lines[2], "Мой 👩‍💻") {
		t.Errorf("%q", lines)
	}
}
