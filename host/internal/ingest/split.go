package ingest

import "bytes"

// Splitter finds the elements of arrays in a stream: `[{…},{…}]`, also several
// arrays and single records behind each other. It tells strings from structure
// and nothing more; whether an element is valid is the parser's business.
//
// It is called with growing windows of the stream: At is how far the window
// was understood, and what lies before the last complete element may be
// dropped with Drop.
//
// A raw newline in a string, which JSON does not allow, ends the element: a
// quote that is missing costs its line, and not all that follows.
type Splitter struct {
	At int // behind what was understood

	depth  int  // of brackets that are open
	start  int  // of the element that is open, when inside
	inside bool // an element is open
	quoted bool // in a string
	escape bool // behind a backslash in a string
	lead   int  // depth outside of elements: 0, or 1 in an array
}

// State says what Next has found.
type State int

// The states.
const (
	Complete   State = iota + 1 // a whole element
	Incomplete                  // the window ends first
)

// Resume returns a splitter that begins between two elements, perhaps in an
// array.
func Resume(inArray bool) *Splitter {
	s := &Splitter{}
	if inArray {
		s.lead, s.depth = 1, 1
	}
	return s
}

// InElement is where the open element begins; ok is false when none is open.
func (s *Splitter) InElement() (start int, ok bool) { return s.start, s.inside }

// InArray says whether an array is open. With it and Resume a stream is taken
// up again between two elements.
func (s *Splitter) InArray() bool { return s.lead > 0 }

// Drop tells the splitter that the first n bytes of the window are gone.
func (s *Splitter) Drop(n int) {
	s.At -= n
	s.start -= n
}

// Next looks for an element in the window from where it stopped.
func (s *Splitter) Next(window []byte) (Span, State) {
	for s.At < len(window) {
		end := false
		switch {
		case s.quoted:
			end = s.inString(window)
		case s.inside:
			end = s.inElement(window[s.At])
		default:
			s.between(window[s.At])
		}
		if end {
			s.inside = false
			return Span{s.start, s.At}, Complete
		}
	}
	return Span{}, Incomplete
}

// inString goes to the end of the string or of the window, and says whether
// the element ends there.
func (s *Splitter) inString(window []byte) (end bool) {
	for s.At < len(window) {
		if s.escape {
			s.escape = false
			s.At++
			continue
		}
		n := bytes.IndexAny(window[s.At:], "\"\\\n")
		if n < 0 {
			s.At = len(window)
			return false
		}
		s.At += n
		c := window[s.At]
		if c == '\n' {
			s.quoted = false
			s.depth = s.lead
			return true
		}
		s.At++
		if c == '"' {
			s.quoted = false
			return false
		}
		s.escape = true
	}
	return false
}

// between handles a byte outside of elements.
func (s *Splitter) between(c byte) {
	switch c {
	case ' ', '\t', '\r', '\n', ',':
	case ']':
		s.lead, s.depth = 0, 0
	case '[':
		if s.lead == 0 {
			s.lead, s.depth = 1, 1
			break
		}
		s.begin(c)
	default:
		s.begin(c)
	}
	s.At++
}

func (s *Splitter) begin(c byte) {
	s.inside, s.start, s.quoted = true, s.At, c == '"'
	if c == '{' || c == '[' {
		s.depth++
	}
}

// inElement handles a byte of the open element, and says whether the element
// ends there: behind its last bracket, or, when it has none, before a comma, a
// bracket or a newline.
func (s *Splitter) inElement(c byte) (end bool) {
	switch c {
	case '"':
		s.quoted = true
	case '{', '[':
		s.depth++
	case '}', ']':
		if s.depth == s.lead {
			return true
		}
		s.depth--
		s.At++
		return s.depth == s.lead
	case ',', '\n':
		if s.depth == s.lead {
			return true
		}
	}
	s.At++
	return false
}
