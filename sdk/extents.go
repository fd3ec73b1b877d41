package sdk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/penstock-io/penstock/sdk/internal/crashpoint"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// extents reads the payloads whose places the host sends in place of their bytes.
// It belongs to one attempt, and is for its goroutine. A nil *extents reads nothing.
//
// The host runs on the same machine as the same user, so that the directory can be
// opened as a rule. It cannot be in a plugin that a wrapper starts in a container:
// the host then sends payloads.
type extents struct {
	dir      *os.Root
	files    []extentFile // open; the last used is the last
	payload  []byte       // of the last extent
	consumed uint64       // bytes of the extents before the last one since the last Taken
	last     uint64       // bytes of the last extent, which its reader may still use
}

// extentFile is an open file below the directory of extents.
type extentFile struct {
	name string
	*os.File
}

// mostExtentFiles is how many files stay open: those of a run of the default size. Each
// partition of a run has extents in all of them as a rule.
const mostExtentFiles = 64

// openExtents opens the directory that a host offers. It returns nil for the empty
// path, and for one that cannot be opened.
func openExtents(path string) (*extents, error) {
	if path == "" {
		return nil, nil
	}
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("the directory of extents %q is not absolute", path)
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the directory of extents: %w", err)
	}
	return &extents{dir: dir}, nil
}

// read returns the payload at a place, valid until the next call.
func (x *extents) read(at protocol.Extent, crc32c uint32) ([]byte, error) {
	if x == nil {
		return nil, Permanent(errors.New("batch has an extent, and Opened did not ask for extents"))
	}
	crashpoint.Here("plugin.extent")
	payload, err := x.bytes(at)
	if err != nil {
		return nil, unread(err)
	}
	if sum := protocol.PayloadCRC32C(payload); sum != crc32c {
		return nil, unread(fmt.Errorf("the %d bytes at %d of %s have CRC-32C %08x, not %08x", at.Length, at.Offset, at.File, sum, crc32c))
	}
	x.last = uint64(at.Length)
	return payload, nil
}

// unread makes the error after which the host sends payloads.
func unread(err error) error {
	return Retryable(fmt.Errorf("%w: %w", protocol.ErrExtent, err), 0)
}

func (x *extents) bytes(at protocol.Extent) ([]byte, error) {
	file, err := x.open(at.File)
	if err != nil {
		return nil, err
	}
	x.payload = slices.Grow(x.payload[:0], at.Length)[:at.Length]
	_, err = file.ReadAt(x.payload, at.Offset)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // EOF would be the end of the partition
	}
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", at.Length, at.Offset, at.File, err)
	}
	return x.payload, nil
}

// open returns the file of a name, open. If mostExtentFiles are open already, it closes the
// one that was not used for the longest time.
func (x *extents) open(name string) (*os.File, error) {
	for i := len(x.files) - 1; i >= 0; i-- {
		if f := x.files[i]; f.name == name {
			x.files = append(slices.Delete(x.files, i, i+1), f)
			return f.File, nil
		}
	}
	file, err := x.dir.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	if len(x.files) == mostExtentFiles {
		_ = x.files[0].Close() // it was only read
		x.files = slices.Delete(x.files, 0, 1)
	}
	x.files = append(x.files, extentFile{name, file})
	return file, nil
}

// taken returns the bytes to send in Taken before the next message is awaited; 0:
// none. The payload of the last extent is not needed from then on.
func (x *extents) taken() uint64 {
	if x == nil {
		return 0
	}
	x.consumed += x.last
	x.last = 0
	if x.consumed < protocol.TakenEvery {
		return 0
	}
	bytes := x.consumed
	x.consumed = 0
	return bytes
}

// close closes what is open. Everything was only read.
func (x *extents) close() {
	if x == nil {
		return
	}
	for _, f := range x.files {
		_ = f.Close()
	}
	_ = x.dir.Close()
}
