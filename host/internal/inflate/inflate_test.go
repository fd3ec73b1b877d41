package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	kflate "github.com/klauspost/compress/flate"
)

// deflated compresses data.
func deflated(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode decodes with buffers that begin with size bytes and grow by step, behind some bytes
// that are there already. Bytes before and behind the buffer must not change.
func decode(t testing.TB, d *Decoder, in []byte, size, step int) (out []byte, read int, err error) {
	t.Helper()
	const before, behind = "before", "behind"
	n := len(before)
	memory := make([]byte, n+size+len(behind))
	copy(memory, before)
	d.Begin(in, n)
	for {
		dst := memory[:len(memory)-len(behind)]
		copy(memory[len(dst):], behind)
		n, err = d.Decode(dst, n)
		if string(memory[len(dst):]) != behind || string(memory[:len(before)]) != before {
			t.Fatalf("bytes around the buffer are changed to %q and %q", memory[:len(before)], memory[len(dst):])
		}
		if !errors.Is(err, ErrFull) {
			return dst[len(before):n], d.Read(), err
		}
		memory = append(memory[:len(dst):len(dst)], make([]byte, step+len(behind))...)
	}
}

// compare decodes as compress/flate does, and compares.
func compare(t testing.TB, d *Decoder, in []byte, size, step int) {
	t.Helper()
	from := bytes.NewReader(in)
	want, wantErr := io.ReadAll(flate.NewReader(from))
	got, read, err := decode(t, d, in, size, step)
	switch {
	case wantErr != nil && err == nil:
		t.Fatalf("%d bytes are accepted, of which compress/flate says: %v", len(in), wantErr)
	case wantErr != nil && !errors.Is(err, ErrCorrupt):
		t.Fatalf("the error is %v", err)
	case wantErr != nil:
	case err != nil:
		t.Fatalf("%d bytes are refused: %v", len(in), err)
	case !bytes.Equal(got, want):
		t.Fatalf("%d bytes become %d others than the %d of compress/flate", len(in), len(got), len(want))
	case read != len(in)-from.Len():
		t.Fatalf("%d bytes were read, not %d", read, len(in)-from.Len())
	}
}

// samples are texts with codes of all kinds.
func samples() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var events, skewed strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&events, `{"event":"View %d","properties":{"time":%d,"token":"t","$os":"iOS","page":"/a/%x"}},`, i%7, 1_780_000_000+i, r.Uint32())
	}
	// Symbols whose codes have up to 15 bits.
	for i := range 18 {
		skewed.WriteString(strings.Repeat(string(rune('a'+i)), 1<<i))
	}
	mixed := []byte(skewed.String())
	r.Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return [][]byte{
		nil, []byte("a"), []byte("hello, hello, hello"), []byte(events.String()), mixed, random, bytes.Repeat([]byte("a"), 100_000),
		bytes.Repeat([]byte("abc"), 50_000), append(random[:40_000:40_000], random[:40_000]...), bytes.Repeat([]byte{0}, 1<<18),
	}
}

// Compressed texts are decoded to the texts, with buffers of all sizes, and an input
// that is cut off or changed is decoded as compress/flate does.
func TestDecodesAsCompressFlate(t *testing.T) {
	t.Parallel()
	var d Decoder
	r := rand.New(rand.NewPCG(3, 4))
	for i, text := range samples() {
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, 1, 6, 9} {
			in := deflated(t, text, level)
			for _, size := range []int{0, 1, 300, len(text), len(text) + 1, len(text) + 1000} {
				got, _, err := decode(t, &d, in, size, max(len(text)/3, 1))
				if err != nil || !bytes.Equal(got, text) {
					t.Fatalf("text %d, level %d, a buffer of %d: %d bytes, %v", i, level, size, len(got), err)
				}
			}
			compare(t, &d, append(in[:len(in):len(in)], "behind it"...), len(text), 1)
			for range 8 {
				changed := bytes.Clone(in[:r.IntN(len(in)+1)])
				for range r.IntN(3) {
					if len(changed) > 0 {
						changed[r.IntN(min(len(changed), 1+r.IntN(len(changed))))] ^= 1 << r.IntN(8)
					}
				}
				compare(t, &d, changed, r.IntN(len(text)+1), 1+r.IntN(1<<16))
			}
		}
	}
}

// Blocks of the fixed code make no tables, since there may be one in every 10 bits; those of
// other codes, before and behind them, do.
func TestFixedBlocksMakeNoTables(t *testing.T) {
	t.Parallel()
	var d Decoder
	block := []byte{0x02, 0x08, 0x20, 0x80, 0x00} // four empty blocks of 10 bits
	compare(t, &d, append(bytes.Repeat(block, 1000), 0x03, 0x00), 0, 1)
	if d.own != (codes{}) {
		t.Error("tables were made")
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	text := samples()[3]
	for n := range 20 {
		_, _ = w.Write(text[1000*n:][:n%2*900+20]) // to a buffer, which takes everything
		_ = w.Flush()
	}
	_ = w.Close()
	compare(t, &d, b.Bytes(), 100, 100)
	if d.own == (codes{}) {
		t.Error("no block has a code of its own")
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range samples() {
		f.Add(deflated(f, text[:min(len(text), 3000)], 6), uint16(100), uint16(100))
	}
	f.Add([]byte{0x05, 0xc0, 0x21, 0x0d}, uint16(0), uint16(1))
	var d Decoder
	f.Fuzz(func(t *testing.T, in []byte, size, step uint16) {
		compare(t, &d, in, int(size), int(step)+1)
	})
}

// FuzzText compresses texts, so that whole streams are decoded.
func FuzzText(f *testing.F) {
	for _, text := range samples() {
		f.Add(text[:min(len(text), 3000)], uint8(6), uint16(100))
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, text []byte, level uint8, size uint16) {
		in := deflated(t, text, int(level)%10)
		got, read, err := decode(t, &d, in, int(size), 1<<16)
		if err != nil || !bytes.Equal(got, text) || read != len(in) {
			t.Fatalf("%d bytes become %d, of which %d are read: %v", len(text), len(got), read, err)
		}
	})
}

// BenchmarkDecode compares with a decoder of streams.
func BenchmarkDecode(b *testing.B) {
	text := samples()[3]
	in := deflated(b, text, 6)
	dst := make([]byte, len(text)+fastOut)
	b.Run("memory", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		var d Decoder
		for b.Loop() {
			d.Begin(in, 0)
			if n, err := d.Decode(dst, 0); err != nil || n != len(text) {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		r := kflate.NewReader(nil)
		for b.Loop() {
			if err := r.(kflate.Resetter).Reset(bytes.NewReader(in), nil); err != nil {
				b.Fatal(err)
			}
			if n, err := io.ReadFull(r, dst[:len(text)]); err != nil {
				b.Fatal(n, err)
			}
		}
	})
}
