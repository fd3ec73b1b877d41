package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// cut says how much of data is whole records, and refuses what is too long.
func (r *reader) cut(p *ingest.Piece, data []byte) int {
	if r.splitter != nil {
		return r.cutArray(p, data)
	}
	if r.skipping {
		return r.skipLine(p, data)
	}
	if r.ended != nil && errors.Is(r.ended, io.EOF) && !r.source.o.Follow {
		return len(data)
	}
	if whole := bytes.LastIndexByte(data, '\n') + 1; whole > 0 || len(data) <= schema.MaxRecord {
		return whole
	}
	if trimmed := bytes.TrimLeft(data, " \t\r"); len(trimmed) > 0 && trimmed[0] == '[' {
		// A line of many records has no limit.
		r.splitter, r.cursor.Arrays = ingest.Resume(false), true
		return r.cutArray(p, data)
	}
	r.skipping = true
	p.Refused = append(p.Refused, tooLong(p.Base, data))
	return r.skipLine(p, data)
}

func tooLong(at int64, record []byte) ingest.Refusal {
	return ingest.Refusal{
		At: at, Reason: schema.TooLong, Bytes: bytes.Clone(record[:min(len(record), schema.MaxRecord)]), Truncated: true,
		Detail: fmt.Sprintf("the record has more than %d bytes; the first %d are kept", schema.MaxRecord, min(len(record), schema.MaxRecord)),
	}
}

// skipLine drops data up to the end of a line that is too long. What is
// dropped is part of the piece, as no record.
func (r *reader) skipLine(p *ingest.Piece, data []byte) int {
	p.Records = []ingest.Span{}
	end := bytes.IndexByte(data, '\n') + 1
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
	final := errors.Is(r.ended, io.EOF) && !r.source.o.Follow
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
