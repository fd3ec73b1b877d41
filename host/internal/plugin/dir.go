package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Prefix begins the file name of every destination plugin's binary.
const Prefix = "penstock-destination-"

var typeName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// TypeOf gives the destination type of a binary's file name.
func TypeOf(file string) (string, error) {
	name, ok := strings.CutPrefix(file, Prefix)
	if !ok || !typeName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a plugin: it should be %s<type>, a type being [a-z][a-z0-9_]*", file, Prefix)
	}
	return name, nil
}

// State compares a binary with its pin in plugins.lock.
type State string

// The states.
const (
	Pinned   State = "pinned"   // there, with the checksum that is pinned
	Unpinned State = "unpinned" // there, but not in plugins.lock
	Changed  State = "changed"  // there, with another checksum
	Missing  State = "missing"  // pinned, but not there
	Refused  State = "refused"  // there and pinned, but not started, for another reason
)

// Entry is one plugin of a directory.
type Entry struct {
	Type      string `json:"type"`
	File      string `json:"file"`
	State     State  `json:"state"`
	Version   string `json:"version,omitempty"`   // as pinned
	SHA256    string `json:"sha256,omitempty"`    // of the file; empty when it is missing
	Pinned    string `json:"pinned,omitempty"`    // as pinned
	Protocols []int  `json:"protocols,omitempty"` // as pinned
	Problem   string `json:"problem,omitempty"`   // why a start would be refused, and what to do
}

// Dir is a plugin directory. It keeps no file open and reads the disk at each
// call. Of two changes by two processes at the same time, one is lost.
type Dir struct {
	path string
	// probe runs a verified binary and asks for its version; may be nil.
	probe Prober
	sums  *sums // of binaries that Open has read
}

// Prober runs a binary that a person has just decided to trust and returns
// its version and the protocol versions it speaks.
type Prober func(ctx context.Context, b *Binary) (version string, protocols []int, err error)

// NewDir names a plugin directory; nothing is read yet. Without probe, pins
// are written without version and protocol versions.
func NewDir(path string, probe Prober) *Dir { return &Dir{path: path, probe: probe, sums: &opened} }

// Path is the directory as it was given.
func (d *Dir) Path() string { return d.path }

// List returns an entry for each binary in the directory and each pin in its lock,
// by type. It fails when the directory or the lock cannot be read or is refused; a
// problem of a single binary is in its entry.
func (d *Dir) List() ([]Entry, error) {
	dir, lock, err := d.open()
	if err != nil {
		return nil, err
	}
	names, err := pluginFiles(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range lock.Plugins {
		if !slices.Contains(names, p.File) {
			names = append(names, p.File)
		}
	}
	slices.Sort(names)
	entries := make([]Entry, 0, len(names))
	for _, name := range names {
		entries = append(entries, entry(dir, lock, name))
	}
	return entries, nil
}

// Open verifies the binary of a destination type against its pin and returns
// it open: the bytes that are executed later are the bytes that were verified. The
// caller closes it.
func (d *Dir) Open(typ string) (*Binary, error) {
	dir, lock, err := d.open()
	if err != nil {
		return nil, err
	}
	file := Prefix + typ
	pin, pinned := lock.find(file)
	b, err := openBinary(filepath.Join(dir, file), d.sums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(dir, typ, pinned)
	}
	if err != nil {
		return nil, err
	}
	if err := verdict(b, pin, pinned); err != nil {
		_ = b.Close()
		return nil, err
	}
	b.Pin = pin
	return b, nil
}

// Pin returns the pin of a type in plugins.lock, without reading the binary.
func (d *Dir) Pin(typ string) (Pin, bool, error) {
	_, lock, err := d.open()
	if err != nil {
		return Pin{}, false, err
	}
	pin, ok := lock.find(Prefix + typ)
	return pin, ok, nil
}

func (d *Dir) open() (string, Lock, error) {
	dir, err := checkDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", Lock{}, &RefusedError{
			Path: d.path, State: Missing, Reason: "does not exist",
			Remedy: "set plugin_dir in the host block to the directory that holds the plugins",
		}
	}
	if err != nil {
		return "", Lock{}, err
	}
	lock, err := readLock(dir)
	return dir, lock, err
}

