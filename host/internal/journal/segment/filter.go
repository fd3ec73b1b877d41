package segment

import "encoding/binary"

// Filter is a split-block Bloom filter: blocks of 32 bytes, of which a key
// sets one bit in each of eight words. With 12 bits a key about one key in 250
// that is not in the set passes.
type Filter []byte

const (
	filterBlock = 32
	filterBits  = 12 // per key
)

// salts spread one 32-bit hash over eight words; odd constants.
var salts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// NewFilter makes a filter of keys.
func NewFilter(keys []Key) Filter {
	blocks := (len(keys)*filterBits/8 + filterBlock - 1) / filterBlock
	f := make(Filter, max(blocks, 1)*filterBlock)
	for i := range keys {
		block, hash := f.place(keys[i])
		for w, salt := range salts {
			word := binary.LittleEndian.Uint32(block[w*4:])
			binary.LittleEndian.PutUint32(block[w*4:], word|1<<((hash*salt)>>27))
		}
	}
	return f
}

// place picks the key's block by the high half of its second word (the first
// orders the keys) and hashes with the low half.
func (f Filter) place(k Key) ([]byte, uint32) {
	h := binary.LittleEndian.Uint64(k[8:])
	n := uint64(len(f) / filterBlock)
	i := (h >> 32) * n >> 32 * filterBlock
	return f[i : i+filterBlock : i+filterBlock], uint32(h)
}

// MayContain is false only for keys that are not in the set.
func (f Filter) MayContain(k Key) bool {
	block, hash := f.place(k)
	for w, salt := range salts {
		if binary.LittleEndian.Uint32(block[w*4:])&(1<<((hash*salt)>>27)) == 0 {
			return false
		}
	}
	return true
}
