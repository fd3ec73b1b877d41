package runner

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
)

// A run of which the days are small would leave many small files.
func TestIsDense(t *testing.T) {
	extents := func(days int, bytes int64) []pipeline.Extent {
		var list []pipeline.Extent
		for n := range 2 * days { // two extents of each day
			list = append(list, pipeline.Extent{UTCDate: journal.Day(n % days), ZoneDate: journal.Day(n % days / 2), Bytes: bytes / 2})
		}
		return list
	}
	for _, test := range []struct {
		days  int
		bytes int64
		zone  bool
		want  bool
	}{
		{30, fullPerDay, false, true},
		{30, fullPerDay - 2, false, false},
		{400, fullBytes / 400, false, false},
		{30, fullPerDay / 2, true, true}, // half as many days of the project's zone
	} {
		if got := isDense(extents(test.days, test.bytes), test.zone); got != test.want {
			t.Errorf("%d days of %d bytes, zone %v: %v", test.days, test.bytes, test.zone, got)
		}
	}
}

// reports keeps the texts of reports.
type reports []string

func (r *reports) Report(x progress.Report) { *r = append(*r, x.Text) }

// A full run that fails while sources are read is told then: its pipeline has no further
// attempt until they have been read.
func TestAFullRunThatFailsIsTold(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	x.export()
	var told reports
	x.o.Observer = &told
	o := newOnce(t.Context(), x.Pipeline)
	if err := x.o.Catalog.Close(); err != nil {
		t.Fatal(err)
	}
	if left := exportFull(t.Context(), []*Once{o}, nil); len(left) != 0 || o.err != nil {
		t.Errorf("%d pipelines go on, and CatchUp does not try it again: %v", len(left), o.err)
	}
	if len(told) != 1 || !strings.HasSuffix(told[0], "; will retry when all sources have been read") {
		t.Errorf("told %q", told)
	}
}

// The summary of a host that is stopped has the pipelines that full runs were exported of.
func TestAStoppedHostTellsWhatItHasExported(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	ctx, stop := context.WithCancel(t.Context())
	var all []*Once
	for range 4 {
		all = append(all, newOnce(ctx, x.Pipeline))
	}
	addReceipt(all[1].done, &pipeline.Receipt{Rows: 3})
	all[2].err = errors.New("no permission")
	stop()
	got, err := CatchUpAll(ctx, all, 0)
	if len(got) != 3 || got[0].Error == "" || got[1].Rows != 3 || got[1].Error != "" || got[2].Error != "no permission" {
		t.Errorf("it tells %+v", got)
	}
	if !errors.Is(err, context.Canceled) || !errors.Is(err, all[2].err) {
		t.Errorf("error = %v", err)
	}
}
