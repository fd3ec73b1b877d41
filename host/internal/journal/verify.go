package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// Damage is a place that is not as it was written.
type Damage struct {
	Blob, Place, Detail string
	// Rows cannot be read because of it; 0: none, or not known. They are of the
	// UTC dates From to To.
	Rows     int64
	From, To Day
}

// Report lists the damages that Verify found, and how much it read.
type Report struct {
	Segments, Blocks, Bytes int64
	Damages                 []Damage
}

func checksum(p []byte) uint32 { return segment.Checksum(p) }

func damagedRecord(name, detail string) error {
	return &segment.DamageError{Place: "commit record " + name, Detail: detail}
}

// Segments visits the segments of the catalog.
type Segments func(ctx context.Context, fn func(Segment) error) error

// Files visits the files of the catalog with the seals that lie in each, in order. A
// file is not changed after fn returns.
type Files func(ctx context.Context, fn func(File) error) error

// Runs lists the runs of keys of the catalog.
type Runs func(ctx context.Context) ([]keys.Run, error)

// Verify reads every byte of the segments that the catalog names, of the runs
// of keys, and of the commit records, and compares them with their checksums
// and with each other. A writer may be active at the same time.
func Verify(ctx context.Context, store disk.Store, files Files, runs Runs) (*Report, error) {
	report := &Report{}
	var replaced []File // perhaps: they were not there
	err := files(ctx, func(f File) error {
		before := len(report.Damages)
		if err := verifyFile(ctx, store, f, report); err != nil {
			return err
		}
		if len(report.Damages) > before {
			replaced = append(replaced, f)
		}
		return nil
	})
	if err != nil {
		return report, err
	}
	if err := verifyReplaced(ctx, store, files, replaced, report); err != nil {
		return report, err
	}
	return report, verifyRuns(ctx, store, runs, report)
}

