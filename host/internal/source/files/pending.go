package files

import (
	"context"
	"errors"
	"io"
	"slices"
)

// Pending is the part of a source that was not read yet, when the source last
// looked.
type Pending struct {
	Files int   // with something to read
	Bytes int64 // about how many are to be read, as stored
	// Skipped are the paths that match and that no reading takes, each with the reason:
	// "/in/a.xz: it is compressed with xz, …". They are not in Files.
	Skipped []string
}

// Pending returns the part of the source that is not read yet. It reads the first bytes
// of each file, which tell its format. It is for a source that was opened and not read
// from.
func (s *Source) Pending(ctx context.Context) Pending {
	p := Pending{Bytes: s.total.Load(), Skipped: slices.Clone(s.report.Skipped)}
	for _, e := range s.waiting {
		if s.readWhole(e) {
			continue
		}
		if why := s.refusal(ctx, e); why != "" {
			p.Bytes -= e.size
			p.Skipped = append(p.Skipped, e.path+": "+why)
			continue
		}
		p.Files++
	}
	p.Bytes = max(0, p.Bytes)
	return p
}

// refusal returns the reason why a reading would skip a file, as far as its first bytes
// tell; "" if they tell none.
func (s *Source) refusal(ctx context.Context, e entry) string {
	f, err := s.place.open(ctx, e.path, 0)
	if err != nil {
		return refusalOf(err)
	}
	begin := make([]byte, maxMagic)
	n, err := io.ReadFull(f, begin)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return refusalOf(err)
	}
	if format := formatOf(begin[:n], e.path); !slices.Contains(readFormats, format) {
		return refusalOf(&unsupportedError{format})
	}
	return ""
}

// refusalOf returns the text of an error that concerns one file; "" for others.
func refusalOf(err error) string {
	if unreadable(err) {
		return cause(err)
	}
	return ""
}

// readWhole reports whether a file was read to its end and has the size and the
// time of then. A file that changed shortly before it was read is compared with
// its cursor once more, and is nevertheless not pending.
func (s *Source) readWhole(e entry) bool {
	value := s.cursors[e.path]
	if value == nil {
		return false
	}
	c, err := decodeCursor(value)
	return err == nil && c.Done && c.Size == e.size && c.ModTime == e.modTime && c.ETag == e.etag
}
