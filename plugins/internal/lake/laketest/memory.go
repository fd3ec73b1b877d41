package laketest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// ErrInjected is the error of a call that was made to fail.
var ErrInjected = errors.New("injected fault")

// Memory is a Store in memory. Its calls are counted, and one of them can be
// made to fail before it has done anything, or after: a lost answer.
type Memory struct {
	mu      sync.Mutex
	objects map[string]memoryObject
	uploads map[*memoryUpload]bool
	serial  int

	calls int
	// FailAt is the call that fails, from 1; 0: none.
	FailAt int
	// FailAfter lets the call that fails do its work first.
	FailAfter bool
	// Failed says that FailAt was reached.
	Failed bool
	// Observe, when set, is called after every change.
	Observe func(*Memory)
}

type memoryObject struct {
	data    []byte
	version lake.Version
}

type memoryUpload struct {
	store *Memory
	name  string
	data  []byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{objects: make(map[string]memoryObject), uploads: make(map[*memoryUpload]bool)}
}

// Objects returns a copy of all objects by name.
func (m *Memory) Objects() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot()
}

func (m *Memory) snapshot() map[string]string {
	all := make(map[string]string, len(m.objects))
	for name, o := range m.objects {
		all[name] = string(o.data)
	}
	return all
}

// Uploads returns how many uploads are unfinished.
func (m *Memory) Uploads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.uploads)
}

// call does f under the lock, with the fault that is due.
func (m *Memory) call(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	fail := m.calls == m.FailAt
	m.Failed = m.Failed || fail
	if fail && !m.FailAfter {
		return ErrInjected
	}
	err := f()
	if m.Observe != nil {
		m.mu.Unlock()
		m.Observe(m)
		m.mu.Lock()
	}
	if fail {
		return ErrInjected
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
func (m *Memory) Create(_ context.Context, name string) (lake.Upload, error) {
	u := &memoryUpload{store: m, name: name}
	return u, m.call(func() error {
		m.uploads[u] = true
		return nil
	})
}

// CreateFenced implements lake.Store.
func (m *Memory) CreateFenced(ctx context.Context, name string) (lake.Upload, error) {
	return m.Create(ctx, name)
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
	if err != nil {
		return nil, "", err
	}
	return data, v, nil
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
	if err != nil {
		return "", err
	}
	return v, nil
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
		err := m.call(func() error {
			delete(m.objects, name)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// AbortUploads implements lake.Store.
func (m *Memory) AbortUploads(_ context.Context, prefix string, match func(string) bool) error {
	return m.call(func() error {
		for u := range m.uploads {
			if strings.HasPrefix(u.name, prefix) && match(u.name) {
				delete(m.uploads, u)
			}
		}
		return nil
	})
}

// Write implements lake.Upload.
func (u *memoryUpload) Write(p []byte) (int, error) {
	err := u.store.call(func() error {
		u.data = append(u.data, p...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Finish implements lake.Upload.
func (u *memoryUpload) Finish(context.Context) error {
	return u.store.call(func() error { return u.finish() })
}

func (u *memoryUpload) finish() error {
	if !u.store.uploads[u] {
		return lake.ErrAborted
	}
	u.store.set(u.name, u.data)
	delete(u.store.uploads, u)
	return nil
}

// FinishIf implements lake.Upload.
func (u *memoryUpload) FinishIf(_ context.Context, prev lake.Version) error {
	return u.store.call(func() error {
		if u.store.objects[u.name].version != prev {
			return lake.ErrConflict
		}
		return u.finish()
	})
}

// Abort implements lake.Upload.
func (u *memoryUpload) Abort(context.Context) error {
	return u.store.call(func() error {
		delete(u.store.uploads, u)
		return nil
	})
}

// Calls returns how many calls there were.
func (m *Memory) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}
