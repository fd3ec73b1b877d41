package rowflate

import "github.com/penstock-io/penstock/host/internal/rowmark"

const (
	valueBits  = 11 // of members, by gap and first 8 bytes of the value
	textBits   = 11 // of values, by first 8 bytes
	searchBits = 12 // of places within long values, by 5 bytes

	leastMatch  = 5       // not more than search compares
	leastText   = 8       // bytes of a value that is compared with values of other gaps
	leastSearch = 12      // bytes of a value that is searched
	dullSearch  = 16      // searches without a match after which there is a pause
	batchOps    = 1 << 11 // that are written at a time
	manyMembers = 1 << 11 // that are remembered: most of a window's
	manyPlaces  = 1 << 30 // after which places are counted again from 0

	mix = 0x9e3779b97f4a7c15
)

// Encoder compresses rows. It keeps its memory and its knowledge of names, at most
// some 2 MiB; it is not for concurrent use. The zero Encoder is ready.
type Encoder struct {
	r       reader // of the rows of this call
	gaps    gaps
	ops     []op
	written int // the bytes of rows that are written, or that ops stand for
	done    int // those that are written

	// Places count from base on; those of earlier calls are more than window before it.
	base    int32
	number  uint32                 // of the next member, over all calls
	members [manyMembers]member    // the latest, by number
	last    [maxGaps]uint32        // the latest member of each gap
	values  [1 << valueBits]uint32 // members
	texts   [1 << textBits]int32   // places
	fives   [1 << searchBits]int32 // places
	named   [rowmark.Names]int32   // places of the latest marks of each name
	likes   [1 << valueBits]int32  // places of marks, by name and first 8 bytes of the value
	dull    [maxGaps]uint8         // how often the search of a value behind the gap found nothing

	tables tables
	alone  tables // for fragments of one batch
}

// member is a gap and the value behind it.
type member struct{ gap, at int32 }

// Encode appends to dst a fragment that inflates to rows, and returns the result. It
// reads the bytes between length and capacity of rows, and changes nothing.
func (e *Encoder) Encode(dst, rows []byte) []byte { return e.EncodeMarked(dst, rows, nil, 0) }

// EncodeMarked is Encode with marks, which may be nil: places in rows plus base, ascending.
// The fragment inflates to rows with any marks; good ones save time.
func (e *Encoder) EncodeMarked(dst, rows []byte, marks []rowmark.Mark, base int) []byte {
	if cap(rows)-len(rows) < slack {
		rows = append(make([]byte, 0, len(rows)+slack), rows...)
	}
	e.begin(rows)
	w := writer{out: dst, n: len(dst)}
	e.steps(&w, e.marked(&w, marks, base), e.r.n)
	if e.written < e.r.n {
		e.ops = append(e.ops, newOp(e.r.n-e.written, 0, 1))
		e.written = e.r.n
	}
	e.finish(&w)
	w.flush()
	e.r = reader{n: e.r.n}
	return w.out[:w.n]
}

// steps takes the members that begin between i and end, of which there are no marks. It
// returns where the last of them ends, perhaps behind end.
func (e *Encoder) steps(w *writer, i, end int) int {
	for gap := int32(noGap); i < end; {
		i, gap = e.step(i, gap)
		if len(e.ops) >= batchOps {
			e.write(w)
		}
	}
	return i
}

// begin makes the encoder ready for rows.
func (e *Encoder) begin(rows []byte) {
	if e.gaps.numbers == nil || e.gaps.worn() {
		e.gaps.reset()
		e.dull = [maxGaps]uint8{}
	}
	e.base += int32(e.r.n) + 2*window
	if e.base > manyPlaces {
		e.members, e.texts, e.fives = [manyMembers]member{}, [1 << textBits]int32{}, [1 << searchBits]int32{}
		e.named, e.likes = [rowmark.Names]int32{}, [1 << valueBits]int32{}
		e.base = 2 * window
	}
	e.r, e.written, e.done, e.ops = newReader(rows), 0, 0, e.ops[:0]
	e.tables.begin()
}

// step takes the member that begins at i behind the gap before, with all further ones
// that are copied with it. It returns where the last of them ends, and its gap.
func (e *Encoder) step(i int, before int32) (end int, gap int32) {
	gap, value := e.gaps.find(e.r, i, before)
	number, place, former := e.number, e.base+int32(i), e.last[gap]
	e.note(gap, place)
	if at := max(i, e.written); gap == noGap {
		value = i
	} else if at < value {
		// Where the gap stood last with a value that begins so, or where it stood last.
		slot := &e.values[(e.r.word(value)^uint64(gap)<<52)*mix>>(64-valueBits)]
		source := *slot
		*slot = number
		distance := e.distance(number, source)
		if distance == 0 {
			source, distance = former, e.distance(number, former)
		}
		if distance > 0 {
			e.match(at, e.r.common(at-distance, at), distance)
			if end, last := e.follow(source, distance); end > 0 {
				return end, last
			}
		}
	}
	if end = value; end < e.r.n {
		end = e.r.valueEnd(value)
	}
	if end > e.written {
		e.rest(gap, value, end)
	}
	return end, gap
}

