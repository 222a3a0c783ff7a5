package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"holdfast.example/internal/archive"
)

// How often a meter shows itself: on a terminal a bar in one line, elsewhere a line
// now and then, so that a log is not flooded.
const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 30
)

// meter shows how far long work has come, on standard error.
type meter struct {
	t     terminal
	what  string
	total int64
	bytes func() int64
	began time.Time
	shown time.Time
	bar   bool
	any   bool
	rows  int64
}

// newMeter begins to measure. bytes, when set, tells how much was written.
func newMeter(t terminal, what string, total int64, bytes func() int64) *meter {
	m := &meter{t: t, what: what, total: total, bytes: bytes, began: time.Now()}
	m.shown = m.began
	if f, ok := t.err.(*os.File); ok {
		info, err := f.Stat()
		m.bar = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return m
}

// show is an archive.Progress.
func (m *meter) show(rows int64) {
	m.rows = rows
	every := lineEvery
	if m.bar {
		every = barEvery
	}
	now := time.Now()
	if now.Sub(m.shown) < every {
		return
	}
	m.shown, m.any = now, true
	if m.bar {
		fmt.Fprintf(m.t.err, "\r\x1b[K%s", m.line(now))
	} else {
		fmt.Fprintln(m.t.err, m.line(now))
	}
}

// line says how much was done, how fast, and how long the rest takes.
func (m *meter) line(now time.Time) string {
	took := now.Sub(m.began)
	rate := float64(m.rows) / max(took.Seconds(), 1e-3)
	part := 1.0
	if m.total > 0 {
		part = min(float64(m.rows)/float64(m.total), 1)
	}
	s := m.what + " "
	if m.bar {
		full := int(part * barWidth)
		s += "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] "
	}
	s += fmt.Sprintf("%3.0f %%, %d of %d rows, %.0f rows/s", part*100, m.rows, m.total, rate)
	if m.bytes != nil {
		s += ", " + bytesOf(m.bytes())
	}
	if left := m.total - m.rows; left > 0 && rate > 0 {
		s += fmt.Sprintf(", %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return s
}

// end leaves the line.
func (m *meter) end() {
	if m.bar && m.any {
		fmt.Fprintf(m.t.err, "\r\x1b[K%s\n", m.line(time.Now()))
	}
}

// rowsOf says what an archive holds.
func rowsOf(totals archive.Totals) string {
	return fmt.Sprintf("%d rows, of them %d accounts and %d sessions", totals.Rows(), totals["user"].Rows, totals["session"].Rows)
}

// bytesOf is a number of bytes for people.
func bytesOf(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
