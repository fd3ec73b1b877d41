package export_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// shelved are blocks whose payloads lie in files, one for each segment.
type shelved struct {
	blocks
	root string
}

// shelve writes the payloads of blocks into a directory.
func shelve(t *testing.T, all blocks) shelved {
	t.Helper()
	s := shelved{all, t.TempDir()}
	for ref, rows := range all {
		if err := os.WriteFile(filepath.Join(s.root, blobOf(ref)), []byte(strings.Join(rows, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func blobOf(ref journal.ExtentRef) string { return fmt.Sprintf("%d-%d.seg", ref.Seq, ref.Index) }

func (s shelved) Root() string { return s.root }

func (s shelved) Places(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block, journal.Place) error) error {
	offset := int64(0)
	return s.Extent(ctx, ref, func(b journal.Block) error {
		at := journal.Place{Blob: blobOf(ref), Place: segment.Place{Offset: offset, Length: len(b.Payload)}}
		offset += int64(at.Length)
		b.Payload = nil
		return fn(b, at)
	})
}

// withPlaces makes payloads readable out of files, for a destination that takes
// extents.
func (b *bench) withPlaces() *bench {
	s := shelve(b.t, journaled)
	b.places, b.place.extents = s, s.root
	return b
}

// A run whose payloads are read from files is compared, counted, paced and recorded as
// one whose payloads are sent.
func TestARunOfExtents(t *testing.T) {
	var paced [2][]int
	var receipts [2]*pipeline.Receipt
	for i, b := range []*bench{newBench(t), newBench(t).withPlaces()} {
		b.place.refuse = map[string]string{"two\n": "too odd"}
		b.pace = func(_ context.Context, bytes int) error { paced[i] = append(paced[i], bytes); return nil }
		receipt, err := b.do("a", time.Minute)
		b.done(receipt, err)
		receipts[i] = receipt
		if want := 4 * i; b.place.read != want || b.refused.committed != 1 {
			t.Errorf("%d extents were read, want %d; %d rows were refused", b.place.read, want, b.refused.committed)
		}
	}
	if fmt.Sprint(paced[0]) != fmt.Sprint(paced[1]) || len(paced[0]) != 4 {
		t.Errorf("paced by %v bytes, and with extents by %v", paced[0], paced[1])
	}
	if fmt.Sprintf("%+v", *receipts[0]) != fmt.Sprintf("%+v", *receipts[1]) {
		t.Errorf("receipts %+v and %+v", *receipts[0], *receipts[1])
	}
}

// A plugin that cannot read an extent costs one attempt: the payloads are sent at once.
func TestExtentsThatCannotBeReadAreSent(t *testing.T) {
	b := newBench(t).withPlaces()
	b.place.unread = errors.New("too many open files")
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	if b.place.read != 1 || b.place.fence != 2 {
		t.Errorf("%d extents were tried with fences up to %d", b.place.read, b.place.fence)
	}
}

// A file that a rewrite has removed is read by the host, which knows the new one.
func TestAFileThatIsRemovedUnderAnExtent(t *testing.T) {
	b := newBench(t).withPlaces()
	if err := os.Remove(filepath.Join(b.place.extents, "2-0.seg")); err != nil {
		t.Fatal(err)
	}
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
}

// A repair whose extents cannot be read is sent by another attempt, with a fence of its
// own as every attempt has.
func TestARepairWhoseExtentsCannotBeReadIsSent(t *testing.T) {
	b := newBench(t).withPlaces()
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	fence, read := b.place.fence, b.place.read
	b.place.unread = errors.New("too many open files")
	if err := b.repair([]int{0, 1}, protocol.Repair{}); err != nil {
		t.Fatal(err)
	}
	if b.place.repaired == nil || b.place.read != read+1 || b.place.fence != fence+2 {
		t.Errorf("repaired %+v, after %d extents, with fence %d after %d", b.place.repaired, b.place.read-read, b.place.fence, fence)
	}
	if _, err := b.catalog.AcquireRepair(t.Context(), b.pipeline.ID, "b", time.Minute); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// damagedBlocks is a journal with a damaged block.
type damagedBlocks struct{ blocks }

func (d damagedBlocks) Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	if ref == (journal.ExtentRef{Seq: 2, Index: 0}) {
		return &segment.DamageError{Place: "block 3 (events of 1970-01-11)", Detail: "checksum 00000000, want 00000001"}
	}
	return d.blocks.Extent(ctx, ref, fn)
}

// Damage to a payload ends the run with the same error, whether host or plugin finds
// it first: the error names the segment and the block.
func TestDamageIsNamedInEitherWay(t *testing.T) {
	var said [2]string
	for i, b := range []*bench{newBench(t), newBench(t).withPlaces()} {
		b.blocks = damagedBlocks{journaled}
		if i == 1 {
			if err := os.WriteFile(filepath.Join(b.place.extents, "2-0.seg"), []byte("fouR\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := b.do("a", time.Minute)
		if !errors.Is(err, segment.ErrDamaged) || errors.Is(err, protocol.ErrExtent) {
			t.Errorf("error = %v, want the damage", err)
		}
		said[i] = fmt.Sprint(err)
	}
	if said[0] != said[1] || !strings.Contains(said[0], "segment 2: block 3") {
		t.Errorf("without extents: %s\nwith extents:    %s", said[0], said[1])
	}
}
