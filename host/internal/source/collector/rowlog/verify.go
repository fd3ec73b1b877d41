package rowlog

import (
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// VerifyIn inflates the fragments of all whole entries of the log in a directory, and calls
// corrupt with each entry that does not hold rows, or holds others than it says. It changes
// nothing. Entries that are missing or damaged are those of wal.Verify.
func VerifyIn(dir string, corrupt func(index uint64, err error)) error {
	var inflater journal.Inflater
	var lines []byte
	return wal.EachIn(dir, 0, func(index uint64, payload []byte) error {
		_, chunk, err := decodeEntry(payload, nil)
		for i, f := range chunk.Fragments {
			if lines, err = inflater.Inflate(lines[:0], f); err != nil {
				err = fmt.Errorf("fragment %d of %d rows: %w", i+1, f.Rows, err)
				break
			}
		}
		if err != nil {
			corrupt(index, err)
		}
		return nil
	})
}
