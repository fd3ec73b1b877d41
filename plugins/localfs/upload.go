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

// upload is a file beside its final name.
type upload struct {
	store *store
	name  string
	file  *os.File
	ended bool
}

// Create implements lake.Store.
func (s *store) Create(_ context.Context, name string) (lake.Upload, error) {
	u, err := s.create(name)
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (s *store) create(name string) (*upload, error) {
	path := s.path(name)
	dir, base := filepath.Split(path)
	if err := makeDirs(filepath.Clean(dir)); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "."+base+".*"+uploadSuffix) // mode 0600
	if err != nil {
		return nil, classify(err)
	}
	return &upload{store: s, name: name, file: f}, nil
}

// CreateFenced implements lake.Store: every upload has its file.
func (s *store) CreateFenced(ctx context.Context, name string) (lake.Upload, error) {
	return s.Create(ctx, name)
}

// Write implements lake.Upload.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	return n, classify(err)
}

// Finish implements lake.Upload.
func (u *upload) Finish(ctx context.Context) error {
	if err := u.sync(ctx); err != nil {
		return err
	}
	return u.rename()
}

// FinishIf implements lake.Upload.
func (u *upload) FinishIf(ctx context.Context, prev lake.Version) error {
	if err := u.sync(ctx); err != nil {
		return err
	}
	lock, err := u.store.lock(filepath.Dir(u.store.path(u.name)))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	found, err := u.store.versionOf(u.name)
	if err != nil {
		return err
	}
	if found != prev {
		return lake.ErrConflict
	}
	return u.rename()
}

func (u *upload) sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := u.file.Sync(); err != nil {
		return classify(err)
	}
	return nil
}

func (u *upload) rename() error {
	to := u.store.path(u.name)
	err := os.Rename(u.file.Name(), to)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", lake.ErrAborted, err)
	}
	if err != nil {
		return classify(err)
	}
	u.ended = true
	if err := u.file.Close(); err != nil {
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
	err := os.Remove(u.file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return classify(errors.Join(err, u.file.Close()))
}

// makeDirs creates a directory and its parents, each durably.
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
