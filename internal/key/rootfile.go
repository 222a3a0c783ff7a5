package key

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"holdfast.example/internal/secret"
)

const (
	// maxRootFile bounds what is read of a root file, in bytes: the secret and
	// a line end need 52.
	maxRootFile = 256
	// othersMay are the mode bits that let someone beside the owner at a file.
	othersMay fs.FileMode = 0o077
)

// ReadRootFile reads a root secret from a file that holds it and at most a line
// end. A file that group or others may touch is refused: whoever could read it
// could have copied it, and whoever could write it could replace it.
func ReadRootFile(path string) (Root, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Root{}, fmt.Errorf("key: there is no root secret file %s; name the file that holds it, "+
			"and never make a new one for a database that already has keys", path)
	}
	if err != nil {
		return Root{}, fmt.Errorf("key: the root secret file cannot be opened: %w", err)
	}
	defer f.Close()
	// The mode is asked of the open file, so that it is the one that is read.
	info, err := f.Stat()
	if err != nil {
		return Root{}, fmt.Errorf("key: the root secret file cannot be looked at: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Root{}, fmt.Errorf("key: %s is not a regular file", path)
	}
	// Windows has access lists instead of modes; Go shows a made-up mode there.
	if mode := info.Mode().Perm(); mode&othersMay != 0 && runtime.GOOS != "windows" {
		return Root{}, fmt.Errorf("key: the root secret file %s has mode %#o, so that others than its owner may use it: "+
			"run chmod 600 %s, or mount it with mode 0400, or give the secret in the environment", path, mode, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRootFile+1))
	if err != nil {
		return Root{}, fmt.Errorf("key: the root secret file cannot be read: %w", err)
	}
	if len(b) > maxRootFile {
		return Root{}, fmt.Errorf("key: %s is longer than %d bytes; a root secret file holds the secret alone", path, maxRootFile)
	}
	r, err := ParseRoot(secret.New(strings.TrimRight(string(b), "\r\n")))
	if err != nil {
		return Root{}, fmt.Errorf("%w (in %s)", err, path)
	}
	return r, nil
}

// WriteRootFile writes r to a new file of mode 0600. It never writes over a
// file, and returns only when the file would survive a power failure: keys
// that are durable under a root that is not are lost.
func WriteRootFile(path string, r Root) error {
	if r.IsZero() {
		return errors.New("key: there is no root secret to write")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("key: %s is already there and is left as it is: a root secret file is never written over", path)
	}
	if err != nil {
		return fmt.Errorf("key: the root secret file cannot be made: %w", err)
	}
	_, err = f.WriteString(r.text.Reveal() + "\n")
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("key: the root secret file is not safely written: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// syncDir makes the name of a new file durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
