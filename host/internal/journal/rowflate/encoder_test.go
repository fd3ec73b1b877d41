package rowflate

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/penstock-io/penstock/host/internal/swar"
)

// final makes a fragment a whole stream.
var final = []byte{3, 0}

// inflate inflates a fragment with two implementations that have nothing in common with
// the encoder.
func inflate(t testing.TB, fragment []byte) []byte {
	t.Helper()
	whole := append(bytes.Clone(fragment), final...)
	rows, err := io.ReadAll(stdflate.NewReader(bytes.NewReader(whole)))
	if err != nil {
		t.Fatalf("compress/flate: %v", err)
	}
	again, err := io.ReadAll(flate.NewReader(bytes.NewReader(whole)))
	if err != nil || !bytes.Equal(again, rows) {
		t.Fatalf("klauspost/compress: %d bytes, %v; compress/flate gave %d bytes", len(again), err, len(rows))
	}
	return rows
}

// same encodes rows, and compares them with those of the fragment.
func same(t testing.TB, e *Encoder, rows []byte) []byte {
	t.Helper()
	fragment := e.Encode(nil, rows)
	if found := inflate(t, fragment); !bytes.Equal(found, rows) {
		at := 0
		for at < min(len(found), len(rows)) && found[at] == rows[at] {
			at++
		}
		t.Fatalf("%d bytes inflate to %d, which differ from byte %d on:\n%.80q\nwant\n%.80q", len(rows), len(found), at, found[at:], rows[at:])
	}
	return fragment
}

// eventRows renders rows that look like those of a web shop.
func eventRows(r *rand.Rand, n int) []byte {
	var b strings.Builder
	for i := range n {
		user, at := r.IntN(1000), 1793232000+i
		fmt.Fprintf(&b, `{"device_id":"%016x","distinct_id":"user-%d","event_name":"%s","insert_id":"%016x","properties":{"time":%d,"distinct_id":"user-%d","$browser":"%s"`,
			uint64(user)*0x9e3779b97f4a7c15, user, []string{"View", "Cart", "Pay", "Größe \\\"XL\\\""}[r.IntN(4)], r.Uint64(), at, user, []string{"Chrome", "Safari"}[r.IntN(2)])
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, `,"tags":["a","b",%d],"cart":{"items":[{"sku":"%d","n":%d},{}],"note":""}`, r.IntN(9), r.IntN(99), r.IntN(3))
		}
		fmt.Fprintf(&b, `,"$current_url":"https://shop.example.com/%s?session=%012x","price":%d.99,"ok":%t,"none":null},"time":%d,"user_id":null}`+"\n",
			strings.Repeat("path/", r.IntN(20)), r.Uint64(), r.IntN(500), r.IntN(2) == 0, at)
	}
	return []byte(b.String())
}

func TestRowsInflateToThemselves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	long := strings.Repeat("ab", 200_000)
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	e := &Encoder{}
	for name, rows := range map[string][]byte{
		"nothing":        {},
		"one byte":       []byte("\n"),
		"one row":        eventRows(r, 1),
		"three rows":     eventRows(r, 3),
		"a block":        eventRows(r, 2000),
		"several blocks": eventRows(r, 20_000), // of DEFLATE
		"one long value": []byte(`{"distinct_id":"a","properties":{"text":"` + long + `"}}` + "\n"),
		"long copies":    []byte(strings.Repeat(`{"x":"`+strings.Repeat("y", 30_000)+`"}`+"\n", 20)),
		"numbers":        []byte(`{"p":[` + strings.Repeat("1,2,", 50_000) + `3]}` + "\n"),
		"empty objects":  []byte(strings.Repeat("{}\n", 10_000)),
		"long names":     []byte(strings.Repeat(`{"`+strings.Repeat("n", 300)+`":1}`+"\n", 50)),
		"white space":    []byte(strings.Repeat("{ \"a\" :\t1 , \"b\" : [ true , \"x\" ] }\n", 100)),
		"no rows":        noise,
		"a cut string":   []byte(`{"a":"b\`),
		"a cut name":     []byte(`{"a`),
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // the encoder knows the names the second time
				same(t, e, rows)
			}
		})
	}
}

// Bytes behind the rows are neither written nor changed, whatever they are.
func TestBytesBehindTheRowsDoNotCount(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	rows := eventRows(r, 50)
	want := (&Encoder{}).Encode(nil, slicesClip(rows))
	for _, behind := range [][]byte{bytes.Repeat([]byte{'"'}, 100), rows[:100], make([]byte, 100)} {
		held := append(bytes.Clone(rows), behind...)
		if found := (&Encoder{}).Encode(nil, held[:len(rows)]); !bytes.Equal(found, want) {
			t.Errorf("with %.10q behind the rows the fragment differs", behind)
		}
		if !bytes.Equal(held[len(rows):], behind) {
			t.Error("bytes behind the rows were changed")
		}
	}
}

func slicesClip(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// More names than are numbered, and later others.
func TestNamesThatNeverEnd(t *testing.T) {
	e := &Encoder{}
	for block := range 12 {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, `{"distinct_id":"u%d","properties":{"name %d of block %d":%d,"plan":"pro"}}`+"\n", i, i, block, i)
		}
		same(t, e, []byte(b.String()))
	}
	if n := len(e.gaps.all); n > maxGaps {
		t.Errorf("%d gaps are numbered, of %d at most", n, maxGaps)
	}
}

// Long arrays have more members in a window than are remembered: a number of a forgotten
// one is not taken for that of a later one in its place.
func TestForgottenMembers(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := &Encoder{}
		for range 3 {
			same(t, e, arrayRows(r))
		}
	}
}

