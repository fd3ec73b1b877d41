package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/keysort"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// seal is the sealer's goroutine: one segment after the other.
func (w *Writer) seal() {
	defer close(w.sealer)
	// A seal is not cut by the caller that happened to trigger it.
	ctx := context.Background()
	for s := range w.seals {
		if err := w.sealOne(ctx, s); err != nil {
			w.fail(fmt.Errorf("seal: %w", err))
			// The segments after it must not become visible without it: their
			// cursors follow its cursors.
			return
		}
	}
}

// sealOne makes one segment visible and durable.
func (w *Writer) sealOne(ctx context.Context, s *openSegment) error {
	s.jobs.Wait()
	if s.err != nil {
		return s.err
	}
	seal, err := w.publish(ctx, s)
	if err != nil {
		return err
	}
	if err := record(ctx, w.o.Store, w.o.Catalog, seal); err != nil {
		return err
	}
	crashpoint.Here("journal.recorded")
	if err := w.set.Add(ctx, keys.Run{Blob: seal.Blob, From: seal.Seq, To: seal.Seq, Keys: seal.Keys}); err != nil {
		return err
	}
	w.state.Lock()
	w.sealing = slices.DeleteFunc(w.sealing, func(x *openSegment) bool { return x == s })
	w.stats.Seals++
	w.stats.Kept += s.kept
	w.stats.Duplicates += s.rows - s.kept
	w.stats.Bytes += seal.Size
	w.merging = true
	w.changed.Broadcast()
	w.state.Unlock()
	w.keep(s)
	err = w.mergeKeys(ctx)
	w.state.Lock()
	defer w.state.Unlock()
	w.merging = false
	w.changed.Broadcast()
	return err
}

// keep takes the memory of a sealed segment's keys for a later segment.
func (w *Writer) keep(s *openSegment) {
	s.mu.Lock()
	slots := s.keys.slots
	s.keys = keySet{}
	s.mu.Unlock()
	if int64(len(slots))*segment.KeySize > w.o.Memory/4 {
		return
	}
	clear(slots)
	w.state.Lock()
	defer w.state.Unlock()
	w.slots = slots
}

// publish writes the segment and commits it. If another seal came in
// between, the rows that it holds too are taken out and the segment is written
// again.
func (w *Writer) publish(ctx context.Context, s *openSegment) (Seal, error) {
	for {
		seq, err := w.o.Catalog.Sequence(ctx, w.o.Project)
		if err != nil {
			return Seal{}, err
		}
		if seq > w.set.Newest() {
			if err := w.learnForeign(ctx); err != nil {
				return Seal{}, err
			}
			continue
		}
		if err := w.dropForeign(ctx, s); err != nil {
			return Seal{}, err
		}
		seal, err := w.write(ctx, s, seq+1)
		if err != nil {
			return Seal{}, err
		}
		err = w.o.Catalog.CommitSeal(ctx, seal)
		if err == nil {
			crashpoint.Here("journal.committed")
			return seal, nil
		}
		if dropErr := giveUp(ctx, w.o.Catalog, w.o.Store, seal.Blob, err); dropErr != nil {
			return Seal{}, errors.Join(err, dropErr)
		}
		if !errors.Is(err, ErrSequenceMoved) {
			return Seal{}, err
		}
	}
}

// learn makes the catalog's runs of keys known.
func (w *Writer) learn(ctx context.Context) error {
	for {
		runs, err := w.o.Catalog.KeyRuns(ctx, w.o.Project)
		if err != nil {
			return err
		}
		err = w.set.Sync(ctx, runs)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// A run that was merged away between the two calls is no longer listed.
		again, listErr := w.o.Catalog.KeyRuns(ctx, w.o.Project)
		if listErr != nil {
			return errors.Join(err, listErr)
		}
		if slices.Equal(runs, again) {
			return w.missingKeys(ctx, runs, err)
		}
	}
}

// missingKeys explains the error of a run of keys that is listed and not there.
func (w *Writer) missingKeys(ctx context.Context, runs []keys.Run, err error) error {
	for _, r := range runs {
		f, openErr := w.o.Store.Open(ctx, r.Blob)
		switch {
		case openErr == nil:
			err = errors.Join(err, f.Close())
		case strings.HasPrefix(r.Blob, "segments/"):
			return fmt.Errorf("the journal takes no rows, because the keys that keep it from storing a record twice are in a missing segment: %w", err)
		default:
			return fmt.Errorf("keys that keep the journal from storing a record twice are missing; "+
				"'penstock journal rebuild-catalog' restores them from the segments: %w", err)
		}
	}
	return err
}

