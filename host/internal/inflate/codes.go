package inflate

import "math/bits"

// An entry of a table stands for the code that the next bits begin with:
//
//	bits 0-5     bits of the code and of the number behind it
//	bits 8-11    bits of the code; of a long code's entry, those of its second table
//	bits 12-15   isLong, isOther, isEnd
//	bits 16-30   a byte, a length or distance without that number, or the place of the second table
//	bit 31       isLiteral
//
// For example the length code 266 of 7 bits, which stands for the lengths 13 and 14 by one
// bit more, has 8, 7, no flags and 13.
const (
	codeShift  = 8
	valueShift = 16

	isLong    = 1 << 12 // the code is longer than the index of the table: a second table has it
	isOther   = 1 << 13 // the end of a block, or no code
	isEnd     = 1 << 14
	isLiteral = 1 << 31
)

// Tables are indexed by so many bits. Second tables, for longer codes, follow in the same
// memory: of any complete code all take fewer than 2,342 and 402 entries.
const (
	literalBits  = 11
	distanceBits = 8
)

type (
	literalTable  [4096]uint32
	distanceTable [512]uint32
)

const (
	maxLiterals  = 288 // two of them only in the fixed code
	maxDistances = 32
	maxCode      = 15 // bits
)

// Entries of symbols, without the length of their code.
var literalEntries, distanceEntries = func() (l [maxLiterals]uint32, d [maxDistances]uint32) {
	for i := range 256 {
		l[i] = isLiteral | uint32(i)<<valueShift
	}
	l[256] = isOther | isEnd
	base := uint32(3)
	for i := range uint32(28) {
		extra := max(i/4, 1) - 1
		l[257+i] = base<<valueShift | extra
		base += 1 << extra
	}
	l[285] = 258 << valueShift
	l[286], l[287] = isOther, isOther
	base = 1
	for i := range uint32(30) {
		extra := max(i/2, 1) - 1
		d[i] = base<<valueShift | extra
		base += 1 << extra
	}
	d[30], d[31] = isOther, isOther
	return l, d
}()

// codes are the codes of a block.
type codes struct {
	literals  literalTable
	distances distanceTable
}

// fixed are the codes that all blocks without codes of their own have: these may be of
// 10 bits each, so that making tables for each would take far longer than the rest.
var fixed = func() *codes {
	c := &codes{}
	var lengths [maxLiterals]uint8
	for i := range lengths {
		lengths[i] = 8
		switch {
		case i >= 144 && i < 256:
			lengths[i] = 9
		case i >= 256 && i < 280:
			lengths[i] = 7
		}
	}
	setTable(c.literals[:], literalBits, lengths[:], literalEntries[:])
	for i := range maxDistances {
		lengths[i] = 5
	}
	setTable(c.distances[:], distanceBits, lengths[:maxDistances], distanceEntries[:])
	return c
}()

// codeOrder is the order in which a block lists the lengths of the codes of its lengths.
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readCodes reads the codes of a block.
func (d *Decoder) readCodes() error {
	if !d.need(14) {
		return ErrCorrupt
	}
	literals, distances, codes := int(d.take(5))+257, int(d.take(5))+1, int(d.take(4))+4
	if literals > 286 || distances > 30 {
		return ErrCorrupt
	}
	var lengths [19]uint8
	for _, i := range codeOrder[:codes] {
		if !d.need(3) {
			return ErrCorrupt
		}
		lengths[i] = uint8(d.take(3))
	}
	var entries [19]uint32
	for i := range entries {
		entries[i] = uint32(i) << valueShift
	}
	var table [128]uint32
	if !setTable(table[:], 7, lengths[:], entries[:]) || !d.readLengths(table[:], d.lengths[:literals+distances]) {
		return ErrCorrupt
	}
	d.codes = &d.own
	if !setTable(d.own.literals[:], literalBits, d.lengths[:literals], literalEntries[:]) ||
		!setTable(d.own.distances[:], distanceBits, d.lengths[literals:literals+distances], distanceEntries[:]) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads the lengths of codes.
func (d *Decoder) readLengths(table []uint32, lengths []uint8) bool {
	for i := 0; i < len(lengths); {
		symbol, _, err := d.symbol(table, 7)
		if err != nil {
			return false
		}
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		repeat, extra, length := 3, uint(3), uint8(0)
		switch symbol {
		case 16:
			if i == 0 {
				return false
			}
			extra, length = 2, lengths[i-1]
		case 18:
			repeat, extra = 11, 7
		}
		if !d.need(extra) {
			return false
		}
		if repeat += int(d.take(extra)); repeat > len(lengths)-i {
			return false
		}
		for range repeat {
			lengths[i] = length
			i++
		}
	}
	return true
}

// setTable makes the table of a code, which is indexed by primary bits, out of the lengths
// of the codes of its symbols. It reports whether these are a code: a complete one, or one
// of a single code of one bit, or none at all.
func setTable(table []uint32, primary uint, lengths []uint8, entries []uint32) bool {
	var counts, next [maxCode + 1]int
	for _, n := range lengths {
		counts[n]++
	}
	counts[0] = 0
	code, longest := 0, 0
	for n := 1; n <= maxCode; n++ {
		code <<= 1
		next[n] = code
		code += counts[n]
		if counts[n] > 0 {
			longest = n
		}
	}
	if code != 1<<maxCode {
		if longest > 1 || longest == 1 && counts[1] != 1 {
			return false
		}
		for i := range table[:1<<primary] {
			table[i] = isOther
		}
	}
	free := 1 << primary // where the next second table begins
	prefix, second := -1, 0
	// In the order of their codes, those of a second table follow each other.
	var order [maxLiterals]uint16
	for _, symbol := range byCode(&order, lengths, &counts) {
		n := uint(lengths[symbol])
		code := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		// The entry counts the bits of the code in addition to those of the number.
		entry := entries[symbol] + uint32(n) | uint32(n)<<codeShift
		if n <= primary {
			for i := code; i < 1<<primary; i += 1 << n {
				table[i] = entry
			}
			continue
		}
		if low := code & (1<<primary - 1); low != prefix {
			prefix = low
			second = secondBits(counts[:], int(n), int(primary))
			if free+1<<second > len(table) {
				return false
			}
			table[low] = isLong | uint32(second)<<codeShift | uint32(free)<<valueShift
			free += 1 << second
		}
		begin := free - 1<<second
		for i := code >> primary; i < 1<<second; i += 1 << (n - primary) {
			table[begin+i] = entry
		}
		counts[n]--
	}
	return true
}

// byCode puts the symbols that have codes into order, which is that of their codes. counts
// are those of the lengths of codes.
func byCode(order *[maxLiterals]uint16, lengths []uint8, counts *[maxCode + 1]int) []uint16 {
	var place [maxCode + 2]int
	for n := 1; n <= maxCode; n++ {
		place[n+1] = place[n] + counts[n]
	}
	for symbol, n := range lengths {
		if n > 0 {
			order[place[n]] = uint16(symbol)
			place[n]++
		}
	}
	return order[:place[maxCode]]
}

// secondBits returns by how many bits a second table is indexed whose first code has n
// bits. counts has the codes that are not in a table yet.
func secondBits(counts []int, n, primary int) int {
	used := counts[n] // in codes of n bits
	for used < 1<<(n-primary) && n < maxCode {
		n++
		used = used<<1 + counts[n]
	}
	return n - primary
}
