package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// shownBytes is how much is set aside of an array of which only the end is
// missing.
const shownBytes = 256

// parser makes rows. It is for one goroutine.
type parser struct {
	// record appends the rows of a record that stands at a position of a file. One
	// that is refused is a *schema.Rejection, and leaves nothing.
	record func(r *result, record []byte, file string, at int64) error
	// line does it for the line that text begins with, if that has nothing but one usual
	// record, and returns the bytes of the line. It returns 0 for any other line, whose
	// records are for record to take. May be nil.
	line func(r *result, text []byte) int
}

// parser returns a parser.
func (o *Options) parser() parser {
	switch o.Records {
	case People:
		return parser{record: peopleParser(o.Now)}
	case Pulled:
		return pulledParser(schema.NewPulled(o.Now, o.Times, o.Identity, o.Workers))
	}
	return fileParser(schema.NewZoneParser(o.Now, o.Times), o.Packer != nil)
}

// eventParser is a parser of package schema.
type eventParser interface {
	AppendEvent(dst, record []byte) ([]byte, schema.Event, error)
	AppendLine(dst, text []byte) (out []byte, e schema.Event, n int)
}

// fileParser's rows are events. With marks they have marks, for a packer.
func fileParser(p *schema.Parser, marks bool) parser {
	mark := func(r *result) {
		if marks {
			r.marks = p.AppendMarks(r.marks, r.rows[len(r.rows)-1].Offset)
		}
	}
	return parser{
		record: func(r *result, record []byte, _ string, _ int64) error {
			if err := r.event(p, record); err != nil {
				return err
			}
			mark(r)
			return nil
		},
		line: func(r *result, text []byte) int {
			n := r.eventLine(p, text)
			if n > 0 {
				mark(r)
			}
			return n
		},
	}
}

// event appends the row of an event.
func (r *result) event(p eventParser, record []byte) error {
	data, e, err := p.AppendEvent(r.data, record)
	if err == nil {
		r.take(data, &e)
	}
	return err
}

// eventLine appends the row of the event on the line that text begins with, if it is a usual
// one, and returns the bytes of the line, or 0.
func (r *result) eventLine(p eventParser, text []byte) int {
	data, e, n := p.AppendLine(r.data, text)
	if n > 0 {
		r.take(data, &e)
	}
	return n
}

// take takes the row of an event, which was appended to r.data.
func (r *result) take(data []byte, e *schema.Event) {
	start := len(r.data)
	r.data = data
	r.clocks[e.Clock]++
	if e.Repaired {
		r.repaired++
	}
	r.rows = append(r.rows, journal.Row{
		Offset: start, Length: len(data) - start, Time: e.Time, Key: e.Key, Kind: journal.KindEvents, Flags: e.Flags,
	})
}

// pulledParser's rows are events and, after each, the link that it asks for.
func pulledParser(p *schema.Pulled) parser {
	return parser{
		record: func(r *result, record []byte, _ string, _ int64) error {
			err := r.event(p, record)
			if err == nil {
				r.link(p)
			}
			return err
		},
		line: func(r *result, text []byte) int {
			n := r.eventLine(p, text)
			if n > 0 {
				r.link(p)
			}
			return n
		},
	}
}

// link appends the row of the link that the last event asked for, if any.
func (r *result) link(p *schema.Pulled) {
	l, ok := p.Link()
	if !ok {
		return
	}
	start := len(r.data)
	r.data = schema.AppendLink(r.data, l)
	r.rows = append(r.rows, journal.Row{
		Offset: start, Length: len(r.data) - start, Time: l.Time, Key: l.Key(), Kind: journal.KindLinks,
		Flags: schema.TextFlags(len(r.data)-start, l.AnonymousID, l.IdentifiedID),
	})
}

// peopleParser's rows are of the day on which they are read. An operation is
// told from others by its place: the same line twice in a file is done twice.
func peopleParser(clock func() time.Time) func(r *result, record []byte, file string, at int64) error {
	p := schema.NewProfiles()
	var id []byte
	return func(r *result, record []byte, file string, at int64) error {
		now := r.arrived
		if now.IsZero() {
			now = clock()
		}
		operations, err := p.Operations(record, now)
		if err != nil {
			return err
		}
		if p.Repaired() {
			r.repaired++
		}
		for i, o := range operations {
			start := len(r.data)
			r.data = schema.AppendOperation(r.data, o)
			row := r.data[start:]
			// It is JSON: its parts were checked.
			flags, _ := schema.RowFlags(row)
			id = binary.AppendUvarint(binary.AppendUvarint(id[:0], uint64(at)), uint64(i))
			r.rows = append(r.rows, journal.Row{
				Offset: start, Length: len(row), Time: now.Unix(), Key: schema.OperationKey(append(id, file...), row),
				Kind: journal.KindProfiles, Flags: flags,
			})
		}
		return nil
	}
}