// dropForeign takes the rows out of the segment that seals by other processes
// hold, of which its blocks knew nothing when they were compressed.
func (w *Writer) dropForeign(ctx context.Context, s *openSegment) error {
	if s.checked >= w.foreign {
		return nil
	}
	for _, p := range s.parts {
		for _, b := range p.blocks {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := w.dropFrom(s, p.filing, b, s.checked); err != nil {
				return err
			}
		}
	}
	s.checked = w.foreign
	return nil
}

// dropFrom takes the rows that newer runs hold out of one block.
func (w *Writer) dropFrom(s *openSegment, f filing, b *doneBlock, after int64) error {
	if b.Rows == 0 {
		return nil
	}
	found := make([]bool, len(b.keys))
	if err := f.find(w.set, b.keys, found, after); err != nil {
		return err
	}
	if !slices.Contains(found, true) {
		return nil
	}
	return w.rewrite(s, b, found)
}

// rewrite compresses a block again without the rows whose keys were found. A
// row of a block carries no key: the block is read row by row in the order of
// ordinals that was kept with its keys.
func (w *Writer) rewrite(s *openSegment, b *doneBlock, found []bool) error {
	rows, err := segment.Decode(nil, b.Block)
	if err != nil {
		return &CorruptFragmentError{b.Rows, err}
	}
	gone := make(map[int32]bool)
	var keep []Key
	var ordinals []int32
	for i, key := range b.keys {
		if found[i] {
			gone[b.ordinals[i]] = true
			continue
		}
		keep = append(keep, key)
		ordinals = append(ordinals, b.ordinals[i])
	}
	kept := rows[:0]
	n := int32(0)
	shift := make([]int32, b.Rows) // how many rows before this one are gone
	for rest := rows; len(rest) > 0; n++ {
		end := slices.Index(rest, '\n') + 1
		if n > 0 {
			shift[n] = shift[n-1]
			if gone[n-1] {
				shift[n]++
			}
		}
		if !gone[n] {
			kept = append(kept, rest[:end]...)
		}
		rest = rest[end:]
	}
	for i := range ordinals {
		ordinals[i] -= shift[ordinals[i]]
	}
	removed := b.Rows - len(keep)
	stored := len(b.Payload)
	b.keys, b.ordinals = keep, ordinals
	flags := b.Flags
	b.Block = segment.Block{}
	if len(keep) > 0 {
		if b.Block, err = segment.NewEncoder().Encode(kept, len(keep), flags); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept -= int64(removed)
	s.stored += int64(len(b.Payload) - stored)
	return nil
}

// write announces and writes the segment's file, and returns the seal to commit.
func (w *Writer) write(ctx context.Context, s *openSegment, seq int64) (Seal, error) {
	blob := fmt.Sprintf("segments/%d/%s.seg", w.o.Project, w.o.Names())
	if err := w.o.Catalog.InsertPending(ctx, w.o.Project, blob, w.o.SealTime); err != nil {
		return Seal{}, err
	}
	crashpoint.Here("journal.pending")
	file, err := w.o.Store.Create(ctx, blob)
	if err != nil {
		return Seal{}, errors.Join(err, giveUp(ctx, w.o.Catalog, w.o.Store, blob, err))
	}
	seal := Seal{Segment: Segment{Project: w.o.Project, Seq: seq, Blob: blob, SealedAt: w.o.Now().UTC()}, Cursors: s.cursors}
	b := segment.NewBuilder(file)
	w.writeExtents(b, s)
	seal.Keys = writeKeys(b, s)
	index, size, err := b.Finish()
	if err == nil {
		err = file.Commit()
	}
	if err != nil {
		return Seal{}, errors.Join(err, file.Abort(), giveUp(ctx, w.o.Catalog, w.o.Store, blob, err))
	}
	crashpoint.Here("journal.segment")
	seal.Size = size
	seal.Extents = extentsOf(index)
	return seal, nil
}

// writeExtents writes the blocks, partition by partition.
func (w *Writer) writeExtents(b *segment.Builder, s *openSegment) {
	j := joiner{to: b, most: w.o.Block}
	for parts := sortedParts(s); len(parts) > 0; {
		partition, begun := parts[0].Partition, false
		for len(parts) > 0 && parts[0].Partition == partition {
			for _, d := range parts[0].blocks {
				if d.Rows == 0 {
					continue
				}
				if !begun {
					b.Begin(partition)
					begun = true
				}
				b.Span(d.minTime, d.maxTime)
				j.add(d.Block)
			}
			parts = parts[1:]
		}
		j.flush()
	}
}

func sortedParts(s *openSegment) []*openPart {
	parts := make([]*openPart, 0, len(s.parts))
	for _, p := range s.parts {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b *openPart) int { return a.compare(b.place) })
	return parts
}

