package pipeline

import (
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Target is a physical place that a pipeline writes to. Its project is that of the
// rows: two projects may write to one place.
type Target struct {
	ProjectID int64
	Stream    batch.Stream
	URI       string
}

// Meets reports whether a reader of one target finds rows that were written to the
// other: the two are one place, or a URI that ends in a slash is the directory of the
// other. Projects do not matter.
//
//	s3://lake/a/ and s3://lake/a/       meet
//	s3://lake/a/ and s3://lake/a/b/     meet: readers of a/ read b/, too
//	s3://lake/a/ and s3://lake/ab/      do not meet
//	bigquery://p/d/events and bigquery://p/d/events_2  do not meet
func (t Target) Meets(other Target) bool {
	return t.Stream == other.Stream && (within(t.URI, other.URI) || within(other.URI, t.URI))
}

// within reports whether uri is the place dir, or lies in it.
func within(dir, uri string) bool {
	return dir == uri || strings.HasSuffix(dir, "/") && strings.HasPrefix(uri, dir)
}

// Directories returns the URIs, other than uri itself, that hold the place uri if they
// are targets: each ends in a slash.
func Directories(uri string) []string {
	var dirs []string
	for i := range len(uri) - 1 {
		if uri[i] == '/' {
			dirs = append(dirs, uri[:i+1])
		}
	}
	return dirs
}

// Days is a range of dates, both inclusive.
type Days struct{ From, To journal.Day }

// Days returns the dates of a definition.
func (d *Definition) Days() Days { return Days{d.From, d.To} }

// Common returns the dates that two ranges share. ok is false if there are none.
func (d Days) Common(other Days) (common Days, ok bool) {
	common = Days{max(d.From, other.From), min(d.To, other.To)}
	return common, common.From <= common.To
}

// String returns "2026-03-01 to 2026-03-31", one date for a single day, or "2026-03-01
// and later" for days without an end.
func (d Days) String() string {
	switch d.To {
	case d.From:
		return d.From.String()
	case Forever:
		return d.From.String() + " and later"
	}
	return fmt.Sprintf("%s to %s", d.From, d.To)
}
