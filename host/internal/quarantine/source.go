package quarantine

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/host/internal/private"
)

// source is the entries of one source, in a directory of their own.
type source struct {
	store     *Store
	name, dir string

	// writing is held while files change, also over I/O: there is one writer at a
	// time.
	writing sync.Mutex
	spans   map[string][]int64 // where the spans of a position begin, by prefix; guarded by writing

	mu     sync.Mutex // guards counts and over; never held over I/O
	counts counts     // of all files
	over   counts     // beyond the store's cap

	bytes int64 // of all files; guarded by the store's lock
}

func newSource(s *Store, name string) *source {
	return &source{
		store: s, name: name, dir: filepath.Join(s.dir, name), spans: map[string][]int64{}, counts: counts{}, over: counts{},
	}
}

func (x *source) path(name string) string { return filepath.Join(x.dir, name) }

// total returns the counts of files and of records beyond the cap together.
func (x *source) total() counts {
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := maps.Clone(x.counts)
	sum.addAll(x.over)
	return sum
}

func (x *source) add(some counts) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.counts.addAll(some)
}

// maxReasons is how many different reasons a source counts. A destination may
// give each row a reason of its own.
const maxReasons = 200

// otherReason stands for reasons beyond maxReasons.
const otherReason = "other"

// limitReason makes a reason beyond maxReasons the detail of otherReason. some
// are reasons that are counted in addition to the source's.
func (x *source) limitReason(e *Entry, some counts) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := some[e.Reason]; known || len(x.counts)+len(some) < maxReasons {
		return
	}
	if _, known := x.counts[e.Reason]; known {
		return
	}
	e.Detail = strings.TrimSuffix(e.Reason+": "+e.Detail, ": ")
	e.Reason = otherReason
	e.limit()
}

// put replaces the entries of a span.
func (x *source) put(span Span, entries []Entry) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	prefix := positionPrefix(span.Position)
	for _, from := range slices.Clone(x.spans[prefix]) {
		if span.contains(from) {
			if err := x.delete(spanName(prefix, from)); err != nil {
				return err
			}
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return x.create(prefix, span.From, &batch{source: x, now: x.store.o.Now().UTC(), entries: entries})
}

// create writes a file of entries.
func (x *source) create(prefix string, from int64, b *batch) error {
	name := spanName(prefix, from)
	if err := b.create(x.path(name)); err != nil {
		return err
	}
	if b.bytes > 0 {
		x.spans[prefix] = append(x.spans[prefix], from)
		x.record(name, record{Bytes: b.bytes, Counts: b.kept}, b.kept)
	}
	return x.countOver(b.over)
}

// record tells the ledger which records a file holds that was written, and counts
// those that it gained. A ledger that cannot be written is told when the file is
// checked: until then a loss would go unnoticed, and nothing is lost.
func (x *source) record(name string, r record, gained counts) {
	x.add(gained)
	if err := setJSON(x.store.o.Ledger, x.name, map[string]any{filePrefix + name: r}); err != nil {
		x.store.o.Logger.Warn("could not note what a quarantine file holds; will retry", "file", x.path(name), "error", err)
	}
}

// countOver counts records beyond the store's cap, durably.
func (x *source) countOver(over counts) error {
	if len(over) == 0 {
		return nil
	}
	x.mu.Lock()
	x.over.addAll(over)
	sum := maps.Clone(x.over)
	x.mu.Unlock()
	return setJSON(x.store.o.Ledger, x.name, map[string]any{countedKey: sum})
}

// delete removes a file with its record.
func (x *source) delete(name string) error {
	if err := x.forget(name); err != nil {
		return err
	}
	size, err := fileSize(x.path(name))
	if err == nil {
		err = removeFile(x.path(name))
	}
	if err != nil {
		return err
	}
	x.store.resize(x, -size)
	if prefix, from, ok := parseSpan(name); ok {
		x.spans[prefix] = slices.DeleteFunc(x.spans[prefix], func(f int64) bool { return f == from })
	}
	return nil
}

// forget removes the record of a file that is going to be removed or replaced.
func (x *source) forget(name string) error {
	var r record
	found, err := getJSON(x.store.o.Ledger, x.name, filePrefix+name, &r)
	if err != nil || !found {
		return err
	}
	if err := setJSON(x.store.o.Ledger, x.name, map[string]any{filePrefix + name: nil}); err != nil {
		return err
	}
	x.add(counts{}.minus(r.Counts))
	return nil
}

// tailPrefix begins the names of files that entries are appended to.
const tailPrefix = "tail"

// tailBytes is where such a file is followed by the next.
const tailBytes = 1 << 20

func isTail(name string) bool { return strings.HasPrefix(filepath.Base(name), tailPrefix+"-") }

// append appends entries to the newest file of the tail, or begins the next.
func (x *source) append(entries []Entry) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	b := &batch{source: x, now: x.store.o.Now().UTC(), entries: entries}
	number := int64(0)
	if numbers := x.spans[tailPrefix]; len(numbers) > 0 {
		number = slices.Max(numbers)
	}
	name := spanName(tailPrefix, number)
	before, err := fileSize(x.path(name))
	switch {
	case err != nil:
		return err
	case before == 0 || before >= tailBytes:
		return x.create(tailPrefix, number+1, b)
	}
	var r record
	if _, err := getJSON(x.store.o.Ledger, x.name, filePrefix+name, &r); err != nil {
		return err
	}
	if r.Bytes != before {
		// The file was changed by another program, and may end in half a line. The
		// next check finds the records that it has lost.
		return x.create(tailPrefix, number+1, b)
	}
	if err := b.extend(x.path(name), before); err != nil {
		return err
	}
	r.Bytes += b.bytes
	r.Counts.addAll(b.kept)
	x.record(name, r, b.kept)
	return x.countOver(b.over)
}

// remove empties lines of a file, which keeps the ids of the others, or removes
// the file when no other line is left.
func (x *source) remove(name string, lines map[int]uint64) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	in, err := private.OpenFile(x.path(name), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := create(x.dir)
	if err != nil {
		return err
	}
	left, err := copyWithout(out, in, lines)
	if err != nil || !left.any {
		if err = errors.Join(err, discard(out)); err == nil {
			err = x.delete(name)
		}
		return err
	}
	return x.replace(name, out, left.counts)
}

// replace puts a new file in the place of another one, or of none.
func (x *source) replace(name string, f *os.File, holds counts) error {
	before, err := fileSize(x.path(name))
	if err == nil {
		err = x.forget(name)
	}
	if err != nil {
		return errors.Join(err, discard(f))
	}
	placed := place(f, x.path(name))
	after, err := fileSize(x.path(name))
	if err != nil || placed != nil {
		// The next check counts the records of the file.
		return errors.Join(placed, err)
	}
	x.store.resize(x, after-before)
	x.record(name, record{Bytes: after, Counts: holds}, holds)
	return nil
}
