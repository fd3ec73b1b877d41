package journal

import (
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// joiner writes the blocks of an extent. Neighbours that are small and have the same flags
// become one block, which costs its readers less than several: a message to a plugin, a read,
// a write and an entry in the footer for each.
//
//	blocks    300 KiB, 200 KiB, 900 KiB, 100 KiB of rows, at most 1 MiB
//	written   500 KiB, 1,000 KiB
//
// The payload of the one is the payloads of the others, one after the other.
type joiner struct {
	to      *segment.Builder
	most    int           // bytes of rows of a joined block
	block   segment.Block // to be written; without rows: none
	joined  bool          // block's payload is in payload
	payload []byte        // kept for the next extent
}

// add takes the next block of the extent that was begun last.
func (j *joiner) add(k segment.Block) {
	b := &j.block
	if b.Rows == 0 || b.Flags != k.Flags || b.RowsBytes+k.RowsBytes > j.most {
		j.flush()
		*b = k
		return
	}
	if !j.joined {
		j.payload, j.joined = append(j.payload[:0], b.Payload...), true
	}
	j.payload = append(j.payload, k.Payload...)
	b.Payload = j.payload
	b.RowsCRC32 = batch.CombineCRC32(b.RowsCRC32, k.RowsCRC32, uint64(k.RowsBytes))
	b.Rows += k.Rows
	b.RowsBytes += k.RowsBytes
}

// flush writes the block that is left. It ends an extent.
func (j *joiner) flush() {
	if j.block.Rows > 0 {
		j.to.Block(j.block)
	}
	j.block, j.joined = segment.Block{}, false
}
