package laketest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// Service selects how a Memory treats uploads that are not visible yet. Each
// value imitates one of the services that stores are built on.
type Service int

// The services.
const (
	// Handles imitates S3 and file systems: each upload has a handle that can be
	// listed and ended. Fence ends the object's uploads.
	Handles Service = iota
	// Aside imitates GCS: uploads cannot be listed. Seal stores the replacement as
	// an object in lake.AsideDir; Fence deletes it and changes the version of the
	// replaced object.
	Aside
	// Blocks imitates Azure: uncommitted blocks belong to the object's name, and a
	// commit discards the blocks of all other uploads of the name. Fence discards
	// all of them and changes the version of the object.
	Blocks
)

// Services returns all services by name.
func Services() map[string]Service {
	return map[string]Service{"handles": Handles, "aside": Aside, "blocks": Blocks}
}

// Memory is a Store in memory.
type Memory struct {
	service Service

	mu      sync.Mutex
	objects map[string]memoryObject
	uploads map[*memoryUpload]bool              // unfinished uploads with a handle
	blocks  map[string]map[string]*memoryUpload // uncommitted, by name and attempt
	serial  int

	// Observe is called after every call of the store, without its lock; nil: not.
	Observe func(*Memory)
}

type memoryObject struct {
	data    []byte
	version lake.Version
}

// NewMemory returns an empty store that imitates the service Handles.
func NewMemory() *Memory { return NewMemoryLike(Handles) }

// NewMemoryLike returns an empty store that imitates the given service.
func NewMemoryLike(service Service) *Memory {
	return &Memory{
		service: service, objects: make(map[string]memoryObject),
		uploads: make(map[*memoryUpload]bool), blocks: make(map[string]map[string]*memoryUpload),
	}
}

// Objects returns a copy of all objects by name.
func (m *Memory) Objects() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]string, len(m.objects))
	for name, o := range m.objects {
		all[name] = string(o.data)
	}
	return all
}

// AsStore returns the memory as a store with only the methods that its service
// supports: Aside does not implement lake.UploadEnder.
func (m *Memory) AsStore() lake.Store {
	if m.service == Aside {
		return struct{ lake.Store }{m}
	}
	return m
}

// Uploads returns the number of unfinished uploads that the service can list.
func (m *Memory) Uploads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.service == Aside {
		return 0
	}
	n := len(m.uploads)
	for _, blocks := range m.blocks {
		n += len(blocks)
	}
	return n
}

// call calls f with the lock held, and then Observe without it.
func (m *Memory) call(f func() error) error {
	m.mu.Lock()
	err := f()
	m.mu.Unlock()
	if m.Observe != nil {
		m.Observe(m)
	}
	return err
}

func (m *Memory) set(name string, data []byte) lake.Version {
	m.serial++
	v := lake.Version(fmt.Sprint(m.serial))
	m.objects[name] = memoryObject{data: slices.Clone(data), version: v}
	return v
}

// Create implements lake.Store.
func (m *Memory) Create(_ context.Context, name string, by lake.Attempt) (lake.Upload, error) {
	u := &memoryUpload{store: m, name: name, by: by.String()}
	return u, m.call(func() error { return u.begin() })
}

// Replace implements lake.Store.
func (m *Memory) Replace(_ context.Context, name string, prev lake.Version, by lake.Attempt) (lake.Replacement, error) {
	u := &memoryUpload{store: m, name: name, by: by.String(), prev: prev}
	return u, m.call(func() error { return u.begin() })
}

// Fence implements lake.Store.
func (m *Memory) Fence(_ context.Context, name string, _ lake.Attempt) (v lake.Version, err error) {
	err = m.call(func() error {
		switch m.service {
		case Handles:
			m.end(func(of string) bool { return of == name })
		case Aside:
			for aside := range m.objects {
				if strings.HasPrefix(aside, lake.AsideDir(name)) {
					delete(m.objects, aside)
				}
			}
		case Blocks:
			delete(m.blocks, name)
		}
		if o, ok := m.objects[name]; ok && m.service != Handles {
			m.set(name, o.data)
		}
		v = m.objects[name].version
		return nil
	})
	return v, err
}

// Read implements lake.Store.
func (m *Memory) Read(_ context.Context, name string, limit int64) (data []byte, v lake.Version, err error) {
	err = m.call(func() error {
		o, ok := m.objects[name]
		if !ok {
			return lake.ErrNotFound
		}
		data, v = slices.Clone(o.data[:min(int64(len(o.data)), limit)]), o.version
		return nil
	})
	return data, v, err
}

// Stat implements lake.Store. Like the services that it imitates, Handles keeps
// the CRC-32 of an object, Aside the CRC-32C, and Blocks no checksum.
func (m *Memory) Stat(_ context.Context, name string) (info lake.Info, err error) {
	err = m.call(func() error {
		o, ok := m.objects[name]
		if !ok {
			return lake.ErrNotFound
		}
		info = lake.Info{Version: o.version, Size: int64(len(o.data))}
		switch m.service {
		case Handles:
			sum := crc32.ChecksumIEEE(o.data)
			info.Sums.CRC32 = &sum
		case Aside:
			sum := crc32.Checksum(o.data, crc32.MakeTable(crc32.Castagnoli))
			info.Sums.CRC32C = &sum
		}
		return nil
	})
	return info, err
}

