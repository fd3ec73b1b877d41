package generation

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Key is the order of rows: by the hash of distinct_id, then by distinct_id.
type Key struct {
	Hash uint64
	ID   []byte // the inside of the JSON string, as it is written in the row
}

// KeyOf is the key of a distinct_id, which it keeps.
func KeyOf(id []byte) Key { return Key{Hash(id), id} }

// Hash is the first 64 bits of SHA-256. Rows of one hash lie in one block,
// however many they are: finding many ids with the same hash is not feasible.
func Hash(id []byte) uint64 {
	sum := sha256.Sum256(id)
	return binary.BigEndian.Uint64(sum[:])
}

// Compare orders keys.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Hash, o.Hash); c != 0 {
		return c
	}
	return bytes.Compare(k.ID, o.ID)
}

// common is how many bits two hashes have in common at their beginning.
func common(a, b uint64) int { return bits.LeadingZeros64(a ^ b) }

// rowID is the beginning of every row.
const rowID = `{"distinct_id":"`

// idOf is the inside of a row's distinct_id.
func idOf(row []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(row, []byte(rowID))
	if !ok {
		return nil, false
	}
	end := schema.SkipValue(row, len(rowID)-1)
	if end < 0 {
		return nil, false
	}
	return rest[:end-1-len(rowID)], true
}
