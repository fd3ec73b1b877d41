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

// Runs lists the runs of keys of the catalog.
type Runs func(ctx context.Context) ([]keys.Run, error)

// Verify reads every byte of the segments that the catalog names, of the runs
// of keys, and of the commit records, and compares them with their checksums
// and with each other. A writer may be active at the same time.
func Verify(ctx context.Context, store disk.Store, segments Segments, runs Runs) (*Report, error) {
	report := &Report{}
	err := segments(ctx, func(s Segment) error {
		report.Segments++
		before := len(report.Damages)
		whole := false
		err := verifyBlob(ctx, store, s.Blob, report, func(f *segment.File) {
			whole = true
			compare(f, s, report)
		})
		if err != nil {
			return err
		}
		if !whole && len(report.Damages) > before {
			// Nothing in the file can be found.
			var all Loss
			all.add(s)
			d := &report.Damages[before]
			d.Rows, d.From, d.To = all.Rows, all.From, all.To
		}
		return verifyRecord(ctx, store, s, report)
	})
	if err != nil {
		return report, err
	}
	return report, verifyRuns(ctx, store, runs, report)
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

// compare compares a segment's index with the catalog's entry of the segment.
func compare(f *segment.File, s Segment, report *Report) {
	if f.Size() != s.Size {
		report.Damages = append(report.Damages, Damage{Blob: s.Blob, Place: "file", Detail: fmt.Sprintf("it has %d bytes, the catalog says %d", f.Size(), s.Size)})
	}
	if !slices.Equal(extentsOf(f.Index()), s.Extents) {
		report.Damages = append(report.Damages, Damage{Blob: s.Blob, Place: "catalog", Detail: "its extents are not those of the segment"})
	}
}

func verifyRecord(ctx context.Context, store disk.Store, s Segment, report *Report) error {
	name := recordName(s.Project, s.Seq)
	r, err := readRecord(ctx, store, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		report.Damages = append(report.Damages, Damage{Blob: name, Place: "commit record", Detail: "it is missing; the next start of the host writes it"})
	case errors.Is(err, segment.ErrDamaged):
		report.add(name, err)
	case err != nil:
		return err
	case r.Blob != s.Blob || r.Seq != s.Seq || r.Project != s.Project || r.Size != s.Size:
		report.Damages = append(report.Damages, Damage{Blob: name, Place: "commit record", Detail: "it names another segment than the catalog"})
	}
	return nil
}
