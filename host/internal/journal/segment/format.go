package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The wire format's constants.
const (
	headerSize  = 16
	trailerSize = 40
	version     = 1
)

var (
	headMagic = [8]byte{'P', 'S', 'T', 'K', 'S', 'E', 'G', '\n'}
	tailMagic = [8]byte{'P', 'S', 'T', 'K', 'E', 'N', 'D', '\n'}
)

// Castagnoli is the polynomial of every checksum of stored bytes.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of stored bytes.
func Checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// ErrDamaged is in the chain of every error about bytes that are not as they
// were written.
var ErrDamaged = errors.New("damaged")

// DamageError names the place of a damage.
type DamageError struct {
	Place  string // "header", "block 17", "keys of 2026-06-01", "footer", "trailer"
	Detail string
	// Rows of the UTC date Date cannot be read because of it; 0: none, or not
	// known. Only Verify sets them.
	Rows int
	Date Day
}

func (e *DamageError) Error() string { return e.Place + " is damaged: " + e.Detail }

func (e *DamageError) Unwrap() error { return ErrDamaged }

func damaged(place, format string, args ...any) error {
	return &DamageError{Place: place, Detail: fmt.Sprintf(format, args...)}
}

// NewerError says that a file was written by a newer version of the host. It is not
// damaged.
type NewerError struct{ Found, Known int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("it has format %d, and this host reads formats up to %d: a newer penstock wrote it. Nothing was changed: run that version or a later one",
		e.Found, e.Known)
}

// header is the file's first 16 bytes: magic, version, six bytes of zero.
func header() []byte {
	h := make([]byte, headerSize)
	copy(h, headMagic[:])
	binary.LittleEndian.PutUint16(h[8:], version)
	return h
}

func checkHeader(h []byte) error {
	if [8]byte(h[:8]) != headMagic {
		return damaged("header", "it does not begin with the magic")
	}
	if v := binary.LittleEndian.Uint16(h[8:]); v != version {
		return damaged("header", "version %d, this host reads %d", v, version)
	}
	for _, b := range h[10:headerSize] {
		if b != 0 {
			return damaged("header", "reserved bytes are not zero")
		}
	}
	return nil
}

// trailer is the file's last 40 bytes: where the keys begin, where the footer
// begins, its length and checksum, version, the checksum of the trailer so
// far, magic.
type trailer struct {
	keys, footer, footerLength uint64
	footerChecksum             uint32
}

func (t trailer) encode() []byte {
	b := make([]byte, 0, trailerSize)
	b = binary.LittleEndian.AppendUint64(b, t.footer)
	b = binary.LittleEndian.AppendUint64(b, t.keys)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.footerLength))
	b = binary.LittleEndian.AppendUint32(b, t.footerChecksum)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, Checksum(b))
	return append(b, tailMagic[:]...)
}

func decodeTrailer(b []byte, size int64) (trailer, error) {
	if [8]byte(b[32:40]) != tailMagic {
		return trailer{}, damaged("trailer", "it does not end with the magic: the file is cut short or not a segment")
	}
	if sum := binary.LittleEndian.Uint32(b[28:]); sum != Checksum(b[:28]) {
		return trailer{}, damaged("trailer", "checksum %08x, want %08x", Checksum(b[:28]), sum)
	}
	if v := binary.LittleEndian.Uint32(b[24:]); v > version {
		return trailer{}, &NewerError{Found: int(v), Known: version}
	} else if v != version {
		return trailer{}, damaged("trailer", "version %d, this host reads %d", v, version)
	}
	t := trailer{
		footer: binary.LittleEndian.Uint64(b), keys: binary.LittleEndian.Uint64(b[8:]),
		footerLength: uint64(binary.LittleEndian.Uint32(b[16:])), footerChecksum: binary.LittleEndian.Uint32(b[20:]),
	}
	end := uint64(size) - trailerSize
	if t.keys < headerSize || t.keys > t.footer || t.footer > end || t.footerLength != end-t.footer {
		return trailer{}, damaged("trailer", "it points outside of the file")
	}
	return t, nil
}
