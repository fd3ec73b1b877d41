package rowlog

import (
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Damaged is a fragment of an entry that does not inflate to its rows: it was compressed
// wrong before it was logged, and no journal can take it.
type Damaged struct {
	Index    uint64 // of the entry
	Number   int    // of the fragment in the entry, from 1
	Project  int64
	Fragment *journal.Fragment
	Err      error
}

// Entry returns an entry of a log that holds the fragment alone.
func (d Damaged) Entry() []byte {
	var e entry
	e.set(d.Project, journal.Chunk{Fragments: []*journal.Fragment{d.Fragment}})
	return append(e.head, d.Fragment.Payload...)
}

// SetAside has Drain leave out fragments that do not inflate to their rows, of the entries
// that it inflates: see Inspect. keep makes each durable before the cursor passes its entry;
// the same one may come again after a failure. An error of keep ends Drain. SetAside is
// called before Drain.
func (l *Log) SetAside(keep func(Damaged) error) { l.keep = keep }

// Inspect has Drain inflate the entries that the log holds now, and that it has not handed
// on yet, and Append inflate all fragments that it makes. It is called after a journal has
// failed with a *journal.CorruptFragmentError, which the same entry would cause in the next
// journal. A Drain that is given its last entry inflates all entries in any case.
func (l *Log) Inspect() {
	if l.packers != nil {
		l.packers.care.All()
	}
	last := l.wal.Last()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.suspect = max(l.suspect, last)
}

// isSuspect reports whether fragments of an entry are inflated before it is handed on.
func (l *Log) isSuspect(index uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return index <= l.suspect
}

// inspector inflates fragments before they are handed on. It is of one Drain.
type inspector struct {
	upTo     uint64              // the last entry whose fragments are inflated in any case
	keep     func(Damaged) error // nil: none is inflated
	inflater journal.Inflater
	lines    []byte // memory
}

// inspect takes the fragments that do not inflate to their rows out of a chunk, once they
// are kept elsewhere.
func (i *inspector) inspect(index uint64, project int64, c *journal.Chunk) error {
	if i.keep == nil {
		return nil
	}
	whole := c.Fragments[:0]
	for n, f := range c.Fragments {
		lines, err := i.inflater.Inflate(i.lines[:0], f)
		if err == nil {
			i.lines, whole = lines, append(whole, f)
			continue
		}
		if err := i.keep(Damaged{index, n + 1, project, f, err}); err != nil {
			return fmt.Errorf("set aside fragment %d of entry %d: %w", n+1, index, err)
		}
	}
	c.Fragments = whole
	return nil
}
