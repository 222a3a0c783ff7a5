package settings_test

import (
	"strings"
	"testing"

	"holdfast.example/internal/settings"
)

// Whatever is written, reading ends, and every problem names a line of the file.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"listen = 'a'\n", "[[clients]]\nid = 'a'\n[[clients]]\nid='b'", "clients = [{id = 'a'}, {id = 'b', secret = 'x'}]",
		"clients.id = 1", "[clients]\n", "a.b.c = 1\n[a.b.d]\nx = 1", "listen = [[[1]]]", "signing_algs = [[], {}, 1979-05-27]",
		"\"\" = 1", "api_key = {a = 1}", "recovery = 'idle'\r\n", "[[clients.deep]]\nx=1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := settings.Parse("f", data)
		if err != nil {
			if ps, ok := err.(settings.Problems); !ok || len(ps) != 1 {
				t.Fatalf("a syntax error is %v", err)
			}
			return
		}
		places, problems := doc.Decode(&shape{})
		last := strings.Count(string(data), "\n") + 1
		for _, p := range problems {
			if p.At.Line < 1 || p.At.Line > last || p.Code == "" || p.Reason == "" || p.Mend == "" {
				t.Errorf("incomplete problem %+v in a file of %d lines", p, last)
			}
		}
		for path, at := range places {
			if at.Line < 1 || at.Line > last {
				t.Errorf("%s stands at line %d of %d", path, at.Line, last)
			}
		}
	})
}
