package identity

import (
	"encoding/binary"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// key is an id as the index has it: its hash, 8 bytes big-endian, then the
// inside of the JSON string that it is in a row. Keys are in the order of a
// generation's rows.
type key string

const hashSize = 8

func keyOf(id string) key {
	var room [128]byte
	quoted := schema.AppendText(room[:hashSize-1], id) // the quote is where the hash ends
	return hashed(quoted[:len(quoted)-1])
}

func keyOfInside(inside string) key {
	var room [128]byte
	return hashed(append(room[:hashSize], inside...))
}

// hashed fills in the hash before the inside.
func hashed(k []byte) key {
	binary.BigEndian.PutUint64(k, generation.Hash(k[hashSize:]))
	return key(k)
}

// id is the inside of the JSON string.
func (k key) id() string { return string(k[hashSize:]) }

// The spaces of the index's keys, by their first byte.
const (
	spaceState   = 's' // the state of the index
	spaceIDs     = 'i' // ids: the value that rules keep of an id
	spaceCluster = 'c' // numbers of clusters: the cluster
	spaceMember  = 'm' // numbers of clusters and ids: nothing
	spaceChange  = 'd' // ids whose mapping is not as in the base: the epoch
	spaceFailure = 'f' // numbers of failures: the failure
)

var stateKey = []byte{spaceState}

func idKey(dst []byte, k key) []byte { return append(append(dst, spaceIDs), k...) }

func changeKey(dst []byte, k key) []byte { return append(append(dst, spaceChange), k...) }

func numberKey(dst []byte, space byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, space), n)
}

func memberKey(dst []byte, cluster uint64, k key) []byte {
	return append(numberKey(dst, spaceMember, cluster), k...)
}
