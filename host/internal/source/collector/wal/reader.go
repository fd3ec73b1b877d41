package wal

import (
	"context"
	"errors"
	"fmt"
)

// Reader reads entries in order and waits for those that are to come. It is
// for one goroutine; the caller closes it.
type Reader struct {
	log    *Log
	next   uint64
	file   File
	first  uint64 // of the open file
	offset int64
	buffer []byte
}

// Read returns a reader whose first entry has the given index, or the first
// that the log still has if that is later.
func (l *Log) Read(from uint64) *Reader { return &Reader{log: l, next: from} }

// Next returns the next entry, valid until the next call. It waits for one, also
// while the log is broken; after the last entry of a closed log it returns
// ErrClosed.
func (r *Reader) Next(ctx context.Context) (index uint64, payload []byte, err error) {
	for {
		size, err := r.await(ctx)
		if err != nil {
			return 0, nil, err
		}
		if r.offset >= size {
			// The file is read to its end, and the entry is in the next.
			r.shut()
			continue
		}
		f, b, err := readFrame(r.file, r.offset, size, r.next, r.buffer)
		r.buffer = b
		if err != nil {
			if errors.Is(err, errFrame) {
				err = &DamagedError{File: nameOf(r.first), Offset: r.offset, Index: r.next, Err: err}
			}
			return 0, nil, fmt.Errorf("read write-ahead log: %w", err)
		}
		r.offset += frameHeader + int64(f.length)
		index = r.next
		r.next++
		return index, b[frameHeader:], nil
	}
}

// await waits until the next entry is durable, and opens its file. It returns
// how much of that is durable.
func (r *Reader) await(ctx context.Context) (int64, error) {
	for {
		r.log.mu.Lock()
		files, last, changed, failure := r.log.files, r.log.last, r.log.changed, r.log.err
		if r.next < files[0].first {
			r.next = files[0].first
			r.shut()
		}
		if r.next <= last {
			defer r.log.mu.Unlock()
			return r.open(files)
		}
		r.log.mu.Unlock()
		if errors.Is(failure, ErrClosed) {
			return 0, failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// open opens the file of the next entry, unless it is the open one. The log's
// mutex is held, so that no Drop comes in between.
func (r *Reader) open(files []file) (int64, error) {
	at := len(files) - 1
	for at > 0 && files[at].first > r.next {
		at--
	}
	if r.file != nil {
		for _, f := range files {
			if f.first == r.first {
				return f.size, nil
			}
		}
		r.shut() // it was dropped
	}
	f, err := r.log.fs.Open(nameOf(files[at].first))
	if err != nil {
		return 0, fmt.Errorf("read write-ahead log: %w", err)
	}
	r.file, r.first, r.offset = f, files[at].first, headerSize
	// Entries before the next are passed over.
	for index := r.first; index < r.next; index++ {
		fr, b, err := readFrame(f, r.offset, files[at].size, index, r.buffer)
		r.buffer = b
		if err != nil {
			return 0, fmt.Errorf("read write-ahead log: %w", &DamagedError{File: nameOf(r.first), Offset: r.offset, Index: index, Err: err})
		}
		r.offset += frameHeader + int64(fr.length)
	}
	return files[at].size, nil
}

func (r *Reader) shut() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}

// Close closes the reader.
func (r *Reader) Close() { r.shut() }
