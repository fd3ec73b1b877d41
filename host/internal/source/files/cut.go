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
	for {
		span, state := s.Next(data)
		if state == ingest.Incomplete {
			break
		}
		if !r.skipping {
			p.Records = append(p.Records, span)
		}
		r.skipping = false
	}
	start, open := s.InElement()
	switch {
	case !open:
		return s.At
	case r.skipping:
		return len(data)
	case start == 0 && len(data) > schema.MaxRecord:
		r.skipping = true
		p.Refused = append(p.Refused, tooLong(p.Base, data))
		return len(data)
	default:
		return start
	}
}
