package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// shelf is a directory with one file of payloads, as a host has it.
type shelf struct {
	dir      string
	payloads [][]byte
	places   []protocol.Extent
}

// newShelf writes payloads of the given sizes into a file. Nothing decodes them: they
// end as every payload does, and are otherwise one letter each.
func newShelf(t *testing.T, sizes ...int) shelf {
	t.Helper()
	s := shelf{dir: t.TempDir()}
	file := []byte("something before the first payload")
	for i, size := range sizes {
		payload := []byte(strings.Repeat(string(rune('a'+i%26)), size-4) + "\x00\x00\xff\xff")
		s.places = append(s.places, protocol.Extent{File: "segments/1/x.seg", Offset: int64(len(file)), Length: size})
		s.payloads = append(s.payloads, payload)
		file = append(file, payload...)
	}
	path := filepath.Join(s.dir, "segments/1/x.seg")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, file, 0o600)); err != nil {
		t.Fatal(err)
	}
	return s
}

// batchOf returns payload i as a batch of one row.
func (s shelf) batchOf(i int) *batch.Batch {
	return &batch.Batch{Rows: 1, Payload: s.payloads[i], RowsBytes: 10 + i, RowsCRC32: uint32(i), Flags: batch.NUL}
}

// sendExtent sends payload i as its place.
func (s shelf) sendExtent(ctx context.Context, e *protocol.Exporter, i int) error {
	b := s.batchOf(i)
	b.Payload = nil
	return e.SendExtent(ctx, b, protocol.PayloadCRC32C(s.payloads[i]), s.places[i])
}

// openWith opens a run that offers a directory.
func openWith(t *testing.T, c *protocol.Client, dir string) *protocol.Exporter {
	t.Helper()
	run := testRun(1, 1)
	run.Extents = dir
	e := opened(t, c, run)
	if err := e.BeginPartition(t.Context(), Partition{Date: "2026-06-01"}); err != nil {
		t.Fatal(err)
	}
	return e
}

// A destination gets the same batches, whether their payloads are sent or read from
// the host's file, in any mixture of the two.
func TestExtentsGiveTheSameBatches(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 5, 70_000, 4, 1<<20)
	var got []batch.Batch
	_, c := configured(t, &double{write: func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
		for {
			b, err := r.Next()
			if err != nil {
				if r.Done() {
					err = nil
				}
				return PartitionReceipt{Rows: r.Totals().Rows}, err
			}
			held := *b
			held.Payload = append([]byte(nil), b.Payload...)
			got = append(got, held)
		}
	}})
	e := openWith(t, c, s.dir)
	if !e.Extents() {
		t.Fatal("the plugin does not take extents out of a directory that it can open")
	}
	var want []batch.Batch
	var totals batch.Totals
	for i := range s.payloads {
		err := s.sendExtent(t.Context(), e, i)
		if i == 1 {
			err = errors.Join(err, e.Send(t.Context(), s.batchOf(i)))
		}
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 1 || i == 1 && n < 2; n++ {
			b := s.batchOf(i)
			b.First = totals.Rows
			totals.Add(b)
			want = append(want, *b)
		}
	}
	if err := e.EndPartition(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
	totals.RowsCRC32 = 0
	if _, err := e.Prepare(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d batches came of %d, or others than were sent", len(got), len(want))
	}
}

// An extent that cannot be read, or holds other bytes, ends the run with an error that
// tells the host to send payloads. Nothing outside of the directory is opened.
func TestAnExtentThatCannotBeReadSaysSo(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 100)
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	if err := errors.Join(os.WriteFile(outside, s.payloads[0], 0o600), os.Symlink(outside, filepath.Join(s.dir, "link"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(outside) })
	whole := protocol.Extent{Length: 100}
	for name, tt := range map[string]struct {
		change func(*protocol.Extent)
		want   string
	}{
		"a file that is not there": {func(at *protocol.Extent) { at.File = "segments/1/gone.seg" }, "gone.seg"},
		"other bytes":              {func(at *protocol.Extent) { at.Offset-- }, "x.seg have CRC-32C"},
		"a file that is cut short": {func(at *protocol.Extent) { at.Offset++ }, "x.seg: unexpected EOF"},
		"a directory":              {func(at *protocol.Extent) { at.File = "segments" }, "is a directory"},
		"a file above":             {func(at *protocol.Extent) { *at = whole; at.File = "../outside" }, "../outside"},
		"an absolute path":         {func(at *protocol.Extent) { *at = whole; at.File = outside }, "outside"},
		"a link that leads out":    {func(at *protocol.Extent) { *at = whole; at.File = "link" }, "link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := configured(t, &double{})
			e := openWith(t, c, s.dir)
			at := s.places[0]
			tt.change(&at)
			b := s.batchOf(0)
			var totals batch.Totals
			totals.Add(b)
			b.Payload = nil
			err := e.SendExtent(t.Context(), b, protocol.PayloadCRC32C(s.payloads[0]), at)
			if err == nil {
				err = e.EndPartition(t.Context(), totals)
			}
			if err == nil {
				_, err = e.Prepare(t.Context(), totals)
			}
			if !errors.Is(err, protocol.ErrExtent) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want ErrExtent with %q", err, tt.want)
			}
			expectClass(t, err, protocol.Retryable)
		})
	}
}

