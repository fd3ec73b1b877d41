package rowflate

import "encoding/binary"

// op is a number of literals and the match that follows them: literals<<32, the length
// of the match <<16, its distance less 1. Literals without a match have length 0.
type op uint64

func newOp(literals, length, distance int) op {
	return op(uint64(literals)<<32 | uint64(length)<<16 | uint64(distance-1))
}

// mostMatch is the longest match of an op.
const mostMatch = 1<<16 - 1

func (o op) literals() int { return int(o >> 32) }
func (o op) length() int   { return int(o >> 16 & 0xffff) }
func (o op) back() int     { return int(o & 0xffff) } // distance less 1

// split returns the length that is written first of a match that is longer than one
// pair of length and distance can say: the rest is never too short.
func split(length int) int {
	if length-maxLength < minLength {
		return maxLength - minLength
	}
	return maxLength
}

// counts are how often each symbol is written.
type counts struct {
	literal  [literals]uint32
	distance [distances]uint32
}

// count counts the symbols of ops over rows.
func (c *counts) count(rows []byte, ops []op) {
	*c = counts{}
	for _, o := range ops {
		n, length := o.literals(), o.length()
		for _, b := range rows[:n] {
			c.literal[b]++
		}
		rows = rows[n+length:]
		symbol := distanceSymbol(o.back())
		for length > 0 {
			part := length
			if part > maxLength {
				part = split(part)
			}
			c.literal[257+int(lengthSymbol[part])]++
			c.distance[symbol]++
			length -= part
		}
	}
	c.literal[endOfData] = 1
	// An alphabet of one distance is not complete, which some decoders refuse.
	c.distance[0], c.distance[1] = max(c.distance[0], 1), max(c.distance[1], 1)
}

// table holds the code of each symbol above the number of its bits, see coded.
type table struct {
	literal  [256]uint32
	length   [maxLength + 1]uint32 // by length, with its extra bits
	distance [32]uint32            // without extra bits
	end      uint32
	header   []uint32 // before the first row
	bits     int      // of the header
}

// A coded symbol is written as code>>lengthShift with code&lengthMask bits.
const (
	lengthShift = 5
	lengthMask  = 1<<lengthShift - 1
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
	for s := range t.distance {
		t.distance[s] = coded(uint32(b.codes[s]), b.distance[s])
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
		n += int(k) * (int(t.distance[s]&lengthMask) + distanceExtra(s))
	}
	return n
}

// writer writes bits, the first into the lowest free bit. out has room for 8 bytes more
// than are written.
type writer struct {
	out  []byte
	n    int    // whole bytes
	held uint64 // bits that are not a whole byte yet
	bits uint
}

func (w *writer) put(symbol uint32) {
	w.held |= uint64(symbol>>lengthShift) << (w.bits & 63)
	w.bits += uint(symbol & lengthMask)
	binary.LittleEndian.PutUint64(w.out[w.n:], w.held)
	w.n += int(w.bits >> 3)
	w.held >>= w.bits & 56
	w.bits &= 7
}

// write writes a block: the header, the rows as ops say, the end.
func (w *writer) write(t *table, rows []byte, ops []op) {
	for _, h := range t.header {
		w.put(h)
	}
	// In registers: less than a byte is held before each store, so that four literals
	// of 12 bits, or a length of 17 and a distance of 28, fit.
	out, k, held, bits := w.out, w.n, w.held, w.bits
	for _, o := range ops {
		n := o.literals()
		text := rows[:n]
		for ; len(text) >= 4; text = text[4:] {
			a, b, c, d := t.literal[text[0]], t.literal[text[1]], t.literal[text[2]], t.literal[text[3]]
			held |= uint64(a>>lengthShift) << (bits & 63)
			bits += uint(a & lengthMask)
			held |= uint64(b>>lengthShift) << (bits & 63)
			bits += uint(b & lengthMask)
			held |= uint64(c>>lengthShift) << (bits & 63)
			bits += uint(c & lengthMask)
			held |= uint64(d>>lengthShift) << (bits & 63)
			bits += uint(d & lengthMask)
			binary.LittleEndian.PutUint64(out[k:], held)
			k += int(bits >> 3)
			held >>= bits & 56
			bits &= 7
		}
		for _, b := range text {
			a := t.literal[b]
			held |= uint64(a>>lengthShift) << (bits & 63)
			bits += uint(a & lengthMask)
		}
		binary.LittleEndian.PutUint64(out[k:], held)
		k += int(bits >> 3)
		held >>= bits & 56
		bits &= 7

		length := o.length()
		rows = rows[n+length:]
		if length == 0 {
			continue
		}
		symbol := distanceSymbol(o.back()) & 31
		d := t.distance[symbol]
		distance := uint64(d>>lengthShift) | uint64(o.back()-distanceStart[symbol])<<(d&lengthMask)
		distanceBits := uint(d&lengthMask) + uint(distanceMore[symbol])
		for length > 0 {
			part := length
			if part > maxLength {
				part = split(part)
			}
			length -= part
			a := t.length[part]
			held |= uint64(a>>lengthShift) << (bits & 63)
			bits += uint(a & lengthMask)
			held |= distance << (bits & 63)
			bits += distanceBits
			binary.LittleEndian.PutUint64(out[k:], held)
			k += int(bits >> 3)
			held >>= bits & 56
			bits &= 7
		}
	}
	w.n, w.held, w.bits = k, held, bits
	w.put(t.end)
}

// flush writes an empty stored block, which ends on a byte.
func (w *writer) flush() {
	w.put(coded(stored<<1, 3))
	if w.bits > 0 {
		w.put(coded(0, uint8(8-w.bits)))
	}
	w.n += copy(w.out[w.n:], syncFlush)
}

// syncFlush is the length of an empty stored block, and its complement.
var syncFlush = []byte{0, 0, 0xff, 0xff}
