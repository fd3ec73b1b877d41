package lake

import (
	"context"
	"errors"
	"io"
)

// Errors that a Store returns, wrapped or bare. Every other error already
// carries one of the sdk's classes.
var (
	// ErrNotFound says that there is no object of that name.
	ErrNotFound = errors.New("no such object")
	// ErrConflict says that the object is not at the version that was named.
	ErrConflict = errors.New("the object has changed in between")
	// ErrAborted says that an upload was ended by AbortUploads.
	ErrAborted = errors.New("the upload was ended by another writer")
)

// Version is one state of one object, as the store tells it apart from
// others. The empty version stands for an object that does not exist.
type Version string

// Object is what a list says of an object.
type Object struct {
	Name string
	Size int64
}

// Store is a flat space of named objects. Names are paths with slashes and
// never start with one. What a call has finished is durable and is seen by
// every later call of any process. All methods may be called concurrently.
type Store interface {
	// Create starts an object. Nothing is visible under name before the
	// upload is finished. ctx governs the upload until then. A small one may
	// stay in memory until it is finished.
	Create(ctx context.Context, name string) (Upload, error)
	// CreateFenced is Create for an upload that is known to the store when it
	// returns, whatever its size, so that AbortUploads ends it.
	CreateFenced(ctx context.Context, name string) (Upload, error)
	// Read returns at most limit bytes from the start of an object.
	Read(ctx context.Context, name string, limit int64) ([]byte, Version, error)
	// WriteIf writes a small object whole if it is still at prev.
	WriteIf(ctx context.Context, name string, data []byte, prev Version) (Version, error)
	// List yields the objects whose names start with prefix, ordered by name;
	// only those without a further slash unless deep. Unfinished uploads are
	// not among them. An error of yield ends the list and is returned.
	List(ctx context.Context, prefix string, deep bool, yield func(Object) error) error
	// Delete removes objects; those that do not exist are no error.
	Delete(ctx context.Context, names []string) error
	// AbortUploads ends the unfinished uploads that the store knows, whose
	// names start with prefix and match, whichever process started them. To
	// finish one of them fails with ErrAborted.
	AbortUploads(ctx context.Context, prefix string, match func(name string) bool) error
}

// Upload is an object that is being written, by one goroutine. Either
// finishing or Abort ends it; Abort after either does nothing.
type Upload interface {
	// Write takes over the bytes; an error is final.
	io.Writer
	// Finish makes the object visible, whole, in place of any other.
	Finish(ctx context.Context) error
	// FinishIf is Finish if the object is still at prev; for fenced uploads.
	FinishIf(ctx context.Context, prev Version) error
	// Abort drops the upload.
	Abort(ctx context.Context) error
}
