package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// account counts a source's entries by reason. Reading all of them takes long:
// a source whose files are as they were when its counts were kept is known at
// once, any other is read when somebody asks.
type account struct {
	known   bool             // entries holds
	entries map[string]int64 // in files
	over    map[string]int64 // only counted, beyond the cap
	changed bool             // since the counts were kept
}

// indexFile keeps a source's counts. It says nothing that its other files do
// not: who removes it loses nothing.
const indexFile = "index.json"

// kept is the content of indexFile.
type kept struct {
	Fingerprint string           `json:"fingerprint"`
	Counts      map[string]int64 `json:"counts"`
}

// openAccount reads what is kept of a directory whose files have a fingerprint.
func openAccount(dir, fingerprint string) (*account, error) {
	over, err := readCounts(dir)
	if err != nil {
		return nil, err
	}
	a := &account{over: over, entries: map[string]int64{}}
	data, err := os.ReadFile(filepath.Join(dir, indexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	var k kept
	if json.Unmarshal(data, &k) == nil && k.Fingerprint == fingerprint && k.Counts != nil {
		a.known, a.entries = true, k.Counts
	}
	return a, nil
}

// keep writes the index.
func (a *account) keep(dir string) error {
	if !a.known || !a.changed {
		return nil
	}
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was set aside
	}
	if err != nil {
		return err
	}
	mark := newFingerprint()
	for _, d := range found {
		if !strings.HasSuffix(d.Name(), extension) {
			continue
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mark.add(info)
	}
	data, err := json.Marshal(kept{Fingerprint: mark.sum(), Counts: a.entries})
	if err != nil {
		return err
	}
	a.changed = false
	return write(dir, indexFile, data)
}

func (a *account) add(reason string, n int64) {
	a.changed = true
	if a.entries[reason] += n; a.entries[reason] == 0 {
		delete(a.entries, reason)
	}
}

// forget takes off what a file counts, before it is removed or replaced. One
// that cannot be read leaves the source to be counted anew.
func (a *account) forget(path string) {
	if !a.known {
		return
	}
	counts, err := countFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.known = false
	}
	for reason, n := range counts {
		a.add(reason, -n)
	}
}

// learn counts the entries of a directory, unless they are known.
func (a *account) learn(dir string, files []string) error {
	if a.known {
		return nil
	}
	a.entries = map[string]int64{}
	for _, file := range files {
		counts, err := countFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		for reason, n := range counts {
			a.add(reason, n)
		}
	}
	a.known = true
	return nil
}

// include adds what a file counts that has come to its place.
func (a *account) include(path string) {
	counts, err := countFile(path)
	if err != nil {
		a.known = false
	}
	for reason, n := range counts {
		a.add(reason, n)
	}
}

// countFile counts a file's entries by reason.
func countFile(path string) (map[string]int64, error) {
	counts := map[string]int64{}
	_, err := eachLine(path, func(_ int, l line) bool {
		if l.Counted == nil {
			counts[l.Reason]++
		}
		for reason, n := range l.Counted {
			counts[reason] += n
		}
		return true
	})
	return counts, err
}

// count adds to what was only counted.
func (a *account) count(dir string, entries []Entry) error {
	counts := map[string]int64{}
	for reason, n := range a.over {
		counts[reason] = n
	}
	for _, e := range entries {
		counts[e.Reason]++
	}
	data, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	if err := write(dir, countsFile, data); err != nil {
		return err
	}
	a.over = counts
	return nil
}

func readCounts(dir string) (map[string]int64, error) {
	counts := map[string]int64{}
	data, err := os.ReadFile(filepath.Join(dir, countsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return counts, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &counts); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, countsFile), err)
	}
	return counts, nil
}

// fingerprint tells a directory's entry files, in the order of their names,
// from others.
type fingerprint struct{ hash.Hash }

func newFingerprint() fingerprint { return fingerprint{sha256.New()} }

func (f fingerprint) add(info fs.FileInfo) {
	fmt.Fprintf(f, "%q %d %d\n", info.Name(), info.Size(), info.ModTime().UnixNano())
}

func (f fingerprint) sum() string { return hex.EncodeToString(f.Sum(nil)) }
