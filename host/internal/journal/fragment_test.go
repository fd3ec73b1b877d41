package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// inOrder lists partition, times, flags and rows of each extent as they lie.
func (b *bench) inOrder() []string {
	b.t.Helper()
	var list []string
	reader := journal.NewReader(project, b.store, b.catalog)
	defer reader.Close()
	err := b.catalog.Segments(b.t.Context(), project, func(s journal.Segment) error {
		for i, e := range s.Extents {
			list = append(list, fmt.Sprint(e.Partition, e.MinTime, e.MaxTime))
			err := reader.Extent(b.t.Context(), journal.ExtentRef{Seq: s.Seq, Index: i}, func(block journal.Block) error {
				rows, err := segment.Decode(nil, block)
				for line := range bytes.Lines(rows) {
					list = append(list, string(line))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// A journal that is given fragments holds what one holds that is given rows: with repeats
// in a fragment, across fragments and rows, across segments that are being sealed, and
// across restarts.
func TestFragmentsAreStoredAsRowsAre(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(6) {
		var want []string
		for _, pack := range []bool{false, true} {
			b := newBench(t)
			o := b.options()
			// Only Seal ends a segment, so that both journals have the same.
			o.Segment, o.Memory = 1<<30, 64<<20
			if seed%2 == 1 {
				o.Zone = berlin
			}
			r := rand.New(rand.NewPCG(seed, 7))
			w := b.writer(o)
			packer := w.NewPacker()
			fragments := 0
			ids, times := random(r, 6000, 1+int(seed))
			for at := 0; at < len(ids); {
				n := min(1+r.IntN(600), len(ids)-at)
				c := chunk("files.a", ids[at:at+n], times[at:at+n], at)
				if packed := r.IntN(8) > 0; pack && packed {
					if err := packer.Pack(&c); err != nil {
						t.Fatal(err)
					}
					fragments += len(c.Fragments)
				}
				if err := w.Append(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				at += n
				switch r.IntN(12) {
				case 0:
					if err := w.Seal(t.Context()); err != nil {
						t.Fatal(err)
					}
				case 1:
					if err := w.Seal(t.Context()); err != nil {
						t.Fatal(err)
					}
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					w = b.writer(o)
				}
			}
			if err := w.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if report := b.verify(); len(report.Damages) > 0 {
				t.Errorf("seed %d: %+v", seed, report.Damages)
			}
			if got := b.inOrder(); !pack {
				want = got
			} else if fragments == 0 || !slices.Equal(got, want) {
				t.Errorf("seed %d: %d lines after %d fragments, want %d, or in another order", seed, len(got), fragments, len(want))
			}
		}
		if len(want) < 2000 {
			t.Errorf("seed %d: only %d lines", seed, len(want))
		}
	}
}

// A fragment that is not what it says ends the writer, and no row of its chunk is sealed:
// neither a row of an earlier fragment nor one of a later fragment.
func TestABadFragmentEndsTheWriter(t *testing.T) {
	for name, harm := range map[string]func(f *journal.Fragment){
		"its entries are not those of its rows": func(f *journal.Fragment) { f.Entries = f.Entries[1:] },
		"it has rows of two days, and does not inflate": func(f *journal.Fragment) {
			f.Entries[0].Time += 86400
			f.RowsCRC32++
		},
		"it has a repeat, and does not inflate": func(f *journal.Fragment) {
			f.Entries[1].Key = f.Entries[0].Key
			f.RowsCRC32++
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			w := b.writer(b.options())
			ids, times := []string{"a", "b", "c", "d", "e", "f"}, make([]int64, 6)
			for i := range times {
				times[i] = firstDay + int64(i/3)*86400
			}
			packed := func() journal.Chunk {
				c := chunk("files.a", ids, times, 0)
				if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&c); err != nil {
					t.Fatal(err)
				}
				return c
			}
			c := packed()
			harm(c.Fragments[1])
			err := w.Append(t.Context(), c)
			if err == nil {
				err = w.Seal(t.Context())
			}
			var corrupt *journal.CorruptFragmentError
			if !errors.As(err, &corrupt) || corrupt.Rows != 3 || !errors.As(w.Err(), &corrupt) {
				t.Errorf("%v, and the writer's error is %v", err, w.Err())
			}
			if err := w.Seal(t.Context()); err == nil || len(b.lines()) > 0 {
				t.Errorf("%v: sealed are %q", err, b.lines())
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}

			w = b.writer(b.options())
			if err := errors.Join(w.Append(t.Context(), packed()), w.Seal(t.Context()), w.Close()); err != nil {
				t.Error(err)
			}
			if n := len(b.lines()); n != len(ids) {
				t.Errorf("%d rows, want %d", n, len(ids))
			}
		})
	}
}

// Rows of a place may have others between them in Rows that do not lie between them in Data.
func TestPackedRowsAreThoseOfTheirPlace(t *testing.T) {
	data := []byte("one\ntwo\nlink\n")
	c := journal.Chunk{Data: data, Rows: []journal.Row{
		{Offset: 0, Length: 4, Kind: journal.KindEvents, Time: firstDay},
		{Offset: 8, Length: 5, Kind: journal.KindLinks, Time: firstDay},
		{Offset: 4, Length: 4, Kind: journal.KindEvents, Time: firstDay},
	}}
	if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Fragments) != 1 || len(c.Rows) != 1 || c.Rows[0].Offset != 8 {
		t.Fatalf("%d fragments, and %+v", len(c.Fragments), c.Rows)
	}
	if rows, err := segment.Decode(nil, c.Fragments[0].Block); err != nil || string(rows) != "one\ntwo\n" {
		t.Errorf("%v: packed are %q", err, rows)
	}
}
