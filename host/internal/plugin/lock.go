package plugin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/durable"
)

// LockFile is the name of the file that pins the binaries in its directory.
const LockFile = "plugins.lock"

const (
	lockVersion = 1
	maxLockSize = 1 << 20
	// The lock and the binaries hold no secrets, and the host often does not run
	// as the user who installed them.
	lockMode   = 0o644
	binaryMode = 0o755
)

// Pin is one line of plugins.lock.
type Pin struct {
	File      string `json:"file"`
	Version   string `json:"version,omitempty"` // the plugin's own; empty: it was pinned unseen
	SHA256    string `json:"sha256"`            // lower-case hexadecimal
	Protocols []int  `json:"protocols,omitempty"`
}

// Lock is the content of plugins.lock.
type Lock struct {
	Version int   `json:"version"`
	Plugins []Pin `json:"plugins"`
}

// ParseLock reads a lock file's bytes and checks every pin.
func ParseLock(data []byte) (Lock, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Lock{}, fmt.Errorf("is not valid JSON: %w", err)
	}
	if head.Version != lockVersion {
		return Lock{}, fmt.Errorf("has version %d, this host reads version %d", head.Version, lockVersion)
	}
	var l Lock
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return Lock{}, fmt.Errorf("cannot be read: %w", err)
	}
	seen := make(map[string]bool, len(l.Plugins))
	for _, p := range l.Plugins {
		if _, err := TypeOf(p.File); err != nil {
			return Lock{}, fmt.Errorf("pins a file of a wrong name: %w", err)
		}
		if seen[p.File] {
			return Lock{}, fmt.Errorf("pins %s twice", p.File)
		}
		seen[p.File] = true
		if sum, err := hex.DecodeString(p.SHA256); err != nil || len(sum) != 32 || strings.ToLower(p.SHA256) != p.SHA256 {
			return Lock{}, fmt.Errorf("pins %s by %q, which is not a SHA-256 in lower-case hexadecimal", p.File, p.SHA256)
		}
	}
	return l, nil
}

// Encode gives the lock file's bytes: the same for the same pins in any order.
func (l Lock) Encode() []byte {
	l.Version = lockVersion
	l.Plugins = slices.Clone(l.Plugins)
	slices.SortFunc(l.Plugins, func(a, b Pin) int { return strings.Compare(a.File, b.File) })
	if l.Plugins == nil {
		l.Plugins = []Pin{}
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("plugin: encode lock: %v", err)) // strings and integers only
	}
	return append(data, '\n')
}

// find returns the pin of a file.
func (l Lock) find(file string) (Pin, bool) {
	i := slices.IndexFunc(l.Plugins, func(p Pin) bool { return p.File == file })
	if i < 0 {
		return Pin{}, false
	}
	return l.Plugins[i], true
}

// put returns a copy of the lock in which p replaces the pin of its file.
func (l Lock) put(p Pin) Lock {
	return Lock{Version: lockVersion, Plugins: append(l.without(p.File).Plugins, p)}
}

func (l Lock) without(file string) Lock {
	kept := slices.DeleteFunc(slices.Clone(l.Plugins), func(p Pin) bool { return p.File == file })
	return Lock{Version: lockVersion, Plugins: kept}
}

// readLock reads dir's lock file. A missing file is an empty lock.
func readLock(dir string) (Lock, error) {
	path := filepath.Join(dir, LockFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{Version: lockVersion}, nil
	}
	if err != nil {
		return Lock{}, openError("read plugins.lock", path, err)
	}
	defer f.Close()
	if err := checkFile(path, f); err != nil {
		return Lock{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxLockSize+1))
	if err != nil {
		return Lock{}, fmt.Errorf("read plugins.lock: %w", err)
	}
	if len(data) > maxLockSize {
		return Lock{}, damagedLock(path, fmt.Sprintf("is longer than %d bytes", maxLockSize))
	}
	l, err := ParseLock(data)
	if err != nil {
		return Lock{}, damagedLock(path, err.Error())
	}
	return l, nil
}

// damagedLock returns the error of a lock file that cannot be used.
func damagedLock(path, reason string) error {
	return &RefusedError{
		Path: path, State: Pinned, Reason: reason,
		Remedy: "put a copy of the file back, or if you know where all the plugins in its directory come from, pin them again: penstock plugins trust",
	}
}

// writeLock replaces dir's lock file in one step, synced.
func writeLock(dir string, l Lock) error {
	return writeFile(filepath.Join(dir, LockFile), lockMode, bytes.NewReader(l.Encode()))
}

// writeFile writes a temporary file, syncs it, moves it into place and syncs the
// directory.
func writeFile(path string, mode fs.FileMode, r io.Reader) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if _, err = io.Copy(f, r); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
