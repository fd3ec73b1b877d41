package wal

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const suffix = ".wal"

// nameOf is the name of the file whose first entry has an index.
func nameOf(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

func firstOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil
}

// DamagedError says that durable entries are corrupt or missing.
// Nothing was changed.
type DamagedError struct {
	File   string
	Offset int64
	Index  uint64 // the first entry that is damaged or missing
	Err    error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d, from entry %d on: %v. It holds records that were acknowledged and are perhaps not exported yet; "+
		"restore the file, or move it and all later files away to go on without them", e.File, e.Offset, e.Index, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// create begins a file. It is durable, with its name, when create returns.
func create(fs FileSystem, first uint64, segment int64) (_ File, err error) {
	name := nameOf(first)
	f, err := fs.Create(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), fs.Remove(name))
		}
	}()
	// A disk that is nearly full says so here, and not between two writes.
	if err := f.Allocate(segment); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(appendHeader(nil, first), 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return f, fs.SyncDir()
}

// BehindError says that a log ends before an entry that is in the journal: new
// entries would have indexes of earlier ones, and be passed over.
type BehindError struct{ Last, After uint64 }

func (e *BehindError) Error() string {
	return fmt.Sprintf("the log ends with entry %d, and entry %d is in the journal already: the log is an older copy, or its newest files are missing; "+
		"restore them, or move all of its files away to go on without them", e.Last, e.After)
}

// recover finds the log's files, checks them, cuts a torn tail, and opens the
// last for writing. Nothing is changed before lost has returned.
func (l *Log) recover(after uint64, lost func(Loss) error) (cut int64, err error) {
	found, err := look(l.fs, true)
	if err != nil {
		return 0, err
	}
	if found.last < after && len(found.files) > 0 {
		return 0, &BehindError{Last: found.last, After: after}
	}
	loss := found.loss(after)
	if loss != nil && lost != nil {
		if err := lost(*loss); err != nil {
			return 0, err
		}
	}
	if found.unbegun != "" {
		if err := l.fs.Remove(found.unbegun); err != nil {
			return 0, err
		}
	}
	l.last = max(found.last, after)
	if len(found.files) == 0 {
		l.files = []file{{first: l.last + 1, size: headerSize}}
		l.active, err = create(l.fs, l.last+1, l.segment)
	} else {
		l.files, cut = found.files, found.torn
		err = l.reopen(cut, loss != nil)
	}
	if err != nil {
		return 0, err
	}
	if l.mark, err = openMark(l.fs, l.last); err != nil {
		return 0, errors.Join(err, l.active.Close())
	}
	return cut, nil
}

// cutSuffix ends the names of files with bytes that were cut from a log although
// they were acknowledged.
const cutSuffix = ".cut"

// reopen opens the newest file for writing after its entries, and cuts a torn
// tail. With keep the tail is copied to a file of its own first.
func (l *Log) reopen(torn int64, keep bool) error {
	newest := l.files[len(l.files)-1]
	name := nameOf(newest.first)
	f, err := l.fs.Open(name)
	if err != nil {
		return err
	}
	if torn > 0 && keep {
		err = l.keep(name+cutSuffix, io.NewSectionReader(f, newest.size, torn))
	}
	if torn > 0 && err == nil {
		err = f.Truncate(newest.size)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cut the torn tail of %s: %w", name, err), f.Close())
	}
	// Entries of a process that was killed were read, on disk or not, and so was
	// the name of the file: from here on they count as durable.
	if err := errors.Join(f.Sync(), l.fs.SyncDir()); err != nil {
		return errors.Join(err, f.Close())
	}
	l.active = f
	return nil
}

// keep copies bytes to a file, durably.
func (l *Log) keep(name string, r io.Reader) error {
	f, err := l.fs.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), r)
	return errors.Join(err, f.Sync(), f.Close())
}
