package journal

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Small neighbours become one block, in their order, unless their flags differ or they have
// too many bytes together. The blocks that are written inflate to the rows of all.
func TestSmallBlocksAreJoined(t *testing.T) {
	t.Parallel()
	type given struct {
		rows  int
		flags batch.Flags
	}
	const length, most = 40, 10 * 40
	for name, tt := range map[string]struct {
		blocks []given
		want   []int // rows of the blocks that are written
	}{
		"none":                  {},
		"one":                   {[]given{{3, 0}}, []int{3}},
		"a large one":           {[]given{{12, 0}}, []int{12}},
		"the example":           {[]given{{3, 0}, {2, 0}, {9, 0}, {1, 0}}, []int{5, 10}},
		"as many as fit":        {[]given{{4, 0}, {3, 0}, {3, 0}, {1, 0}}, []int{10, 1}},
		"next to a large one":   {[]given{{1, 0}, {12, 0}, {1, 0}, {1, 0}}, []int{1, 12, 2}},
		"between other flags":   {[]given{{1, 0}, {1, batch.NUL}, {1, batch.NUL}, {1, 0}}, []int{1, 2, 1}},
		"after one that is two": {[]given{{6, 0}, {4, 0}, {6, 0}, {3, 0}}, []int{10, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var file bytes.Buffer
			b := segment.NewBuilder(&file)
			j := joiner{to: b, most: most}
			encoder := segment.NewRowEncoder(nil)
			var want []byte
			for day := range 2 { // the second extent finds the joiner as the first has left it
				b.Begin(Partition{Kind: KindEvents, UTCDate: Day(day)})
				for i, g := range tt.blocks {
					rows := bytes.Repeat([]byte(strings.Repeat(string(rune('a'+i)), length-1)+"\n"), g.rows)
					k, err := encoder.Encode(rows, g.rows, g.flags)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, rows...)
					j.add(k)
				}
				j.flush()
			}
			index, _, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, e := range index.Extents {
				var rows []int
				at := e.Offset
				for _, k := range e.Blocks {
					rows = append(rows, k.Rows)
					payload := file.Bytes()[at : at+int64(k.Length)]
					at += int64(k.Length)
					if got, err = segment.Decode(got, Block{Rows: k.Rows, RowsBytes: k.RowsBytes, RowsCRC32: k.RowsCRC32, Payload: payload}); err != nil {
						t.Error(err)
					}
				}
				if !slices.Equal(rows, tt.want) {
					t.Errorf("blocks of %v rows are written, want %v", rows, tt.want)
				}
			}
			if !bytes.Equal(got, want) {
				t.Error("the blocks do not hold the rows of those that were joined")
			}
		})
	}
}
