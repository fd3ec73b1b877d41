package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/host/internal/durable"
)

// Install copies a binary into the directory under its own name and pins the
// copy. The copy is run once, to learn its version and that it is a plugin at
// all; when that fails, nothing is left changed.
func (d *Dir) Install(ctx context.Context, source string) (Entry, error) {
	file := filepath.Base(source)
	if _, err := TypeOf(file); err != nil {
		return Entry{}, err
	}
	dir, lock, err := d.open()
	if err != nil {
		return Entry{}, err
	}
	src, err := os.Open(source)
	if err != nil {
		return Entry{}, fmt.Errorf("install plugin: %w", err)
	}
	defer src.Close()
	if info, err := src.Stat(); err != nil || !info.Mode().IsRegular() {
		return Entry{}, errors.Join(fmt.Errorf("install plugin: %s is not a regular file", source), err)
	}

	// The copy is tried in a directory of its own, so that a plugin that is in
	// use stays as it is until the new one has shown that it works.
	aside, err := os.MkdirTemp(dir, ".install-")
	if err != nil {
		return Entry{}, fmt.Errorf("install plugin: %w", err)
	}
	defer os.RemoveAll(aside)
	copied := filepath.Join(aside, file)
	if err := writeFile(copied, binaryMode, src); err != nil {
		return Entry{}, err
	}
	pin, err := d.makePin(ctx, copied)
	if err != nil {
		return Entry{}, err
	}
	// Lock first: between the two steps a host sees "changed" and refuses. It
	// never sees a binary without a pin.
	if err := writeLock(dir, lock.put(pin)); err != nil {
		return Entry{}, err
	}
	if err := os.Rename(copied, filepath.Join(dir, file)); err != nil {
		return Entry{}, fmt.Errorf("install plugin: %w", err)
	}
	if err := durable.SyncDir(dir); err != nil {
		return Entry{}, fmt.Errorf("install plugin: %w", err)
	}
	return entry(dir, lock.put(pin), file), nil
}

// Trust pins the binary of a type as it is in the directory. It is run
// once, to learn its version; when that fails, the lock stays as it was.
func (d *Dir) Trust(ctx context.Context, typ string) (Entry, error) {
	dir, lock, err := d.open()
	if err != nil {
		return Entry{}, err
	}
	file := Prefix + typ
	if _, err := TypeOf(file); err != nil {
		return Entry{}, err
	}
	pin, err := d.makePin(ctx, filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, missing(dir, typ, false)
	}
	if err != nil {
		return Entry{}, err
	}
	if err := writeLock(dir, lock.put(pin)); err != nil {
		return Entry{}, err
	}
	return entry(dir, lock.put(pin), file), nil
}

// Remove deletes a type's binary and its pin. Either may be missing.
func (d *Dir) Remove(typ string) error {
	dir, lock, err := d.open()
	if err != nil {
		return err
	}
	file := Prefix + typ
	if _, err := TypeOf(file); err != nil {
		return err
	}
	_, pinned := lock.find(file)
	err = os.Remove(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) && !pinned {
		return missing(dir, typ, false)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove plugin: %w", err)
	}
	return writeLock(dir, lock.without(file))
}

// WriteLock pins every plugin that is in the directory and drops all other pins. A
// build calls it for the plugins that it has just built.
func (d *Dir) WriteLock(ctx context.Context) ([]Entry, error) {
	dir, err := checkDir(d.path)
	if err != nil {
		return nil, err
	}
	files, err := pluginFiles(dir)
	if err != nil {
		return nil, err
	}
	var lock Lock
	for _, file := range files {
		pin, err := d.makePin(ctx, filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		lock.Plugins = append(lock.Plugins, pin)
	}
	if err := writeLock(dir, lock); err != nil {
		return nil, err
	}
	return d.List()
}

func (d *Dir) makePin(ctx context.Context, path string) (Pin, error) {
	b, err := openBinary(path, nil)
	if err != nil {
		return Pin{}, err
	}
	defer b.Close()
	pin := Pin{File: filepath.Base(path), SHA256: b.SHA256}
	if d.probe == nil {
		return pin, nil
	}
	if pin.Version, pin.Protocols, err = d.probe(ctx, b); err != nil {
		return Pin{}, fmt.Errorf("pin %s: %w", pin.File, err)
	}
	return pin, nil
}
