package rowflate

import (
	"unsafe"

	"github.com/penstock-io/penstock/host/internal/swar"
)

// A gap is the text between two values of a row, or of neighbouring rows: commas,
// colons, brackets, white space, and the names of members. Gaps of equal text have
// one number.
type gap struct {
	head   swar.Head
	length int
	next   [2]int32 // the gaps that came after this one lately, the latest first
	text   string
}

const (
	maxGap  = 255  // bytes
	maxGaps = 4096 // numbers
	noGap   = 0    // the number of a text that is too long, or one too many
)

// at reports whether the gap's text stands at i.
func (g *gap) at(r reader, i int) bool {
	if !g.head.Begins(r.word(i), r.word(i+8), r.word(i+16)) {
		return false
	}
	return g.length <= swar.HeadSize || i+g.length <= r.n && r.text(i, i+g.length) == g.text
}

// gaps numbers gaps and predicts which comes next.
type gaps struct {
	all     []gap // by number; that of noGap has no text
	numbers map[string]int32
	refused int // since all numbers were given
}

func (s *gaps) reset() {
	s.all = append(s.all[:0], gap{})
	s.numbers = make(map[string]int32)
	s.refused = 0
}

// worn reports whether all numbers were given and many gaps got none: those that came
// first may be of no use any more.
func (s *gaps) worn() bool { return s.refused >= maxGaps }

// find returns the number of the gap at i, which follows the gap before, and where the
// value behind it begins.
func (s *gaps) find(r reader, i int, before int32) (number int32, value int) {
	last := &s.all[before]
	if number = last.next[0]; number != noGap {
		if g := &s.all[number]; g.at(r, i) {
			return number, i + g.length
		}
	}
	return s.findOther(r, i, before)
}

// findOther is find for a gap that is not the one that came last time.
func (s *gaps) findOther(r reader, i int, before int32) (number int32, value int) {
	number = s.all[before].next[1]
	g := &s.all[number]
	if number != noGap && g.at(r, i) {
		value = i + g.length
	} else {
		number, value = s.lookUp(r, i)
	}
	last := &s.all[before] // lookUp may move the table
	last.next[0], last.next[1] = number, last.next[0]
	return number, value
}

// lookUp is find for a gap that was not predicted.
func (s *gaps) lookUp(r reader, i int) (number int32, value int) {
	value = gapEnd(r.rows(), i)
	if value == i || value == r.n || value-i > maxGap {
		// The text at the end of the rows may be the beginning of a longer one.
		return noGap, value
	}
	if number, ok := s.numbers[r.text(i, value)]; ok {
		return number, value
	}
	if len(s.all) == maxGaps {
		s.refused++
		return noGap, value
	}
	number = int32(len(s.all))
	s.all = append(s.all, gap{head: swar.NewHead(r.text(i, value)), length: value - i, text: string(r.rows()[i:value])})
	s.numbers[s.all[number].text] = number
	return number, value
}

// gapEnd returns where the value behind the gap at i begins: a string that no colon
// follows, or anything else that is neither punctuation nor white space.
func gapEnd(rows []byte, i int) int {
	for i < len(rows) {
		switch rows[i] {
		case ',', ':', '{', '}', '[', ']', ' ', '\t', '\r', '\n':
			i++
		case '"':
			end := stringEnd(rows, i)
			after := end
			for after < len(rows) && rows[after] == ' ' {
				after++
			}
			if after == len(rows) || rows[after] != ':' {
				return i
			}
			i = end
		default:
			return i
		}
	}
	return i
}

// stringEnd returns the place after the string that begins at i; without a closing quote
// that is the end of the rows.
func stringEnd(rows []byte, i int) int {
	for i++; i < len(rows); i++ {
		switch rows[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(rows)
}

// reader reads rows eight bytes at a time, without a check of each place: a place that
// is read lies before n, and slack bytes of the same memory lie behind that.
type reader struct {
	first unsafe.Pointer
	n     int // the bytes of the rows
}

// slack is how many bytes are read behind a place without looking whether they are
// rows: those of a gap, and the first of the value behind it. Their content does not
// count.
const slack = swar.HeadSize + 8

// newReader returns a reader for rows, which have slack bytes of capacity behind them.
func newReader(rows []byte) reader {
	_ = rows[:len(rows)+slack]
	return reader{unsafe.Pointer(unsafe.SliceData(rows)), len(rows)}
}

func (r reader) word(i int) uint64 { return *(*uint64)(unsafe.Add(r.first, i)) }
func (r reader) byte(i int) byte   { return *(*byte)(unsafe.Add(r.first, i)) }
func (r reader) rows() []byte      { return unsafe.Slice((*byte)(r.first), r.n) }

// text returns the rows from i to end, for as long as they do not change.
func (r reader) text(i, end int) string {
	return unsafe.String((*byte)(unsafe.Add(r.first, i)), end-i)
}
