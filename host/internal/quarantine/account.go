package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Count counts the records of a source that were refused for one reason.
type Count struct {
	Entries   int64 `json:"entries,omitempty"`   // in files
	Truncated int64 `json:"truncated,omitempty"` // of Entries: only the beginning of the record is kept
	Counted   int64 `json:"counted,omitempty"`   // beyond a cap: nothing of the record is kept
}

// Total is the number of records that were refused and not replayed since.
func (c Count) Total() int64 { return c.Entries + c.Counted }

func (c Count) plus(o Count) Count {
	return Count{c.Entries + o.Entries, c.Truncated + o.Truncated, c.Counted + o.Counted}
}

func (c Count) minus(o Count) Count {
	return Count{c.Entries - o.Entries, c.Truncated - o.Truncated, c.Counted - o.Counted}
}

// account counts a source's entries by reason. Reading all of them takes long:
// a source whose files are as they were when its counts were stored is known at
// once, any other is read when its counts are asked for.
type account struct {
	known   bool             // counts is complete
	counts  map[string]Count // of files
	over    map[string]int64 // counted beyond the store's cap; in countsFile
	changed bool             // counts differs from indexFile
}

func newAccount() *account {
	return &account{known: true, counts: map[string]Count{}, over: map[string]int64{}}
}

// indexFile keeps a source's counts. It says nothing that its other files do
// not: who removes it loses nothing.
const indexFile = "index.json"

// indexVersion grows when kept changes. An index of another version counts as
// none.
const indexVersion = 2

// kept is the content of indexFile.
type kept struct {
	Version     int              `json:"version"`
	Fingerprint string           `json:"fingerprint"`
	Counts      map[string]Count `json:"counts"`
}

// openAccount reads what is kept of a directory whose files have a fingerprint.
func openAccount(dir, fingerprint string) (*account, error) {
	over, err := readCounts(dir)
	if err != nil {
		return nil, err
	}
	a := newAccount()
	a.known, a.over = false, over
	data, err := os.ReadFile(filepath.Join(dir, indexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	var k kept
	if json.Unmarshal(data, &k) == nil && k.Version == indexVersion && k.Fingerprint == fingerprint && k.Counts != nil {
		a.known, a.counts = true, k.Counts
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
	data, err := json.Marshal(kept{Version: indexVersion, Fingerprint: mark.sum(), Counts: a.counts})
	if err != nil {
		return err
	}
	a.changed = false
	return writeFile(dir, indexFile, data)
}

func (a *account) add(counts map[string]Count) {
	for reason, n := range counts {
		a.set(reason, a.counts[reason].plus(n))
	}
}

func (a *account) set(reason string, n Count) {
	a.changed = true
	if a.counts[reason] = n; n == (Count{}) {
		delete(a.counts, reason)
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
		a.set(reason, a.counts[reason].minus(n))
	}
}

// learn counts the entries of a directory, unless they are known.
func (a *account) learn(dir string, files []string) error {
	if a.known {
		return nil
	}
	a.counts = map[string]Count{}
	for _, file := range files {
		counts, err := countFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		a.add(counts)
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
	a.add(counts)
}

// countFile counts a file's entries by reason.
func countFile(path string) (map[string]Count, error) {
	counts := map[string]Count{}
	_, err := eachLine(path, func(_ int, data []byte) (bool, error) { return true, tally(data, counts) })
	return counts, err
}

// count adds to what is counted beyond the cap, durably.
func (a *account) count(dir string, over map[string]int64) error {
	counts := maps.Clone(a.over)
	for reason, n := range over {
		counts[reason] += n
	}
	data, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	if err := writeFile(dir, countsFile, data); err != nil {
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
