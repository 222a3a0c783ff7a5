package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"
)

// object is one JSON object whose members each have one meaning.
type object map[string]json.RawMessage

var errJSON = errors.New("no JSON object, or one with a member twice")

// parse reads an object, and refuses one that says something twice: whoever looks
// at the first and whoever looks at the last would read two different things.
func parse(text []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	start, err := d.Token()
	if err != nil || start != json.Delim('{') {
		return nil, errJSON
	}
	o := object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errJSON
		}
		key, ok := name.(string)
		if _, twice := o[key]; !ok || twice {
			return nil, errJSON
		}
		var value json.RawMessage
		err = d.Decode(&value)
		if err != nil {
			return nil, errJSON
		}
		o[key] = value
	}
	_, err = d.Token()
	if err != nil {
		return nil, errJSON
	}
	_, err = d.Token()
	if !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return o, nil
}

// text is a member that is a string; "" for everything else.
func (o object) text(name string) string {
	var s string
	if json.Unmarshal(o[name], &s) != nil {
		return ""
	}
	return s
}

// yes reports whether a member is true. The text "true" is not.
func (o object) yes(name string) bool { return string(o[name]) == "true" }

// has reports whether a member is there and says something.
func (o object) has(name string) bool { return len(o[name]) > 0 && string(o[name]) != "null" }

// lastSecond is the end of the year 9999: no time in a token lies beyond.
const lastSecond = 253402300799

// time is a member that is a number of seconds since 1970 (RFC 7519 section 2).
func (o object) time(name string) (time.Time, bool) {
	var n float64
	if !o.has(name) || json.Unmarshal(o[name], &n) != nil || math.IsNaN(n) || n < 0 || n > lastSecond {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0).UTC(), true
}

// texts is a member that is a string or a list of strings.
func (o object) texts(name string) []string {
	if s := o.text(name); s != "" {
		return []string{s}
	}
	var all []string
	if json.Unmarshal(o[name], &all) != nil {
		return nil
	}
	return all
}

// object is a member that is an object.
func (o object) object(name string) (object, error) { return parse(o[name]) }

// list is a member that is a list.
func (o object) list(name string) []json.RawMessage {
	var all []json.RawMessage
	if json.Unmarshal(o[name], &all) != nil {
		return nil
	}
	return all
}
