package rowflate

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// op is a number of literals and the match that follows them: literals<<32, the length
// of the match <<16, its distance less 1. Literals without a match have length 0.
type op uint64

func newOp(literals, length, distance int) op {
	return op(uint64(literals)<<32 | uint64(length)<<16 | uint64(distance-1))
}

func (o op) literals() int { return int(o >> 32) }
func (o op) length() int   { return int(o >> 16 & 0xffff) } // at most maxLength
func (o op) back() int     { return int(o & 0xffff) }       // distance less 1

// counts are how often each symbol is written.
type counts struct {
	literal  [literals]uint32
	distance [distances]uint32
}

// add counts the symbols of ops over rows.
func (c *counts) add(rows []byte, ops []op) {
	for _, o := range ops {
		n, length := o.literals(), o.length()
		for _, b := range rows[:n] {
			c.literal[b]++
		}
		rows = rows[n+length:]
		if length > 0 {
			c.literal[257+int(lengthSymbol[length])]++
			c.distance[distanceSymbol(o.back())]++
		}
	}
}

// table holds the code of each symbol above the number of its bits, see coded.
type table struct {
	literal  [256]uint32
	length   [512]uint32 // by length up to maxLength, with its extra bits
	distance [512]uint32 // by distanceIndex: the code, and above extraShift how many extra bits follow
	end      uint32
	header   []uint32 // before the first row
	bits     int      // of the header
}

// A coded symbol is written as code>>lengthShift with code&lengthMask bits.
const (
	lengthShift = 8
	lengthMask  = 1<<lengthShift - 1
	extraShift  = 24
)

func coded(code uint32, n uint8) uint32 { return code<<lengthShift | uint32(n) }

// Kinds of blocks, RFC 1951, section 3.2.3, behind the bit that says that more follow.
const (
	stored  = 0
	fixed   = 1
	dynamic = 2
)

// fixedTable is the table of blocks of the kind fixed.
var fixedTable = newFixedTable()

func newFixedTable() *table {
	var b builder
	for i := range b.literal[:literals] {
		switch {
		case i < 144:
			b.literal[i] = 8
		case i < 256:
			b.literal[i] = 9
		case i < 280:
			b.literal[i] = 7
		default:
			b.literal[i] = 8
		}
	}
	// The last two codes of the alphabet are never written, and count for the order.
	b.literal[286], b.literal[287] = 8, 8
	for i := range b.distance {
		b.distance[i] = 5
	}
	b.table.header = []uint32{coded(fixed<<1, 3)}
	b.fill()
	return &b.table
}

// builder makes tables. It keeps its memory.
type builder struct {
	table    table
	huffman  huffman
	literal  [literals + 2]uint8 // lengths of codes
	distance [distances + 2]uint8
	codes    [literals + 2]uint16
	runs     []run
}

// build makes the best table for the counts.
func (b *builder) build(c *counts) *table {
	b.huffman.lengths(b.literal[:literals], c.literal[:], codeBits)
	b.huffman.lengths(b.distance[:distances], c.distance[:], codeBits)
	b.writeHeader()
	b.fill()
	return &b.table
}

// fill computes the table out of the lengths of codes.
func (b *builder) fill() {
	t := &b.table
	canonical(b.codes[:], b.literal[:])
	for i := range t.literal {
		t.literal[i] = coded(uint32(b.codes[i]), b.literal[i])
	}
	t.end = coded(uint32(b.codes[endOfData]), b.literal[endOfData])
	for n := minLength; n <= maxLength; n++ {
		s := int(lengthSymbol[n])
		bits := b.literal[257+s]
		code := uint32(b.codes[257+s]) | uint32(n-int(lengthBase[s]))<<bits
		t.length[n] = coded(code, bits+lengthExtra[s])
	}
	canonical(b.codes[:len(b.distance)], b.distance[:])
	for i := range t.distance {
		s := distanceSymbol(indexed(i))
		t.distance[i] = coded(uint32(b.codes[s]), b.distance[s]) | uint32(distanceExtra(s))<<extraShift
	}
	t.bits = 0
	for _, h := range t.header {
		t.bits += int(h & lengthMask)
	}
}

// run is a code length, or a repetition of the one before (repeat) or of unused
// symbols (pause), with the number of times.
type run struct{ symbol, extra uint8 }

