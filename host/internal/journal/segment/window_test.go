package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// Extents that are read at once, one within the other, do not share a window: a
// block stays as it is until its own callback returns.
func TestBlocksAreReadWithinBlocks(t *testing.T) {
	s := build(t, rand.New(rand.NewPCG(7, 7)), 3, 3, 20, nil)
	f := open(t, s.file)
	read := 0
	var into func(extent int)
	into = func(extent int) {
		if extent == len(f.Index().Extents) {
			return
		}
		number := 0
		err := f.Blocks(extent, func(b Block) error {
			into(extent + 1)
			text, err := Decode(nil, b)
			if want := s.rows[f.Index().Extents[extent].Partition][number]; err != nil || string(text) != want {
				t.Errorf("extent %d, block %d: %q (%v), want %q", extent, number, text, err, want)
			}
			number++
			read++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	into(0)
	if read != 3+9+27 {
		t.Errorf("%d blocks were read", read)
	}
}

// The places of a range of blocks are where their payloads lie, wherever the range
// begins and ends.
func TestPlacesOfRanges(t *testing.T) {
	s := build(t, rand.New(rand.NewPCG(3, 3)), 3, 4, 5, []int{10})
	f := open(t, s.file)
	for extent := range f.Index().Extents {
		var payloads [][]byte
		if err := f.Blocks(extent, func(b Block) error { payloads = append(payloads, bytes.Clone(b.Payload)); return nil }); err != nil {
			t.Fatal(err)
		}
		for first := range payloads {
			for n := range len(payloads) - first + 1 {
				want := payloads[first : first+n]
				err := f.Places(Range{Extent: extent, First: first, Blocks: n}, func(b Block, at Place) error {
					if got := s.file[at.Offset : at.Offset+int64(at.Length)]; !bytes.Equal(got, want[0]) || Checksum(got) != b.Checksum || b.Payload != nil {
						t.Errorf("extent %d, %d blocks from %d on: the place %+v of %+v holds something else", extent, n, first, at, b)
					}
					want = want[1:]
					return nil
				})
				if err != nil || len(want) > 0 {
					t.Errorf("extent %d, %d blocks from %d on: %d are left out, %v", extent, n, first, len(want), err)
				}
			}
		}
	}
	if err := f.Places(Range{Extent: 1, First: 3, Blocks: 2}, func(Block, Place) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("blocks beyond the extent: %v", err)
	}
}

// BenchmarkBlocks reads a segment's extents as an export does. Windows are reused:
// the bytes allocated per extent do not grow with the extent.
func BenchmarkBlocks(b *testing.B) {
	s := build(b, rand.New(rand.NewPCG(7, 7)), 8, 8, 6000, nil)
	f, err := Open(bytes.NewReader(s.file), int64(len(s.file)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(s.file)))
	for b.Loop() {
		for i := range f.Index().Extents {
			if err := f.Blocks(i, func(Block) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	}
}
