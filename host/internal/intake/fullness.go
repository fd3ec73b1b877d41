package intake

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// logFile is the size of a file of a collector's write-ahead log, in bytes. The log reserves
// all of it on the disk when it begins a file.
const logFile = 16 << 20

// fullPause is the least time that a collector is not ready after a request that found the
// disk full. The disk may report room that the host cannot use, under a quota for example.
const fullPause = 10 * time.Second

// needRoom adds to an error of a full disk the room that a write-ahead log needs.
func needRoom(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return fmt.Errorf("%w: a new file of the write-ahead log needs %d MiB", err, logFile>>20)
}

// fullness is the error of the last append to a log if the disk was full. The zero value
// stands for room. It may be used concurrently.
type fullness struct{ last atomic.Pointer[fullDisk] }

// fullDisk is a moment at which the disk was full.
type fullDisk struct {
	err error
	at  time.Time
}

// note takes over the outcome of an append.
func (f *fullness) note(err error, now time.Time) {
	switch {
	case errors.Is(err, wal.ErrFull):
		f.last.Store(&fullDisk{err, now})
	case err == nil && f.last.Load() != nil:
		f.last.Store(nil)
	}
}

// lasts returns the error of the last append if the disk was full, and may still be: less
// than fullPause has passed, or the disk has no room for a file of the log. A load balancer
// that asks for readiness sends no request that would show the room.
func (f *fullness) lasts(dir string, now time.Time) error {
	last := f.last.Load()
	if last == nil || now.Sub(last.at) >= fullPause && hasRoom(dir) {
		return nil
	}
	return last.err
}

// hasRoom reports whether the disk of a log has room for a new file of it. A disk that cannot
// be looked at counts as one with room.
func hasRoom(dir string) bool {
	disk, err := datadir.DiskOf(dir)
	return err != nil || disk.Free >= logFile
}

// reception is the log of a collector as its handler sees it: it takes rows, and knows whether
// it can. It may be used concurrently.
type reception struct {
	dir  *logDir
	log  *rowlog.Log
	full fullness
}

// Append implements collector.Log.
func (r *reception) Append(ctx context.Context, parts []rowlog.Part, data []byte, marks []rowmark.Mark) error {
	err := needRoom(r.log.Append(ctx, parts, data, marks))
	r.full.note(err, r.dir.o.Now())
	if errors.Is(err, wal.ErrFull) {
		return r.dir.o.Dir.ExplainRetried(err)
	}
	return err
}

// ready returns why the log takes no rows now; nil: it does.
func (r *reception) ready() error {
	err := r.log.Err()
	if err == nil {
		err = r.full.lasts(r.dir.dir, r.dir.o.Now())
	}
	return r.dir.o.Dir.ExplainRetried(err)
}

// lastError is the error of the last attempt. It may be used concurrently.
type lastError struct{ last atomic.Pointer[error] }

func (e *lastError) set(err error) { e.last.Store(&err) }

// get returns nil before the first attempt.
func (e *lastError) get() error {
	if err := e.last.Load(); err != nil {
		return *err
	}
	return nil
}
