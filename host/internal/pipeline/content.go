package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Part is the rows of a run that go to one partition of the destination.
type Part struct {
	Date    string   // YYYY-MM-DD; empty for a generation, which has no dates
	Extents []Extent // in the order in which they are sent; nil for a generation
	Rows    int64
}

// Parts divides the run by date, dates ascending; within a date rows keep the
// order in which they were journaled. The dates are UTC, or with zone those of
// the project's time zone. A generation is one part.
func (r *Run) Parts(zone bool) []Part {
	if r.Generation != nil {
		return []Part{{Rows: r.Generation.Rows}}
	}
	groups := map[journal.Day][]Extent{}
	var days []journal.Day
	for _, e := range r.Extents {
		day := e.UTCDate
		if zone {
			day = e.ZoneDate
		}
		if groups[day] == nil {
			days = append(days, day)
		}
		groups[day] = append(groups[day], e)
	}
	slices.Sort(days)
	parts := make([]Part, 0, len(days))
	for _, day := range days {
		extents := groups[day]
		slices.SortFunc(extents, func(a, b Extent) int { return positionOf(&a).compare(positionOf(&b)) })
		parts = append(parts, Part{Date: day.String(), Extents: extents, Rows: Sum(extents).Rows})
	}
	return parts
}

// Content returns the digest that identifies a run together with its number.
// Two runs have equal contents exactly when they send, for one catalog's
// pipeline, the same rows in the same order to the same dates. totals are the
// parts' rows, bytes and checksums. The digest has 32 characters of [0-9a-f].
//
// Blocks and compression have no influence: they may differ between two hosts
// that have read the same file.
func Content(catalog string, p *Pipeline, parts []Part, totals []batch.Totals) string {
	h := sha256.New()
	h.Write(contentHead(catalog, p))
	var line []byte
	for i, part := range parts {
		line = appendContentLine(line[:0], part.Date, totals[i])
		h.Write(line)
	}
	return contentOf(h)
}

// contentHead returns the text that a content begins with.
func contentHead(catalog string, p *Pipeline) []byte {
	return fmt.Appendf(nil, "penstock run content 1\n%q %q %s\n", catalog, p.ID, p.Stream)
}

// appendContentLine appends the text of a part.
func appendContentLine(dst []byte, date string, t batch.Totals) []byte {
	return fmt.Appendf(dst, "%s %d %d %08x\n", date, t.Rows, t.RowsBytes, t.RowsCRC32)
}

// contentOf returns the digest of the text that h has read.
func contentOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

// Digest computes the content of a run of events that grows by one extent at a time. A
// content takes as long as the run has dates: no extent is looked at again, unless one
// of the same date is added that was journaled earlier.
type Digest struct {
	head []byte
	zone bool
	days []*dayDigest // ascending
}

// dayDigest is the part of one date.
type dayDigest struct {
	day     journal.Day
	extents []measured // in the order in which they were journaled
	totals  batch.Totals
	line    []byte
}

// measured is an extent with the totals of its rows.
type measured struct {
	at     Position
	totals batch.Totals
}

// NewDigest returns the digest of a run without extents, for the pipeline p of a catalog.
// With zone the dates are those of the project's time zone, else UTC dates.
func NewDigest(catalog string, p *Pipeline, zone bool) *Digest {
	return &Digest{head: contentHead(catalog, p), zone: zone}
}

// Add adds an extent with the totals of its rows.
func (d *Digest) Add(e *Extent, t batch.Totals) {
	day := e.UTCDate
	if d.zone {
		day = e.ZoneDate
	}
	at, found := slices.BinarySearchFunc(d.days, day, func(x *dayDigest, day journal.Day) int { return cmp.Compare(x.day, day) })
	if !found {
		d.days = slices.Insert(d.days, at, &dayDigest{day: day})
	}
	d.days[at].add(measured{positionOf(e), t})
}

func (x *dayDigest) add(m measured) {
	n := len(x.extents)
	if n == 0 || x.extents[n-1].at.before(m.at) {
		x.extents = append(x.extents, m)
		x.totals.Append(m.totals)
	} else {
		at, _ := slices.BinarySearchFunc(x.extents, m, func(a, b measured) int { return a.at.compare(b.at) })
		x.extents = slices.Insert(x.extents, at, m)
		x.totals = batch.Totals{}
		for _, m := range x.extents {
			x.totals.Append(m.totals)
		}
	}
	x.line = appendContentLine(x.line[:0], x.day.String(), x.totals)
}

// Content returns the content of the run of the extents that were added: that which the
// function Content returns for its parts.
func (d *Digest) Content() string {
	h := sha256.New()
	h.Write(d.head)
	for _, x := range d.days {
		h.Write(x.line)
	}
	return contentOf(h)
}