// writeKeys writes the keys of all rows, date by date.
func writeKeys(b *segment.Builder, s *openSegment) int64 {
	parts := sortedParts(s)
	slices.SortStableFunc(parts, func(x, y *openPart) int { return cmp.Compare(x.filing.date, y.filing.date) })
	var sorter keysort.Sorter
	var runs [][]Key // of one date's blocks
	var total int64
	for len(parts) > 0 {
		day := parts[0].filing.date
		runs = runs[:0]
		for len(parts) > 0 && parts[0].filing.date == day {
			for _, d := range parts[0].blocks {
				runs = append(runs, d.keys)
			}
			parts = parts[1:]
		}
		sorter.Sort(runs...)
		writeSections(b, day, &sorter, runs)
		total += int64(sorter.Len())
	}
	return total
}

// writeSections writes one day's sorted keys.
func writeSections(b *segment.Builder, day Day, sorted *keysort.Sorter, runs [][]Key) {
	section := make([]Key, 0, min(sorted.Len(), segment.SectionKeys))
	for i := range sorted.Len() {
		run, index := sorted.At(i)
		section = append(section, runs[run][index])
		if len(section) == segment.SectionKeys {
			b.Keys(day, section)
			section = section[:0]
		}
	}
	b.Keys(day, section)
}

func extentsOf(index *segment.Index) []Extent {
	extents := make([]Extent, 0, len(index.Extents))
	for i := range index.Extents {
		e := &index.Extents[i]
		extents = append(extents, Extent{
			Partition: e.Partition, Rows: e.Rows, RowsBytes: e.RowsBytes, Bytes: e.Length,
			MinTime: e.MinTime, MaxTime: e.MaxTime, Blocks: int64(len(e.Blocks)),
		})
	}
	return extents
}

// giveUp removes a blob that was announced, because of cause: the announcement
// first, so that a late commit fails. If the announcement is gone already and
// cause does not prove that the commit changed nothing, the blob may have been
// committed, and giveUp keeps it.
func giveUp(ctx context.Context, catalog Catalog, store disk.Store, blob string, cause error) error {
	dropped, err := catalog.DropPending(ctx, blob)
	if err != nil || !dropped && !undone(cause) {
		return err
	}
	return store.Delete(ctx, blob)
}

// undone reports whether the error proves that a commit changed nothing.
func undone(err error) bool {
	var conflict *CursorConflictError
	return errors.Is(err, ErrSequenceMoved) || errors.Is(err, ErrPendingGone) || errors.Is(err, ErrRunsMoved) || errors.As(err, &conflict)
}

// randomName is 16 hexadecimal digits.
func randomName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// learnForeign is learn; it also notes the latest seal of other processes.
func (w *Writer) learnForeign(ctx context.Context) error {
	before := w.set.Newest()
	if err := w.learn(ctx); err != nil {
		return err
	}
	if after := w.set.Newest(); after > before {
		w.foreign = after
	}
	return nil
}

// mergeKeys merges runs of keys until none is due.
func (w *Writer) mergeKeys(ctx context.Context) error {
	for {
		due := w.set.Due()
		if due == nil {
			return nil
		}
		blob := fmt.Sprintf("keys/%d/%s.seg", w.o.Project, w.o.Names())
		if err := w.o.Catalog.InsertPending(ctx, w.o.Project, blob, w.o.SealTime); err != nil {
			return err
		}
		merged, err := w.set.Merge(ctx, due, blob)
		if err == nil {
			err = w.o.Catalog.ReplaceKeyRuns(ctx, w.o.Project, due, merged)
		}
		if err != nil {
			err = errors.Join(err, giveUp(ctx, w.o.Catalog, w.o.Store, blob, err))
		}
		if errors.Is(err, ErrRunsMoved) {
			return w.learnForeign(ctx)
		}
		if err != nil {
			return err
		}
		if err := w.set.Replace(ctx, due, merged); err != nil {
			return err
		}
		for _, old := range due {
			if err := deleteRun(ctx, w.o.Store, old); err != nil {
				return err
			}
		}
	}
}
