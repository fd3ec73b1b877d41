package files

// Pending is the part of a source that was not read yet, when the source last
// looked.
type Pending struct {
	Files int   // with something to read
	Bytes int64 // about how many are to be read, as stored
}

// Pending returns the part of the source that is not read yet. It is for a
// source that was opened and not read from.
func (s *Source) Pending() Pending {
	p := Pending{Bytes: s.total.Load()}
	for _, e := range s.waiting {
		if !s.readWhole(e) {
			p.Files++
		}
	}
	return p
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
