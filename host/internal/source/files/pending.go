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
	return Pending{Files: len(s.waiting), Bytes: s.total.Load()}
}
