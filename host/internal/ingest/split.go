package ingest

import (
	"bytes"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Splitter finds the records in a stream of arrays: `[{…},{…}]`, several arrays
// one after the other, one array per line, and single records between them.
// Commas, brackets and white space only separate records; whether a record is
// valid is the parser's business.
//
// It is called with growing windows of the stream: the window is understood up
// to At, and the part before the open element may be dropped with Drop.
//
// A torn record costs itself and no other. Where its JSON breaks, the splitter
// looks for the next place that can begin a record (see resync), and the part up
// to there is one element, which the parser refuses:
//
//	[{"event":"a","properties":{"time":1},{"event":"b",…}]   a brace is missing
//	 └── an element ─────────────────────┘└── the next ─┘
//
//	[{"event":"a",…},{"event":"b","pr                        a line is cut
//	[{"event":"c",…},…]
//
// Text that is not an object is an element that ends with its line, or before
// the next object.
type Splitter struct {
	At int // the window is understood up to here

	depth    int  // of the open arrays
	start    int  // of the open element
	inside   bool // an element is open
	skipping bool // the open element is too long, and its beginning is gone
	resync   resync
	again    int // bytes that may still be scanned again before the next Drop
	bounds   schema.Bounds
	strict   bool // every element is scanned as JSON, for tests of outline
}

// scannedAgain bounds how many bytes are scanned again between two calls of
// Drop: a hostile stream could break late again and again, each time with a
// record to return to near the beginning.
const scannedAgain = 4 << 20

// State is the result of Next.
type State int

// The states.
const (
	Complete   State = iota + 1 // an element, whole or torn
	TooLong                     // the first part of an element that is longer than a record may be
	Incomplete                  // the window ends first
)

// Resume returns a splitter that begins between two elements, perhaps in an
// array.
func Resume(inArray bool) *Splitter {
	s := &Splitter{again: scannedAgain}
	if inArray {
		s.depth = 1
	}
	return s
}

// InElement returns where the open element begins; ok is false if none is open.
func (s *Splitter) InElement() (start int, ok bool) { return s.start, s.inside && !s.skipping }

// Skipping reports whether an element is open whose first part was TooLong.
func (s *Splitter) Skipping() bool { return s.skipping }

// InArray reports whether an array is open. With it and Resume a stream is taken
// up again between two elements.
func (s *Splitter) InArray() bool { return s.depth > 0 }

// Arrays returns how many arrays are open.
func (s *Splitter) Arrays() int { return s.depth }

// Within returns a splitter of its own that begins between two elements, in as many
// arrays as are open.
func (s *Splitter) Within() *Splitter {
	return &Splitter{depth: s.depth, again: scannedAgain, strict: s.strict}
}

// StandsAt reports whether an element is open that begins at a place of the window, in so
// many arrays, and would be scanned from its beginning: the state of a splitter of Within
// that has not begun.
func (s *Splitter) StandsAt(at, arrays int) bool {
	start, open := s.InElement()
	return open && start == at && s.depth == arrays
}

// Drop tells the splitter that the first n bytes of the window are gone.
func (s *Splitter) Drop(n int) {
	s.At -= n
	s.start -= n
	s.again = scannedAgain
}

// Next looks for an element in the window from where it stopped. final tells it
// that the stream ends with the window: an element that is torn ends there, too.
// An element of which only the end is missing stays Incomplete.
func (s *Splitter) Next(window []byte, final bool) (Span, State) {
	if s.skipping && !s.skip(window, final) {
		return Span{}, Incomplete
	}
	if !s.inside && !s.begin(window) {
		return Span{}, Incomplete
	}
	to, state := s.end(window, final)
	span := Span{s.start, to}
	switch state {
	case Complete:
		s.inside, s.At = false, to
	case TooLong:
		s.skipping, s.At = true, s.resync.at
		span.To = len(window)
	}
	return span, state
}

// begin goes to the next element, and reports whether there is one.
func (s *Splitter) begin(window []byte) bool {
	for ; s.At < len(window); s.At++ {
		switch window[s.At] {
		case ' ', '\t', '\r', '\n', ',', 0:
		case ']':
			s.depth = max(0, s.depth-1)
		case '[':
			s.depth++
			if s.At == 0 || window[s.At-1] == '\n' {
				s.depth = 1 // the end of the array before may be missing
			}
		default:
			s.start, s.inside = s.At, true
			return true
		}
	}
	return false
}

// end returns where the open element ends.
func (s *Splitter) end(window []byte, final bool) (to int, state State) {
	from := s.start
	if window[from] != '{' {
		s.resync = resync{at: from, text: true}
		return s.search(window, schema.Broken, final)
	}
	if n := outline(window[from:]); n > 0 && !s.strict {
		return from + n, Complete
	}
	n, extent := s.bounds.Value(window[from:])
	if extent == schema.Whole {
		return from + n, Complete
	}
	if extent == schema.Cut && !final {
		return 0, Incomplete
	}
	s.resync = resync{at: from, key: firstKey(window[from:])}
	if s.again < n {
		s.resync = resync{at: from + n, key: s.resync.key, adrift: true}
	}
	to, state = s.search(window, extent, final)
	s.again -= max(0, from+n-to)
	return to, state
}

// search returns where a torn element ends.
func (s *Splitter) search(window []byte, extent schema.Extent, final bool) (to int, state State) {
	switch found := s.resync.find(window, final); {
	case found || final && extent == schema.Broken:
		to = s.trim(window, s.resync.at)
		if window[to-1] == ']' {
			s.depth = max(0, s.depth-1)
		}
		return to, Complete
	case !final && len(window)-s.start > schema.MaxRecord:
		return 0, TooLong
	}
	return 0, Incomplete
}

// trim returns the end of an element that ends before to, without the separators
// that follow it: a line's end, or white space and a comma.
func (s *Splitter) trim(window []byte, to int) int {
	const space = " \t\r\n\x00"
	separators := space + ",["
	if s.resync.text {
		separators += "]"
	}
	text := window[s.start:to]
	bare := bytes.TrimRight(text, separators)
	if n := bytes.IndexByte(text[len(bare):], '\n'); n >= 0 {
		text = text[:len(bare)+n]
	}
	text = bytes.TrimRight(bytes.TrimSuffix(bytes.TrimRight(text, space), []byte(",")), space)
	if s.resync.text {
		text = bytes.TrimRight(text, separators)
	}
	return s.start + max(1, len(text))
}

// skip goes to the end of an element that is too long, and reports whether it is
// in the window.
func (s *Splitter) skip(window []byte, final bool) bool {
	s.resync.at = s.At
	found := s.resync.find(window, final)
	s.At = s.resync.at
	s.inside, s.skipping = !found, !found
	return found
}
