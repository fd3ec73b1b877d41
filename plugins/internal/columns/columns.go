package columns

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Kind is the type of a column.
type Kind int

// The kinds.
const (
	ID      Kind = iota // a string that identifies a device, a user or an event; may be null
	Name                // a string for people
	Object              // the text of a JSON object
	Integer             // int64
)

// Column is a column of a stream.
type Column struct {
	Name string
	Kind Kind
}

var (
	events = []Column{
		{"device_id", ID}, {"distinct_id", ID}, {"event_name", Name}, {"insert_id", ID},
		{"properties", Object}, {"time", Integer}, {"user_id", ID},
	}
	people   = []Column{{"distinct_id", ID}, {"properties", Object}}
	identity = []Column{{"distinct_id", ID}, {"resolved_distinct_id", ID}}
)

// Of returns the columns of a stream in the order of the row, or nil for a stream
// that is not known. The caller does not change them.
func Of(stream batch.Stream) []Column {
	switch stream {
	case batch.Events:
		return events
	case batch.People:
		return people
	case batch.Identity:
		return identity
	default:
		return nil
	}
}

// Value is the value of one column of a row.
type Value struct {
	// Text is the value of a string, unescaped; nil: null.
	Text []byte
	// Integer is the value of a column of kind Integer.
	Integer int64
	Null    bool
}

// Row is a row of values in the order of Of.
type Row struct{ Values []Value }

// errForm is returned for a row that has not the columns of its stream.
var errForm = errors.New("row has not the form of its stream")

// splitter takes rows of one stream apart.
type splitter struct {
	columns []Column
	object  int      // index of the column properties; -1: the stream has none
	front   [][]byte // text before each value: {"device_id":
	arena   []byte   // of unescaped strings
}

func newSplitter(stream batch.Stream) *splitter {
	s := &splitter{columns: Of(stream), object: -1}
	for i, c := range s.columns {
		lead := ","
		if i == 0 {
			lead = "{"
		}
		s.front = append(s.front, []byte(lead+`"`+c.Name+`":`))
		if c.Kind == Object {
			s.object = i
		}
	}
	return s
}

// reset frees the strings of earlier rows for reuse.
func (s *splitter) reset() { s.arena = s.arena[:0] }

// split fills row with the values of a line. exact reports whether AppendLine
// renders the same bytes. The values are valid until reset, and as long as line
// is.
//
// The columns before properties are read from the front and those after it from
// the end. A name with its quotes cannot be a part of a later string, where quotes
// are escaped, so the last place of `,"time":` in a row is the one of the column.
func (s *splitter) split(line []byte, row *Row) (exact bool, err error) {
	if cap(row.Values) < len(s.columns) {
		row.Values = make([]Value, len(s.columns))
	}
	row.Values = row.Values[:len(s.columns)]
	exact = true
	rest, ok := bytes.CutSuffix(line, []byte{'}'})
	if !ok {
		return false, s.malformed(line)
	}
	last := len(s.columns)
	for last-1 > s.object && s.object >= 0 {
		last--
		at := bytes.LastIndex(rest, s.front[last])
		if at < 0 {
			return false, s.malformed(line)
		}
		same, ok := s.value(last, rest[at+len(s.front[last]):], &row.Values[last])
		if !ok {
			return false, s.malformed(line)
		}
		rest, exact = rest[:at], exact && same
	}
	for i := range last {
		if rest, ok = bytes.CutPrefix(rest, s.front[i]); !ok {
			return false, s.malformed(line)
		}
		raw := rest
		if i < last-1 {
			if raw = rest[:tokenEnd(rest)]; len(raw) == 0 {
				return false, s.malformed(line)
			}
		}
		same, ok := s.value(i, raw, &row.Values[i])
		if !ok {
			return false, s.malformed(line)
		}
		rest, exact = rest[len(raw):], exact && same
	}
	return exact, nil
}

func (s *splitter) malformed(line []byte) error {
	const shown = 120
	if len(line) > shown {
		line = line[:shown]
	}
	return fmt.Errorf("%w: %q", errForm, line)
}

// tokenEnd returns the length of the string or literal at the start of text; 0 if
// there is none.
func tokenEnd(text []byte) int {
	if len(text) == 0 || text[0] != '"' {
		return max(0, bytes.IndexByte(text, ','))
	}
	for i := 1; i < len(text); {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return 0
		}
		i += n
		escapes := 0
		for text[i-1-escapes] == '\\' {
			escapes++
		}
		if i++; escapes%2 == 0 {
			return i
		}
	}
	return 0
}

var null = []byte("null")

// value decodes one value; exact as for split.
func (s *splitter) value(column int, raw []byte, v *Value) (exact, ok bool) {
	*v = Value{}
	if bytes.Equal(raw, null) {
		v.Null = true
		return true, s.columns[column].Kind != Object
	}
	switch s.columns[column].Kind {
	case Integer:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		v.Integer = n
		return err == nil && len(raw) > 0 && raw[0] != '+' && (raw[0] != '0' || len(raw) == 1) && string(raw) != "-0", err == nil
	case Object:
		v.Text = raw
		return true, len(raw) >= 2 && raw[0] == '{' && raw[len(raw)-1] == '}'
	default:
		if len(raw) < 2 || raw[0] != '"' || tokenEnd(raw) != len(raw) {
			return false, false
		}
		return s.text(raw, v)
	}
}

// text unescapes a string.
func (s *splitter) text(raw []byte, v *Value) (exact, ok bool) {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		v.Text = inner
		return true, true
	}
	if cap(s.arena)-len(s.arena) < len(inner) {
		// The values of earlier rows keep the full array.
		s.arena = make([]byte, 0, max(64<<10, len(inner)))
	}
	start := len(s.arena)
	if s.arena, ok = appendUnescaped(s.arena, inner); !ok {
		return false, false
	}
	v.Text = s.arena[start:len(s.arena):len(s.arena)]
	return bytes.Equal(appendQuoted(nil, v.Text), raw), true
}

// AppendLine renders a row as its line, without a newline. escaped makes
// properties a string, as in `"properties":"{\"a\":1}"`.
func AppendLine(dst []byte, stream batch.Stream, row *Row, escaped bool) []byte {
	for i, c := range Of(stream) {
		lead := byte(',')
		if i == 0 {
			lead = '{'
		}
		dst = append(dst, lead, '"')
		dst = append(append(dst, c.Name...), '"', ':')
		switch v := &row.Values[i]; {
		case v.Null:
			dst = append(dst, null...)
		case c.Kind == Integer:
			dst = strconv.AppendInt(dst, v.Integer, 10)
		case c.Kind == Object && !escaped:
			dst = append(dst, v.Text...)
		default:
			dst = appendQuoted(dst, v.Text)
		}
	}
	return append(dst, '}')
}
