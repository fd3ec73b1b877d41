package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// cut returns how many bytes of data are whole records, and refuses a record that
// is too long.
func (r *reader) cut(p *ingest.Piece, data []byte) int {
	if r.splitter != nil {
		return r.cutArray(p, data)
	}
	if r.skipping {
		return r.skipLine(p, data)
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole == 0 {
		// Zero bytes separate records, too: a file that was truncated while it was
		// written begins with a hole.
		whole = bytes.LastIndexByte(data, 0) + 1
	}
	if r.final() && complete(data[whole:]) {
		return len(data)
	}
	long := len(data) > schema.MaxRecord
	if whole > 0 || !long && !r.isOver() {
		return whole
	}
	if trimmed := bytes.TrimLeft(data, " \t\r"); len(trimmed) > 0 && trimmed[0] == '[' && (long || ingest.IsArray(trimmed)) {
		// A line of many records has no limit, and those before a torn one count.
		r.splitter, r.cursor.Arrays = ingest.Resume(false), true
		return r.cutArray(p, data)
	}
	if !long {
		return 0
	}
	r.skipping = true
	p.Refused = append(p.Refused, tooLong(p.Base, data))
	return r.skipLine(p, data)
}

// final reports whether the file was read to its end, and no more is waited for
// in this reading.
func (r *reader) final() bool { return errors.Is(r.ended, io.EOF) && !r.source.o.Follow }

// isOver reports whether the file was read to its end and is finished: a last
// record without end is refused.
func (r *reader) isOver() bool { return r.final() && (r.finished() || r.compressed) }

// complete reports whether a last line is a whole record, or an array of them,
// although its newline is missing. Commas and the brackets of an array around it
// are not a part of it.
func complete(line []byte) bool {
	const space = " \t\r\n\x00"
	line = bytes.Trim(line, space)
	if len(bytes.Trim(line, "],"+space)) == 0 {
		return true
	}
	var b schema.Bounds
	end, extent := b.Value(line)
	return extent == schema.Whole && (line[0] == '{' || line[0] == '[') && len(bytes.Trim(line[end:], "],"+space)) == 0
}

func tooLong(at int64, record []byte) ingest.Refusal {
	return ingest.Refusal{
		At: at, Reason: schema.TooLong, Bytes: bytes.Clone(record[:min(len(record), schema.MaxRecord)]), Truncated: true,
		Detail: fmt.Sprintf("the record has more than %d bytes; the first %d are kept", schema.MaxRecord, min(len(record), schema.MaxRecord)),
	}
}

// skipLine drops data up to the end of a line that is too long. The dropped
// bytes are part of the piece, and of no record.
func (r *reader) skipLine(p *ingest.Piece, data []byte) int {
	p.Records = []ingest.Span{}
	end := bytes.IndexAny(data, "\n\x00") + 1
	if end == 0 {
		return len(data)
	}
	r.skipping = false
	return end
}

// cutArray finds whole elements.
func (r *reader) cutArray(p *ingest.Piece, data []byte) int {
	s := r.splitter
	p.Records = []ingest.Span{}
	final := r.isOver()
	for {
		switch span, state := s.Next(data, final); state {
		case ingest.Complete:
			p.Records = append(p.Records, span)
			continue
		case ingest.TooLong:
			p.Refused = append(p.Refused, tooLong(p.Base+int64(span.From), data[span.From:span.To]))
			continue
		}
		r.skipping = s.Skipping()
		if start, open := s.InElement(); open {
			return start
		}
		return s.At
	}
}
