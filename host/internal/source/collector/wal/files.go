package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/host/internal/durable"
	"github.com/penstock-io/penstock/host/internal/private"
)

// FileSystem is the directory that a log lies in.
type FileSystem interface {
	// List returns the names of the files.
	List() ([]string, error)
	// Create makes an empty file, in the place of one that is there.
	Create(name string) (File, error)
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	// OpenReader opens a file for reading alone.
	OpenReader(name string) (File, error)
	// Remove removes a file, durably.
	Remove(name string) error
	// SyncDir makes the names of files durable.
	SyncDir() error
}

// File is a file of a log.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes written bytes durable.
	Sync() error
	Truncate(size int64) error
	// Allocate reserves room for a file of size bytes, whose size it does not
	// change; where that is not to be had it does nothing.
	Allocate(size int64) error
	Size() (int64, error)
	Close() error
}

// Dir is a directory of the operating system.
type Dir string

// OpenDir returns the directory, which is made when it is missing.
func OpenDir(path string) (Dir, error) {
	if err := durable.MakeDir(path); err != nil {
		return "", fmt.Errorf("open write-ahead log: %w", err)
	}
	return Dir(path), nil
}

// List implements FileSystem.
func (d Dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Create implements FileSystem.
func (d Dir) Create(name string) (File, error) {
	f, err := private.OpenFile(filepath.Join(string(d), name), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	return local{f}, nil
}

// Open implements FileSystem.
func (d Dir) Open(name string) (File, error) {
	f, err := private.OpenFile(filepath.Join(string(d), name), os.O_RDWR)
	if err != nil {
		return nil, err
	}
	return local{f}, nil
}

// OpenReader implements FileSystem.
func (d Dir) OpenReader(name string) (File, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	return local{f}, nil
}

// Remove implements FileSystem.
func (d Dir) Remove(name string) error {
	if err := os.Remove(filepath.Join(string(d), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return d.SyncDir()
}

// SyncDir implements FileSystem.
func (d Dir) SyncDir() error { return durable.SyncDir(string(d)) }

type local struct{ *os.File }

func (f local) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
