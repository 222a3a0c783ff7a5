package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of what is created here. The WAL and the shared-memory file get the
// mode of the database file from SQLite.
const (
	fileMode = 0o600
	dirMode  = 0o700
	others   = 0o077
)

// prepareFiles makes sure that the database and its companions exist for their
// owner alone before SQLite sees them. A file that others could read is closed
// to them, and the operator is told, because what was read stays read. A
// directory that others may enter is only reported: it may be theirs.
func prepareFiles(path string) (warnings []string, err error) {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("sqlite: cannot create the data directory: %w", err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("sqlite: cannot look at the data directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		warnings = append(warnings, fmt.Sprintf("other accounts of this machine may enter %s (mode %04o); 0700 keeps them out", dir, mode))
	}
	if err := create(path); err != nil {
		return nil, err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		w, err := closeToOthers(path + suffix)
		if err != nil {
			return nil, err
		}
		if w != "" {
			warnings = append(warnings, w)
		}
	}
	return warnings, nil
}

// create makes an empty file that is never, not even for a moment, readable by
// others, and makes its name durable.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sqlite: cannot create the database: %w", err)
	}
	// A strange umask may have taken the owner's own rights.
	if err := errors.Join(f.Chmod(fileMode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sqlite: cannot create the database: %w", err)
	}
	return syncFolder(path)
}

// syncFolder makes the names in a file's folder durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("sqlite: cannot sync the data directory: %w", err)
	}
	return nil
}

// syncFile makes a file durable that no DB of this process has open.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// closeToOthers works by name and never opens the file: closing it again would
// drop the locks another DB of this process may hold.
func closeToOthers(path string) (warning string, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("sqlite: cannot look at the database: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("sqlite: %s is not a file", path)
	}
	mode := info.Mode().Perm()
	if mode&others == 0 {
		return "", nil
	}
	if err := os.Chmod(path, mode&^others); err != nil {
		return "", fmt.Errorf("sqlite: other accounts of this machine may read %s (mode %04o) and it cannot be closed to them: %w", path, mode, err)
	}
	return fmt.Sprintf("other accounts of this machine could read %s (mode %04o); it is %04o now", path, mode, mode&^others), nil
}