// verifyReplaced takes the damages of files out of a report that a rewrite has replaced
// since they were listed, and verifies the files that have taken their place.
func verifyReplaced(ctx context.Context, store disk.Store, files Files, suspects []File, report *Report) error {
	if len(suspects) == 0 {
		return nil
	}
	listed := map[string]bool{}
	var fresh []File
	err := files(ctx, func(f File) error {
		listed[f.Blob] = true
		if f.Merged && slices.ContainsFunc(suspects, func(s File) bool { return s.Blob != f.Blob && s.From >= f.From && s.To <= f.To }) {
			fresh = append(fresh, f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	report.Damages = slices.DeleteFunc(report.Damages, func(d Damage) bool {
		return slices.ContainsFunc(suspects, func(s File) bool {
			return !listed[s.Blob] && (d.Blob == s.Blob || d.Blob == s.record())
		})
	})
	for _, f := range fresh {
		if err := verifyFile(ctx, store, f, report); err != nil {
			return err
		}
	}
	return nil
}

// verifyFile reads a file and its commit record.
func verifyFile(ctx context.Context, store disk.Store, f File, report *Report) error {
	report.Segments++
	before := len(report.Damages)
	whole := false
	err := verifyBlob(ctx, store, f.Blob, report, func(found *segment.File) {
		whole = true
		compare(found, f, report)
	})
	if err != nil {
		return err
	}
	if !whole && len(report.Damages) > before {
		// Nothing in the file can be found.
		var all Loss
		for _, s := range f.Seals {
			all.add(s)
		}
		d := &report.Damages[before]
		d.Rows, d.From, d.To = all.Rows, all.From, all.To
	}
	return verifyRecord(ctx, store, f, report)
}

// verifyRuns reads runs until it has read every listed run. A run that is merged
// during this time is removed from the list: its missing blob is not a damage.
func verifyRuns(ctx context.Context, store disk.Store, runs Runs, report *Report) error {
	before := len(report.Damages)
	read := map[string]bool{}
	for {
		listed, err := runs(ctx)
		if err != nil {
			return err
		}
		// Other runs are segments, which were verified already.
		listed = slices.DeleteFunc(listed, func(r keys.Run) bool { return !strings.HasPrefix(r.Blob, "keys/") })
		i := slices.IndexFunc(listed, func(r keys.Run) bool { return !read[r.Blob] })
		if i < 0 {
			found := slices.DeleteFunc(report.Damages[before:], func(d Damage) bool {
				return !slices.ContainsFunc(listed, func(r keys.Run) bool { return r.Blob == d.Blob })
			})
			report.Damages = report.Damages[:before+len(found)]
			return nil
		}
		read[listed[i].Blob] = true
		if err := verifyBlob(ctx, store, listed[i].Blob, report, func(*segment.File) {}); err != nil {
			return err
		}
	}
}

func (r *Report) add(blob string, err error) {
	d := Damage{Blob: blob, Detail: err.Error()}
	var damage *segment.DamageError
	if errors.As(err, &damage) {
		d.Place, d.Detail = damage.Place, damage.Detail
		d.Rows, d.From, d.To = int64(damage.Rows), damage.Date, damage.Date
	}
	r.Damages = append(r.Damages, d)
}

func verifyBlob(ctx context.Context, store disk.Store, blob string, report *Report, extra func(*segment.File)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	reader, err := store.Open(ctx, blob)
	if errors.Is(err, fs.ErrNotExist) {
		report.Damages = append(report.Damages, Damage{Blob: blob, Place: "file", Detail: "it is missing"})
		return nil
	}
	if err != nil {
		return err
	}
	defer reader.Close()
	file, err := segment.Open(reader, reader.Size())
	if errors.Is(err, segment.ErrDamaged) {
		report.add(blob, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", blob, err)
	}
	damages, blocks, err := file.Verify()
	for _, d := range damages {
		report.add(blob, d)
	}
	report.Blocks += blocks
	report.Bytes += file.Size()
	extra(file)
	if err != nil {
		return fmt.Errorf("%s: %w", blob, err)
	}
	return nil
}

// compare compares a file's index with the catalog's entries of its seals.
func compare(f *segment.File, want File, report *Report) {
	if want.Merged {
		if detail := differs(f, want); detail != "" {
			report.Damages = append(report.Damages, Damage{Blob: want.Blob, Place: "catalog", Detail: detail})
		}
		return
	}
	if f.Size() != want.Size {
		report.Damages = append(report.Damages, Damage{Blob: want.Blob, Place: "file", Detail: fmt.Sprintf("it has %d bytes, the catalog says %d", f.Size(), want.Size)})
	}
	if !slices.Equal(extentsOf(f.Index()), want.Seals[0].Extents) {
		report.Damages = append(report.Damages, Damage{Blob: want.Blob, Place: "catalog", Detail: "its extents are not those of the segment"})
	}
}

// record names the commit record of a file.
func (f *File) record() string {
	return Replaced{From: f.From, To: f.To, Merged: f.Merged, Revision: f.Revision}.record(f.Project)
}

func verifyRecord(ctx context.Context, store disk.Store, f File, report *Report) error {
	name := f.record()
	same, err := sameRecord(ctx, store, f)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		report.Damages = append(report.Damages, Damage{Blob: name, Place: "commit record", Detail: "it is missing. The next start writes it if the host was killed before it did; else restore it from a backup: rebuild-catalog needs it"})
	case errors.Is(err, segment.ErrDamaged):
		report.add(name, err)
	case err != nil:
		return err
	case !same:
		report.Damages = append(report.Damages, Damage{Blob: name, Place: "commit record", Detail: "it names another segment than the catalog"})
	}
	return nil
}

// sameRecord reports whether the commit record of a file names what the catalog does.
func sameRecord(ctx context.Context, store disk.Store, f File) (bool, error) {
	if f.Merged {
		r, err := readRange(ctx, store, f.record())
		return r.Blob == f.Blob && r.From == f.From && r.To == f.To && r.Project == f.Project && r.Size == f.Size, err
	}
	r, err := readRecord(ctx, store, f.record())
	return r.Blob == f.Blob && r.Seq == f.From && r.Project == f.Project && r.Size == f.Size, err
}
