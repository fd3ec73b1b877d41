package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// EachIn visits the whole entries of the log in a directory from an index on, in
// order; none when the directory is missing. It changes nothing. While another
// process has the log open, entries may follow, and entries before them may have
// been dropped. A payload is valid until fn returns; an error of fn ends it.
func EachIn(dir string, from uint64, fn func(index uint64, payload []byte) error) error {
	names, err := Dir(dir).List()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.Sort(names)
	var files []uint64 // their first entries
	for _, name := range names {
		if first, ok := firstOf(name); ok {
			files = append(files, first)
		}
	}
	for i, first := range files {
		if i+1 < len(files) && files[i+1] <= from {
			continue
		}
		err := eachIn(filepath.Join(dir, nameOf(first)), first, func(index uint64, payload []byte) error {
			if index < from {
				return nil
			}
			return fn(index, payload)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// eachIn visits the whole entries of a file that begins with entry first.
func eachIn(path string, first uint64, fn func(index uint64, payload []byte) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var buffer []byte
	next := first
	for offset := int64(headerSize); ; next++ {
		fr, b, err := readFrame(f, offset, info.Size(), next, buffer)
		if errors.Is(err, errFrame) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if err := fn(next, b[frameHeader:]); err != nil {
			return err
		}
		buffer, offset = b, offset+frameHeader+int64(fr.length)
	}
}
