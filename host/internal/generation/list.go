package generation

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// block is an entry of a list: it describes a block.
type block struct {
	name        [sha256.Size]byte // hash of the bytes as stored
	first, last uint64            // hashes of the first and the last row
	stored      int               // bytes
	checksum    uint32            // CRC-32C of these bytes
	rows        int
	rowsBytes   int    // uncompressed
	rowsCRC32   uint32 // IEEE, of the rows uncompressed
	flags       batch.Flags
}

func (b *block) journal(payload []byte) journal.Block {
	return journal.Block{
		Rows: b.rows, RowsBytes: b.rowsBytes, RowsCRC32: b.rowsCRC32, Flags: b.flags,
		Payload: payload, Checksum: b.checksum,
	}
}

// list is a generation's blocks, in the order of their rows.
type list struct {
	blocks                  []block
	rows, rowsBytes, stored int64
}

func (l *list) add(b block) {
	l.blocks = append(l.blocks, b)
	l.rows += int64(b.rows)
	l.rowsBytes += int64(b.rowsBytes)
	l.stored += int64(b.stored)
}

// A list is stored as a header (magic, version, how many blocks), its blocks,
// and the CRC-32C of all this. All numbers have a fixed size, and are
// little-endian.
const (
	listVersion = 1
	listHeader  = 16
	blockEntry  = sha256.Size + 2*8 + 6*4
	maxList     = 512 << 20
)

var listMagic = []byte("PSTKGEN\n")

func (l *list) encode() []byte {
	out := make([]byte, 0, listHeader+len(l.blocks)*blockEntry+4)
	out = append(out, listMagic...)
	out = binary.LittleEndian.AppendUint32(out, listVersion)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(l.blocks)))
	for i := range l.blocks {
		b := &l.blocks[i]
		out = append(out, b.name[:]...)
		out = binary.LittleEndian.AppendUint64(out, b.first)
		out = binary.LittleEndian.AppendUint64(out, b.last)
		for _, n := range [...]uint32{uint32(b.stored), b.checksum, uint32(b.rows), uint32(b.rowsBytes), b.rowsCRC32, uint32(b.flags)} {
			out = binary.LittleEndian.AppendUint32(out, n)
		}
	}
	return binary.LittleEndian.AppendUint32(out, segment.Checksum(out))
}

var errNotAList = errors.New("it is not as a list is written")

func decodeList(data []byte) (*list, error) {
	if len(data) < listHeader+4 || !bytes.HasPrefix(data, listMagic) {
		return nil, errors.New("it does not begin as a list does")
	}
	body, sum := data[:len(data)-4], binary.LittleEndian.Uint32(data[len(data)-4:])
	if got := segment.Checksum(body); got != sum {
		return nil, fmt.Errorf("checksum %08x, want %08x", got, sum)
	}
	if v := binary.LittleEndian.Uint32(body[len(listMagic):]); v > listVersion {
		return nil, &segment.NewerError{Found: int(v), Known: listVersion}
	} else if v != listVersion {
		return nil, fmt.Errorf("version %d, this host reads %d", v, listVersion)
	}
	count, entries := int(binary.LittleEndian.Uint32(body[len(listMagic)+4:])), body[listHeader:]
	if len(entries)%blockEntry != 0 || count != len(entries)/blockEntry {
		return nil, errNotAList
	}
	l := &list{blocks: make([]block, 0, count)}
	for ; len(entries) > 0; entries = entries[blockEntry:] {
		b, ok := decodeBlock(entries)
		if n := len(l.blocks); !ok || n > 0 && l.blocks[n-1].last >= b.first {
			return nil, errNotAList
		}
		l.add(b)
	}
	return l, nil
}

func decodeBlock(entry []byte) (b block, ok bool) {
	rest := entry[copy(b.name[:], entry):]
	b.first, b.last = binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:])
	number := func(i int) uint32 { return binary.LittleEndian.Uint32(rest[16+4*i:]) }
	b.stored, b.checksum = int(number(0)), number(1)
	b.rows, b.rowsBytes, b.rowsCRC32 = int(number(2)), int(number(3)), number(4)
	b.flags = batch.Flags(number(5))
	ok = b.first <= b.last && b.rows > 0 && b.rows <= b.rowsBytes && b.stored > 0 &&
		max(number(0), number(2), number(3)) <= math.MaxInt32
	return b, ok
}
