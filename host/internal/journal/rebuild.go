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

// Rebuild calls fn with every seal of a project, in order, as commit records
// and segments tell. A record or segment that is damaged or missing is an
// error: its contents cannot be restored, and without it duplicates of its rows
// would be accepted.
func Rebuild(ctx context.Context, store disk.Store, project int64, fn func(Seal) error) error {
	names, err := store.List(ctx, fmt.Sprintf("commits/%d", project))
	if err != nil {
		return err
	}
	for i, name := range names {
		r, err := readRecord(ctx, store, name)
		if err != nil {
			return err
		}
		if r.Seq != int64(i+1) || recordName(r.Project, r.Seq) != name {
			return damagedRecord(name, fmt.Sprintf("it is of seal %d, and %d is due", r.Seq, i+1))
		}
		seal, err := r.seal(ctx, store)
		if err != nil {
			return fmt.Errorf("seal %d: %w", r.Seq, err)
		}
		if err := fn(seal); err != nil {
			return err
		}
	}
	return nil
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
		Project: r.Project, Seq: r.Seq, Blob: r.Blob, Size: file.Size(), SealedAt: r.SealedAt, Extents: extentsOf(file.Index()),
	}}
	for _, s := range file.Index().Sections {
		seal.Keys += int64(s.Count)
	}
	return seal, nil
}