const (
	repeat     = 16 // 3 to 6 times, 2 extra bits
	shortPause = 17 // 3 to 10 times, 3 extra bits
	longPause  = 18 // 11 to 138 times, 7 extra bits
)

var (
	// runExtra are the extra bits of repeat, shortPause and longPause.
	runExtra = [19]uint8{repeat: 2, shortPause: 3, longPause: 7}
	// runOrder is the order in which the lengths of the codes for runs are written.
	runOrder = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// writeHeader writes the code lengths of both alphabets, RFC 1951, section 3.2.7.
func (b *builder) writeHeader() {
	b.runs = appendRuns(appendRuns(b.runs[:0], b.literal[:literals]), b.distance[:distances])
	var counts [19]uint32
	for _, r := range b.runs {
		counts[r.symbol]++
	}
	var lengths [19]uint8
	var codes [19]uint16
	b.huffman.lengths(lengths[:], counts[:], 7)
	canonical(codes[:], lengths[:])
	used := len(runOrder)
	for used > 4 && lengths[runOrder[used-1]] == 0 {
		used--
	}
	h := append(b.table.header[:0],
		coded(dynamic<<1, 3), coded(literals-257, 5), coded(distances-1, 5), coded(uint32(used-4), 4))
	for _, symbol := range runOrder[:used] {
		h = append(h, coded(uint32(lengths[symbol]), 3))
	}
	for _, r := range b.runs {
		h = append(h, coded(uint32(codes[r.symbol])|uint32(r.extra)<<lengths[r.symbol], lengths[r.symbol]+runExtra[r.symbol]))
	}
	b.table.header = h
}

// appendRuns appends the runs of the code lengths of one alphabet.
func appendRuns(runs []run, lengths []uint8) []run {
	for i := 0; i < len(lengths); {
		length, n := lengths[i], 1
		for i+n < len(lengths) && lengths[i+n] == length {
			n++
		}
		i += n
		for length == 0 && n >= 3 {
			if n <= 10 {
				runs, n = append(runs, run{shortPause, uint8(n - 3)}), 0
				break
			}
			k := min(n, 138)
			runs, n = append(runs, run{longPause, uint8(k - 11)}), n-k
		}
		if n > 0 {
			runs, n = append(runs, run{symbol: length}), n-1
		}
		for length > 0 && n >= 3 {
			k := min(n, 6)
			runs, n = append(runs, run{repeat, uint8(k - 3)}), n-k
		}
		for ; n > 0; n-- {
			runs = append(runs, run{symbol: length})
		}
	}
	return runs
}

// size returns how many bits the header and the counted symbols take with this table.
func (t *table) size(c *counts) int {
	n := t.bits + int(t.end&lengthMask)
	for i, k := range c.literal[:256] {
		n += int(k) * int(t.literal[i]&lengthMask)
	}
	for s, k := range c.literal[257:] {
		n += int(k) * int(t.length[lengthBase[s]]&lengthMask)
	}
	for s, k := range c.distance {
		n += int(k) * (int(t.distance[distanceIndex(uint32(firstDistance(s)))]&lengthMask) + distanceExtra(s))
	}
	return n
}

// bitsPerSymbol returns how many bits the literals and matches of some of the ops take on average.
func (t *table) bitsPerSymbol(rows []byte, ops []op) float64 {
	bits, symbols := 0, 0
	for i, o := range ops {
		n, length := o.literals(), o.length()
		if i%sparseOps == 0 {
			for _, b := range rows[:n] {
				bits += int(t.literal[b] & lengthMask)
			}
			symbols += n
			if length > 0 {
				d := t.distance[distanceIndex(uint32(o.back()))]
				bits += int(t.length[length]&lengthMask) + int(d&lengthMask) + int(d>>extraShift)
				symbols++
			}
		}
		rows = rows[n+length:]
	}
	return float64(bits) / float64(max(symbols, 1))
}

// writer writes bits, the first into the lowest free bit.
type writer struct {
	out   []byte
	n     int    // whole bytes
	held  uint64 // bits that are not a whole byte yet
	bits  uint
	table *table // of the open block
}

// room makes room for n bytes more, and some.
func (w *writer) room(n int) {
	w.out = slices.Grow(w.out[:w.n], n+slack)
	w.out = w.out[:cap(w.out)]
}

// put writes a symbol, for which there must be room.
func (w *writer) put(symbol uint32) {
	w.held |= uint64(symbol>>lengthShift) << (w.bits & 63)
	w.bits += uint(symbol & lengthMask)
	binary.LittleEndian.PutUint64(w.out[w.n:], w.held)
	w.n += int(w.bits >> 3)
	w.held >>= w.bits & 56
	w.bits &= 7
}

// begin begins a block.
func (w *writer) begin(t *table) {
	w.table = t
	w.room(t.bits / 8)
	for _, h := range t.header {
		w.put(h)
	}
}

// end ends a block.
func (w *writer) end() {
	w.room(8)
	w.put(w.table.end)
	w.table = nil
}

// tails keep the first 0 to 3 of 3 symbols: the others become those of no bits.
var tails = [4][3]uint32{{}, {^uint32(0)}, {^uint32(0), ^uint32(0)}, {^uint32(0), ^uint32(0), ^uint32(0)}}

// write writes the rows from at to end as ops say.
//
// It is all about few instructions. The lowest six bits of bits are the number of bits
// held, less than 8 before each store, so that four literals of 14 bits, or a length of
// 19 and a distance of 27, fit.
func (w *writer) write(r reader, at, end int, ops []op) {
	// A literal takes less than two bytes, and a match of three or more less than six.
	w.room(2 * (end - at))
	t, held, bits := w.table, w.held, w.bits
	from, start := unsafe.Add(r.first, at), unsafe.Pointer(unsafe.SliceData(w.out))
	to := unsafe.Add(start, w.n)
	for _, o := range ops {
		n := uint(o.literals())
		for ; n >= 4; n -= 4 {
			text := *(*uint32)(from)
			a, b, c, d := t.literal[byte(text)], t.literal[byte(text>>8)], t.literal[byte(text>>16)], t.literal[text>>24]
			held |= uint64(a>>lengthShift) << (bits & 63)
			bits += uint(a)
			held |= uint64(b>>lengthShift) << (bits & 63)
			bits += uint(b)
			held |= uint64(c>>lengthShift) << (bits & 63)
			bits += uint(c)
			held |= uint64(d>>lengthShift) << (bits & 63)
			bits += uint(d)
			*(*uint64)(to) = held
			to = unsafe.Add(to, bits>>3&7)
			held >>= bits & 56
			bits &= 7
			from = unsafe.Add(from, 4)
		}
		if n > 0 {
			text, some := *(*uint32)(from), &tails[n&3]
			a, b, c := t.literal[byte(text)]&some[0], t.literal[byte(text>>8)]&some[1], t.literal[byte(text>>16)]&some[2]
			held |= uint64(a>>lengthShift) << (bits & 63)
			bits += uint(a)
			held |= uint64(b>>lengthShift) << (bits & 63)
			bits += uint(b)
			held |= uint64(c>>lengthShift) << (bits & 63)
			bits += uint(c)
			*(*uint64)(to) = held
			to = unsafe.Add(to, bits>>3&7)
			held >>= bits & 56
			bits &= 7
			from = unsafe.Add(from, n)
		}
		length := o.length()
		if length == 0 {
			continue
		}
		a := t.length[length&511]
		held |= uint64(a>>lengthShift) << (bits & 63)
		bits += uint(a & lengthMask)
		back := uint32(o.back())
		d := t.distance[distanceIndex(back)&511]
		held |= uint64(uint16(d>>lengthShift)) << (bits & 63)
		bits += uint(d & lengthMask)
		extra := uint(d >> extraShift)
		held |= uint64(back&(1<<(extra&31)-1)) << (bits & 63)
		bits += extra
		*(*uint64)(to) = held
		to = unsafe.Add(to, bits>>3)
		held >>= bits & 56
		bits &= 7
		from = unsafe.Add(from, length)
	}
	w.n, w.held, w.bits = int(uintptr(to)-uintptr(start)), held, bits
}

// flush writes an empty stored block, which ends on a byte.
func (w *writer) flush() {
	w.room(16)
	w.put(coded(stored<<1, 3))
	if w.bits > 0 {
		w.put(coded(0, uint8(8-w.bits)))
	}
	w.n += copy(w.out[w.n:], syncFlush)
}

// syncFlush is the length of an empty stored block, and its complement.
var syncFlush = []byte{0, 0, 0xff, 0xff}
