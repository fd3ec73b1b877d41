package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// File is a file of the journal with the seals that lie in it: the one that wrote
// it, or those that a rewrite has brought together.
//
// Three seals, and what becomes of them:
//
//	seal            1            2       3            1 to 3, one file
//	1 June     blocks a b               blocks d      a b d    seal 3 has First 2
//	2 June                   block c                  c        seal 2 has First 0
//
// Blocks are copied as they are. A seal keeps its sequence, and an extent its
// index, so that cursors and planned runs read the same bytes as before.
type File struct {
	Project  int64
	From, To int64 // sequences of its seals
	Blob     string
	Size     int64
	Keys     int64
	Merged   bool  // it was written by a rewrite
	Revision int64 // of a rewrite: how often the same seals were rewritten before
	Seals    []Segment
}

// Rewrite is a file that takes the place of others.
type Rewrite struct {
	File
	Replaced []Replaced
	Cursors  []CursorMove // of all seals; not in the catalog
}

// Replaced names a file that a rewrite has replaced.
type Replaced struct {
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	Blob     string `json:"blob"`
	Merged   bool   `json:"merged,omitempty"`
	Revision int64  `json:"revision,omitempty"`
}

// Errors of Rewrites.CommitRewrite. After each of them, and after ErrPendingGone, the
// catalog is unchanged.
var (
	// ErrFilesMoved says that another rewrite has replaced one of the files.
	ErrFilesMoved = errors.New("files of the journal were rewritten by another process")
	// ErrHeld says that a pipeline needs rows that the rewrite would remove.
	ErrHeld = errors.New("a pipeline has yet to export rows that were to be removed")
)

// Rewrites lists the calls of rewrites to the catalog.
type Rewrites interface {
	// CommitRewrite makes a file visible in the place of those that it replaces, drops
	// its announcement, and puts its keys in the place of runs of keys that lie within
	// its seals. See ErrFilesMoved, ErrHeld and ErrPendingGone.
	CommitRewrite(ctx context.Context, r Rewrite) error
	// Unconfirmed lists rewrites whose commit record was not confirmed.
	Unconfirmed(ctx context.Context, project int64) ([]Rewrite, error)
	// Rewritten lists the files that rewrites have written and that the catalog names, in
	// the order of their seals.
	Rewritten(ctx context.Context, project int64) ([]Replaced, error)
	// Confirmed lists the files whose commit record was confirmed, and those that a
	// rewrite has replaced whose own record was not.
	Confirmed(ctx context.Context, project int64) ([]Replaced, error)
	// ConfirmRewrite confirms the commit record of the rewrite that wrote a blob. Blobs
	// then no longer lists the replaced files. It does nothing if another rewrite has
	// replaced the blob since.
	ConfirmRewrite(ctx context.Context, project int64, blob string) error
}

// Rewriter replaces files of one project's journal by fewer and smaller ones. It is
// for one goroutine; a Writer and Readers may be at work at the same time.
type Rewriter struct {
	Project int64
	Store   disk.Store
	Catalog Catalog
	Reader  *Reader       // forgets the replaced files; nil: none
	Time    time.Duration // how long a rewrite may take before a sweep gives it up
	Names   func() string // of files, all different; nil: random
}

// Rewritten counts the work of a rewrite.
type Rewritten struct {
	Files   int64 // that were replaced
	Rows    int64 // that were removed
	Freed   int64 // bytes on the disk; negative when the file is larger than those before
	Written int64 // bytes
}

// piece is the blocks of an extent of a seal, in one of the files that are read.
type piece struct {
	file   *segment.File
	blocks segment.Range
	seal   int // index in the new file
	extent int
}

// Rewrite writes one file with the rows of files, which follow each other, but for the
// extents that drop picks, and puts it in their place. It holds one block, a page of
// keys of each file, and their indexes. After ErrHeld and ErrFilesMoved nothing has
// changed.
func (w *Rewriter) Rewrite(ctx context.Context, files []File, drop func(s Segment, index int, e Extent) bool) (Rewritten, error) {
	r := Rewrite{File: File{Project: w.Project, From: files[0].From, To: files[len(files)-1].To, Merged: true}}
	done := Rewritten{Files: int64(len(files))}
	for _, f := range files {
		r.Replaced = append(r.Replaced, Replaced{From: f.From, To: f.To, Blob: f.Blob, Merged: f.Merged, Revision: f.Revision})
		if len(files) == 1 && f.Merged {
			r.Revision = f.Revision + 1
		}
		done.Freed += f.Size
	}
	name := randomName
	if w.Names != nil {
		name = w.Names
	}
	r.Blob = fmt.Sprintf("segments/%d/%s.seg", w.Project, name())
	if err := w.Catalog.InsertPending(ctx, w.Project, r.Blob, w.Time); err != nil {
		return Rewritten{}, err
	}
	crashpoint.Here("rewrite.pending")
	err := w.write(ctx, &r, files, drop)
	if err == nil {
		// Before the commit: a record that cannot be read must not leave a rewrite behind
		// that cannot be recorded.
		r.Cursors, err = cursorsOf(ctx, w.Store, r)
	}
	if err == nil {
		crashpoint.Here("rewrite.segment")
		err = w.Catalog.CommitRewrite(ctx, r)
	}
	if err != nil {
		return Rewritten{}, errors.Join(fmt.Errorf("rewrite seals %d to %d: %w", r.From, r.To, err), giveUp(ctx, w.Catalog, w.Store, r.Blob, err))
	}
	crashpoint.Here("rewrite.committed")
	for i, old := range files {
		for _, s := range old.Seals {
			done.Rows += Remaining(s).Rows
		}
		if w.Reader != nil {
			w.Reader.forget(files[i].Blob)
		}
	}
	for _, s := range r.Seals {
		done.Rows -= Remaining(s).Rows
	}
	done.Freed -= r.Size
	done.Written = r.Size
	return done, recordRewrite(ctx, w.Store, w.Catalog, r)
}

