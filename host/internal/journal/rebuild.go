package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// Projects lists the projects that have commit records in a store.
func Projects(ctx context.Context, store disk.Store) ([]int64, error) {
	return projectsIn(ctx, store, "commits")
}

// Stored lists the projects that have segments in a store.
func Stored(ctx context.Context, store disk.Store) ([]int64, error) {
	return projectsIn(ctx, store, "segments")
}

// projectsIn lists the projects that have files in a directory of a store.
func projectsIn(ctx context.Context, store disk.Store, dir string) ([]int64, error) {
	names, err := store.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var projects []int64
	for _, name := range names {
		elements := strings.Split(name, "/")
		if len(elements) != 3 {
			return nil, fmt.Errorf("%s is not a file of a journal", name)
		}
		id, err := strconv.ParseInt(elements[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not a file of a journal", name)
		}
		if len(projects) == 0 || projects[len(projects)-1] != id {
			projects = append(projects, id)
		}
	}
	return projects, nil
}

// Rebuild calls seal with every seal of a project, and rewrite with every rewrite in
// the place of its seals, in order, as commit records and segments tell. A record or
// segment that is damaged or missing is an error: its contents cannot be restored, and
// without it duplicates of its rows would be accepted.
func Rebuild(ctx context.Context, store disk.Store, project int64, seal func(Seal) error, rewrite func(Rewrite) error) error {
	names, err := store.List(ctx, fmt.Sprintf("commits/%d", project))
	if err != nil {
		return err
	}
	records, _, err := currentRecords(names)
	if err != nil {
		return err
	}
	due := int64(1)
	for _, listed := range records {
		if listed.from != due {
			return damagedRecord(listed.name, fmt.Sprintf("it is of seal %d, and %d is due", listed.from, due))
		}
		due = listed.to + 1
		if listed.revision >= 0 {
			err = rebuildRewrite(ctx, store, listed, rewrite)
		} else {
			err = rebuildSeal(ctx, store, listed, seal)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func rebuildSeal(ctx context.Context, store disk.Store, listed listedRecord, fn func(Seal) error) error {
	r, err := readRecord(ctx, store, listed.name)
	if err != nil {
		return err
	}
	if recordName(r.Project, r.Seq) != listed.name {
		return damagedRecord(listed.name, fmt.Sprintf("it is of seal %d", r.Seq))
	}
	seal, err := r.seal(ctx, store)
	if err != nil {
		return fmt.Errorf("seal %d: %w", r.Seq, err)
	}
	return fn(seal)
}

func rebuildRewrite(ctx context.Context, store disk.Store, listed listedRecord, fn func(Rewrite) error) error {
	r, err := readRange(ctx, store, listed.name)
	if err != nil {
		return err
	}
	if rangeName(r.Project, r.From, r.To, r.Revision) != listed.name {
		return damagedRecord(listed.name, fmt.Sprintf("it is of seals %d to %d", r.From, r.To))
	}
	reader, err := store.Open(ctx, r.Blob)
	if err != nil {
		return fmt.Errorf("seals %d to %d: %w", r.From, r.To, err)
	}
	defer reader.Close()
	file, err := segment.Open(reader, reader.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", r.Blob, err)
	}
	rewrite := r.rewrite()
	if detail := differs(file, rewrite.File); detail != "" {
		return damagedRecord(listed.name, detail)
	}
	return fn(rewrite)
}

// differs compares the index of a file with the seals that lie in it; "": they agree.
func differs(f *segment.File, want File) string {
	if f.Size() != want.Size {
		return fmt.Sprintf("%s has %d bytes, listed are %d", want.Blob, f.Size(), want.Size)
	}
	sums := map[Partition]Extent{}
	for _, s := range want.Seals {
		for i, e := range s.Extents {
			if e.Blocks == 0 {
				continue
			}
			at, err := s.locate(f, i)
			if err != nil {
				return err.Error()
			}
			t, err := f.TotalsIn(at)
			if err != nil {
				return err.Error()
			}
			if int64(t.Rows) != e.Rows || int64(t.RowsBytes) != e.RowsBytes || int64(t.PayloadBytes) != e.Bytes {
				return fmt.Sprintf("extent %d of seal %d is not the one of the segment", i, s.Seq)
			}
			sum := sums[e.Partition]
			sum.Blocks += e.Blocks
			sums[e.Partition] = sum
		}
	}
	for _, e := range f.Index().Extents {
		if sums[e.Partition].Blocks != int64(len(e.Blocks)) {
			return fmt.Sprintf("the %s of %s have %d blocks, listed are %d", e.Kind, e.UTCDate, len(e.Blocks), sums[e.Partition].Blocks)
		}
	}
	return ""
}

// seal reads the record's segment and returns the entry that the catalog keeps.
func (r commitRecord) seal(ctx context.Context, store disk.Store) (seal Seal, err error) {
	reader, err := store.Open(ctx, r.Blob)
	if err != nil {
		return Seal{}, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	file, err := segment.Open(reader, reader.Size())
	if err != nil {
		return Seal{}, fmt.Errorf("%s: %w", r.Blob, err)
	}
	seal = Seal{Cursors: r.Cursors, Segment: Segment{
		Project: r.Project, Seq: r.Seq, Name: r.Blob, Blob: r.Blob, Size: file.Size(), SealedAt: r.SealedAt, Extents: extentsOf(file.Index()),
	}}
	for _, s := range file.Index().Sections {
		seal.Keys += int64(s.Count)
	}
	return seal, nil
}
