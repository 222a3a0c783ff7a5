package key

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"holdfast.example/internal/secret"
)

func TestRootText(t *testing.T) {
	r := NewRoot()
	text := r.Text().Reveal()
	if len(text) != 50 || !strings.HasPrefix(text, "hfroot_") {
		t.Fatalf("text form has %d characters", len(text))
	}
	again, err := ParseRoot(r.Text())
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != r.Fingerprint() || len(r.Fingerprint()) != 16 {
		t.Errorf("fingerprints %q and %q", again.Fingerprint(), r.Fingerprint())
	}
	if NewRoot().Fingerprint() == r.Fingerprint() {
		t.Error("two roots, one fingerprint")
	}
	if strings.Contains(text, r.Fingerprint()) || (Root{}).Fingerprint() != "" {
		t.Error("the fingerprint is part of the secret, or no root has one")
	}
	body := text[len(RootPrefix):]
	for _, bad := range []string{"", "hfroot_", body, "hfroot_" + body[:42], text + "A", text + "\n", "HFROOT_" + body,
		"hfroot_" + body[:42] + "=", "hfroot_" + body[:20] + "\n" + body[21:], "hfroot_" + strings.Repeat("A", 43),
		"hfroot_" + body[:42] + spareBit(body[42])} {
		_, err := ParseRoot(secret.New(bad))
		if err == nil {
			t.Errorf("ParseRoot(%q) took it", bad)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[10:20]) {
			t.Errorf("the error repeats what was given: %v", err)
		}
	}
}

// spareBit sets a bit of the last character that no byte needs: another
// spelling of the same bytes.
func spareBit(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)|1])
}

func TestRootPrintsNothing(t *testing.T) {
	r := NewRoot()
	body := r.Text().Reveal()[len(RootPrefix):]
	js, _ := json.Marshal(struct{ R Root }{r})
	for _, s := range []string{fmt.Sprint(r), fmt.Sprintf("%v %+v %#v %s %q", r, r, r, r, r), fmt.Sprintf("%+v", struct{ r Root }{r}),
		fmt.Sprintf("%v", Options{OtherRoots: []Root{r}}), string(js)} {
		if strings.Contains(s, body) {
			t.Errorf("a print shows the root: %s", s)
		}
	}
}

func TestRootFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root")
	r := NewRoot()
	err := WriteRootFile(path, r)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	got, err := ReadRootFile(path)
	if err != nil || got.Fingerprint() != r.Fingerprint() {
		t.Fatalf("%v, %v", got, err)
	}
	// Never over a file, whoever made it.
	err = WriteRootFile(path, NewRoot())
	if err == nil || !strings.Contains(err.Error(), "already there") {
		t.Errorf("writing over a root file: %v", err)
	}
	got, err = ReadRootFile(path)
	if err != nil || got.Fingerprint() != r.Fingerprint() {
		t.Fatalf("the refused write changed the file: %v", err)
	}
	err = WriteRootFile(filepath.Join(dir, "none"), Root{})
	if err == nil {
		t.Error("wrote a file for no root")
	}
	err = WriteRootFile(filepath.Join(dir, "nowhere", "root"), r)
	if err == nil {
		t.Error("wrote into a folder that is not there")
	}
}

// REST-05: a key file that others may use is refused, and the sentence says
// which mode it has and what to do.
func TestRootFileRefusals(t *testing.T) {
	dir := t.TempDir()
	text := NewRoot().Text().Reveal()
	cases := []struct {
		name, body string
		mode       os.FileMode
		want       string
	}{
		{"group reads", text, 0o640, "mode 0640"},
		{"all read", text, 0o644, "mode 0644"},
		{"others read", text, 0o604, "chmod 600"},
		{"group writes", text, 0o620, "mode 0620"},
		{"empty", "", 0o600, "is empty"},
		{"long", text + strings.Repeat(" ", 300), 0o600, "longer than 256"},
		{"two lines", text + "\n" + text, 0o600, "wrong length"},
		{"mistyped", text[:30] + "!" + text[31:], 0o600, "mistyped"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
			err := os.WriteFile(path, []byte(c.body), 0o600)
			if err == nil {
				err = os.Chmod(path, c.mode) // after the umask
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = ReadRootFile(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want a sentence with %q and the path", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), text[10:30]) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
	_, err := ReadRootFile(filepath.Join(dir, "missing"))
	if err == nil || !strings.Contains(err.Error(), "no root secret file") {
		t.Errorf("missing file: %v", err)
	}
	_, err = ReadRootFile(dir)
	if err == nil {
		t.Error("read a folder")
	}
	for _, end := range []string{"", "\n", "\r\n"} {
		path := filepath.Join(dir, fmt.Sprintf("end-%x", end))
		err := os.WriteFile(path, []byte(text+end), 0o400)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ReadRootFile(path)
		if err != nil {
			t.Errorf("line end %q: %v", end, err)
		}
	}
}
