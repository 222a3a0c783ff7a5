package settings

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// day is the unit that Go's own syntax lacks. It is 24 hours: no setting here
// speaks of calendar days.
const day = 24 * time.Hour

// ParseDuration reads a length of time: Go's syntax ("15m", "1h30m", "250ms")
// plus whole days ("90d", "1d12h"). "0" is no time; a sign is refused, because
// no setting is a negative time.
func ParseDuration(s string) (time.Duration, error) {
	bad := errors.New(`not a length of time; write a number and a unit, such as "45s", "15m", "12h" or "90d"`)
	if s == "" || s[0] == '-' || s[0] == '+' {
		return 0, bad
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, bad
		}
		return d, nil
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || time.Duration(n) > maxDuration/day {
		return 0, bad
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || rest[0] == '+' || more > maxDuration-d {
		return 0, bad
	}
	return d + more, nil
}

// maxDuration is the longest time.Duration, about 292 years.
const maxDuration = time.Duration(1<<63 - 1)

// FormatDuration writes a length of time in the fewest words ParseDuration
// reads back: "90d", "1d12h", "15m", "0".
func FormatDuration(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	var b strings.Builder
	if n := d / day; n > 0 {
		b.WriteString(strconv.FormatInt(int64(n), 10) + "d")
		d %= day
	}
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d %= u.unit
		}
	}
	if d > 0 {
		b.WriteString(d.String())
	}
	return b.String()
}

// Window is a length of time that may also be the word "idle": as long as the
// idle limit, whatever that is.
type Window time.Duration

// AsIdle is the value of the word "idle".
const AsIdle Window = -1

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *Window) UnmarshalText(b []byte) error {
	if string(b) == "idle" {
		*w = AsIdle
		return nil
	}
	d, err := ParseDuration(string(b))
	if err != nil {
		return errors.New(`neither the word "idle" nor a length of time such as "72h"`)
	}
	*w = Window(d)
	return nil
}

// MarshalText implements encoding.TextMarshaler: it writes what UnmarshalText
// reads.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// String writes what UnmarshalText reads.
func (w Window) String() string {
	if w == AsIdle {
		return "idle"
	}
	return FormatDuration(time.Duration(w))
}
