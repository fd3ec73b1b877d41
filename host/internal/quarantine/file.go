package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/host/internal/durable"
)

const (
	temporary = ".tmp-"   // begins the names of files that are being written
	extension = ".ndjson" // ends the names of files of entries
)

// Span is a part of a source's position.
type Span struct {
	Position string // "events/a.ndjson"
	From, To int64
}

// contains reports whether a file that begins at from is replaced when the span
// is read again: an earlier reading may have cut it into other pieces.
func (s Span) contains(from int64) bool { return from == s.From || from > s.From && from < s.To }

// positionPrefix begins the names of a position's files.
func positionPrefix(position string) string {
	sum := sha256.Sum256([]byte(position))
	return hex.EncodeToString(sum[:10])
}

// spanName names the file of a span that begins at from.
func spanName(prefix string, from int64) string {
	return fmt.Sprintf("%s-%016x%s", prefix, from, extension)
}

// parseSpan is the inverse of spanName; ok is false for other files.
func parseSpan(name string) (prefix string, from int64, ok bool) {
	name, isEntries := strings.CutSuffix(name, extension)
	i := strings.LastIndexByte(name, '-')
	if !isEntries || i < 0 || len(name)-i != 17 {
		return "", 0, false
	}
	from, err := strconv.ParseInt(name[i+1:], 16, 64)
	return name[:i], from, err == nil
}

// create begins a file of a source's directory, which is made when it is
// missing, as is the store's.
func create(dir string) (*os.File, error) {
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := makeDir(d); err != nil {
			return nil, err
		}
	}
	return os.CreateTemp(dir, temporary)
}

// makeDir makes a directory durably, unless it is there.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(dir)); err != nil {
		return errors.Join(err, os.Remove(dir)) // it would pass for one whose name is durable
	}
	return nil
}

// place closes a file that create began and puts it in its place durably, or
// removes it.
func place(f *os.File, path string) error {
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.SyncDir(filepath.Dir(path))
}

// discard closes and removes a file that create began.
func discard(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// fileSize returns a file's size, or 0 when there is none.
func fileSize(path string) (int64, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
