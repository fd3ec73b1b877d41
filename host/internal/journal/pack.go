package journal

import (
	"cmp"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// PackOptions configure a Packer. Zero is the default, given behind each.
type PackOptions struct {
	// Zone is the project's time zone; UTC. With another zone than the project's the
	// journal compresses some fragments again.
	Zone *time.Location
	// Least is how many bytes of rows of a place are worth a fragment, when more rows of
	// that place are about to come: small blocks cost more per row. 256 KiB; 1 takes all.
	Least int
	// Most is how many bytes of rows a fragment has at most, unless one row has more;
	// 1.5 MiB.
	Most int
	// Care is shared by packers of the same owner; one that is the packer's own.
	Care *Care
}

func (o PackOptions) withDefaults() PackOptions {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Least == 0 {
		o.Least = 256 << 10
	}
	if o.Most == 0 {
		o.Most = 3 << 19
	}
	return o
}

// packPlaces is how many places of a chunk are told apart.
const packPlaces = 16

// Packer makes fragments of a chunk's rows, in the goroutine that has rendered them and
// while they are in its processor's cache. It keeps its memory; it is not for concurrent
// use.
//
// Rows of one place, which is a partition and a filing, become one fragment, or several if
// there are many. Places with few rows stay rows:
//
//	rows            Mon Mon Mon Tue Mon Mon
//	becomes         a fragment of 5 rows of Monday, and the row of Tuesday
type Packer struct {
	o       PackOptions
	zone    *zone
	encoder *segment.RowEncoder
	packs   []pack
	of      []uint8        // by row: its pack, or packPlaces
	last    int            // pack of the row before
	gather  []byte         // rows that do not lie side by side
	marks   []rowmark.Mark // of these, as places in gather
	begins  []int32        // by row of the chunk: the index of its first mark; empty: not looked for yet
}

// pack is the rows of a place.
type pack struct {
	from, until int64 // seconds of one partition
	filing      filing
	first       *Row
	rows, bytes int
	scattered   bool // other rows lie between them, in Chunk.Data or in Chunk.Rows
	end, next   int  // behind the last row, in Chunk.Data and in Chunk.Rows
}

// NewPacker returns a packer.
func NewPacker(o PackOptions) *Packer {
	o = o.withDefaults()
	return &Packer{o: o, zone: newZone(o.Zone), encoder: segment.NewRowEncoder(o.Care)}
}

// NewPacker returns a packer for rows that this writer is about to take.
func (w *Writer) NewPacker() *Packer {
	return NewPacker(PackOptions{Zone: w.o.Zone, Least: w.o.Block / 4, Most: w.o.Block + w.o.Block/2, Care: w.care})
}

// Careful has the writer and its packers inflate all that they compress from now on.
func (w *Writer) Careful() { w.care.All() }

// Pack moves rows of places that have many from c.Rows to the end of c.Fragments. Only
// events become fragments. c.Data is not changed. An error is that of a fragment that does
// not inflate to its rows.
func (p *Packer) Pack(c *Chunk) error {
	if !p.sort(c) {
		return nil
	}
	packed := false
	for i := range p.packs {
		if p.packs[i].bytes >= p.o.Least {
			if err := p.pack(c, i); err != nil {
				return err
			}
			packed = true
		}
	}
	if packed {
		c.Rows = p.left(c.Rows)
	}
	return nil
}

// sort finds the place of each row. It returns false if there are too many places for any
// to have many rows.
func (p *Packer) sort(c *Chunk) bool {
	p.packs, p.of, p.last, p.begins = p.packs[:0], p.of[:0], 0, p.begins[:0]
	for i := range c.Rows {
		r := &c.Rows[i]
		if r.Kind != KindEvents {
			p.of = append(p.of, packPlaces)
			continue
		}
		n := p.find(r)
		p.of = append(p.of, uint8(n))
		if n == packPlaces {
			if p.thin(i) {
				return false
			}
			continue
		}
		g := &p.packs[n]
		g.scattered = g.scattered || g.rows > 0 && (g.end != r.Offset || g.next != i)
		g.rows, g.bytes, g.end, g.next, p.last = g.rows+1, g.bytes+r.Length, r.Offset+r.Length, i+1, n
	}
	return true
}

// find returns the number of a row's pack; packPlaces if there are too many.
func (p *Packer) find(r *Row) int {
	if p.last < len(p.packs) && p.packs[p.last].has(r) {
		return p.last
	}
	for n := range p.packs {
		if p.packs[n].has(r) {
			return n
		}
	}
	if len(p.packs) == packPlaces {
		return packPlaces
	}
	utc, _, from, until := p.zone.span(r.Time)
	p.packs = append(p.packs, pack{from: from, until: until, filing: filingOf(r, utc), first: r})
	return len(p.packs) - 1
}

func (g *pack) has(r *Row) bool {
	return r.Time >= g.from && r.Time < g.until && r.Undated == g.filing.undated && r.KeyDate == g.first.KeyDate
}

// thin reports whether none of the packs has a quarter of the rows so far.
func (p *Packer) thin(rows int) bool {
	for i := range p.packs {
		if 4*p.packs[i].rows >= rows {
			return false
		}
	}
	return true
}

// pack makes the fragments of the rows of a pack.
func (p *Packer) pack(c *Chunk, number int) error {
	g := &p.packs[number]
	parts := (g.bytes + p.o.Most - 1) / p.o.Most
	size := (g.bytes + parts - 1) / parts
	entries, first, bytes := make([]FragmentRow, 0, g.rows/parts+1), 0, 0
	for i := range c.Rows {
		if int(p.of[i]) != number {
			continue
		}
		r := &c.Rows[i]
		if bytes > 0 && bytes+r.Length > p.o.Most || bytes >= size {
			if err := p.encode(c, g, entries, first, number); err != nil {
				return err
			}
			entries, bytes = make([]FragmentRow, 0, g.rows/parts+1), 0
		}
		if len(entries) == 0 {
			first = i
		}
		entries = append(entries, FragmentRow{Key: r.Key, Time: r.Time, Length: int32(r.Length), Flags: r.Flags})
		bytes += r.Length
	}
	return p.encode(c, g, entries, first, number)
}

// encode makes a fragment of the rows that entries describe, of which the first is that
// with an index in c.Rows.
func (p *Packer) encode(c *Chunk, g *pack, entries []FragmentRow, first, number int) error {
	rows, marks, base := p.text(c, g, len(entries), first, number)
	f := &Fragment{Kind: g.first.Kind, KeyDate: g.first.KeyDate, Undated: g.first.Undated, Entries: entries}
	for i := range entries {
		f.Flags |= entries[i].Flags
	}
	var err error
	if f.Block, err = p.encoder.EncodeMarked(rows, marks, base, len(entries), f.Flags); err != nil {
		return err
	}
	c.Fragments = append(c.Fragments, f)
	return nil
}

// text returns n rows of a pack side by side, and their marks, as places in rows plus base.
func (p *Packer) text(c *Chunk, g *pack, n, first, number int) (rows []byte, marks []rowmark.Mark, base int) {
	if !g.scattered {
		from := c.Rows[first].Offset
		end := c.Rows[first+n-1].Offset + c.Rows[first+n-1].Length
		return c.Data[from:end], marksOf(c.Marks, from, end), from
	}
	if len(p.begins) == 0 {
		p.findMarks(c)
	}
	p.gather, p.marks = p.gather[:0], p.marks[:0]
	for i := first; n > 0; i++ {
		if int(p.of[i]) == number {
			r := &c.Rows[i]
			shift := int32(len(p.gather) - r.Offset)
			for _, m := range c.Marks[p.begins[i]:p.begins[i+1]] {
				if int(m.At) >= r.Offset+r.Length {
					break // it is of another chunk
				}
				m.At += shift
				p.marks = append(p.marks, m)
			}
			p.gather = append(p.gather, c.Data[r.Offset:r.Offset+r.Length]...)
			n--
		}
	}
	return p.gather, p.marks, 0
}

// findMarks finds the first mark of each row. Those of the next row lie behind its marks, and
// perhaps those of rows between, which are not in c.Rows if they are of another project. Rows
// that are not in the order of the bytes may have none.
func (p *Packer) findMarks(c *Chunk) {
	k := 0
	for i := range c.Rows {
		for k < len(c.Marks) && int(c.Marks[k].At) < c.Rows[i].Offset {
			k++
		}
		p.begins = append(p.begins, int32(k))
	}
	p.begins = append(p.begins, int32(len(c.Marks)))
}

// marksOf returns the marks of the bytes from one place to another.
func marksOf(marks []rowmark.Mark, from, end int) []rowmark.Mark {
	at := func(m rowmark.Mark, place int) int { return cmp.Compare(int(m.At), place) }
	first, _ := slices.BinarySearchFunc(marks, from, at)
	last, _ := slices.BinarySearchFunc(marks, end, at)
	return marks[first:max(first, last)]
}

// left moves the rows that are in no fragment to the front, and returns them.
func (p *Packer) left(rows []Row) []Row {
	n := 0
	for i := range rows {
		if g := p.of[i]; g < packPlaces && p.packs[g].bytes >= p.o.Least {
			continue
		}
		rows[n] = rows[i]
		n++
	}
	return rows[:n]
}
