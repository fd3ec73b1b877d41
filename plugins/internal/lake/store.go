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
	// ErrNotFound is returned for an object that does not exist.
	ErrNotFound = errors.New("no such object")
	// ErrConflict is returned by a conditional call if the object is not at the
	// expected version. The call itself may have caused that: a client that loses
	// the answer to a conditional write sends it again, and the second request
	// fails on the result of the first. Callers read the object back before they
	// conclude that another writer was there.
	ErrConflict = errors.New("the object has changed in between")
	// ErrAborted is returned if the service no longer has the bytes of an upload:
	// another writer has ended it, or an earlier request finished it and its
	// answer was lost. Callers read the object back, as after ErrConflict.
	ErrAborted = errors.New("the upload was ended by another writer")
)

// Version identifies one state of one object, in a form that only its Store
// interprets. The empty version stands for an object that does not exist.
type Version string

// Object is one entry of a listing.
type Object struct {
	Name string
	Size int64
}

// Info is the state of an object.
type Info struct {
	Version Version
	Size    int64 // bytes
	// Sums are the checksums of the whole object that the service itself computed
	// or compared when the object was written. A store returns no checksum that
	// the writer alone vouches for, such as one in the object's metadata.
	Sums Sums
}

// Sums are checksums of bytes as they are stored. nil: not known. A lake reads
// an object whose service keeps neither of them to compare it.
type Sums struct {
	CRC32  *uint32 // IEEE
	CRC32C *uint32 // Castagnoli
}

// Attempt identifies one attempt at one run among all writers of a target. Two
// attempts are never equal, even on two hosts that were restored from the same
// backup and therefore use the same run and fence.
type Attempt struct {
	Run, Fence int64
	// Nonce is random: 13 letters and digits.
	Nonce string
}

// NewAttempt returns the identity of a new attempt, with a random nonce.
func NewAttempt(run, fence int64) Attempt {
	return Attempt{Run: run, Fence: fence, Nonce: strings.ToLower(rand.Text()[:13])}
}

// String returns the form for block ids and temporary names: lower-case letters,
// digits and hyphens. All attempts have the same length, 47, because the block
// ids of one Azure blob must have equal length.
func (a Attempt) String() string { return fmt.Sprintf("%016x-%016x-%s", a.Run, a.Fence, a.Nonce) }

// Store is a flat space of named objects. Names are paths with slashes and
// never start with one. The effect of a completed call is durable, and visible
// to every later call of any process. All methods may be called concurrently, by
// any number of processes. Every call ends within a bounded time.
//
// Conditional calls may return ErrConflict or ErrAborted for a write of their
// own; see these errors. Package laketest holds the tests of fences and faults,
// which each implementation runs over its service.
type Store interface {
	// Create starts an object. Readers see nothing under name before Finish,
	// which shows the whole object and replaces any other. ctx governs the upload
	// until then. A small object may stay in memory until it is finished.
	//
	// Two attempts may write the same name at the same time: the object then has
	// all bytes of one of them. The last Finish that returned nil wins; Finish of
	// the other may return ErrAborted.
	Create(ctx context.Context, name string, by Attempt) (Upload, error)
	// Replace starts the next state of an object. Switch puts it in place of the
	// state prev, which comes from Fence, Read or WriteIf; an empty prev means
	// that the object does not exist. ctx governs the replacement until it is
	// switched. The store may use names under AsideDir(name) until then.
	Replace(ctx context.Context, name string, prev Version, by Attempt) (Replacement, error)
	// Fence ends all replacements of name that were sealed before the call, by any
	// process: their Switch fails from now on, and the bytes that they stored are
	// freed. It returns the object's version, from which the caller's own
	// replacement starts. Fence may also end a replacement that is not sealed yet.
	Fence(ctx context.Context, name string, by Attempt) (Version, error)
	// Read returns at most limit bytes from the start of an object, which is durable then,
	// whichever process has put it there.
	Read(ctx context.Context, name string, limit int64) ([]byte, Version, error)
	// Stat returns the state of an object without reading it.
	Stat(ctx context.Context, name string) (Info, error)
	// ReadRange returns the n bytes of an object from offset on, fewer at the
	// object's end. It returns ErrConflict if the object is not at the version,
	// so that several calls read one state of the object. n is at most 16 MiB.
	ReadRange(ctx context.Context, name string, at Version, offset, n int64) ([]byte, error)
	// WriteIf writes a small object atomically if it is still at prev, and returns
	// its new version.
	WriteIf(ctx context.Context, name string, data []byte, prev Version) (Version, error)
	// List calls yield for the objects whose names start with prefix, ordered by
	// name; unless deep is set, only for names without a further slash. Unfinished
	// uploads are not listed. An error of yield ends the list and is returned.
	List(ctx context.Context, prefix string, deep bool, yield func(Object) error) error
	// Delete removes objects. A name that does not exist is not an error.
	Delete(ctx context.Context, names []string) error
}

// UploadEnder is implemented by a Store whose service can list the unfinished
// uploads of Create. Ending them frees space early, and keeps a zombie from
// finishing an object of a run that was given up. The Lake's guarantees do not
// depend on it.
type UploadEnder interface {
	// EndUploads ends the unfinished uploads whose names start with prefix and
	// match, whichever process started them. Finish of one of them returns
	// ErrAborted.
	EndUploads(ctx context.Context, prefix string, match func(name string) bool) error
}

// Upload is an object that one goroutine is writing. Finish or Abort ends it;
// Abort after either does nothing.
type Upload interface {
	// Write takes all bytes or fails. After an error only Abort may be called.
	io.Writer
	// Finish shows the whole object under its name and replaces any other.
	Finish(ctx context.Context) error
	// Abort drops the upload and the bytes that it has stored, at once or when the
	// service drops those of unfinished uploads.
	Abort(ctx context.Context) error
}

// Replacement is the next state of an object, written by one goroutine. The
// calls are Write, any number of times, then Seal, then Switch. Switch or Abort
// ends it; Abort after either does nothing.
type Replacement interface {
	// Write takes all bytes or fails. After an error only Abort may be called.
	io.Writer
	// Seal makes all written bytes durable; readers do not see them yet. From then
	// on a Fence of the name makes Switch fail.
	Seal(ctx context.Context) error
	// Switch makes the sealed bytes the state of the object, atomically for all
	// readers. It returns ErrConflict if the object is not at the version that
	// Replace was given, and ErrConflict or ErrAborted after a Fence. The object
	// is unchanged then.
	Switch(ctx context.Context) error
	// Abort drops the replacement and the bytes that it has stored.
	Abort(ctx context.Context) error
}

// AsideDir returns the directory where a Store may keep its own objects while
// name is replaced. Query engines do not read it, and one listing finds all
// objects in it.
//
//	7/mp_people_data/p-id.json.gz is written aside in
//	7/_penstock/mp_people_data/aside/p-id.json.gz/
//	7/mp_master_event/2026/06/01/p-id-00000001-0001.json.gz is written aside in
//	7/_penstock/mp_master_event/aside/2026/06/01/p-id-00000001-0001.json.gz/
func AsideDir(name string) string {
	dir, rest := path.Split(name)
	if stream, i := streamIn(name); i >= 0 {
		end := i + len(streamDirs[stream]) + 1
		dir, rest = name[:end], name[end:]
	}
	parent, stream := path.Split(strings.TrimSuffix(dir, "/"))
	return parent + path.Join(manifestDir, stream, asideDir, rest) + "/"
}
