package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk/batch"
)

// sample is a segment with the rows and keys that it was made of.
type sample struct {
	file  []byte
	index *Index
	rows  map[Partition][]string // by block
	keys  map[Day][]Key
}

// writeExtent writes the blocks of one partition.
func writeExtent(b *Builder, p Partition, minTime, maxTime int64, blocks []Block) {
	b.Begin(p)
	for _, k := range blocks {
		b.Block(k)
	}
	b.Span(minTime, maxTime)
}

func randomKeys(r *rand.Rand, n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		binary.LittleEndian.PutUint64(keys[i][:], r.Uint64())
		binary.LittleEndian.PutUint64(keys[i][8:], r.Uint64())
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}

// build makes a segment of some partitions and days of keys.
func build(t testing.TB, r *rand.Rand, partitions, blocks, rows int, keys []int) sample {
	t.Helper()
	s := sample{rows: map[Partition][]string{}, keys: map[Day][]Key{}}
	var out bytes.Buffer
	b := NewBuilder(&out)
	encoder := NewEncoder()
	for i := range partitions {
		p := Partition{Kind: KindEvents, UTCDate: Day(20000 + i), ZoneDate: Day(20000 + i - i%2)}
		var made []Block
		for range blocks {
			var text strings.Builder
			for range rows {
				fmt.Fprintf(&text, "{\"n\":%d}\n", r.Uint64())
			}
			block, err := encoder.Encode([]byte(text.String()), rows, batch.DuplicateKey)
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, block)
			s.rows[p] = append(s.rows[p], text.String())
		}
		writeExtent(b, p, -5, int64(i), made)
	}
	for i, n := range keys {
		all := randomKeys(r, n)
		s.keys[Day(i)] = all
		for part := range slices.Chunk(all, SectionKeys) {
			b.Keys(Day(i), part)
		}
	}
	index, size, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(out.Len()) {
		t.Errorf("size %d of %d bytes", size, out.Len())
	}
	s.file, s.index = out.Bytes(), index
	return s
}

func open(t testing.TB, file []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBuiltSegmentsAreRead(t *testing.T) {
	tests := []struct {
		name                     string
		partitions, blocks, rows int
		keys                     []int
	}{
		{"nothing at all", 0, 0, 0, nil},
		{"an extent of no blocks", 1, 0, 0, nil},
		{"keys alone", 0, 0, 0, []int{1, 5, 4096}},
		{"rows alone", 2, 2, 3, nil},
		{"a day without keys between others", 1, 1, 1, []int{3, 0, 3}},
		{"pages that are just full, and one more", 1, 1, 1, []int{PageKeys, PageKeys + 1, 2*PageKeys - 1}},
		{"a day of several sections", 1, 1, 1, []int{SectionKeys, SectionKeys + 1}},
		{"blocks beyond what is read at once", 2, 5, 40000, []int{10}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := build(t, rand.New(rand.NewPCG(1, 1)), test.partitions, test.blocks, test.rows, test.keys)
			f := open(t, s.file)
			if diff := cmp.Diff(s.index, f.Index(), equateEmpty); diff != "" {
				t.Errorf("the index (-built +read):\n%s", diff)
			}
			readsAs(t, f, s)
			damages, blocks, err := f.Verify()
			if len(damages) > 0 || blocks != int64(test.partitions*test.blocks) || err != nil {
				t.Errorf("verify: %v, %d blocks, %v", damages, blocks, err)
			}
		})
	}
}

var equateEmpty = cmp.FilterValues(func(a, b any) bool { return isEmpty(a) && isEmpty(b) }, cmp.Comparer(func(any, any) bool { return true }))

func isEmpty(v any) bool {
	switch v := v.(type) {
	case []Extent:
		return len(v) == 0
	case []Section:
		return len(v) == 0
	case []BlockInfo:
		return len(v) == 0
	}
	return false
}

// readsAs checks that a segment holds a sample's rows and keys.
func readsAs(t *testing.T, f *File, s sample) {
	t.Helper()
	var decoder Decoder
	for i, e := range f.Index().Extents {
		var got []string
		err := f.Blocks(i, func(b Block) error {
			rows, err := decoder.Decode(nil, b)
			got = append(got, string(rows))
			return err
		})
		if err != nil || !slices.Equal(got, s.rows[e.Partition]) {
			t.Errorf("extent %d: other rows, %v", i, err)
		}
	}
	keys := map[Day][]Key{}
	var page []byte
	for i := range f.Index().Sections {
		section := &f.Index().Sections[i]
		filter, err := f.Filter(section)
		if err != nil {
			t.Fatal(err)
		}
		for p := range section.Pages {
			if page, err = f.Page(section, p, page); err != nil {
				t.Fatal(err)
			}
			for key := range slices.Chunk(page, KeySize) {
				keys[section.Day] = append(keys[section.Day], Key(key))
				if !filter.MayContain(Key(key)) {
					t.Fatal("a filter leaves out a key")
				}
			}
		}
	}
	for day, want := range s.keys {
		if !slices.Equal(keys[day], want) {
			t.Errorf("day %d: other keys", day)
		}
	}
}