func pluginFiles(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list plugin directory: %w", err)
	}
	var names []string
	for _, e := range all {
		if _, err := TypeOf(e.Name()); err == nil && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func entry(dir string, lock Lock, file string) Entry {
	pin, pinned := lock.find(file)
	e := Entry{Type: strings.TrimPrefix(file, Prefix), File: file, Version: pin.Version, Pinned: pin.SHA256, Protocols: pin.Protocols}
	e.State = Pinned
	if !pinned {
		e.State = Unpinned
	}
	b, err := openBinary(filepath.Join(dir, file), nil)
	switch {
	case err == nil:
		defer b.Close()
		e.SHA256 = b.SHA256
		err = verdict(b, pin, pinned)
	case errors.Is(err, fs.ErrNotExist):
		err = missing(dir, e.Type, pinned)
	}
	if err == nil {
		return e
	}
	e.Problem = err.Error()
	var refused *RefusedError
	switch {
	case errors.As(err, &refused) && refused.State != Pinned:
		e.State = refused.State
	case pinned:
		e.State = Refused
	}
	return e
}

// verdict returns nil for a binary that may be run, else a *RefusedError.
func verdict(b *Binary, pin Pin, pinned bool) error {
	typ := strings.TrimPrefix(filepath.Base(b.Path), Prefix)
	switch {
	case !pinned:
		return &RefusedError{
			Path: b.Path, State: Unpinned, Reason: "is not pinned in " + LockFile,
			Remedy: fmt.Sprintf("if you know where it comes from, run: penstock plugins trust %s", typ),
		}
	case pin.SHA256 != b.SHA256:
		return &RefusedError{
			Path: b.Path, State: Changed,
			Reason: fmt.Sprintf("has changed: its SHA-256 is %s, pinned is %s", b.SHA256, pin.SHA256),
			Remedy: fmt.Sprintf("put the pinned file back, or if you replaced it yourself, run: penstock plugins trust %s", typ),
		}
	}
	return executable(b)
}

// executable refuses a binary that no user may execute.
func executable(b *Binary) error {
	info, err := b.f.Stat()
	if err != nil {
		return fmt.Errorf("open plugin: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o111 == 0 {
		return &RefusedError{
			Path: b.Path, State: Pinned, Reason: fmt.Sprintf("is not executable (mode %04o)", mode), Remedy: "run: chmod +x " + b.Path,
		}
	}
	return nil
}

func missing(dir, typ string, pinned bool) error {
	e := &RefusedError{
		Path: filepath.Join(dir, Prefix+typ), State: Missing, Reason: "does not exist",
		Remedy: "check the destination's type and plugin_dir, or run: penstock plugins install FILE",
	}
	if pinned {
		e.Reason = "is pinned in " + LockFile + " but does not exist"
	}
	return e
}

// Binary is a plugin's file, open and hashed.
type Binary struct {
	Path   string
	SHA256 string
	Pin    Pin // zero when it was not opened through its pin

	f *os.File
}

// Type is the destination type in the file's name.
func (b *Binary) Type() string { return strings.TrimPrefix(filepath.Base(b.Path), Prefix) }

// Close closes the file. A process that was started from it runs on.
func (b *Binary) Close() error { return b.f.Close() }

// openBinary opens a binary and reads it to compute its checksum, unless known
// remembers the checksum of this unchanged file. known may be nil. This open file
// is executed later, whatever its path names then.
func openBinary(path string, known *sums) (*Binary, error) {
	f, err := openChecked(path)
	if err != nil {
		return nil, err
	}
	if sum := known.get(path, f); sum != "" {
		return &Binary{Path: path, SHA256: sum, f: f}, nil
	}
	began := time.Now()
	before, _ := identify(f)
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("read plugin %s: %w", path, err)
	}
	b := &Binary{Path: path, SHA256: hex.EncodeToString(h.Sum(nil)), f: f}
	if after, ok := identify(f); ok && before == after {
		known.put(path, b.SHA256, after, began)
	}
	return b, nil
}

func openChecked(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, openError("open plugin", path, err)
	}
	if err := checkFile(path, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
