package batch_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"

	"github.com/penstock-io/penstock/sdk/batch"
)

// encode makes a batch as the journal does.
func encode(t testing.TB, rows ...string) *batch.Batch {
	t.Helper()
	var data []byte
	for _, r := range rows {
		data = append(append(data, r...), '\n')
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return &batch.Batch{
		Rows: len(rows), Payload: out.Bytes(), RowsBytes: len(data), RowsCRC32: crc32.ChecksumIEEE(data),
	}
}

// randomRows returns n rows, some compressible and some not.
func randomRows(r *rand.Rand, n int) []string {
	rows := make([]string, n)
	for i := range rows {
		noise := make([]byte, r.IntN(200))
		for j := range noise {
			noise[j] = "0123456789abcdef\x00\xff\u00e9"[r.IntN(20)]
		}
		rows[i] = fmt.Sprintf(`{"n":%d,"pad":%q,"noise":%q}`, i, strings.Repeat("x", r.IntN(300)), noise)
	}
	return rows
}

func TestAppendRowsReturnsWhatWasEncoded(t *testing.T) {
	t.Parallel()
	b := encode(t, `{"a":1}`, `{"b":"é😀"}`)
	got, err := b.AppendRows([]byte("before\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("before\n{\"a\":1}\n{\"b\":\"é😀\"}\n", string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestLinesYieldsEachRowOnce(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 500} {
		want := randomRows(r, n)
		got := []string{}
		for line, err := range encode(t, want...).Lines() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestADamagedBatchIsCorrupt(t *testing.T) {
	t.Parallel()
	good := encode(t, strings.Repeat("x", 100_000), "y")
	closed := func() []byte {
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, 1)
		_, _ = w.Write([]byte(strings.Repeat("x", 100_000) + "\ny\n"))
		_ = w.Close()
		return append(out.Bytes(), 0, 0, 0, 0xff, 0xff)
	}()
	tests := map[string]struct {
		change func(*batch.Batch)
		want   string
	}{
		"rows bytes too small: a bomb": {func(b *batch.Batch) { b.RowsBytes = 1000 }, "more than 1000 bytes"},
		"rows bytes too large":         {func(b *batch.Batch) { b.RowsBytes++ }, "ends after"},
		"rows bytes absurd":            {func(b *batch.Batch) { b.RowsBytes = 1 << 40 }, "at most"},
		"rows bytes negative":          {func(b *batch.Batch) { b.RowsBytes = -1 }, "at most"},
		"wrong CRC":                    {func(b *batch.Batch) { b.RowsCRC32++ }, "CRC-32"},
		"a flipped bit":                {func(b *batch.Batch) { b.Payload[20] ^= 4 }, ""},
		"the final bit":                {func(b *batch.Batch) { b.Payload = closed }, "final bit"},
		"cut":                          {func(b *batch.Batch) { b.Payload = b.Payload[:len(b.Payload)-1] }, "sync flush"},
		"no payload":                   {func(b *batch.Batch) { b.Payload = nil }, "without payload"},
		"payload too large":            {func(b *batch.Batch) { b.Payload = make([]byte, batch.MaxPayload+1) }, "at most"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := *good
			b.Payload = bytes.Clone(b.Payload)
			tt.change(&b)
			got, err := b.AppendRows([]byte("kept"))
			if !errors.Is(err, batch.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("AppendRows error = %v, want ErrCorrupt with %q", err, tt.want)
			}
			if string(got) != "kept" {
				t.Errorf("AppendRows returned %d bytes, want those it was given", len(got))
			}
		})
	}
}

func TestLinesEndsWithAnErrorWhenRowsAreMissing(t *testing.T) {
	t.Parallel()
	b := encode(t, "a", "b")
	b.Rows = 3
	var last error
	for _, err := range b.Lines() {
		last = err
	}
	if !errors.Is(last, batch.ErrCorrupt) {
		t.Errorf("last error = %v, want ErrCorrupt", last)
	}
}

func TestGzipWriterMakesOneOrdinaryMember(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		var out, want bytes.Buffer
		g := batch.NewGzipWriter(&out)
		for range r.IntN(6) {
			b := encode(t, randomRows(r, r.IntN(40))...)
			if r.IntN(4) == 0 {
				b = &batch.Batch{} // nothing at all
			}
			data, err := b.AppendRows(nil)
			if err != nil {
				t.Fatal(err)
			}
			want.Write(data)
			if err := g.WriteBatch(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		checkMember(t, out.Bytes(), want.Bytes())
		if g.Size() != int64(out.Len()) {
			t.Errorf("Size = %d, want %d", g.Size(), out.Len())
		}
		if got := g.Totals(); got.RowsBytes != uint64(want.Len()) || got.RowsCRC32 != crc32.ChecksumIEEE(want.Bytes()) {
			t.Errorf("Totals = %+v, want %d bytes", got, want.Len())
		}
	}
}

func checkMember(t *testing.T, member, want []byte) {
	t.Helper()
	in := bytes.NewReader(member)
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("member holds %d bytes, want %d", len(got), len(want))
	}
	if in.Len() != 0 {
		t.Fatalf("%d bytes behind the member", in.Len())
	}
	if !z.ModTime.IsZero() || z.OS != 255 || z.Name != "" || z.Comment != "" {
		t.Errorf("header = %+v, want none", z.Header)
	}
}

func TestGzipProgramAcceptsTheMember(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("gzip")
	if err != nil {
		t.Skip("no gzip program here")
	}
	r := rand.New(rand.NewPCG(3, 3))
	var out bytes.Buffer
	g := batch.NewGzipWriter(&out)
	for range 50 {
		if err := g.WriteBatch(encode(t, randomRows(r, 100)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-t")
	cmd.Stdin = &out
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("gzip -t: %v: %s", err, msg)
	}
}

func TestGzipWriterRefusesAfterAnError(t *testing.T) {
	t.Parallel()
	fault := errors.New("disk full")
	g := batch.NewGzipWriter(failingWriter{fault})
	b := encode(t, "a")
	for range 2 {
		if err := g.WriteBatch(b); !errors.Is(err, fault) {
			t.Errorf("WriteBatch error = %v, want %v", err, fault)
		}
	}
	if err := g.Close(); !errors.Is(err, fault) {
		t.Errorf("Close error = %v, want %v", err, fault)
	}
	closed := batch.NewGzipWriter(io.Discard)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := closed.WriteBatch(b); err == nil {
		t.Error("WriteBatch after Close gave no error")
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestCombineCRC32IsThatOfTheWhole(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for range 500 {
		end := r.IntN(len(data) + 1)
		cut := r.IntN(end + 1)
		a, b := crc32.ChecksumIEEE(data[:cut]), crc32.ChecksumIEEE(data[cut:end])
		if got, want := batch.CombineCRC32(a, b, uint64(end-cut)), crc32.ChecksumIEEE(data[:end]); got != want {
			t.Fatalf("CombineCRC32 of %d and %d bytes = %08x, want %08x", cut, end-cut, got, want)
		}
	}
}

func TestCombineCRC32OfHugeLengths(t *testing.T) {
	t.Parallel()
	// Doubling zeros from 1 MiB up to 2^40 bytes needs no data: a length in two
	// halves must give the same checksum as the whole.
	zeros := crc32.ChecksumIEEE(make([]byte, 1<<20))
	size := uint64(1 << 20)
	for size < 1<<40 {
		whole := batch.CombineCRC32(zeros, zeros, size)
		size *= 2
		left := batch.CombineCRC32(batch.CombineCRC32(0x12345678, zeros, size/2), zeros, size/2)
		if right := batch.CombineCRC32(0x12345678, whole, size); left != right {
			t.Fatalf("%d bytes: %08x by halves, %08x at once", size, left, right)
		}
		zeros = whole
	}
}

func TestReaderCountsAndEnds(t *testing.T) {
	t.Parallel()
	batches := []*batch.Batch{encode(t, "a", "b"), {}, encode(t, "c")}
	n := 0
	r := batch.NewReader(func() (*batch.Batch, error) {
		if n == len(batches) {
			return nil, io.EOF
		}
		n++
		return batches[n-1], nil
	}, func(row uint64, reason string, line []byte) error { return nil })
	var firsts []uint64
	var want batch.Totals
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		firsts = append(firsts, b.First)
		want.Add(b)
	}
	if diff := cmp.Diff([]uint64{0, 2, 2}, firsts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, r.Totals()); diff != "" {
		t.Error(diff)
	}
	if want.RowsCRC32 != crc32.ChecksumIEEE([]byte("a\nb\nc\n")) {
		t.Error("totals' CRC-32 is not that of the rows")
	}
	if !r.Done() {
		t.Error("Done = false after io.EOF")
	}
	if err := r.Reject(1, "because", nil); err != nil || r.Rejected() != 1 {
		t.Errorf("Reject = %v, %d rejected", err, r.Rejected())
	}
}

func TestReaderRefusesACorruptBatchForGood(t *testing.T) {
	t.Parallel()
	calls := 0
	r := batch.NewReader(func() (*batch.Batch, error) {
		calls++
		return &batch.Batch{Rows: 1, RowsBytes: 5, Payload: []byte("nothing")}, nil
	}, nil)
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, batch.ErrCorrupt) {
			t.Errorf("Next error = %v, want ErrCorrupt", err)
		}
	}
	if calls != 1 || r.Done() {
		t.Errorf("%d calls, done %v; want 1, false", calls, r.Done())
	}
}

func FuzzAppendRows(f *testing.F) {
	b := encode(f, `{"a":1}`, "b")
	f.Add(b.Payload, b.RowsBytes, b.RowsCRC32)
	f.Add([]byte{0, 0, 0, 0xff, 0xff}, 0, uint32(0))
	f.Fuzz(func(t *testing.T, payload []byte, size int, sum uint32) {
		b := &batch.Batch{Payload: payload, RowsBytes: size, RowsCRC32: sum}
		data, err := b.AppendRows(nil)
		if err != nil {
			return
		}
		if len(data) != size || crc32.ChecksumIEEE(data) != sum {
			t.Fatalf("accepted %d bytes with CRC-32 %08x", len(data), crc32.ChecksumIEEE(data))
		}
		// Accepted payloads make a gzip member that other readers accept.
		var out bytes.Buffer
		g := batch.NewGzipWriter(&out)
		if err := errors.Join(g.WriteBatch(b), g.WriteBatch(b), g.Close()); err != nil {
			t.Fatal(err)
		}
		checkMember(t, out.Bytes(), append(bytes.Clone(data), data...))
	})
}

func BenchmarkCombineCRC32(b *testing.B) {
	for b.Loop() {
		_ = batch.CombineCRC32(0x12345678, 0x9abcdef0, 1_048_111)
	}
}

func BenchmarkAppendRows(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	block := encode(b, randomRows(r, 2000)...)
	buf := make([]byte, 0, block.RowsBytes)
	b.SetBytes(int64(block.RowsBytes))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := block.AppendRows(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStreamString(t *testing.T) {
	t.Parallel()
	for s, want := range map[batch.Stream]string{0: "unknown stream", batch.Events: "events", batch.People: "people", batch.Identity: "identity", 9: "unknown stream"} {
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
}
