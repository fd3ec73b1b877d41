package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	magic       = "PNSTKWAL"
	version     = 1
	headerSize  = 24 // magic, version, four bytes of zero, index of the first entry
	frameHeader = 24
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sizeOf is the size of a payload that comes in parts.
func sizeOf(payload [][]byte) (n int64) {
	for _, part := range payload {
		n += int64(len(part))
	}
	return n
}

func appendHeader(dst []byte, first uint64) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = append(dst, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(dst, first)
}

// VersionError says that the log was written by a newer version.
type VersionError struct{ Found, Known uint32 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the write-ahead log has format %d and this host knows %d: it was written by a newer host", e.Found, e.Known)
}

var errHeader = errors.New("it does not begin as a file of the write-ahead log does")

func checkHeader(b []byte, first uint64) error {
	if string(b[:8]) != magic || binary.LittleEndian.Uint64(b[16:]) != first {
		return errHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return &VersionError{Found: v, Known: version}
	}
	return nil
}

func appendFrame(dst []byte, index uint64, synced int64, payload ...[]byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(sizeOf(payload)))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, index)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(synced))
	for _, part := range payload {
		dst = append(dst, part...)
	}
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

// frame is a frame's header.
type frame struct {
	length uint32
	check  uint32
	index  uint64
	synced int64
}

func parseFrame(b []byte) frame {
	return frame{
		length: binary.LittleEndian.Uint32(b), check: binary.LittleEndian.Uint32(b[4:]),
		index: binary.LittleEndian.Uint64(b[8:]), synced: int64(binary.LittleEndian.Uint64(b[16:])),
	}
}

// errFrame says that there is no whole frame.
var errFrame = errors.New("no whole entry")

// readFrame reads the frame of an entry at an offset of a file of size bytes.
// The buffer, which is used when it is large enough, comes back with header and
// payload.
func readFrame(r io.ReaderAt, offset, size int64, index uint64, buffer []byte) (frame, []byte, error) {
	if size-offset < frameHeader {
		return frame{}, buffer, errFrame
	}
	buffer = room(buffer, frameHeader)
	if err := readFull(r, buffer, offset); err != nil {
		return frame{}, buffer, err
	}
	f := parseFrame(buffer)
	if f.index != index || f.length > MaxEntry || int64(f.length) > size-offset-frameHeader {
		return f, buffer, errFrame
	}
	buffer = room(buffer, frameHeader+int(f.length))
	if err := readFull(r, buffer[frameHeader:], offset+frameHeader); err != nil {
		return f, buffer, err
	}
	if crc32.Checksum(buffer[8:], castagnoli) != f.check {
		return f, buffer, errFrame
	}
	return f, buffer, nil
}

// room is the buffer, or a larger one that begins with the same bytes, with a
// length of n.
func room(buffer []byte, n int) []byte {
	if cap(buffer) >= n {
		return buffer[:n]
	}
	wider := make([]byte, n, n+n/4)
	copy(wider, buffer)
	return wider
}

func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("read at %d: %w", offset, err)
}