// content names the content that a file held at a time.
func content(p *Piece) string {
	if p.Edition == 0 {
		return p.File
	}
	return fmt.Sprintf("%s\x00%d", p.File, p.Edition)
}

// parse makes rows of a piece.
func (r *result) parse(p parser, piece *Piece) {
	r.rows, r.data, r.marks, r.packed, r.err = r.rows[:0], r.data[:0], r.marks[:0], nil, nil
	r.refused, r.records, r.file = r.refused[:0], int64(len(piece.Refused)), content(piece)
	r.refused = append(r.refused, piece.Refused...)
	r.arrived, r.repaired, r.clocks = piece.Arrived, 0, [len(r.clocks)]int64{}
	if piece.Records != nil {
		for _, s := range piece.Records {
			r.record(p, piece.Data[s.From:s.To], piece.Base+int64(s.From))
		}
		return
	}
	for from := 0; from < len(piece.Data); {
		if p.line != nil {
			if n := p.line(r, piece.Data[from:]); n > 0 {
				r.records++
				from += n
				continue
			}
		}
		end := bytes.IndexByte(piece.Data[from:], '\n')
		next := from + end + 1
		if end < 0 {
			end = len(piece.Data) - from
			next = len(piece.Data)
		}
		r.line(p, piece.Data[from:from+end], piece.Base+int64(from))
		from = next
	}
}

// line takes one line: a record, an array of records, a part of an array that
// has a record on each line, or nothing. Zero bytes, the hole that a truncated
// log begins with, end a record as a newline does.
func (r *result) line(p parser, line []byte, at int64) {
	if n := len(line); n > 0 && line[0] == '{' && line[n-1] == '}' && p.record(r, line, r.file, at) == nil {
		r.records++ // the usual case: there is no zero byte in a record that is JSON
		return
	}
	for i := bytes.IndexByte(line, 0); i >= 0; i = bytes.IndexByte(line, 0) {
		r.line(p, line[:i], at)
		rest := bytes.TrimLeft(line[i:], "\x00")
		line, at = rest, at+int64(len(line)-len(rest))
	}
	trimmed := bytes.TrimLeft(line, " \t\r")
	switch {
	case len(trimmed) == 0:
	case trimmed[0] == '[' && IsArray(trimmed):
		r.array(p, trimmed, at+int64(len(line)-len(trimmed)))
	case trimmed[0] == ']' && len(bytes.Trim(trimmed, "], \t\r")) == 0:
	default:
		r.record(p, alone(line), at)
	}
}

// IsArray reports whether a text that begins with a bracket begins an array that
// may hold records, and not, say, a line of a log.
func IsArray(text []byte) bool {
	rest := bytes.TrimLeft(text, "[ \t\r\n")
	return len(rest) == 0 || rest[0] == '{' || rest[0] == ']' || rest[0] == '"' || bytes.HasPrefix(rest, []byte("null"))
}

// alone returns a line without the comma that separates it, as an element of an
// array, from the next, and without the bracket that closes the array.
func alone(line []byte) []byte {
	if n := len(line); n == 0 || line[n-1] == '}' {
		return line
	}
	if bare := bytes.TrimRight(line, "], \t\r"); len(bare) > 0 && bare[len(bare)-1] == '}' {
		return bare
	}
	return line
}

// array takes the elements of an array that stands on one line. An array
// without end is refused from its open element on.
func (r *result) array(p parser, line []byte, at int64) {
	s := Resume(false)
	for {
		span, state := s.Next(line, true)
		if state != Complete {
			break
		}
		r.record(p, line[span.From:span.To], at+int64(span.From))
	}
	if end := bytes.TrimRight(line, " \t\r"); end[len(end)-1] == '[' || end[len(end)-1] == ',' {
		return // it goes on with the next line
	}
	switch start, open := s.InElement(); {
	case open:
		r.refuse(at+int64(start), schema.InvalidJSON, "the array ends in the middle of a record", line[start:])
	case s.InArray():
		r.refuse(at, schema.InvalidJSON, "the array has no end; its records are kept", line[:min(len(line), shownBytes)])
	}
}

func (r *result) record(p parser, record []byte, at int64) {
	r.records++
	err := p.record(r, record, r.file, at)
	if err == nil {
		return
	}
	var rejection *schema.Rejection
	if !errors.As(err, &rejection) {
		rejection = &schema.Rejection{Reason: schema.InvalidJSON, Detail: err.Error()}
	}
	r.refused = append(r.refused, Refusal{At: at, Reason: rejection.Reason, Detail: rejection.Detail, Bytes: bytes.Clone(record)})
}

func (r *result) refuse(at int64, reason schema.Reason, detail string, record []byte) {
	r.records++
	r.refused = append(r.refused, Refusal{At: at, Reason: reason, Detail: detail, Bytes: bytes.Clone(record)})
}
