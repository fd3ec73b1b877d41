package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
)

// MarkName is the file that says up to which entry appends were acknowledged. It
// tells a log that lost its end from one that a crash has torn: entries up to
// the mark were durable once.
//
// It is written after the entries are durable and before their callers are told,
// and not synced: a killed process leaves it as it is, and after a power failure
// it may be that of an earlier entry, never that of a later one. It has two
// slots, written in turn, of which the one with the greater index counts:
//
//	index   uint64
//	check   uint32  CRC-32C of the name of the file and the index
const MarkName = "acknowledged"

const (
	markSlot = 12
	markSize = 2 * markSlot
)

// mark is an open MarkName. Only the writer uses it.
type mark struct {
	file File
	slot int64
}

// openMark opens the mark, durably, and sets it to an entry.
func openMark(fsys FileSystem, last uint64) (*mark, error) {
	f, err := fsys.Open(MarkName)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = fsys.Create(MarkName)
	}
	if err != nil {
		return nil, err
	}
	m := &mark{file: f}
	slots := append(slotOf(last), slotOf(last)...)
	if _, err := f.WriteAt(slots, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), fsys.SyncDir()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

func slotOf(index uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, index)
	return binary.LittleEndian.AppendUint32(b, markCheck(b))
}

func markCheck(index []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(MarkName), castagnoli), castagnoli, index)
}

// set moves the mark to an entry. Entries are not refused because of an error: the
// mark stays where it was, and claims less than it could.
func (m *mark) set(last uint64) {
	_, _ = m.file.WriteAt(slotOf(last), m.slot*markSlot)
	m.slot = 1 - m.slot
}

// readMark reads the mark; ok is false when there is none.
func readMark(fsys FileSystem) (last uint64, ok bool, err error) {
	f, err := fsys.OpenReader(MarkName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil || size < markSize {
		return 0, false, err
	}
	b := make([]byte, markSize)
	if err := readFull(f, b, 0); err != nil {
		return 0, false, err
	}
	for ; len(b) > 0; b = b[markSlot:] {
		if binary.LittleEndian.Uint32(b[8:]) == markCheck(b[:8]) {
			last, ok = max(last, binary.LittleEndian.Uint64(b)), true
		}
	}
	return last, ok, nil
}