// ReadRange implements lake.Store.
func (m *Memory) ReadRange(_ context.Context, name string, at lake.Version, offset, n int64) (data []byte, err error) {
	err = m.call(func() error {
		o, ok := m.objects[name]
		switch size := int64(len(o.data)); {
		case !ok:
			return lake.ErrNotFound
		case o.version != at:
			return lake.ErrConflict
		default:
			data = slices.Clone(o.data[min(offset, size):min(offset+n, size)])
		}
		return nil
	})
	return data, err
}

// WriteIf implements lake.Store.
func (m *Memory) WriteIf(_ context.Context, name string, data []byte, prev lake.Version) (v lake.Version, err error) {
	err = m.call(func() error {
		if m.objects[name].version != prev {
			return lake.ErrConflict
		}
		v = m.set(name, data)
		return nil
	})
	return v, err
}

// List implements lake.Store.
func (m *Memory) List(_ context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	var found []lake.Object
	err := m.call(func() error {
		for name, o := range m.objects {
			rest, ok := strings.CutPrefix(name, prefix)
			if ok && (deep || !strings.Contains(rest, "/")) {
				found = append(found, lake.Object{Name: name, Size: int64(len(o.data))})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b lake.Object) int { return strings.Compare(a.Name, b.Name) })
	for _, o := range found {
		if err := yield(o); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements lake.Store.
func (m *Memory) Delete(_ context.Context, names []string) error {
	for _, name := range names {
		if err := m.call(func() error { delete(m.objects, name); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// EndUploads implements lake.UploadEnder. It does nothing for a service that
// cannot list uploads.
func (m *Memory) EndUploads(_ context.Context, prefix string, match func(string) bool) error {
	return m.call(func() error {
		m.end(func(name string) bool { return strings.HasPrefix(name, prefix) && match(name) })
		return nil
	})
}

func (m *Memory) end(match func(name string) bool) {
	for u := range m.uploads {
		if m.service == Handles && match(u.name) {
			delete(m.uploads, u)
		}
	}
	for name := range m.blocks {
		if match(name) {
			delete(m.blocks, name)
		}
	}
}

// memoryUpload is a lake.Upload and a lake.Replacement.
type memoryUpload struct {
	store *Memory
	name  string
	by    string
	prev  lake.Version
	data  []byte
	ended bool
}

// begin registers the upload, if its service has handles.
func (u *memoryUpload) begin() error {
	if u.store.service != Blocks {
		u.store.uploads[u] = true
	}
	return nil
}

// Write implements io.Writer. Blocks of one name are kept apart by attempt.
func (u *memoryUpload) Write(p []byte) (int, error) {
	err := u.store.call(func() error {
		first := u.data == nil
		u.data = append(u.data, p...)
		if first { // otherwise earlier blocks may be gone, and the commit must fail
			u.block()
		}
		return nil
	})
	return len(p), err
}

// block registers the upload's first uncommitted block.
func (u *memoryUpload) block() {
	if u.store.service != Blocks {
		return
	}
	if u.store.blocks[u.name] == nil {
		u.store.blocks[u.name] = make(map[string]*memoryUpload)
	}
	u.store.blocks[u.name][u.by] = u
}

// there reports whether the service still has the written bytes.
func (u *memoryUpload) there() bool {
	if u.store.service == Blocks {
		return u.data == nil || u.store.blocks[u.name][u.by] == u
	}
	return u.store.uploads[u]
}

// forget removes the upload from the service. A commit also discards the blocks
// of all other uploads of the name.
func (u *memoryUpload) forget(committed bool) {
	u.ended = true
	delete(u.store.uploads, u)
	if committed {
		delete(u.store.blocks, u.name)
	} else if u.store.blocks[u.name][u.by] == u {
		delete(u.store.blocks[u.name], u.by)
	}
}

// Finish implements lake.Upload.
func (u *memoryUpload) Finish(context.Context) error {
	return u.store.call(func() error {
		if !u.there() {
			return lake.ErrAborted
		}
		u.store.set(u.name, u.data)
		u.forget(true)
		return nil
	})
}

func (u *memoryUpload) aside() string { return lake.AsideDir(u.name) + u.by }

// Seal implements lake.Replacement.
func (u *memoryUpload) Seal(context.Context) error {
	return u.store.call(func() error {
		if !u.there() {
			return lake.ErrAborted
		}
		if u.data == nil {
			u.data = []byte{}
			u.block()
		}
		if u.store.service == Aside {
			u.store.set(u.aside(), u.data)
			delete(u.store.uploads, u)
		}
		return nil
	})
}

// Switch implements lake.Replacement.
func (u *memoryUpload) Switch(context.Context) error {
	return u.store.call(func() error {
		if u.store.objects[u.name].version != u.prev {
			return lake.ErrConflict
		}
		_, aside := u.store.objects[u.aside()]
		if u.store.service == Aside && !aside || u.store.service != Aside && !u.there() {
			return lake.ErrAborted
		}
		u.store.set(u.name, u.data)
		delete(u.store.objects, u.aside())
		u.forget(true)
		return nil
	})
}

// Abort implements lake.Upload.
func (u *memoryUpload) Abort(context.Context) error {
	return u.store.call(func() error {
		if !u.ended {
			delete(u.store.objects, u.aside())
			u.forget(false)
		}
		return nil
	})
}

// ErrInjected is the error that Faults returns.
var ErrInjected = errors.New("injected fault")
