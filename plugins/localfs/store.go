package localfs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

const (
	fileMode = 0o600
	dirMode  = 0o700
	lockName = ".penstock.lock"
	// uploadSuffix ends the names of temporary files, which lie in the directory
	// of the final file: .<name>.<random>.penstock-upload for an upload, and the
	// suffix alone for a small file that is written under the directory's lock.
	uploadSuffix = ".penstock-upload"
)

// store implements lake.Store over a directory. Files whose names start with a
// dot belong to the store and are never listed.
type store struct {
	root  string // absolute
	names *names
}

func newStore(root string) *store { return &store{root: root, names: newNames()} }

func (s *store) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// Read implements lake.Store. A name that it finds is durable.
func (s *store) Read(_ context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, "", classify(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, "", classify(err)
	}
	v, err := version(f)
	return data, v, errors.Join(err, s.names.settle(filepath.Dir(f.Name())))
}

// Stat implements lake.Store. A file system keeps no checksums.
func (s *store) Stat(_ context.Context, name string) (lake.Info, error) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return lake.Info{}, classify(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return lake.Info{}, classify(err)
	}
	v, err := version(f)
	return lake.Info{Version: v, Size: info.Size()}, err
}

// ReadRange implements lake.Store.
func (s *store) ReadRange(_ context.Context, name string, at lake.Version, offset, n int64) ([]byte, error) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, classify(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.NewSectionReader(f, offset, n))
	if err != nil {
		return nil, classify(err)
	}
	switch found, err := version(f); {
	case err != nil:
		return nil, err
	case found != at:
		return nil, lake.ErrConflict
	}
	return data, nil
}

// version returns the version of an open file. Each state of a file has its own
// inode; if an inode number is used again, the time or the first bytes differ.
func version(f *os.File) (lake.Version, error) {
	info, err := f.Stat()
	if err != nil {
		return "", classify(err)
	}
	head := make([]byte, 4096)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", classify(err)
	}
	var inode uint64
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return lake.Version(fmt.Sprintf("%x-%x-%x-%08x", inode, info.Size(), info.ModTime().UnixNano(), crc32.ChecksumIEEE(head[:n]))), nil
}

func (s *store) versionOf(name string) (lake.Version, error) {
	f, err := os.Open(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", classify(err)
	}
	defer func() { _ = f.Close() }()
	return version(f)
}

// WriteIf implements lake.Store. It holds the directory's lock while it writes,
// so one name suffices for all temporary files: a crash leaves at most one of
// them, and the next write overwrites it.
func (s *store) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	path := s.path(name)
	dir := filepath.Dir(path)
	if err := errors.Join(ctx.Err(), s.names.make(dir)); err != nil {
		return "", err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	found, err := s.versionOf(name)
	if err != nil {
		return "", err
	}
	if found != prev {
		return "", lake.ErrConflict
	}
	return s.writeFile(path, data)
}

// writeFile writes a file atomically and returns its version. The caller holds
// the directory's lock.
func (s *store) writeFile(path string, data []byte) (lake.Version, error) {
	f, err := s.createFile(filepath.Dir(path), uploadSuffix)
	if err != nil {
		return "", err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	var v lake.Version
	if err == nil {
		v, err = version(f)
	}
	if err != nil {
		return "", classify(errors.Join(err, drop(f)))
	}
	if err := s.rename(f, path); err != nil {
		return "", errors.Join(err, drop(f))
	}
	return v, nil
}

// Fence implements lake.Store: it removes the files of the name's replacements,
// which cannot be switched without them. The lock excludes a switch that is in
// progress.
func (s *store) Fence(_ context.Context, name string, _ lake.Attempt) (lake.Version, error) {
	path := s.path(name)
	dir := filepath.Dir(path)
	if err := s.names.make(dir); err != nil {
		return "", err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", classify(err)
	}
	for _, e := range entries {
		if uploadOf(e.Name()) != filepath.Base(path) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", classify(err)
		}
	}
	return s.versionOf(name)
}

// lockDir takes the lock of a directory. It waits for other processes that hold
// it; unlock releases it.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, classify(err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, classify(errors.Join(&fs.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close()))
	}
	return func() { _ = f.Close() }, nil
}

// List implements lake.Store.
func (s *store) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	return s.walk(ctx, prefix, deep, func(name string, d fs.DirEntry) error {
		if strings.HasPrefix(d.Name(), ".") || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return classify(err)
		}
		return yield(lake.Object{Name: name, Size: info.Size()})
	})
}

// walk visits the files whose names start with prefix, and the store's own files
// in the same directories, ordered by the elements of their paths.
func (s *store) walk(ctx context.Context, prefix string, deep bool, visit func(string, fs.DirEntry) error) error {
	dir := prefix[:strings.LastIndexByte(prefix, '/')+1]
	start := s.path(dir)
	return filepath.WalkDir(start, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return classify(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if path == start {
			return nil
		}
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return fmt.Errorf("walk %s: %w", start, err)
		}
		name := filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (!deep || !strings.HasPrefix(name+"/", prefix)):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case !strings.HasPrefix(name, prefix) && !strings.HasPrefix(d.Name(), "."):
			return nil
		}
		return visit(name, d)
	})
}

// Delete implements lake.Store.
func (s *store) Delete(_ context.Context, names []string) error {
	dirs := make(map[string]bool)
	for _, name := range names {
		path := s.path(name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return classify(err)
		}
		dirs[filepath.Dir(path)] = true // also of a name that a killed process removed
	}
	for dir := range dirs {
		if err := s.names.syncNames(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

var uploadName = regexp.MustCompile(`^\.(.+)\.[0-9a-z]+` + regexp.QuoteMeta(uploadSuffix) + `$`)

// uploadOf returns the final base name of an upload's temporary file. It is empty
// for all other files.
func uploadOf(file string) string {
	m := uploadName.FindStringSubmatch(file)
	if m == nil {
		return ""
	}
	return m[1]
}

// EndUploads implements lake.UploadEnder: it removes the temporary files, without
// which an upload cannot be finished.
func (s *store) EndUploads(ctx context.Context, prefix string, match func(string) bool) error {
	return s.walk(ctx, prefix, true, func(name string, d fs.DirEntry) error {
		of := uploadOf(d.Name())
		if of == "" {
			return nil
		}
		of = strings.TrimSuffix(name, d.Name()) + of
		if !strings.HasPrefix(of, prefix) || !match(of) {
			return nil
		}
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return classify(err)
		}
		return nil
	})
}
