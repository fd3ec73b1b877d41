package laketest

import (
	"context"
	"sync"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// Fault is a way in which a call fails.
type Fault int

// The faults.
const (
	// Refused fails the call before it has done anything.
	Refused Fault = iota
	// LostAnswer makes the call and then returns an error.
	LostAnswer
	// Repeated makes the call twice, as a client does that has lost the first
	// answer, and returns the outcome of the second. It applies only to calls that
	// a client may send again.
	Repeated
)

// Faults is a Store that wraps another one. It counts all calls, including those
// of uploads, and makes one of them fail.
type Faults struct {
	lake.Store
	fault Fault

	mu     sync.Mutex
	failAt int
	calls  int
	failed bool
}

// NewFaults returns a store over s whose call number failAt fails; the first call
// is 1. 0: no call fails.
func NewFaults(s lake.Store, failAt int, fault Fault) *Faults {
	return &Faults{Store: s, fault: fault, failAt: failAt}
}

// Failed reports whether the call that fails was reached.
func (f *Faults) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// due counts a call and reports whether that call must fail.
func (f *Faults) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	due := f.calls == f.failAt
	f.failed = f.failed || due
	return due
}

// call makes a call that a client may send again by itself.
func (f *Faults) call(do func() error) error {
	if !f.due() {
		return do()
	}
	if f.fault == Refused {
		return ErrInjected
	}
	err := do()
	switch {
	case f.fault == LostAnswer:
		return ErrInjected
	case err == nil:
		return do()
	default:
		return err
	}
}

// once makes a call that a client never sends again by itself.
func (f *Faults) once(do func() error) error {
	if due := f.due(); due && f.fault == Refused {
		return ErrInjected
	} else if err := do(); err != nil || !due || f.fault == Repeated {
		return err
	}
	return ErrInjected
}

// Create implements lake.Store.
func (f *Faults) Create(ctx context.Context, name string, by lake.Attempt) (u lake.Upload, err error) {
	err = f.once(func() (err error) {
		u, err = f.Store.Create(ctx, name, by)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &faultyUpload{f, u}, nil
}

// Replace implements lake.Store.
func (f *Faults) Replace(ctx context.Context, name string, prev lake.Version, by lake.Attempt) (r lake.Replacement, err error) {
	err = f.once(func() (err error) {
		r, err = f.Store.Replace(ctx, name, prev, by)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &faultyReplacement{f, r}, nil
}

// Fence implements lake.Store.
func (f *Faults) Fence(ctx context.Context, name string, by lake.Attempt) (v lake.Version, err error) {
	err = f.call(func() (err error) {
		v, err = f.Store.Fence(ctx, name, by)
		return err
	})
	return v, err
}

// Read implements lake.Store.
func (f *Faults) Read(ctx context.Context, name string, limit int64) (data []byte, v lake.Version, err error) {
	err = f.call(func() (err error) {
		data, v, err = f.Store.Read(ctx, name, limit)
		return err
	})
	return data, v, err
}

// Stat implements lake.Store.
func (f *Faults) Stat(ctx context.Context, name string) (info lake.Info, err error) {
	err = f.call(func() (err error) {
		info, err = f.Store.Stat(ctx, name)
		return err
	})
	return info, err
}

// ReadRange implements lake.Store.
func (f *Faults) ReadRange(ctx context.Context, name string, at lake.Version, offset, n int64) (data []byte, err error) {
	err = f.call(func() (err error) {
		data, err = f.Store.ReadRange(ctx, name, at, offset, n)
		return err
	})
	return data, err
}

// WriteIf implements lake.Store.
func (f *Faults) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (v lake.Version, err error) {
	err = f.call(func() (err error) {
		v, err = f.Store.WriteIf(ctx, name, data, prev)
		return err
	})
	return v, err
}

// List implements lake.Store.
func (f *Faults) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	return f.once(func() error { return f.Store.List(ctx, prefix, deep, yield) })
}

// Delete implements lake.Store.
func (f *Faults) Delete(ctx context.Context, names []string) error {
	return f.call(func() error { return f.Store.Delete(ctx, names) })
}

// EndUploads implements lake.UploadEnder. It does nothing if the wrapped store
// does not implement it.
func (f *Faults) EndUploads(ctx context.Context, prefix string, match func(string) bool) error {
	ender, ok := f.Store.(lake.UploadEnder)
	if !ok {
		return nil
	}
	return f.call(func() error { return ender.EndUploads(ctx, prefix, match) })
}

type faultyUpload struct {
	faults *Faults
	upload lake.Upload
}

// Write implements lake.Upload.
func (u *faultyUpload) Write(p []byte) (n int, err error) {
	err = u.faults.once(func() (err error) {
		n, err = u.upload.Write(p)
		return err
	})
	return n, err
}

// Finish implements lake.Upload.
func (u *faultyUpload) Finish(ctx context.Context) error {
	return u.faults.once(func() error { return u.upload.Finish(ctx) })
}

// Abort implements lake.Upload.
func (u *faultyUpload) Abort(ctx context.Context) error {
	return u.faults.once(func() error { return u.upload.Abort(ctx) })
}

type faultyReplacement struct {
	faults      *Faults
	replacement lake.Replacement
}

// Write implements lake.Replacement.
func (r *faultyReplacement) Write(p []byte) (n int, err error) {
	err = r.faults.once(func() (err error) {
		n, err = r.replacement.Write(p)
		return err
	})
	return n, err
}

// Seal implements lake.Replacement.
func (r *faultyReplacement) Seal(ctx context.Context) error {
	return r.faults.once(func() error { return r.replacement.Seal(ctx) })
}

// Switch implements lake.Replacement.
func (r *faultyReplacement) Switch(ctx context.Context) error {
	return r.faults.call(func() error { return r.replacement.Switch(ctx) })
}

// Abort implements lake.Replacement.
func (r *faultyReplacement) Abort(ctx context.Context) error {
	return r.faults.once(func() error { return r.replacement.Abort(ctx) })
}
