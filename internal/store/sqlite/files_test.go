package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// modes are the permissions of everything in a folder, and of the folder itself.
func modes(t *testing.T, dir string) map[string]os.FileMode {
	t.Helper()
	all := map[string]os.FileMode{}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = info.Mode().Perm()
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	all["."] = info.Mode().Perm()
	return all
}

// TestFilesAreTheOwnersAlone runs under every umask an operator may have.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		dir := filepath.Join(t.TempDir(), "a", "b")
		old := syscall.Umask(0o077)
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if mask == 0o777 { // the folder could not even be entered
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		syscall.Umask(mask)
		db, err := Open(filepath.Join(dir, "holdfast.db"), Options{Now: time.Now})
		if err == nil {
			err = db.writer.write(t.Context(), bump)
		}
		syscall.Umask(old)
		if err != nil {
			t.Fatalf("umask %03o: %v", mask, err)
		}
		got := modes(t, dir)
		want := map[string]os.FileMode{".": 0o700, "holdfast.db": 0o600, "holdfast.db-wal": 0o600, "holdfast.db-shm": 0o600}
		if len(got) != len(want) {
			t.Errorf("umask %03o: files %v, want %v", mask, got, want)
		}
		for name, mode := range want {
			if got[name] != mode {
				t.Errorf("umask %03o: %s has mode %04o, want %04o", mask, name, got[name], mode)
			}
		}
		if w := db.Warnings(); len(w) != 0 {
			t.Errorf("umask %03o: a new database warns: %q", mask, w)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenFilesAreClosedToOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "holdfast.db")
	db, err := Open(path, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.writer.write(t.Context(), bump); err != nil {
		t.Fatal(err)
	}
	names := []string{"holdfast.db", "holdfast.db-wal", "holdfast.db-shm"}
	for _, name := range names { // as after a restore with cp
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	second, err := Open(path, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	got := modes(t, dir)
	for _, name := range names {
		if got[name] != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", name, got[name])
		}
	}
	warnings := strings.Join(second.Warnings(), "\n")
	for _, want := range append(names, "0644", "0600", dir+" (mode 0755)") {
		if !strings.Contains(warnings, want) {
			t.Errorf("the warnings do not name %s:\n%s", want, warnings)
		}
	}
	if err := db.writer.write(t.Context(), bump); err != nil {
		t.Errorf("the first database suffered: %v", err)
	}
	for _, d := range []*DB{second, db} {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("this is no database, but long enough to be looked at as one, page after page"), 0o600); err != nil {
		t.Fatal(err)
	}
	ok := filepath.Join(dir, "ok.db")
	for name, tt := range map[string]struct {
		path string
		o    Options
		want string
	}{
		"no clock":            {ok, Options{}, "Options.Now"},
		"NORMAL":              {ok, Options{Now: time.Now, Synchronous: Normal}, "synchronous=NORMAL loses acknowledged"},
		"OFF":                 {ok, Options{Now: time.Now, Synchronous: Off}, "only FULL is allowed"},
		"not a database":      {file, Options{Now: time.Now}, "not a database"},
		"a folder":            {dir, Options{Now: time.Now}, "is not a file"},
		"below a file":        {filepath.Join(file, "x.db"), Options{Now: time.Now}, "cannot create the database"},
		"a device":            {os.DevNull, Options{Now: time.Now}, "is not a file"},
		"option in the name ": {filepath.Join(dir, "x.db?mode=memory"), Options{Now: time.Now, Synchronous: Off}, "only FULL is allowed"},
	} {
		db, err := Open(tt.path, tt.o)
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = db.Close()
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want words about %q", name, err, tt.want)
		}
	}
}

// TestOddPaths: no character of a path is an option to anybody.
func TestOddPaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"x.db?mode=memory&_synchronous=OFF", "a b%41#c.db", "ünï.db", "relative.db", "file:x.db", "with:colon.db"} {
		db, err := Open(name, Options{Now: time.Now})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%q: the file is elsewhere: %v", name, err)
		}
		if err := db.writer.write(t.Context(), bump); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if n, err := os.Stat(filepath.Join(dir, name+"-wal")); err != nil || n.Size() == 0 {
			t.Errorf("%q: no log beside it: %v", name, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