// arrayRows renders rows of arrays in which values come again, next to each other and
// further apart.
func arrayRows(r *rand.Rand) []byte {
	var b bytes.Buffer
	comma := []string{",", ", ", ",\t ", ",   "}[r.IntN(4)]
	kinds := 2 + r.IntN(2000)
	for range 1 + r.IntN(30) {
		b.WriteString(`{"distinct_id":"a","properties":{"p":[`)
		for range r.IntN(3000) {
			value := strconv.Itoa(r.IntN(kinds)) + comma
			b.WriteString(strings.Repeat(value, 1+r.IntN(4)))
		}
		b.WriteString("0]}}\n")
	}
	return b.Bytes()
}

// Places are counted from the start after some GB of rows.
func TestPlacesAreCountedFromTheStart(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e := &Encoder{}
	rows := eventRows(r, 300)
	same(t, e, rows)
	e.base = manyPlaces - int32(len(rows))
	e.number = 1<<32 - 100
	for range 4 {
		same(t, e, rows)
	}
	if e.base >= manyPlaces {
		t.Errorf("places count from %d on", e.base)
	}
}

// A fragment appends to what there is, and fragments joined are a gzip file that the
// gzip command accepts.
func TestFragmentsJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	e := &Encoder{}
	var all []byte
	file := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	for _, n := range []int{1, 500, 2, 0, 3000} {
		rows := eventRows(r, n)
		file = e.Encode(file, rows)
		all = append(all, rows...)
	}
	file = append(file, final...)
	sum, length := crc32.ChecksumIEEE(all), len(all)
	file = append(file, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24), byte(length), byte(length>>8), byte(length>>16), byte(length>>24))
	command := exec.Command("gzip", "-dc")
	command.Stdin = bytes.NewReader(file)
	found, err := command.Output()
	if err != nil || !bytes.Equal(found, all) {
		t.Errorf("gzip gives %d bytes, want %d: %v", len(found), len(all), err)
	}
}

// Rows take fewer bytes than level 1 of a general compressor makes of them.
func TestRowsTakeFewerBytes(t *testing.T) {
	rows := eventRows(rand.New(rand.NewPCG(9, 10)), 2000)
	var general bytes.Buffer
	z, err := flate.NewWriter(&general, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := len((&Encoder{}).Encode(nil, rows)); n > general.Len() {
		t.Errorf("%d bytes, and a general compressor makes %d", n, general.Len())
	}
}

func FuzzEncoder(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	f.Add(eventRows(r, 1), eventRows(r, 5), uint64(1))
	f.Add([]byte(`{"a":"b","c":[1,2,{"d":"\""}]}`), []byte("{}\n{}\n"), uint64(2))
	f.Add([]byte(`"`), []byte(`\"`), uint64(3))
	f.Fuzz(func(t *testing.T, one, two []byte, seed uint64) {
		e := &Encoder{}
		same(t, e, one)
		same(t, e, bytes.Repeat(two, 3))
		arrays := arrayRows(rand.New(rand.NewPCG(seed, uint64(len(one)))))
		same(t, e, slices.Concat(one, arrays, two, arrays[:len(arrays)/2]))
	})
}

// BenchmarkEncode compresses rows of events as text, with marks, and as a general
// compressor does.
func BenchmarkEncode(b *testing.B) {
	rows := eventRows(rand.New(rand.NewPCG(13, 14)), 1000)
	rows = append(rows, make([]byte, slack)...)[:len(rows)]
	marks := marksOf(rows, 0)
	var general bytes.Buffer
	z, err := flate.NewWriter(&general, 1)
	if err != nil {
		b.Fatal(err)
	}
	text, short, marked := &Encoder{}, &Encoder{}, &Encoder{}
	for _, by := range []struct {
		name   string
		encode func(dst []byte) []byte
	}{
		{"text", func(dst []byte) []byte { return text.Encode(dst, rows) }},
		{"text-short", func(dst []byte) []byte {
			for part := rows; len(part) > 0; {
				end := 0
				for range 150 {
					end += bytes.IndexByte(part[end:], '\n') + 1
				}
				dst = short.Encode(dst, part[:end])
				part = part[end:]
			}
			return dst
		}},
		{"marks", func(dst []byte) []byte { return marked.EncodeMarked(dst, rows, marks, 0) }},
		{"level-1", func([]byte) []byte {
			general.Reset()
			z.Reset(&general)
			if _, err := z.Write(rows); err != nil {
				b.Fatal(err)
			}
			if err := z.Flush(); err != nil {
				b.Fatal(err)
			}
			return general.Bytes()
		}},
	} {
		b.Run(by.name, func(b *testing.B) {
			b.SetBytes(int64(len(rows)))
			var out []byte
			for b.Loop() {
				out = by.encode(out[:0])
			}
			b.ReportMetric(float64(len(out))/1000, "bytes/row")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
		})
	}
}

// The memory behind the rows ends where a read of it is an error. There the rows seem
// to go on with a gap that the encoder expects.
func TestNothingBehindTheSlackIsRead(t *testing.T) {
	page := os.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(memory); err != nil {
			t.Error(err)
		}
	}()
	if err := syscall.Mprotect(memory[page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for length := 1; length <= swar.HeadSize; length++ { // of the gap between two rows
		gap := (`}` + "\n" + strings.Repeat(" ", swar.HeadSize))[:length]
		row := strings.Repeat(`1`+gap, 20) + `1`
		for cut := range length {
			rows := row + gap[:cut]
			held := memory[page-slack-len(rows) : page]
			copy(held, row+gap)
			same(t, &Encoder{}, held[:len(rows):len(held)])
		}
	}
}
