package upkeep

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// Bounds of one rewrite.
const (
	groupFiles = 128
	groupSeals = 4096
	groupBytes = 64 << 20 // that are written
)

// Files are brought together once they have settled, fan or more of about the same
// size at a time: a row is so written a few times in all. Of a day that is over, few
// files are enough.
const (
	settled = time.Hour
	fan     = 16
	fewer   = 4
	tiny    = 64 << 10 // bytes up to which files count as of the same size
)

// chooser picks files that follow each other. It is asked with one file after the
// other, and returns the files to rewrite; nil: none yet. The last question is with
// nil.
type chooser interface {
	next(f *journal.File) []journal.File
}

// find returns the first group of files after a seal that a chooser picks.
func find(ctx context.Context, files *catalog.Catalog, project, after int64, c chooser) (group []journal.File, err error) {
	err = files.Files(ctx, project, after, func(f journal.File) error {
		if group = c.next(&f); group != nil {
			return pipeline.ErrStop
		}
		return nil
	})
	if err == nil && group == nil {
		group = c.next(nil)
	}
	return group, err
}

// collected is files that follow each other, within the bounds of one rewrite.
type collected struct {
	files []journal.File
	seals int
	bytes int64 // that will be written
}

// fits reports whether a file may join.
func (g *collected) fits(f *journal.File, bytes int64) bool {
	return len(g.files) < groupFiles && g.seals+len(f.Seals) <= groupSeals && g.bytes+bytes <= groupBytes
}

func (g *collected) add(f *journal.File, bytes int64) {
	g.files = append(g.files, *f)
	g.seals += len(f.Seals)
	g.bytes += bytes
}

// expiry picks files with rows that are to be removed. Rows go when their UTC date and
// the day of their seal are both before the cutoff, and no pipeline needs them.
// Operations and links stay: people and identity mappings are folded out of all of
// them when a catalog or an index is lost.
type expiry struct {
	cutoff   journal.Day
	holdings []catalog.Holding
	group    collected
}

// old reports whether an extent is older than the retention.
func (x *expiry) old(s journal.Segment, e journal.Extent) bool {
	return e.Kind == journal.KindEvents && e.Blocks > 0 && e.UTCDate < x.cutoff && journal.DayOf(s.SealedAt.Unix()) < x.cutoff
}

// drops reports whether an extent is to be removed.
func (x *expiry) drops(s journal.Segment, index int, e journal.Extent) bool {
	return x.old(s, e) && catalog.Holder(x.holdings, s.Seq, index, e) == ""
}

func (x *expiry) next(f *journal.File) []journal.File {
	if f == nil {
		return x.group.files
	}
	gone, held, stays := x.weigh(f)
	// A file of which some old rows are held is rewritten when that frees a quarter of
	// it: else each step of the pipeline that holds them would rewrite it.
	due := gone > 0 && (held == 0 || 4*gone >= gone+held+stays)
	if len(x.group.files) > 0 && (!due || !x.group.fits(f, f.Size-gone)) {
		return x.group.files
	}
	if due {
		x.group.add(f, f.Size-gone)
	}
	return nil
}

// weigh sums up the bytes of a file that are to be removed, that are old and held, and
// that are not old.
func (x *expiry) weigh(f *journal.File) (gone, held, stays int64) {
	for _, s := range f.Seals {
		for i, e := range s.Extents {
			switch {
			case e.Blocks == 0:
			case !x.old(s, e):
				stays += e.Bytes
			case catalog.Holder(x.holdings, s.Seq, i, e) == "":
				gone += e.Bytes
			default:
				held += e.Bytes
			}
		}
	}
	return gone, held, stays
}

// smallFiles picks small files to bring together. Files that hold events are joined
// with others of the same day of sealing, so that they expire at once.
type smallFiles struct {
	before time.Time // files that were sealed since are left alone
	class  class
	window collected
}

// class is that of files which may be joined.
type class struct {
	events bool
	day    journal.Day // of sealing; 0 without events
}

func classOf(f *journal.File) class {
	for _, s := range f.Seals {
		for _, e := range s.Extents {
			if e.Kind == journal.KindEvents && e.Blocks > 0 {
				return class{true, journal.DayOf(s.SealedAt.Unix())}
			}
		}
	}
	return class{}
}

func (x *smallFiles) next(f *journal.File) []journal.File {
	if f == nil {
		return x.due(fan)
	}
	c, small := classOf(f), f.Size < groupBytes/2 && !f.Seals[len(f.Seals)-1].SealedAt.After(x.before)
	if c == x.class && small && x.window.fits(f, f.Size) {
		x.window.add(f, f.Size)
		return nil
	}
	least := fan
	if c != x.class {
		least = fewer // the earlier day is over
	}
	group := x.due(least)
	x.class, x.window = c, collected{}
	if small {
		x.window.add(f, f.Size)
	}
	return group
}

// due returns the files at the end of the window that are of about the same size; nil
// if they are fewer than least.
func (x *smallFiles) due(least int) []journal.File {
	files := x.window.files
	if len(files) < least {
		return nil
	}
	start := len(files) - 1
	sum := files[start].Size
	for start > 0 && files[start-1].Size <= max(2*sum, tiny) {
		start--
		sum += files[start].Size
	}
	if len(files)-start < least {
		return nil
	}
	return files[start:]
}
