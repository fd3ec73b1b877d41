package wal

import (
	"errors"
	iofs "io/fs"
	"slices"
)

// found describes the files of a log.
type found struct {
	files   []file // that were begun, oldest first; sizes without a torn tail
	torn    int64  // bytes behind the entries of the newest
	unbegun string // the newest file when it has no header; "": it has
	last    uint64 // index of the last entry; 0: there was never one, or no file
	mark    uint64 // the last entry that is known to have been acknowledged
	marked  bool   // there is a mark
}

// look reads a log and changes nothing: all of it, or its newest file alone.
// *DamagedError when durable entries are corrupt.
func look(fs FileSystem, all bool) (*found, error) {
	firsts, err := list(fs)
	if err != nil {
		return nil, err
	}
	f := &found{}
	if f.mark, f.marked, err = readMark(fs); err != nil {
		return nil, err
	}
	if n := len(firsts); n > 0 {
		begun, err := begun(fs, firsts[n-1])
		if err != nil {
			return nil, err
		}
		if !begun {
			// Its number is the next: the file before it, if any, is whole.
			f.last, f.unbegun = firsts[n-1]-1, nameOf(firsts[n-1])
			firsts = firsts[:n-1]
		}
	}
	if n := len(firsts); n > 1 && !all {
		firsts = firsts[n-1:]
	}
	end := f.last // of the files that are read, when there is another
	for i, first := range firsts {
		if i > 0 && first != f.last+1 {
			return nil, &DamagedError{File: nameOf(f.last + 1), Index: f.last + 1, Err: errors.New("the file is missing")}
		}
		if err := f.read(fs, first, i == len(firsts)-1 && f.unbegun == ""); err != nil {
			return nil, err
		}
	}
	if n := len(firsts); n > 0 && f.unbegun != "" && f.last != end {
		return nil, &DamagedError{File: nameOf(firsts[n-1]), Index: f.last + 1, Err: errors.New("its last entries are missing")}
	}
	return f, nil
}

// list lists the files of a log by the index of their first entry.
func list(fs FileSystem) ([]uint64, error) {
	names, err := fs.List()
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, name := range names {
		if first, ok := firstOf(name); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// begun reports whether the newest file has a header, or a crash came before
// that was durable.
func begun(fs FileSystem, first uint64) (begun bool, err error) {
	f, err := fs.OpenReader(nameOf(first))
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
	// With entries and no header it is damaged: read says so.
	return size > headerSize, nil
}

// read reads a file from its beginning to its end. Only the newest one may have
// a torn tail.
func (f *found) read(fs FileSystem, first uint64, newest bool) (err error) {
	name := nameOf(first)
	r, err := fs.OpenReader(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	size, err := r.Size()
	if err != nil {
		return err
	}
	if size < headerSize {
		return &DamagedError{File: name, Index: first, Err: errHeader}
	}
	buffer := room(nil, headerSize)
	if err := readFull(r, buffer, 0); err != nil {
		return err
	}
	var newer *VersionError
	if err := checkHeader(buffer, first); errors.As(err, &newer) {
		return err
	} else if err != nil {
		return &DamagedError{File: name, Index: first, Err: err}
	}
	offset, index := int64(headerSize), first
	for offset < size {
		frame, b, err := readFrame(r, offset, size, index, buffer)
		buffer = b
		if errors.Is(err, errFrame) {
			break
		}
		if err != nil {
			return err
		}
		offset += frameHeader + int64(frame.length)
		index++
	}
	if offset < size {
		durable, err := durableBehind(r, offset, size, index)
		if err != nil {
			return err
		}
		if !newest || durable {
			return &DamagedError{File: name, Offset: offset, Index: index, Err: errFrame}
		}
		f.torn = size - offset
	}
	f.files = append(f.files, file{first: first, size: offset})
	f.last = index - 1
	return nil
}

// durableBehind reports whether, behind a frame that is not whole, a whole one
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
