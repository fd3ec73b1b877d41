package wal

import (
	"errors"
	"fmt"
	"slices"
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

// DamagedError says that entries which were durable are not what they were.
// Nothing was changed.
type DamagedError struct {
	File   string
	Offset int64
	Index  uint64 // the first entry that is damaged or missing
	Err    error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d, from entry %d on: %v. It holds records that were acknowledged and are perhaps not exported yet; "+
		"restore the file, or move it and those behind it away to go on without them", e.File, e.Offset, e.Index, e.Err)
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
// last for writing.
func (l *Log) recover(after uint64) (cut int64, err error) {
	names, err := l.fs.List()
	if err != nil {
		return 0, err
	}
	var firsts []uint64
	for _, name := range names {
		if first, ok := firstOf(name); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	unbegun := "" // the newest file, of which there is nothing
	if n := len(firsts); n > 0 {
		begun, err := l.begun(firsts[n-1])
		if err != nil {
			return 0, err
		}
		if !begun {
			// Its number is the next: the file before it, if any, is whole.
			l.last, unbegun = firsts[n-1]-1, nameOf(firsts[n-1])
			firsts = firsts[:n-1]
		}
	}
	if len(firsts) == 0 {
		if unbegun != "" {
			if err := l.fs.Remove(unbegun); err != nil {
				return 0, err
			}
		}
		l.last = max(l.last, after)
		l.active, err = create(l.fs, l.last+1, l.segment)
		l.files = []file{{first: l.last + 1, size: headerSize}}
		return 0, err
	}
	// A process that was killed may not have come to this for the newest file.
	if err := l.fs.SyncDir(); err != nil {
		return 0, err
	}
	next := firsts[0]
	for i, first := range firsts {
		if first != next {
			return 0, &DamagedError{File: nameOf(next), Index: next, Err: errors.New("the file is missing")}
		}
		last := i == len(firsts)-1
		if next, cut, err = l.check(first, last, last && unbegun == ""); err != nil {
			return 0, err
		}
	}
	if unbegun != "" {
		if next != l.last+1 {
			missing := &DamagedError{File: nameOf(firsts[len(firsts)-1]), Index: next, Err: errors.New("its last entries are missing")}
			return 0, errors.Join(missing, l.active.Close())
		}
		if err := l.fs.Remove(unbegun); err != nil {
			return 0, errors.Join(err, l.active.Close())
		}
	}
	if l.last = next - 1; l.last < after {
		return 0, errors.Join(&BehindError{Last: l.last, After: after}, l.active.Close())
	}
	return cut, nil
}

// begun says whether the newest file has a header, or a crash came before that
// was durable.
func (l *Log) begun(first uint64) (begun bool, err error) {
	f, err := l.fs.Open(nameOf(first))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	header := make([]byte, min(size, headerSize))
	if err := readFull(f, header, 0); err != nil && size > 0 {
		return false, err
	}
	if len(header) == headerSize && slices.ContainsFunc(header, func(b byte) bool { return b != 0 }) {
		return true, nil
	}
	if size > headerSize {
		return true, nil // with entries behind it: check says what is wrong
	}
	return false, nil
}

// check reads a file from its beginning to its end. The last one stays open. A
// tail that may be torn is cut. It returns the index behind the file's entries.
func (l *Log) check(first uint64, last, torn bool) (next uint64, cut int64, err error) {
	name := nameOf(first)
	f, err := l.fs.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if !last || err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if last {
		// What a process wrote that was killed is read here whether it is on disk
		// or not, and from here on it counts as durable.
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
	}
	size, err := f.Size()
	if err != nil {
		return 0, 0, err
	}
	var buffer []byte
	if size < headerSize {
		return 0, 0, &DamagedError{File: name, Index: first, Err: errHeader}
	}
	buffer = room(buffer, headerSize)
	if err := readFull(f, buffer, 0); err != nil {
		return 0, 0, err
	}
	var newer *VersionError
	if err := checkHeader(buffer, first); errors.As(err, &newer) {
		return 0, 0, err
	} else if err != nil {
		return 0, 0, &DamagedError{File: name, Index: first, Err: err}
	}
	offset, index := int64(headerSize), first
	for offset < size {
		fr, b, err := readFrame(f, offset, size, index, buffer)
		buffer = b
		if err != nil && !errors.Is(err, errFrame) {
			return 0, 0, err
		}
		if err != nil {
			break
		}
		offset += frameHeader + int64(fr.length)
		index++
	}
	if offset < size {
		durable, err := durableBehind(f, offset, size, index)
		if err != nil {
			return 0, 0, err
		}
		if !torn || durable {
			return 0, 0, &DamagedError{File: name, Offset: offset, Index: index, Err: errFrame}
		}
		if err := errors.Join(f.Truncate(offset), f.Sync()); err != nil {
			return 0, 0, fmt.Errorf("cut the torn tail of %s: %w", name, err)
		}
		cut = size - offset
	}
	l.files = append(l.files, file{first: first, size: offset})
	if last {
		l.active = f
	}
	return index, cut, nil
}

// durableBehind says whether, behind a frame that is not whole, a whole one
// tells that the place had been durable before it was written.
func durableBehind(f File, offset, size int64, index uint64) (bool, error) {
	const window = 1 << 20
	b := make([]byte, window+frameHeader)
	for at := offset + 1; at+frameHeader <= size; at += window {
		b = b[:min(window+frameHeader, size-at)]
		if err := readFull(f, b, at); err != nil {
			return false, err
		}
		for i := 0; i+frameHeader <= len(b) && i < window; i++ {
			h := parseFrame(b[i:])
			if h.index <= index || h.index-index > 1<<32 || h.synced <= offset || h.synced > at+int64(i) {
				continue
			}
			_, _, err := readFrame(f, at+int64(i), size, h.index, nil)
			if err == nil {
				return true, nil
			}
			if !errors.Is(err, errFrame) {
				return false, err
			}
		}
	}
	return false, nil
}
