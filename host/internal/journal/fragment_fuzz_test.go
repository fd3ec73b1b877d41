package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/sdk/batch"
)

// stored is all that a writer has made of the rows of a place in a segment.
type stored struct {
	rows        string
	keys        string // of each row, in order
	flags       batch.Flags
	least, most int64
}

// store appends chunks to a writer without goroutines, and returns what its segments hold.
// A nil chunk ends a segment, which is being sealed from then on.
func store(t *testing.T, w *Writer, chunks []*Chunk, pack bool) []map[place]stored {
	t.Helper()
	w.open = newOpenSegment(0)
	k := &worker{w: w, encoder: segment.NewRowEncoder(nil)}
	packer := NewPacker(PackOptions{Zone: w.o.Zone, Least: w.o.Block / 4, Most: w.o.Block})
	work := func() {
		for len(w.jobs) > 0 {
			if err := k.do(<-w.jobs); err != nil {
				t.Fatal(err)
			}
		}
	}
	var segments []*openSegment
	rotate := func() {
		for _, p := range sortedParts(w.open) {
			if err := w.flush(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		work()
		segments = append(segments, w.open)
		w.sealing = append(w.sealing, w.open)
		w.open = newOpenSegment(0)
	}
	for _, c := range chunks {
		if c == nil {
			rotate()
			continue
		}
		next := Chunk{Rows: slices.Clone(c.Rows), Data: c.Data}
		if pack {
			if err := packer.Pack(&next); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range next.Fragments {
			if err := w.putFragment(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			work()
		}
		for i := range next.Rows {
			if err := w.put(t.Context(), &next.Rows[i], next.Data); err != nil {
				t.Fatal(err)
			}
			work()
		}
	}
	rotate()
	var all []map[place]stored
	for _, s := range segments {
		all = append(all, contents(t, s))
	}
	return all
}

// contents reads the places of a segment.
func contents(t *testing.T, s *openSegment) map[place]stored {
	t.Helper()
	places := map[place]stored{}
	for _, p := range s.parts {
		var all stored
		for _, b := range p.blocks {
			if b.Rows == 0 {
				continue
			}
			rows, err := segment.Decode(nil, b.Block)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(b.keys, Key.Compare) || len(b.keys) != b.Rows {
				t.Fatalf("a block of %d rows has keys %v", b.Rows, b.keys)
			}
			keys := make([]Key, b.Rows)
			for i, ordinal := range b.ordinals {
				keys[ordinal] = b.keys[i]
			}
			for i := range keys {
				all.keys += string(keys[i][:])
			}
			if all.rows == "" {
				all.least, all.most = b.minTime, b.maxTime
			}
			all.least, all.most = min(all.least, b.minTime), max(all.most, b.maxTime)
			all.rows, all.flags = all.rows+string(rows), all.flags|b.Flags
		}
		if all.rows != "" {
			places[p.place] = all
		}
	}
	return places
}

// chunksOf makes chunks out of any bytes: four of them are a row, of few different keys
// and of some days, kinds and filings. The row of a key is always of the same place.
func chunksOf(input []byte) []*Chunk {
	chunks := []*Chunk{{}}
	for ; len(input) >= 4; input = input[4:] {
		word := binary.LittleEndian.Uint32(input)
		if word%64 == 0 {
			chunks = append(chunks, &Chunk{})
		}
		if word%512 == 1 {
			chunks = append(chunks, nil, &Chunk{})
		}
		c := chunks[len(chunks)-1]
		id := word >> 8 % 256
		var key Key
		binary.LittleEndian.PutUint64(key[:], uint64(id+1)*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(key[8:], uint64(id+1)*0xd1b54a32d192ed03)
		r := Row{
			Offset: len(c.Data), Time: 1_790_000_000 + int64(id%16)*8641, Key: key, Kind: KindEvents,
			Flags: batch.Flags(1) << (word >> 16 % 4), Undated: id%16 == 7,
		}
		switch id % 32 {
		case 9:
			r.KeyDate = DayOf(r.Time) + 3
		case 11:
			r.Kind = KindProfiles
		}
		c.Data = fmt.Appendf(c.Data, "{\"id\":%d,\"word\":%d}\n", id, word)
		r.Length = len(c.Data) - r.Offset
		c.Rows = append(c.Rows, r)
	}
	return chunks
}

// Rows that came as fragments lie in the journal as rows that came one by one do: the same
// rows of each place, in the same order, with the same keys, flags and times.
func FuzzFragments(f *testing.F) {
	zones := []*time.Location{time.UTC, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -7*3600)}
	r := newWords(1)
	for n := range 12 {
		f.Add(r.bytes(40*n*n), uint8(n))
	}
	f.Fuzz(func(t *testing.T, input []byte, zone uint8) {
		chunks := chunksOf(input[:min(len(input), 16<<10)])
		var want []map[place]stored
		for _, pack := range []bool{false, true} {
			w := blockBench(t)
			w.o.Zone = zones[int(zone)%len(zones)]
			w.zone = newZone(w.o.Zone)
			w.o.Block, w.o.Memory = 1<<10, 64<<10
			got := store(t, w, chunks, pack)
			if !pack {
				want = got
				continue
			}
			if len(got) != len(want) {
				t.Fatalf("%d segments, want %d", len(got), len(want))
			}
			for i := range want {
				if !maps.Equal(got[i], want[i]) {
					t.Fatalf("segment %d:\n got %v\nwant %v", i, got[i], want[i])
				}
			}
		}
	})
}

// words makes bytes of no pattern from a seed.
type words struct{ state uint64 }

func newWords(seed uint64) *words { return &words{seed} }

func (w *words) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		w.state = w.state*6364136223846793005 + 1442695040888963407
		b[i] = byte(w.state >> 56)
	}
	return b
}

// A fragment that does not inflate to its rows ends the block, and so the seal, with an
// error as soon as it is inflated; entries of other rows than the block's are an error
// at once.
func TestFragmentsThatAreWrong(t *testing.T) {
	fragment := func() *Fragment {
		chunk := chunksOf(newWords(3).bytes(400))[0]
		for i := range chunk.Rows {
			chunk.Rows[i].Time, chunk.Rows[i].Kind, chunk.Rows[i].KeyDate, chunk.Rows[i].Undated = 1_790_000_000, KindEvents, 0, false
		}
		if err := NewPacker(PackOptions{Least: 1}).Pack(chunk); err != nil {
			t.Fatal(err)
		}
		if len(chunk.Fragments) != 1 || len(chunk.Rows) != 0 {
			t.Fatalf("%d fragments, %d rows are left", len(chunk.Fragments), len(chunk.Rows))
		}
		return chunk.Fragments[0]
	}
	w := blockBench(t)
	w.open = newOpenSegment(0)
	k := &worker{w: w, encoder: segment.NewRowEncoder(nil)}
	broken := fragment()
	broken.RowsCRC32++
	broken.Entries[1].Key = broken.Entries[0].Key // a repeat: it is inflated
	if err := w.putFragment(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	if err := k.do(<-w.jobs); err == nil {
		t.Error("a fragment of another checksum was taken")
	}
	short := fragment()
	short.Entries = short.Entries[1:]
	if err := w.putFragment(t.Context(), short); err == nil {
		t.Error("a fragment with an entry too few was taken")
	}
}

// A place with few rows stays rows, and one with very many becomes several fragments.
func TestPacksBySize(t *testing.T) {
	var c Chunk
	add := func(n int, at int64) {
		for range n {
			line := fmt.Appendf(nil, "{\"number\":%d}\n", len(c.Rows))
			c.Rows = append(c.Rows, Row{Offset: len(c.Data), Length: len(line), Time: at, Kind: KindEvents, Key: Key{byte(len(c.Rows))}})
			c.Data = append(c.Data, line...)
		}
	}
	const monday, tuesday = 1_793_232_000, 1_793_232_000 + 86400
	add(5, monday)
	add(3, tuesday)
	add(300, monday)
	if err := NewPacker(PackOptions{Least: 100, Most: 1000}).Pack(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 3 || c.Rows[0].Time != tuesday {
		t.Errorf("rows %+v are left, want the 3 of Tuesday", c.Rows)
	}
	rows := 0
	for _, f := range c.Fragments {
		rows += f.Rows
		if f.RowsBytes > 1000 || f.RowsBytes < 500 {
			t.Errorf("a fragment of %d bytes", f.RowsBytes)
		}
	}
	if rows != 305 {
		t.Errorf("%d rows in fragments, want 305", rows)
	}
	// Days without end: none is worth a fragment.
	c = Chunk{}
	for day := range int64(400) {
		add(1, monday+day%40*86400)
	}
	if err := NewPacker(PackOptions{Least: 100}).Pack(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Fragments) != 0 || len(c.Rows) != 400 {
		t.Errorf("%d fragments, %d rows, want 400 rows", len(c.Fragments), len(c.Rows))
	}
}

// Rows that are brought together take their marks along.
func TestMarksOfScatteredRows(t *testing.T) {
	var c Chunk
	for i := range 60 {
		at := len(c.Data)
		c.Data = fmt.Appendf(c.Data, `{"name":%d,"day":%d}`+"\n", i, i%3)
		if i%5 != 4 { // others are of another chunk with the same data
			c.Rows = append(c.Rows, Row{Offset: at, Length: len(c.Data) - at, Time: int64(i%3) * 86400, Kind: KindEvents})
		}
		if i%7 != 6 { // some have none
			day := at + bytes.IndexByte(c.Data[at:], ',')
			c.Marks = append(c.Marks, rowmark.Mark{At: int32(at), Name: 1, Text: uint16(len(`{"name":`))}, rowmark.Mark{At: int32(day), Name: 2, Text: uint16(len(`,"day":`))})
		}
	}
	p := NewPacker(PackOptions{Least: 1})
	if !p.sort(&c) || len(p.packs) != 3 {
		t.Fatalf("%d places, want 3", len(p.packs))
	}
	for number := range p.packs {
		g := &p.packs[number]
		rows, marks, base := p.text(&c, g, g.rows, number, number)
		found := 0
		for line := range bytes.Lines(rows) {
			var name, day int
			if _, err := fmt.Sscanf(string(line), `{"name":%d,"day":%d}`, &name, &day); err != nil || day != number {
				t.Fatalf("%q in the pack of day %d: %v", line, number, err)
			}
			if name%7 != 6 {
				found += 2
			}
		}
		if len(marks) != found {
			t.Errorf("day %d has %d marks, want %d", number, len(marks), found)
		}
		for i, m := range marks {
			text := string(rows[int(m.At)-base:][:m.Text])
			if want := []string{`{"name":`, `,"day":`}[i%2]; text != want || int(m.Name) != i%2+1 {
				t.Errorf("mark %d of day %d is of %q, want %q", i, number, text, want)
			}
		}
	}
}
