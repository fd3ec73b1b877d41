package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// Names of entries.
const (
	headerEntry   = "backup.json"
	checksumEntry = "checksum"
)

// format is the version of the archive that this host writes, and the highest that it
// reads.
const format = 1

// Header is the first entry of a backup.
type Header struct {
	Format  int       `json:"format"`
	Version string    `json:"penstock"`       // of the host that wrote it
	Schema  int       `json:"catalog_schema"` // of the catalog in it
	Catalog string    `json:"catalog"`        // identity of the catalog
	MadeAt  time.Time `json:"made_at"`
}

// NewerError says that a backup was written by a newer version of the host.
type NewerError struct {
	Path         string
	Header       Header
	KnownFormat  int
	KnownSchema  int
	KnownVersion string
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the backup %s was written by penstock %s (format %d, catalog schema %d), and this is penstock %s (format %d, catalog schema %d). "+
		"Nothing was changed: restore it with penstock %s or a later version",
		e.Path, e.Header.Version, e.Header.Format, e.Header.Schema, e.KnownVersion, e.KnownFormat, e.KnownSchema, e.Header.Version)
}

// DamagedError says that a file is not a whole backup.
type DamagedError struct {
	Path, Detail string
	Other        bool // the file does not begin as a backup does
}

func (e *DamagedError) Error() string {
	if e.Other {
		return fmt.Sprintf("%s is not a whole backup of Penstock: %s. Nothing was restored", e.Path, e.Detail)
	}
	return fmt.Sprintf("%s is not a whole backup: %s. Nothing was restored", e.Path, e.Detail)
}

// checksum is the last entry of a backup.
type checksum struct {
	SHA256 string `json:"sha256"`
	Files  int64  `json:"files"`
}

// digest is the running checksum of entries.
type digest struct {
	hash  hash.Hash
	files int64
}

func newDigest() *digest { return &digest{hash: sha256.New()} }

// begin adds an entry without its bytes, which are then written to hash.
func (d *digest) begin(name string, size int64) {
	d.files++
	fmt.Fprintf(d.hash, "%s\x00%d\x00", name, size)
}

func (d *digest) sum() checksum {
	return checksum{SHA256: hex.EncodeToString(d.hash.Sum(nil)), Files: d.files}
}

// archive writes the entries of a backup.
type archive struct {
	tar    *tar.Writer
	digest *digest
	now    time.Time
}

func newArchive(w io.Writer, now time.Time) *archive {
	return &archive{tar: tar.NewWriter(w), digest: newDigest(), now: now}
}

// add writes an entry of the first size bytes of r.
func (a *archive) add(name string, size int64, r io.Reader) error {
	a.digest.begin(name, size)
	return a.write(name, size, io.TeeReader(io.LimitReader(r, size), a.digest.hash))
}

func (a *archive) write(name string, size int64, r io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: a.now, Format: tar.FormatPAX}
	if err := a.tar.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(a.tar, r)
	if err == nil && n < size {
		err = fmt.Errorf("%s: it has %d bytes, and had %d before", name, n, size)
	}
	return err
}

// addJSON writes an entry of v.
func (a *archive) addJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.add(name, int64(len(data)), bytes.NewReader(data))
}

// finish writes the checksum and the end of the archive.
func (a *archive) finish() error {
	data, err := json.Marshal(a.digest.sum())
	if err == nil {
		err = a.write(checksumEntry, int64(len(data)), bytes.NewReader(data))
	}
	if err != nil {
		return err
	}
	return a.tar.Close()
}

// reading reads the entries of a backup.
type reading struct {
	path   string
	tar    *tar.Reader
	digest *digest
	Header Header
}

// maxEntry is the most bytes that the header and the checksum may have.
const maxEntry = 1 << 20

// openReading reads the header. Its error for a file of another kind is a
// *DamagedError.
func openReading(path string, r io.Reader) (*reading, error) {
	x := &reading{path: path, tar: tar.NewReader(r), digest: newDigest()}
	name, size, contents, err := x.next()
	if err != nil {
		return nil, x.begins(err)
	}
	if name != headerEntry {
		return nil, x.begins(x.damaged("it does not begin with " + headerEntry))
	}
	data, err := io.ReadAll(io.LimitReader(contents, maxEntry))
	if err != nil {
		return nil, x.failed(err)
	}
	if int64(len(data)) != size || json.Unmarshal(data, &x.Header) != nil || x.Header.Format < 1 {
		return nil, x.damaged(fmt.Sprintf("%s cannot be read", headerEntry))
	}
	return x, nil
}

func (x *reading) damaged(detail string) error { return &DamagedError{Path: x.path, Detail: detail} }

// begins returns the error of the first entry: a file that has no whole one is hardly a
// backup that was cut off.
func (x *reading) begins(err error) error {
	var damaged *DamagedError
	if !errors.As(err, &damaged) {
		return err
	}
	return &DamagedError{Path: x.path, Detail: "it is another file, or cut off before the end of " + headerEntry, Other: true}
}

// failed returns the error of a read: an end or an archive that is not one is damage.
func (x *reading) failed(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return x.damaged("it is cut off")
	case errors.Is(err, tar.ErrHeader):
		return x.damaged("it is another file, or damaged")
	}
	return fmt.Errorf("read backup %s: %w", x.path, err)
}

// next returns the next entry. Its contents are read wholly before next is called
// again. After the last one, whose checksum was compared, the name is "".
func (x *reading) next() (name string, size int64, contents io.Reader, err error) {
	h, err := x.tar.Next()
	if err != nil {
		return "", 0, nil, x.failed(err)
	}
	if h.Typeflag != tar.TypeReg {
		return "", 0, nil, x.damaged(fmt.Sprintf("%s is not a file", h.Name))
	}
	if h.Name == checksumEntry {
		return "", 0, nil, x.compare()
	}
	x.digest.begin(h.Name, h.Size)
	return h.Name, h.Size, io.TeeReader(x.tar, x.digest.hash), nil
}

// compare compares the checksum with the entries before it.
func (x *reading) compare() error {
	data, err := io.ReadAll(io.LimitReader(x.tar, maxEntry))
	if err != nil {
		return x.failed(err)
	}
	var want checksum
	if err := json.Unmarshal(data, &want); err != nil {
		return x.damaged("its checksum cannot be read")
	}
	if got := x.digest.sum(); got != want {
		return x.damaged(fmt.Sprintf("%d files have the checksum %s, and were written as %d files with %s", got.Files, got.SHA256, want.Files, want.SHA256))
	}
	return nil
}