func TestAFilterPassesFewStrangers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{1, 10, 1000, 100000} {
		filter := NewFilter(randomKeys(r, n))
		passed := 0
		for _, k := range randomKeys(r, 100000) {
			if filter.MayContain(k) {
				passed++
			}
		}
		// One in 250 is the average of large filters.
		if n >= 1000 && passed > 100000/150 {
			t.Errorf("%d keys: %d of 100,000 strangers pass", n, passed)
		}
	}
}

// Every bit of a segment counts: one that is flipped is found, and the place
// that is named is where it is.
func TestOneFlippedBitIsFound(t *testing.T) {
	s := build(t, rand.New(rand.NewPCG(2, 2)), 2, 2, 3, []int{5, 40})
	for at := range s.file {
		for bit := range 8 {
			file := bytes.Clone(s.file)
			file[at] ^= 1 << bit
			places := damagedPlaces(t, file)
			want := s.place(int64(at))
			if len(places) == 0 {
				t.Fatalf("byte %d bit %d: nothing is found in %s", at, bit, want)
			}
			if len(places) != 1 || !strings.HasPrefix(places[0], want) {
				t.Errorf("byte %d bit %d: found in %q, want %s", at, bit, places, want)
			}
		}
	}
}

// Two damages of one extent are both named.
func TestEveryDamageIsNamed(t *testing.T) {
	s := build(t, rand.New(rand.NewPCG(2, 2)), 2, 3, 3, []int{5, 40})
	file := bytes.Clone(s.file)
	first := s.index.Extents[1].Offset
	file[first+3]++
	file[first+s.index.Extents[1].Length-6]++
	file[s.index.Sections[1].Offset]++
	file[s.index.Sections[1].filterOffset()]++
	want := []string{"block 3 (events of 2024-10-05)", "block 5 (events of 2024-10-05)", "keys of 1970-01-02, page 0", "filter of 1970-01-02"}
	if diff := cmp.Diff(want, damagedPlaces(t, file)); diff != "" {
		t.Error(diff)
	}
}

func damagedPlaces(t *testing.T, file []byte) []string {
	t.Helper()
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	damages := []error{err}
	if err == nil {
		if damages, _, err = f.Verify(); err != nil {
			t.Fatal(err)
		}
	}
	var places []string
	for _, d := range damages {
		var damage *DamageError
		if !errors.As(d, &damage) || !errors.Is(d, ErrDamaged) {
			t.Fatalf("%v is not a damage", d)
		}
		places = append(places, damage.Place)
	}
	return places
}

// place returns the name of the part that lies at an offset of the sample.
func (s sample) place(at int64) string {
	if at < headerSize {
		return "header"
	}
	number := 0
	for _, e := range s.index.Extents {
		offset := e.Offset
		for _, k := range e.Blocks {
			if offset += int64(k.Length); at < offset {
				return fmt.Sprintf("block %d (events of %s)", number, e.UTCDate)
			}
			number++
		}
	}
	for _, section := range s.index.Sections {
		if at < section.filterOffset() {
			return "keys of " + section.Day.String()
		}
		if at < section.end() {
			return "filter of " + section.Day.String()
		}
	}
	if at < int64(len(s.file))-trailerSize {
		return "footer"
	}
	return "trailer"
}

// Verify finds files that match their checksums but that no builder writes.
func TestVerifyChecksMoreThanChecksums(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	sorted := randomKeys(r, 10)
	keys := func(b *Builder, keys []Key) { b.Keys(1, keys) }
	tests := []struct {
		name, place string
		build       func(b *Builder)
	}{
		{"keys out of order", "keys of 1970-01-02, page 0", func(b *Builder) {
			swapped := slices.Clone(sorted)
			swapped[3], swapped[4] = swapped[4], swapped[3]
			keys(b, swapped)
		}},
		{"a key twice", "keys of 1970-01-02, page 0", func(b *Builder) { keys(b, append(slices.Clone(sorted), sorted[9])) }},
		{"a page that is indexed wrongly", "keys of 1970-01-02, page 0", func(b *Builder) {
			keys(b, sorted)
			b.index.Sections[0].Pages[0].First++
		}},
		{"a row more than the index says", "block 0", func(b *Builder) {
			writeExtent(b, Partition{Kind: KindEvents}, 0, 0, []Block{encoded(t, "a\nb\n", 1)})
		}},
		{"a block with other rows than the index says", "block 0", func(b *Builder) {
			block := encoded(t, "a\n", 1)
			block.RowsCRC32++
			writeExtent(b, Partition{Kind: KindEvents}, 0, 0, []Block{block})
		}},
		{"a block that goes on", "block 0", func(b *Builder) {
			block := encoded(t, "a\n", 1)
			block.Payload = append(block.Payload, 3, 0)
			writeExtent(b, Partition{Kind: KindEvents}, 0, 0, []Block{block})
		}},
	}
	for _, test := range tests {
		var out bytes.Buffer
		b := NewBuilder(&out)
		test.build(b)
		if _, _, err := b.Finish(); err != nil {
			t.Fatal(err)
		}
		places := damagedPlaces(t, out.Bytes())
		if len(places) != 1 || !strings.HasPrefix(places[0], test.place) {
			t.Errorf("%s: %q, want %s", test.name, places, test.place)
		}
	}
}

