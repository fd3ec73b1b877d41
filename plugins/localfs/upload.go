package localfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// upload is a temporary file next to its final name. It is a lake.Upload and a
// lake.Replacement.
type upload struct {
	store *store
	name  string
	prev  lake.Version // of a replacement
	file  *os.File
	ended bool
}

// Create implements lake.Store.
func (s *store) Create(_ context.Context, name string, by lake.Attempt) (lake.Upload, error) {
	u, err := s.create(name, "", by)
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Replace implements lake.Store.
func (s *store) Replace(_ context.Context, name string, prev lake.Version, by lake.Attempt) (lake.Replacement, error) {
	u, err := s.create(name, prev, by)
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (s *store) create(name string, prev lake.Version, by lake.Attempt) (*upload, error) {
	path := s.path(name)
	dir, base := filepath.Split(path)
	f, err := createFile(dir, "."+base+"."+by.Nonce+uploadSuffix)
	if err != nil {
		return nil, err
	}
	return &upload{store: s, name: name, prev: prev, file: f}, nil
}

// createFile opens a file for writing, creates its directory if needed, and
// truncates an existing file.
func createFile(dir, base string) (*os.File, error) {
	if err := makeDirs(filepath.Clean(dir)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, base), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, classify(err)
	}
	return f, nil
}

// Write implements lake.Upload.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	return n, classify(err)
}

// Finish implements lake.Upload.
func (u *upload) Finish(ctx context.Context) error {
	if err := u.Seal(ctx); err != nil {
		return err
	}
	return u.rename()
}

// Seal implements lake.Replacement.
func (u *upload) Seal(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return classify(u.file.Sync())
}

// Switch implements lake.Replacement.
func (u *upload) Switch(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	unlock, err := lockDir(filepath.Dir(u.store.path(u.name)))
	if err != nil {
		return err
	}
	defer unlock()
	found, err := u.store.versionOf(u.name)
	if err != nil {
		return err
	}
	if found != u.prev {
		return lake.ErrConflict
	}
	return u.rename()
}

func (u *upload) rename() error {
	err := rename(u.file, u.store.path(u.name))
	u.ended = err == nil
	return err
}

// rename moves a synced file to its final name, durably, and closes it.
func rename(f *os.File, to string) error {
	err := os.Rename(f.Name(), to)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", lake.ErrAborted, err)
	}
	if err != nil {
		return classify(err)
	}
	if err := f.Close(); err != nil {
		return classify(err)
	}
	return syncDir(filepath.Dir(to))
}

// Abort implements lake.Upload.
func (u *upload) Abort(context.Context) error {
	if u.ended {
		return nil
	}
	u.ended = true
	return drop(u.file)
}

// drop removes and closes a temporary file.
func drop(f *os.File) error {
	err := os.Remove(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return classify(errors.Join(err, f.Close()))
}

// makeDirs creates a directory and its missing parents, each durably.
func makeDirs(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return classify(&fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR})
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return classify(err)
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return classify(err)
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return classify(err)
	}
	return classify(errors.Join(d.Sync(), d.Close()))
}
