package localfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
	f, err := s.createFile(dir, "."+base+"."+by.Nonce+uploadSuffix)
	if err != nil {
		return nil, err
	}
	return &upload{store: s, name: name, prev: prev, file: f}, nil
}

// createFile opens a file for writing, creates its directory if needed, and
// truncates an existing file.
func (s *store) createFile(dir, base string) (*os.File, error) {
	if err := s.names.make(filepath.Clean(dir)); err != nil {
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
	err := u.store.rename(u.file, u.store.path(u.name))
	u.ended = err == nil
	return err
}

// rename moves a synced file to its final name, durably, and closes it.
func (s *store) rename(f *os.File, to string) error {
	dir := filepath.Dir(to)
	s.names.note(dir, 1) // before the name can be read
	if err := os.Rename(f.Name(), to); err != nil {
		s.names.note(dir, -1)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", lake.ErrAborted, err)
		}
		return classify(err)
	}
	if err := errors.Join(classify(f.Close()), s.names.persist(dir)); err != nil {
		return err
	}
	s.names.note(dir, -1)
	return nil
}

// Abort implements lake.Upload.
func (u *upload) Abort(context.Context) error {
	if u.ended {
		return nil
	}
	u.ended = true
	return drop(u.file)
}

// drop removes and closes a temporary file, unless it has its final name.
func drop(f *os.File) error {
	removed, closed := os.Remove(f.Name()), f.Close()
	if errors.Is(removed, fs.ErrNotExist) {
		removed = nil
	}
	if errors.Is(closed, fs.ErrClosed) {
		closed = nil
	}
	return classify(errors.Join(removed, closed))
}
