package identity

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fuse is the file system of one open key-value store. It keeps faults of the
// disk away from the store, which ends the process when its manifest cannot be
// written, and tries again without a pause when a table cannot be.
//
// The first operation that fails blows the fuse. From then on no change reaches
// the disk: operations that change a file succeed without effect, including the
// operation that failed. So the directory keeps the state of that moment, as after
// a crash, from which the store recovers when it is opened again. The open store
// is no longer of use, because writes that it believes to have done may be
// missing: its user must check Fault before it trusts a result, and close the
// store.
//
// A file that does not exist is an answer and no fault.
type fuse struct {
	vfs.FS
	blown func(error) // called once, from the goroutine that met the fault

	mu    sync.Mutex
	fault error
}

// Fault returns the error that blew the fuse; nil while it is whole.
func (f *fuse) Fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// blow blows the fuse, unless it is blown already.
func (f *fuse) blow(err error) {
	f.mu.Lock()
	first := f.fault == nil
	if first {
		f.fault = err
	}
	f.mu.Unlock()
	if first && f.blown != nil {
		f.blown(err)
	}
}

// change carries out an operation that changes the disk. It never fails: after
// a fault it does nothing.
func (f *fuse) change(do func() error) {
	if f.Fault() != nil {
		return
	}
	if err := do(); err != nil {
		f.blow(err)
	}
}

// look carries out an operation that leaves the disk as it is.
func (f *fuse) look(do func() error) error {
	err := do()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrNotExist) {
		f.blow(err)
	}
	return err
}

// open carries out an operation that makes a file, or opens one for writing or
// syncing. Behind a blown fuse the file drops all writes.
func (f *fuse) open(do func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	f.change(func() (err error) {
		file, err = do()
		return err
	})
	if file == nil {
		return &fusedFile{File: void{}, fuse: f}, nil
	}
	return &fusedFile{File: file, fuse: f}, nil
}

// Create implements vfs.FS.
func (f *fuse) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.Create(name, category) })
}

// OpenReadWrite implements vfs.FS.
func (f *fuse) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (f *fuse) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, category) })
}

// OpenDir implements vfs.FS.
func (f *fuse) OpenDir(name string) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

// Open implements vfs.FS.
func (f *fuse) Open(name string, opts ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.look(func() error {
		file, err = f.FS.Open(name, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &fusedFile{File: file, fuse: f}, nil
}

// Link implements vfs.FS.
func (f *fuse) Link(oldname, newname string) error {
	f.change(func() error { return f.FS.Link(oldname, newname) })
	return nil
}

// Remove implements vfs.FS.
func (f *fuse) Remove(name string) (missing error) {
	f.change(func() error {
		err := f.FS.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			missing, err = err, nil
		}
		return err
	})
	return missing
}

// RemoveAll implements vfs.FS.
func (f *fuse) RemoveAll(name string) error {
	f.change(func() error { return f.FS.RemoveAll(name) })
	return nil
}

// Rename implements vfs.FS.
func (f *fuse) Rename(oldname, newname string) error {
	f.change(func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

// MkdirAll implements vfs.FS.
func (f *fuse) MkdirAll(dir string, perm os.FileMode) error {
	f.change(func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

// Lock implements vfs.FS. A lock that cannot be had is an error in any case:
// another process may be at work.
func (f *fuse) Lock(name string) (lock io.Closer, err error) {
	err = f.look(func() error {
		lock, err = f.FS.Lock(name)
		return err
	})
	return lock, err
}

// List implements vfs.FS.
func (f *fuse) List(dir string) (names []string, err error) {
	err = f.look(func() error {
		names, err = f.FS.List(dir)
		return err
	})
	return names, err
}

// Stat implements vfs.FS.
func (f *fuse) Stat(name string) (info vfs.FileInfo, err error) {
	err = f.look(func() error {
		info, err = f.FS.Stat(name)
		return err
	})
	return info, err
}

// Unwrap implements vfs.FS.
func (f *fuse) Unwrap() vfs.FS { return f.FS }

// fusedFile is a file behind a fuse.
type fusedFile struct {
	vfs.File
	fuse *fuse
}

// Write implements io.Writer.
func (f *fusedFile) Write(p []byte) (int, error) {
	f.fuse.change(func() error {
		_, err := f.File.Write(p)
		return err
	})
	return len(p), nil
}

// WriteAt implements io.WriterAt.
func (f *fusedFile) WriteAt(p []byte, offset int64) (int, error) {
	f.fuse.change(func() error {
		_, err := f.File.WriteAt(p, offset)
		return err
	})
	return len(p), nil
}

// Preallocate implements vfs.File. It is a hint, which not every file system
// takes: the write for which there is no room says so.
func (f *fusedFile) Preallocate(offset, length int64) error {
	f.fuse.change(func() error {
		_ = f.File.Preallocate(offset, length)
		return nil
	})
	return nil
}

// Sync implements vfs.File.
func (f *fusedFile) Sync() error {
	f.fuse.change(f.File.Sync)
	return nil
}

// SyncData implements vfs.File.
func (f *fusedFile) SyncData() error {
	f.fuse.change(f.File.SyncData)
	return nil
}

// SyncTo implements vfs.File.
func (f *fusedFile) SyncTo(length int64) (full bool, err error) {
	f.fuse.change(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, nil
}

// Close implements io.Closer. It closes the file even if the fuse is blown: a close
// that fails may be a write that failed.
func (f *fusedFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fuse.blow(err)
	}
	return nil
}

// Read implements io.Reader.
func (f *fusedFile) Read(p []byte) (n int, err error) {
	err = f.fuse.look(func() error {
		n, err = f.File.Read(p)
		return err
	})
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *fusedFile) ReadAt(p []byte, offset int64) (n int, err error) {
	err = f.fuse.look(func() error {
		n, err = f.File.ReadAt(p, offset)
		return err
	})
	return n, err
}

// Stat implements vfs.File.
func (f *fusedFile) Stat() (info vfs.FileInfo, err error) {
	err = f.fuse.look(func() error {
		info, err = f.File.Stat()
		return err
	})
	return info, err
}

// void is the file that a blown fuse opens. Its writing methods are never called:
// a blown fuse drops all changes.
type void struct{ vfs.File }

func (void) Close() error { return nil }

// Prefetch implements vfs.File.
func (void) Prefetch(int64, int64) error { return nil }

// Fd implements vfs.File.
func (void) Fd() uintptr { return vfs.InvalidFd }