func encoded(t testing.TB, rows string, count int) Block {
	t.Helper()
	b, err := NewEncoder().Encode([]byte(rows), count, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAFileThatIsCutShort(t *testing.T) {
	s := build(t, rand.New(rand.NewPCG(2, 2)), 2, 2, 3, []int{5})
	for n := range s.file {
		if _, err := Open(bytes.NewReader(s.file[:n]), int64(n)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", n, err)
		}
		// The size is as the catalog says, the bytes are not there.
		f, err := Open(bytes.NewReader(s.file[:n]), int64(len(s.file)))
		if err == nil {
			_, _, err = f.Verify()
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes of %d: %v", n, len(s.file), err)
		}
	}
}

// An error of the disk is not a damage.
func TestAReadThatFails(t *testing.T) {
	s := build(t, rand.New(rand.NewPCG(2, 2)), 2, 2, 3, []int{5, 6})
	failure := errors.New("the disk is on fire")
	for n := range 10 {
		reader := &failing{bytes.NewReader(s.file), n, failure}
		f, err := Open(reader, int64(len(s.file)))
		if err == nil {
			var damages []error
			damages, _, err = f.Verify()
			if len(damages) > 0 {
				t.Errorf("read %d: %v", n, damages)
			}
		}
		if done := reader.left >= 0; done != (err == nil) {
			t.Errorf("read %d: %v", n, err)
		}
		if err != nil && (!errors.Is(err, failure) || errors.Is(err, ErrDamaged)) {
			t.Errorf("read %d: %v", n, err)
		}
	}
}

type failing struct {
	*bytes.Reader
	left int
	err  error
}

func (f *failing) ReadAt(p []byte, at int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return f.Reader.ReadAt(p, at)
}

func TestABuilderKeepsTheFirstError(t *testing.T) {
	failure := errors.New("no space")
	s := build(t, rand.New(rand.NewPCG(2, 2)), 1, 1, 3, []int{5})
	for n := range len(s.file) {
		b := NewBuilder(&short{left: n, err: failure})
		writeExtent(b, Partition{Kind: KindEvents}, 0, 0, []Block{encoded(t, strings.Repeat("row\n", 20), 20)})
		b.Keys(1, []Key{{1}, {2}, {3}})
		if _, size, err := b.Finish(); err == nil {
			if size > int64(n) {
				t.Errorf("%d bytes fit into %d", size, n)
			}
		} else if !errors.Is(err, failure) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

type short struct {
	left int
	err  error
}

func (s *short) Write(p []byte) (int, error) {
	n := min(len(p), s.left)
	s.left -= n
	if n < len(p) {
		return n, s.err
	}
	return n, nil
}

func TestDays(t *testing.T) {
	for seconds, want := range map[int64]string{
		0: "1970-01-01", 86399: "1970-01-01", 86400: "1970-01-02", -1: "1969-12-31", -86400: "1969-12-31", -86401: "1969-12-30",
	} {
		day := DayOf(seconds)
		if day.String() != want {
			t.Errorf("%d is in %s, want %s", seconds, day, want)
		}
		if parsed, err := ParseDay(want); err != nil || parsed != day {
			t.Errorf("%s is %d, %v", want, parsed, err)
		}
	}
	for _, bad := range []string{"", "2026-6-1", "2026-02-30", "yesterday"} {
		if _, err := ParseDay(bad); err == nil {
			t.Errorf("%q is a date", bad)
		}
	}
}

// A segment of a newer version is not called damaged.
func TestANewerSegmentIsRefused(t *testing.T) {
	data := bytes.Clone(build(t, rand.New(rand.NewPCG(1, 2)), 1, 1, 2, []int{2}).file)
	tail := data[len(data)-trailerSize:]
	binary.LittleEndian.PutUint32(tail[24:], version+1)
	binary.LittleEndian.PutUint32(tail[28:], Checksum(tail[:28]))
	_, err := Open(bytes.NewReader(data), int64(len(data)))
	var newer *NewerError
	if !errors.As(err, &newer) || *newer != (NewerError{version + 1, version}) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}
