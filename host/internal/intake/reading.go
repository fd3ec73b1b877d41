package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/files"
	"github.com/penstock-io/penstock/sdk/batch"
)

// read reads the source to its end and seals. While the source is served, the end comes
// only with ctx if it is followed, and what has no summary is logged. The summary comes
// with an error, too.
func (f *Files) read(ctx context.Context, serving bool) (operation.SourceSummary, error) {
	r, err := openReading(ctx, f, serving)
	if err != nil {
		return operation.SourceSummary{Name: f.Name()}, err
	}
	before := r.writer.Stats()
	err = r.run(ctx)
	done := r.summary(before)
	if done.Matched == 0 && err == nil {
		done.NoFile, err = files.Unmatched(ctx, f.config.Pattern)
	}
	if err == nil {
		r.reportEnd(done)
	}
	return done, err
}

// fileReading is one reading of a source of files, to its end.
type fileReading struct {
	*Files
	serving  bool
	writer   *journal.Writer
	source   *files.Source
	counters ingest.Counters
	refused  refusedCounts
	doubted  *doubts
}

// openReading opens a source of files where its journal is. The caller calls run.
func openReading(ctx context.Context, f *Files, serving bool) (*fileReading, error) {
	w, err := f.project.Journal.Writer(ctx)
	if err != nil {
		return nil, err
	}
	if serving {
		// The source may take the place of one that has left rows unsealed, and their
		// cursors.
		if err := w.Seal(ctx); err != nil {
			return nil, err
		}
	}
	source, err := openSource(ctx, f, serving)
	if err != nil {
		return nil, err
	}
	r := &fileReading{Files: f, serving: serving, writer: w, source: source, refused: refusedCounts{counts: map[schema.Reason]int64{}}}
	r.doubted = &doubts{source: f.config, counters: &r.counters, log: f.o.Log, logged: !serving}
	return r, nil
}

// openSource opens the files of a source at its cursors.
func openSource(ctx context.Context, f *Files, serving bool) (*files.Source, error) {
	s := f.config
	cursors, err := f.o.Catalog.Cursors(ctx, s.Project.ID, f.Name())
	if err != nil {
		return nil, err
	}
	told, err := files.Describe(cursors)
	if err != nil {
		return nil, err
	}
	if warning := crowded(told); warning != "" {
		f.o.Log.Warn(warning, "source", f.Name())
	}
	return files.Open(ctx, files.Options{
		Name: f.Name(), Pattern: s.Pattern, Follow: serving && s.Follow, Cursors: cursors, Keep: s.Records == batch.People, Now: f.o.Now,
		Wait: func(ctx context.Context) error { return f.o.Wait(ctx, followEvery) },
		Skipped: func(path, why string) {
			if !serving {
				return // the summary names it
			}
			f.o.Log.Warn("a path of the source is not read", "source", f.Name(), "path", path, "reason", why)
		},
	})
}

// run carries the records of the source to the journal, seals it and closes the source.
func (r *fileReading) run(ctx context.Context) error {
	defer r.tally.begin(&r.counters)()
	stopReports := r.reportProgress()
	err := ingest.Run(ctx, ingest.Options{
		Source: r.source, Records: recordsOf(r.config.Records), Appender: r.writer, Packer: r.writer.NewPacker, Rejects: rejects{r.o.Quarantine, r.Name()}, Now: r.o.Now,
		Counters: &r.counters, Refused: r.refused.add, Times: times(r.config.Project, r.config.Local),
	})
	stopReports()
	err = sealed(ctx, r.writer, err)
	return errors.Join(err, r.source.Close())
}

// summary returns what became of the records after run. before are the counts of the
// journal before it.
func (r *fileReading) summary(before journal.Stats) operation.SourceSummary {
	r.doubted.look()
	after, report := r.writer.Stats(), r.source.Report()
	return operation.SourceSummary{
		Name: r.Name(), Records: r.counters.Records.Load(), Bytes: r.counters.Read.Load(),
		Rows: after.Kept - before.Kept, Duplicates: after.Duplicates - before.Duplicates,
		Repaired: r.counters.Repaired.Load(), Quarantined: r.refused.list(r.Name()), Warning: r.doubted.warning,
		Matched: report.Matched, Recognised: report.Recognised, Waiting: report.Waiting, Skipped: report.Skipped,
	}
}

// reportProgress reports progress every 100 ms, and looks for doubts, until the function that it
// returns is called.
func (r *fileReading) reportProgress() (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick, stop := lifecycle.Ticker(100 * time.Millisecond)
		defer stop()
		for {
			select {
			case <-quit:
				return
			case <-tick:
			}
			r.doubted.look()
			r.o.Observer.Report(progress.Report{
				Stage: "import", Name: r.Name(), Rows: r.counters.Rows.Load(), Bytes: r.counters.Read.Load(),
				Total: r.source.Total(), Quarantined: r.counters.Refused.Load(),
			})
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// reportEnd reports the end of a reading without error.
func (r *fileReading) reportEnd(done operation.SourceSummary) {
	rows, duplicates := done.Rows, done.Duplicates
	if r.serving {
		// Other sources write to the journal at the same time, and its counts are of
		// all of them.
		rows, duplicates = r.counters.Rows.Load(), 0
	}
	r.o.Observer.Report(progress.Report{
		Stage: "import", Name: r.Name(), Rows: rows, Bytes: done.Bytes,
		Duplicates: duplicates, Quarantined: r.counters.Refused.Load(), Done: true,
	})
}

// seemWrong is how many events must contradict data_timezone for each one that
// agrees with it, and how many at least.
const (
	seemWrong      = 10
	seemWrongLeast = 20
)

// doubts logs, once, that the times of a source contradict its data_timezone: a
// followed source has no end. RunOnce has a summary instead. It is for one goroutine
// at a time.
type doubts struct {
	source   *config.Source
	counters *ingest.Counters
	log      *slog.Logger
	warning  string // the last one
	logged   bool   // or not to be logged
}

func (d *doubts) look() {
	d.warning = doubt(d.source.Local, d.counters.TimesUTC.Load(), d.counters.TimesLocal.Load())
	if d.warning != "" && !d.logged {
		d.logged = true
		d.log.Warn(d.warning, "source", d.source.Reference())
	}
}

// doubt returns a warning if the times of a source's events contradict its
// data_timezone, or "".
func doubt(isLocal bool, utc, local int64) string {
	right, wrong, is, other := utc, local, "utc", "project"
	if isLocal {
		right, wrong, is, other = local, utc, "project", "utc"
	}
	if wrong < seemWrongLeast || wrong < seemWrong*right {
		return ""
	}
	return fmt.Sprintf("data_timezone is %q, but the times of %d events fit their $mp_api_timestamp_ms only with %q (%d fit as configured): "+
		"check the setting before these rows are exported, since rows that are stored do not change", is, wrong, other, right)
}