// write writes the file of a rewrite.
func (w *Rewriter) write(ctx context.Context, r *Rewrite, files []File, drop func(s Segment, index int, e Extent) bool) (err error) {
	var opened []*segment.File
	for _, f := range files {
		reader, err := w.Store.Open(ctx, f.Blob)
		if err != nil {
			return err
		}
		defer reader.Close()
		file, err := segment.Open(reader, reader.Size())
		if err != nil {
			return fmt.Errorf("%s: %w", f.Blob, err)
		}
		opened = append(opened, file)
	}
	pieces, err := plan(r, files, opened, drop)
	if err != nil {
		return err
	}
	out, err := w.Store.Create(ctx, r.Blob)
	if err != nil {
		return err
	}
	b := segment.NewBuilder(out)
	if err = copyBlocks(ctx, b, r, pieces); err == nil {
		r.Keys, err = keys.MergeFiles(ctx, b, opened)
	}
	if err == nil {
		_, r.Size, err = b.Finish()
	}
	if err != nil {
		return errors.Join(err, out.Abort())
	}
	return out.Commit()
}

// plan fills in the seals of a rewrite, and returns the blocks of each partition in
// the order of their seals.
func plan(r *Rewrite, files []File, opened []*segment.File, drop func(s Segment, index int, e Extent) bool) (map[Partition][]piece, error) {
	pieces := map[Partition][]piece{}
	count := map[Partition]int64{} // of blocks
	for f := range files {
		for _, s := range files[f].Seals {
			next := s
			next.Blob, next.Extents, next.First = r.Blob, slices.Clone(s.Extents), make([]int64, len(s.Extents))
			for i, e := range s.Extents {
				if e.Blocks == 0 || drop(s, i, e) {
					next.Extents[i].Blocks = 0
					continue
				}
				at, err := s.locate(opened[f], i)
				if err != nil {
					return nil, err
				}
				next.First[i] = count[e.Partition]
				count[e.Partition] += e.Blocks
				pieces[e.Partition] = append(pieces[e.Partition], piece{file: opened[f], blocks: at, seal: len(r.Seals), extent: i})
			}
			r.Seals = append(r.Seals, next)
		}
	}
	return pieces, nil
}

// copyBlocks writes the blocks, partition by partition.
func copyBlocks(ctx context.Context, b *segment.Builder, r *Rewrite, pieces map[Partition][]piece) error {
	partitions := make([]Partition, 0, len(pieces))
	for p := range pieces {
		partitions = append(partitions, p)
	}
	slices.SortFunc(partitions, Partition.Compare)
	for _, p := range partitions {
		b.Begin(p)
		for _, x := range pieces[p] {
			e := &r.Seals[x.seal].Extents[x.extent]
			b.Span(e.MinTime, e.MaxTime)
			err := x.file.BlocksIn(x.blocks, func(k Block) error {
				b.Block(k)
				return nil
			})
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// locate returns where the blocks of an extent lie in the seal's file. The error is a
// *RemovedError if they were removed.
func (s *Segment) locate(f *segment.File, index int) (segment.Range, error) {
	if index < 0 || index >= len(s.Extents) {
		return segment.Range{}, fmt.Errorf("seal %d has %d extents, not one with index %d", s.Seq, len(s.Extents), index)
	}
	e := &s.Extents[index]
	if e.Blocks == 0 {
		return segment.Range{}, &RemovedError{Seq: s.Seq, Date: e.UTCDate, Rows: e.Rows}
	}
	at := segment.Range{Extent: index, Blocks: int(e.Blocks)}
	if s.First != nil {
		at.First = int(s.First[index])
	}
	found, ok := f.Find(e.Partition)
	if !ok {
		return at, &segment.DamageError{Place: "footer", Detail: fmt.Sprintf("it has no %s of %s, the catalog lists some of seal %d", e.Kind, e.UTCDate, s.Seq)}
	}
	at.Extent = found
	return at, nil
}

// RemovedError says that retention has removed the rows of an extent.
type RemovedError struct {
	Seq  int64
	Date Day
	Rows int64
}

func (e *RemovedError) Error() string {
	return fmt.Sprintf("%d rows of %s (seal %d) were removed from the journal, as host.retention says", e.Rows, e.Date, e.Seq)
}

// Remaining sums up the rows and bytes of a seal that were not removed.
func Remaining(s Segment) (sum Extent) {
	for _, e := range s.Extents {
		if e.Blocks > 0 {
			sum.Rows, sum.RowsBytes, sum.Bytes, sum.Blocks = sum.Rows+e.Rows, sum.RowsBytes+e.RowsBytes, sum.Bytes+e.Bytes, sum.Blocks+e.Blocks
		}
	}
	return sum
}
