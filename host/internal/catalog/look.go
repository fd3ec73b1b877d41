package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/host/internal/private"
)

// Look opens the catalog in the file at path for reading. It makes and changes
// nothing next to the file, whose directory may be read-only; no other process
// may write to the catalog until it is closed. A catalog with an older schema,
// or with a log that a killed host has left, is copied into the directory that
// scratch returns, and a file that is missing is an empty catalog there. Calls
// that write to the catalog fail, or change the copy only. The caller closes the
// catalog, and removes the directory after that.
func Look(ctx context.Context, path string, scratch func() (string, error)) (*Catalog, error) {
	whole, err := isWhole(path)
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	if whole {
		c, err := openReadOnly(ctx, path, "&immutable=1") // nothing writes to it
		if err != nil {
			return nil, fmt.Errorf("open catalog %s: %w", path, err)
		}
		if c != nil {
			return c, nil
		}
	}
	dir, err := scratch()
	if err != nil {
		return nil, fmt.Errorf("copy catalog %s: %w", path, err)
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := Copy(path, to); err != nil {
		return nil, fmt.Errorf("copy catalog %s: %w", path, err)
	}
	c, err := Open(ctx, to, "look")
	if err != nil {
		return nil, fmt.Errorf("open a copy of catalog %s: %w", path, err)
	}
	return c, nil
}

// LookShared opens the catalog in the file at path for reading while another
// process has it open. The caller closes it.
func LookShared(ctx context.Context, path string) (*Catalog, error) {
	c, err := openReadOnly(ctx, path, "")
	if err == nil && c == nil {
		err = errors.New("it was opened by an older host")
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	return c, nil
}

// isWhole reports whether the file at path is a catalog without a log.
func isWhole(path string) (bool, error) {
	f, err := private.OpenFile(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := f.Close(); err != nil {
		return false, err
	}
	log, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && log.Size() == 0, err
}

// openReadOnly opens a catalog for reading; it returns nil if the file has not
// the present schema. extra is added to the parameters of the file.
func openReadOnly(ctx context.Context, path, extra string) (*Catalog, error) {
	db, err := openPool((&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String() +
		"?mode=ro&_pragma=busy_timeout(30000)&_pragma=query_only(1)" + extra)
	if err != nil {
		return nil, err
	}
	var found int
	err = db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&found)
	if err == nil && found > len(migrations) {
		err = newer(ctx, db, found)
	}
	if err != nil || found < len(migrations) {
		return nil, errors.Join(err, db.Close())
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return &Catalog{write: db, read: db, owner: "look", path: path}, nil
}

// suffixes are those of the files that SQLite keeps a catalog in.
var suffixes = []string{"-wal", "-shm", ""}

// Remove removes a catalog's files, as far as they are there.
func Remove(path string) error {
	var failed error
	for _, suffix := range suffixes {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Rename renames a catalog's files, as far as they are there. It reports whether
// there was a catalog.
func Rename(from, to string) (found bool, err error) {
	for _, suffix := range suffixes {
		err := os.Rename(from+suffix, to+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		found = err == nil
	}
	return found, nil // of the last one, which is the catalog
}

// Copy copies the files of a catalog that no process has open, as far as they
// are there. SQLite makes the index of the log again.
func Copy(from, to string) error {
	if err := Remove(to); err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", ""} {
		if err := copyFile(from+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := private.OpenFile(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := private.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