// A plugin that cannot open the directory takes payloads. An extent that the host sends
// all the same is refused on either side.
func TestADirectoryThatCannotBeOpenedIsDeclined(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 100)
	for name, dir := range map[string]string{
		"none": "", "missing": filepath.Join(s.dir, "missing"), "relative": "segments", "a file": filepath.Join(s.dir, "segments/1/x.seg"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := configured(t, &double{})
			e := openWith(t, c, dir)
			if e.Extents() {
				t.Error("the plugin takes extents")
			}
			expectClass(t, s.sendExtent(t.Context(), e, 0), protocol.Permanent)
			var totals batch.Totals
			totals.Add(s.batchOf(0))
			if err := errors.Join(e.Send(t.Context(), s.batchOf(0)), e.EndPartition(t.Context(), totals)); err != nil {
				t.Fatal(err)
			}
			totals.RowsCRC32 = 0
			if _, err := e.Prepare(t.Context(), totals); err != nil {
				t.Error(err)
			}
		})
	}
	var none *extents
	if _, err := none.read(s.places[0], 0); err == nil || protocol.ClassOf(err) != protocol.Permanent {
		t.Errorf("an extent that was not asked for: %v", err)
	}
	if none.taken() != 0 {
		t.Error("bytes were taken of no extents")
	}
}

// A destination that does not read holds the host back after 4 MiB of extents, as the
// window does for payloads; one that reads gets all of them.
func TestExtentsWaitForTheDestination(t *testing.T) {
	t.Parallel()
	sizes := make([]int, 24)
	for i := range sizes {
		sizes[i] = 700 << 10
	}
	s := newShelf(t, sizes...)
	release := make(chan struct{})
	_, c := configured(t, &double{write: func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
		<-release
		return drainReader(r)
	}})
	e := openWith(t, c, s.dir)
	var totals batch.Totals
	sent := 0
	for ; sent < 6; sent++ { // five are 3.4 MiB: the sixth may still go
		if err := s.sendExtent(t.Context(), e, sent); err != nil {
			t.Fatal(err)
		}
		totals.Add(s.batchOf(sent))
	}
	waiting := make(chan error, 1)
	go func() { waiting <- s.sendExtent(t.Context(), e, sent) }()
	select {
	case err := <-waiting:
		t.Fatalf("4.1 MiB were sent and not taken, and another extent goes: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	totals.Add(s.batchOf(sent))
	for sent++; sent < len(sizes); sent++ {
		if err := s.sendExtent(t.Context(), e, sent); err != nil {
			t.Fatal(err)
		}
		totals.Add(s.batchOf(sent))
	}
	if err := e.EndPartition(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
	totals.RowsCRC32 = 0
	receipt, err := e.Prepare(t.Context(), totals)
	if err != nil || receipt.Partitions[0].Rows != uint64(len(sizes)) {
		t.Errorf("%+v, %v", receipt, err)
	}
}

// A host that waits for the destination can give up, and the end of the plugin's side
// ends the waiting.
func TestWaitingForTheDestinationEnds(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 2<<20, 2<<20, 2<<20)
	full := func(t *testing.T, d *double) *protocol.Exporter {
		_, c := configured(t, d)
		e := openWith(t, c, s.dir)
		for i := range 2 {
			if err := s.sendExtent(t.Context(), e, i); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	e := full(t, &double{write: func(ctx context.Context, _ Run, _ Partition, _ *batch.Reader) (PartitionReceipt, error) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return PartitionReceipt{}, errors.New("held")
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.sendExtent(ctx, e, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("a host that gives up: %v", err)
	}
	refuse := make(chan struct{})
	e = full(t, &double{write: func(context.Context, Run, Partition, *batch.Reader) (PartitionReceipt, error) {
		<-refuse
		return PartitionReceipt{}, Configuration(errors.New("no room"), "make some")
	}})
	close(refuse)
	expectClass(t, s.sendExtent(t.Context(), e, 2), protocol.Configuration)
}

// Files of extents stay open, as each partition of a run has extents in all of them, but
// no more than a limit: the one that was not used for the longest time is closed.
func TestFilesOfExtentsStayOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	payload := []byte("rows\x00\x00\xff\xff")
	sum := protocol.PayloadCRC32C(payload)
	place := func(i int) protocol.Extent {
		return protocol.Extent{File: fmt.Sprintf("%d.seg", i), Length: len(payload)}
	}
	for i := range mostExtentFiles + 1 {
		if err := os.WriteFile(filepath.Join(dir, place(i).File), payload, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x, err := openExtents(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	read := func(i int) error {
		got, err := x.read(place(i), sum)
		if err == nil && !bytes.Equal(got, payload) {
			t.Errorf("file %d: %q", i, got)
		}
		return err
	}
	for i := range mostExtentFiles {
		if err := read(i); err != nil {
			t.Fatal(err)
		}
	}
	// File 0 is used again, so that file 1 is closed for the last one.
	if err := errors.Join(read(0), read(mostExtentFiles)); err != nil {
		t.Fatal(err)
	}
	if len(x.files) != mostExtentFiles {
		t.Errorf("%d files are open, want %d", len(x.files), mostExtentFiles)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i := range mostExtentFiles + 1 {
		if err := read(i); (err != nil) != (i == 1) {
			t.Errorf("file %d, which has lost its name: %v", i, err)
		}
	}
}
