package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// secrets is every credential that a test sent or was given, so that afterwards
// its traces can be looked for everywhere (LOGS-01, REST-01).
type secrets struct {
	mu  sync.Mutex
	all map[string]string // the secret, and what it is
}

// credentials are the parameters and members that carry one.
var credentials = []string{"password", "client_secret", "refresh_token", "token", "access_token", "id_token", "code",
	"code_verifier", "client_assertion", "subject_token"}

// minSecret is the shortest credential worth looking for, in bytes: a shorter
// one is somewhere by chance.
const minSecret = 8

func (s *secrets) add(kind, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]string{}
	}
	if len(value) >= minSecret {
		s.all[value] = kind
	}
}

// seen remembers the credentials of a body, form or JSON, in either direction.
func (s *secrets) seen(body []byte) {
	if values, err := url.ParseQuery(string(body)); err == nil {
		for _, name := range credentials {
			for _, v := range values[name] {
				s.add(name, v)
			}
		}
	}
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		return
	}
	for _, name := range credentials {
		if v, ok := members[name].(string); ok {
			s.add(name, v)
		}
	}
}

// fragment is how much of the end of a long secret is looked for by itself: a
// token that was cut for a log is still a token.
const fragment = 24

// forms are the spellings a secret could be found in.
func forms(value string) [][]byte {
	all := []string{value, url.QueryEscape(value), url.PathEscape(value), strings.ReplaceAll(fmt.Sprintf("%q", value), `"`, ""),
		hex.EncodeToString([]byte(value))}
	if len(value) > 2*fragment {
		all = append(all, value[len(value)-fragment:])
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // wherever in a longer text it stood
			whole := enc.EncodeToString(append(make([]byte, shift), value...))
			all = append(all, whole[(shift*8+5)/6:len(whole)-1])
		}
		if body, ok := strings.CutPrefix(value, "hfr_"); ok {
			if raw, err := enc.DecodeString(body); err == nil && len(raw) == 57 {
				all = append(all, string(raw[31:47])) // the seal alone
			}
		}
	}
	slices.Sort(all)
	var forms [][]byte
	for _, f := range slices.Compact(all) {
		forms = append(forms, []byte(f))
	}
	return forms
}

// forget drops what was sent, for a test that sends what is not secret.
func (s *secrets) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}

// search tells which secrets are somewhere in a text.
func (s *secrets) search(where string, text []byte) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// All spellings are found in one pass: by their first bytes, then in full.
	byStart := map[[minSecret]byte][][]byte{}
	var begins [1 << 16]bool // the first two bytes, because most of a text is nothing
	kind := map[string]string{}
	for value, what := range s.all {
		for _, f := range forms(value) {
			start := [minSecret]byte(f[:minSecret])
			byStart[start] = append(byStart[start], f)
			begins[int(f[0])<<8|int(f[1])] = true
			kind[string(f)] = what
		}
	}
	for i := 0; i+minSecret <= len(text); i++ {
		if !begins[int(text[i])<<8|int(text[i+1])] {
			continue
		}
		for _, f := range byStart[[minSecret]byte(text[i:i+minSecret])] {
			if bytes.HasPrefix(text[i:], f) {
				from := max(0, i-60)
				found = append(found, fmt.Sprintf("a %s is in %s, after %q", kind[string(f)], where, text[from:i]))
			}
		}
	}
	return found
}

// leaks looks for every secret of the house's life in its log, its metrics and
// its files (LOGS-01).
func (h *house) leaks() []string {
	found := h.secrets.search("the log", []byte(h.log.String()))
	text, err := h.metrics()
	if err != nil {
		return append(found, err.Error())
	}
	found = append(found, h.secrets.search("the metrics", []byte(text))...)
	for name, b := range h.files() {
		found = append(found, h.secrets.search(name, b)...)
	}
	return found
}

// files reads everything the house keeps on disk.
func (h *house) files() map[string][]byte {
	all := map[string][]byte{}
	names, _ := filepath.Glob(filepath.Join(h.dir, "holdfast.db*"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			all[filepath.Base(name)] = b
		}
	}
	return all
}

// TestSecretsAreFound: the search itself finds what it is for, in every form.
func TestSecretsAreFound(t *testing.T) {
	var s secrets
	s.add("password", "correct horse/battery+staple")
	s.seen([]byte("grant_type=refresh_token&refresh_token=hfr_" + strings.Repeat("QWxs", 19)))
	s.seen([]byte(`{"access_token":"eyJhbGciOiJFUzI1NiJ9.e30.` + strings.Repeat("signature", 9) + `"}`))
	for _, text := range []string{
		"correct horse/battery+staple", "x=correct+horse%2Fbattery%2Bstaple&", "correct%20horse%2Fbattery+staple",
		"...hfr_" + strings.Repeat("QWxs", 19), "cut:..." + strings.Repeat("signature", 3),
		base64.StdEncoding.EncodeToString([]byte("demo:correct horse/battery+staple\n")),
		base64.URLEncoding.EncodeToString([]byte("me:correct horse/battery+staple")),
		base64.StdEncoding.EncodeToString([]byte("x:correct horse/battery+staple;")),
		hex.EncodeToString([]byte("correct horse/battery+staple")),
	} {
		if len(s.search("here", []byte(text))) == 0 {
			t.Errorf("nothing was found in %q", text)
		}
	}
	if found := s.search("here", []byte("correct horse, hfr_QWxs, signature")); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}
