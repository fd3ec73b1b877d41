package lake

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Errors that a Store returns, wrapped or bare. Every other error already
// carries one of the sdk's classes.
var (
	// ErrNotFound says that there is no object of that name.
	ErrNotFound = errors.New("no such object")
	// ErrConflict says that the object is not at the version that was named. It
	// may have been moved on by the very call that returns the error: a client
	// that lost the answer to a conditional write sends the write again, and the
	// second one finds what the first has done. Callers read the object back
	// before they believe that another writer was there.
	ErrConflict = errors.New("the object has changed in between")
	// ErrAborted says that the service no longer has the bytes of an upload:
	// another writer has ended it, or it was finished before and the answer was
	// lost. Callers read the object back, as they do with ErrConflict.
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

// Attempt identifies one attempt at one run among all writers of a target. No
// two attempts are equal, not even those of two hosts that were restored from
// one backup and have the same run and fence.
type Attempt struct {
	Run, Fence int64
	// Nonce is random: 13 letters and digits.
	Nonce string
}

// NewAttempt makes the identity of a new attempt.
func NewAttempt(run, fence int64) Attempt {
	return Attempt{Run: run, Fence: fence, Nonce: strings.ToLower(rand.Text()[:13])}
}

// String is the form for block ids and temporary names: lower-case letters,
// digits and hyphens, of the same length (47) for all attempts, as the block
// ids of one Azure blob must be.
func (a Attempt) String() string { return fmt.Sprintf("%016x-%016x-%s", a.Run, a.Fence, a.Nonce) }

// Store is a flat space of named objects. Names are paths with slashes and
// never start with one. What a call has finished is durable and is seen by
// every later call of any process. All methods may be called concurrently, by
// any number of processes. Every call ends within a bounded time.
//
// The conditional calls may return ErrConflict or ErrAborted for a write that
// was their own; see there. The package's tests of fences and faults, which
// each implementation runs over its service, are in laketest.
type Store interface {
	// Create starts an object. Nothing is visible under name before Finish,
	// which makes it visible whole, in place of any other. ctx governs the
	// upload until then. A small one may stay in memory until it is finished.
	//
	// Two attempts may write one name at one time, in turns: an object is all
	// of one or all of the other. The last that Finish returned nil for stays;
	// Finish of the other may return ErrAborted.
	Create(ctx context.Context, name string, by Attempt) (Upload, error)
	// Replace starts the next state of an object, which takes the place of the
	// state prev when it is switched; an empty prev says that there is none. prev
	// comes from Fence, Read or WriteIf. ctx governs the replacement until it is
	// switched. Names under AsideDir(name) may be used on the way.
	Replace(ctx context.Context, name string, prev Version, by Attempt) (Replacement, error)
	// Fence sees to it that no replacement of name that was sealed before the
	// call, by any process, can be switched after it, and frees what such
	// replacements have stored. It returns the object's version, from which the
	// caller's own replacement starts. A replacement that is not sealed yet may
	// be ended or not.
	Fence(ctx context.Context, name string, by Attempt) (Version, error)
	// Read returns at most limit bytes from the start of an object.
	Read(ctx context.Context, name string, limit int64) ([]byte, Version, error)
	// WriteIf writes a small object whole, in one instant, if it is still at
	// prev.
	WriteIf(ctx context.Context, name string, data []byte, prev Version) (Version, error)
	// List yields the objects whose names start with prefix, ordered by name;
	// only those without a further slash unless deep. Unfinished uploads are
	// not among them. An error of yield ends the list and is returned.
	List(ctx context.Context, prefix string, deep bool, yield func(Object) error) error
	// Delete removes objects; those that do not exist are no error.
	Delete(ctx context.Context, names []string) error
}

// UploadEnder is a Store whose service can list what Create has started and
// nobody has finished. It frees space early and spares the next attempt a
// zombie's object; nothing relies on it.
type UploadEnder interface {
	// EndUploads ends the unfinished uploads whose names start with prefix and
	// match, whichever process started them. Finish of one of them returns
	// ErrAborted.
	EndUploads(ctx context.Context, prefix string, match func(name string) bool) error
}

// Upload is an object that is being written, by one goroutine. Either
// Finish or Abort ends it; Abort after either does nothing.
type Upload interface {
	// Write takes over the bytes; an error is final.
	io.Writer
	// Finish makes the object visible, whole, in place of any other.
	Finish(ctx context.Context) error
	// Abort drops the upload and what it has stored.
	Abort(ctx context.Context) error
}

// Replacement is the next state of an object, written by one goroutine. Its
// calls are Write any number of times, Seal, Switch. Switch or Abort ends it;
// Abort after either does nothing.
type Replacement interface {
	// Write takes over the bytes; an error is final.
	io.Writer
	// Seal makes everything that was written durable, still unseen. From then on
	// a Fence of the name makes Switch fail.
	Seal(ctx context.Context) error
	// Switch makes the sealed bytes the object's state, in one instant for every
	// reader. It returns ErrConflict when the object is not at the version that
	// Replace was given, and ErrConflict or ErrAborted behind a Fence; the
	// object then stays as it is.
	Switch(ctx context.Context) error
	// Abort drops the replacement and what it has stored.
	Abort(ctx context.Context) error
}

// AsideDir is where a Store may keep objects of its own on the way to name: no
// query engine reads it, and one listing finds all of them.
//
//	7/mp_people_data/p-id.json.gz is written aside in 7/_penstock/mp_people_data/aside/p-id.json.gz/
func AsideDir(name string) string {
	dir, base := path.Split(name)
	parent, stream := path.Split(strings.TrimSuffix(dir, "/"))
	return parent + path.Join(manifestDir, stream, "aside", base) + "/"
}
