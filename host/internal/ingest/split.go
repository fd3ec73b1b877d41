package ingest

// Splitter finds the elements of arrays in a stream: `[{…},{…}]`, also several
// arrays behind each other. It tells strings from structure and nothing more;
// whether an element is valid is the parser's business.
//
// It is called with growing windows of the stream: At is how far the window
// was understood, and what lies before the last complete element may be
// dropped with Drop.
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

// Open says whether an array is open.
func (s *Splitter) Open() bool { return s.lead > 0 || s.inside }

// InElement is where the open element begins; ok is false when none is open.
func (s *Splitter) InElement() (start int, ok bool) { return s.start, s.inside }

// Drop tells the splitter that the first n bytes of the window are gone.
func (s *Splitter) Drop(n int) {
	s.At -= n
	s.start -= n
}

// InArray says whether an array is open, and Resume begins in one: together
// they let a stream be taken up again between two elements.
func (s *Splitter) InArray() bool { return s.lead > 0 }

// Resume returns a splitter that begins between two elements.
func Resume(inArray bool) *Splitter {
	s := &Splitter{}
	if inArray {
		s.lead, s.depth = 1, 1
	}
	return s
}

// Next looks for an element in the window from where it stopped.
func (s *Splitter) Next(window []byte) (Span, State) {
	for ; s.At < len(window); s.At++ {
		c := window[s.At]
		switch {
		case s.quoted:
			s.inString(c)
		case s.inside:
			if end, behind := s.inElement(c); end {
				s.inside = false
				if behind {
					s.At++
				}
				return Span{s.start, s.At}, Complete
			}
		default:
			s.between(c)
		}
	}
	return Span{}, Incomplete
}

func (s *Splitter) inString(c byte) {
	switch {
	case s.escape:
		s.escape = false
	case c == '\\':
		s.escape = true
	case c == '"':
		s.quoted = false
	}
}

// between handles a byte outside of elements.
func (s *Splitter) between(c byte) {
	switch c {
	case ' ', '\t', '\r', '\n', ',':
	case '[':
		if s.lead == 0 {
			s.lead, s.depth = 1, 1
			return
		}
		s.begin(c)
	case ']':
		s.lead, s.depth = 0, 0
	default:
		s.begin(c)
	}
}

func (s *Splitter) begin(c byte) {
	s.inside, s.start = true, s.At
	switch c {
	case '{', '[':
		s.depth++
	case '"':
		s.quoted = true
	}
}

// inElement handles a byte of the open element, and says whether the element
// ends there: behind its last bracket, or, when it has none, before a comma, a
// bracket or a newline.
func (s *Splitter) inElement(c byte) (end, behind bool) {
	switch c {
	case '"':
		s.quoted = true
	case '{', '[':
		s.depth++
	case '}', ']':
		if s.depth == s.lead {
			return true, false
		}
		s.depth--
		return s.depth == s.lead, true
	case ',', '\n':
		return s.depth == s.lead, false
	}
	return false, false
}
