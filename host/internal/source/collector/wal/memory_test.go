package wal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

var errInjected = errors.New("the disk failed")

// memory is a FileSystem that fails on demand and forgets unsynced bytes.
type memory struct {
	mu     sync.Mutex
	files  map[string]*memoryFile
	names  map[string]*memoryFile // as they are durable
	failAt int                    // the operation that fails; 0: none
	fails  int                    // how many in a row; 0: one
	effect bool                   // it has its effect nevertheless
	kills  bool                   // all later ones fail too
	count  int
	failed bool
	room   int64 // bytes that may still be taken; negative: any
}

type memoryFile struct {
	fs     *memory
	data   []byte
	synced []byte
	room   int64  // reserved
	clean  []byte // as it was when a sync failed last: see Sync
}

func newMemory() *memory {
	return &memory{files: map[string]*memoryFile{}, names: map[string]*memoryFile{}, room: -1}
}

func (m *memory) setRoom(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room = n
}

// operate carries out an operation that changes the disk, unless it is the one
// that fails.
func (m *memory) operate(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	due := m.failAt > 0 && m.count >= m.failAt && m.count < m.failAt+max(m.fails, 1)
	if !due && !(m.kills && m.failed) {
		return do()
	}
	m.failed = true
	if m.effect && due {
		if err := do(); err != nil {
			return err
		}
	}
	return errInjected
}

// crash keeps synced bytes and any part of those that were written since.
func (m *memory) crash(r *rand.Rand) {
	m.failAt = 0
	for name, f := range m.files {
		if m.names[name] != f && r.IntN(2) == 0 {
			m.names[name] = f
		}
	}
	for name := range m.names {
		if m.files[name] == nil && r.IntN(2) == 0 {
			delete(m.names, name)
		}
	}
	m.files = map[string]*memoryFile{}
	for name, f := range m.names {
		m.files[name] = f
		data := slices.Clone(f.synced)
		switch r.IntN(3) {
		case 0: // nothing else
		case 1:
			data = slices.Clone(f.data)
		case 2: // any pages of it, of 64 bytes
			whole := f.data[:len(f.data)-r.IntN(len(f.data)+1)/4]
			for at := 0; at < len(whole); at += 64 {
				end := min(at+64, len(whole))
				if r.IntN(2) == 0 || end <= len(f.synced) {
					continue
				}
				if len(data) < end {
					data = append(data, make([]byte, end-len(data))...)
				}
				from := max(at, min(len(f.synced), end))
				copy(data[from:end], whole[from:end])
			}
		}
		f.data, f.synced = data, slices.Clone(data)
	}
}

// losePower keeps synced bytes alone.
func (m *memory) losePower() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = maps.Clone(m.names)
	for _, f := range m.files {
		f.data = slices.Clone(f.synced)
	}
}

func (m *memory) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	return names, nil
}

func (m *memory) Create(name string) (File, error) {
	f := &memoryFile{fs: m}
	err := m.operate(func() error {
		m.files[name] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (m *memory) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) OpenReader(name string) (File, error) { return m.Open(name) }

func (m *memory) Remove(name string) error {
	return m.operate(func() error {
		delete(m.files, name)
		delete(m.names, name)
		return nil
	})
}

func (m *memory) SyncDir() error {
	return m.operate(func() error {
		m.names = map[string]*memoryFile{}
		for name, f := range m.files {
			m.names[name] = f
		}
		return nil
	})
}

func (f *memoryFile) ReadAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(b []byte, at int64) (int, error) {
	err := f.fs.operate(func() error {
		end := int(at) + len(b)
		if more := int64(end) - max(f.room, int64(len(f.data))); more > 0 && f.fs.room >= 0 {
			if more > f.fs.room {
				return syscall.ENOSPC
			}
			f.fs.room -= more
		}
		if len(f.data) < end {
			f.data = append(f.data, make([]byte, end-len(f.data))...)
		}
		copy(f.data[at:], b)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Sync makes bytes durable. After a Sync that failed, the bytes of then count as
// written although they are not, as in the page cache of Linux: further ones
// succeed without them.
func (f *memoryFile) Sync() error {
	err := f.fs.operate(func() error {
		synced := slices.Clone(f.data)
		for i := len(f.synced); i < min(len(synced), len(f.clean)); i++ {
			if synced[i] == f.clean[i] {
				synced[i] = 0
			}
		}
		f.synced = synced
		return nil
	})
	if err != nil {
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		if !f.fs.kills { // a process that is killed leaves the cache as it is
			f.clean = slices.Clone(f.data)
		}
	}
	return err
}

func (f *memoryFile) Truncate(size int64) error {
	return f.fs.operate(func() error {
		f.data = f.data[:min(size, int64(len(f.data)))]
		f.clean = f.clean[:min(size, int64(len(f.clean)))]
		return nil
	})
}

func (f *memoryFile) Allocate(size int64) error {
	return f.fs.operate(func() error {
		if f.fs.room >= 0 {
			if size > f.fs.room {
				return syscall.ENOSPC
			}
			f.fs.room -= size
		}
		f.room = size
		return nil
	})
}

func (f *memoryFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memoryFile) Close() error { return nil }