// distance returns how far before the latest member, number, an earlier one of the same
// gap stands; 0 if that is forgotten, beyond the window, or of another gap.
func (e *Encoder) distance(number, earlier uint32) int {
	if number-earlier-1 >= manyMembers-1 {
		return 0
	}
	m, other := e.members[number%manyMembers], e.members[earlier%manyMembers]
	if d := m.at - other.at; m.gap == other.gap && d > 0 && d <= window {
		return int(d)
	}
	return 0
}

// note keeps a member.
func (e *Encoder) note(gap, place int32) {
	e.members[e.number%manyMembers] = member{gap, place}
	e.last[gap] = e.number
	e.number++
}

// end returns where a copy of a member ends that stands distance bytes behind it.
func (e *Encoder) end(source uint32, distance int) int {
	return int(e.members[(source+1)%manyMembers].at-e.base) + distance
}

// follow notes the members that a match holds besides the first, which was copied from
// source: the members that follow source. It returns the end of the last, and its gap; 0 if the
// match does not hold the first as a whole.
func (e *Encoder) follow(source uint32, distance int) (end int, gap int32) {
	if end = e.end(source, distance); end >= e.written {
		return 0, noGap
	}
	for {
		gap = e.members[source%manyMembers].gap
		if source++; source+1 == e.number {
			return end, gap // where the next ends is not known yet
		}
		next := e.end(source, distance)
		if next >= e.written {
			return end, gap
		}
		e.note(e.members[source%manyMembers].gap, e.base+int32(end))
		end = next
	}
}

// match adds a match at i, unless it is too short, and lengthens it towards the last one.
// The bytes were compared: members and places only say where to compare.
func (e *Encoder) match(i, length, distance int) {
	if length < leastMatch {
		return
	}
	for i > e.written && i > distance && e.r.byte(i-1) == e.r.byte(i-1-distance) {
		i--
		length++
	}
	for length > maxLength {
		const part = maxLength - minLength // the rest is never too short
		e.ops = append(e.ops, newOp(i-e.written, part, distance))
		i += part
		length -= part
		e.written = i
	}
	e.ops = append(e.ops, newOp(i-e.written, length, distance))
	e.written = i + length
}

// rest looks for matches in the rest of a value.
func (e *Encoder) rest(gap int32, value, end int) {
	at := max(value, e.written)
	if end-value >= leastText {
		slot := &e.texts[e.r.word(value)*mix>>(64-textBits)]
		place := e.base + int32(value)
		distance := int(place - *slot)
		*slot = place
		if distance > 0 && distance <= window {
			e.match(at, e.r.common(at-distance, at), distance)
			at = max(at, e.written)
		}
	}
	if end-at < leastSearch {
		return
	}
	if e.dull[gap] < dullSearch {
		e.search(gap, at, end)
	} else if e.dull[gap]++; e.dull[gap] == 100 {
		e.dull[gap] = dullSearch - 2 // tried again from time to time
	}
}

// search looks for matches of five bytes between i and end.
func (e *Encoder) search(gap int32, i, end int) {
	found := false
	for i+8 <= end {
		word := e.r.word(i) << 24
		slot := &e.fives[word*mix>>(64-searchBits)]
		place := e.base + int32(i)
		distance := int(place - *slot)
		*slot = place
		if distance <= 0 || distance > window || e.r.word(i-distance)<<24 != word {
			i++
			continue
		}
		e.match(i, 5+e.r.common(i+5-distance, i+5), distance)
		found = true
		for k := i + 1; k < e.written && k+8 <= end; k += 3 {
			e.fives[e.r.word(k)<<24*mix>>(64-searchBits)] = e.base + int32(k)
		}
		i = e.written
	}
	if found {
		e.dull[gap] = 0
	} else if e.dull[gap] < dullSearch {
		e.dull[gap]++
	}
}

// write writes the rows that ops stand for.
func (e *Encoder) write(w *writer) {
	if t := e.tables.next(e.pending(), e.ops); t != w.table {
		if w.table != nil {
			w.end()
		}
		w.begin(t)
	}
	w.write(e.r, e.done, e.written, e.ops)
	e.done, e.ops = e.written, e.ops[:0]
}

// pending returns the rows that ops stand for.
func (e *Encoder) pending() []byte { return e.r.rows()[e.done:e.written] }

// finish writes the last ops, and ends the block.
func (e *Encoder) finish(w *writer) {
	if len(e.ops) > 0 {
		if w.table == nil {
			w.begin(e.alone.only(e.pending(), e.ops))
		}
		w.write(e.r, e.done, e.written, e.ops)
		e.done, e.ops = e.written, e.ops[:0]
	}
	if w.table != nil {
		w.end()
	}
}
