package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// LastIn returns the index of the last whole entry of the log in a directory,
// or 0 when the directory or an entry is missing. It changes nothing. While
// another process has the log open, entries may follow.
func LastIn(dir string) (uint64, error) {
	names, err := Dir(dir).List()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if first, ok := firstOf(name); ok {
			return lastOf(filepath.Join(dir, name), first)
		}
	}
	return 0, nil
}

// lastOf returns the index of the last whole entry of a file that begins with
// entry first; first-1 when the file has none.
func lastOf(path string, first uint64) (last uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var buffer []byte
	next := first
	for offset := int64(headerSize); ; next++ {
		fr, b, err := readFrame(f, offset, info.Size(), next, buffer)
		if errors.Is(err, errFrame) {
			return next - 1, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		buffer, offset = b, offset+frameHeader+int64(fr.length)
	}
}
