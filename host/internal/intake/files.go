package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/files"
	"github.com/penstock-io/penstock/sdk/batch"
)

// followEvery is how often a followed source is looked at.
const followEvery = 2 * time.Second

// Files supervises a source block of type files.
type Files struct {
	o       *Options
	config  *config.Source
	project *project.Project
}

// retryPause is the longest pause after a source failed.
const retryPause = time.Minute

// Name implements Source.
func (f *Files) Name() string { return f.config.Reference() }

// Close implements Source.
func (f *Files) Close() {}

// Serve implements Source. The end of a source that does not grow is not an error.
// After an error the source is read again, from where the journal is.
func (f *Files) Serve(ctx context.Context) error {
	pauses := lifecycle.Backoff{First: project.ReopenFirst, Limit: retryPause}
	if text, err := files.Unmatched(ctx, f.config.Pattern); err == nil && text != "" {
		f.o.Log.Warn(text, "source", f.Name())
	}
	for {
		began := f.o.Now()
		_, err := f.read(ctx, true)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			f.o.Log.Info("source was read to its end", "source", f.Name())
			return nil
		}
		if f.o.Now().Sub(began) > retryPause {
			pauses.Reset()
		}
		pause := pauses.Pause()
		f.o.Log.Error("could not read a source; will retry", "source", f.Name(), "error", err, "pause", pause.Round(time.Millisecond))
		if f.o.Wait(ctx, pause) != nil {
			return nil
		}
	}
}

// ReadAll implements Source.
func (f *Files) ReadAll(ctx context.Context, _ time.Duration) (operation.SourceSummary, error) {
	done, err := f.read(ctx, false)
	if n := len(done.Skipped); n > 0 {
		err = errors.Join(err, skippedError(n))
	}
	if err != nil {
		err = fmt.Errorf("source %s: %w", f.Name(), err)
	}
	return done, err
}

// skippedError says that paths were not read; the summary names them.
type skippedError int

func (e skippedError) Error() string {
	if e == 1 {
		return "a path was not read"
	}
	return fmt.Sprintf("%d paths were not read", int(e))
}

// Replay implements Source.
func (f *Files) Replay(ctx context.Context, some []quarantine.Entry, _ bool) (map[string]bool, int64, error) {
	return replayRead(ctx, f.o, f.project, ingest.Options{Records: recordsOf(f.config.Records), Times: times(f.config.Project, f.config.Local)}, some)
}

// Describe implements Source.
func (f *Files) Describe(ctx context.Context, status *operation.Status, counts map[string]quarantine.Count) error {
	cursors, err := f.o.Catalog.Cursors(ctx, f.config.Project.ID, f.Name())
	if err != nil {
		return err
	}
	told, err := files.Describe(cursors)
	if err != nil {
		return err
	}
	noFile, err := files.Unmatched(ctx, f.config.Pattern)
	if err != nil {
		return err
	}
	status.Sources = append(status.Sources, operation.SourceStatus{
		Unread: f.unread(ctx), Name: f.Name(), NoFile: noFile, Positions: told.Files, Replaced: told.Replaced,
		Warning: crowded(told), Repaired: told.Repaired, Waiting: told.Waiting, Quarantined: totals(counts),
	})
	return nil
}

// Unread implements Source.
func (f *Files) Unread(ctx context.Context, p *config.Pipeline) (*operation.Unread, error) {
	if f.config.Project != p.Project || f.config.Records != p.Stream {
		return nil, nil
	}
	return f.unread(ctx), nil
}

// unread returns the part of the source that was not read yet; nil if there is nothing
// to read.
func (f *Files) unread(ctx context.Context) *operation.Unread {
	pending, err := f.pending(ctx)
	switch {
	case err != nil:
		return &operation.Unread{Source: f.Name(), Error: err.Error()}
	case pending.Files == 0:
		return nil
	}
	return &operation.Unread{Source: f.Name(), Files: pending.Files, Bytes: pending.Bytes}
}

// errNotListed says that status and plan do not look into a bucket.
var errNotListed = errors.New("its files are in a bucket, which is only listed to read them")

// pending looks for the files of the source that are not read yet. It reads none
// of them.
func (f *Files) pending(ctx context.Context) (files.Pending, error) {
	if strings.Contains(f.config.Pattern, "://") {
		return files.Pending{}, errNotListed
	}
	cursors, err := f.o.Catalog.Cursors(ctx, f.config.Project.ID, f.Name())
	if err != nil {
		return files.Pending{}, err
	}
	source, err := files.Open(ctx, files.Options{Name: f.Name(), Pattern: f.config.Pattern, Follow: f.config.Follow, Cursors: cursors})
	if err != nil {
		return files.Pending{}, err
	}
	return source.Pending(), source.Close()
}

// read reads the source to its end and seals. While the source is served, the end comes
// only with ctx if it is followed, and what has no summary is logged.
func (f *Files) read(ctx context.Context, serving bool) (operation.SourceSummary, error) {
	s := f.config
	done := operation.SourceSummary{Name: s.Reference()}
	w, err := f.project.Journal.Writer(ctx)
	if err != nil {
		return done, err
	}
	cursors, err := f.o.Catalog.Cursors(ctx, s.Project.ID, s.Reference())
	if err != nil {
		return done, err
	}
	told, err := files.Describe(cursors)
	if err != nil {
		return done, err
	}
	if warning := crowded(told); warning != "" {
		f.o.Log.Warn(warning, "source", s.Reference())
	}
	source, err := files.Open(ctx, files.Options{
		Name: s.Reference(), Pattern: s.Pattern, Follow: serving && s.Follow, Cursors: cursors, Keep: s.Records == batch.People, Now: f.o.Now,
		Wait: func(ctx context.Context) error { return f.o.Wait(ctx, followEvery) },
		Skipped: func(path, why string) {
			if !serving {
				return // the summary names it
			}
			f.o.Log.Warn("a path of the source is not read", "source", s.Reference(), "path", path, "reason", why)
		},
	})
	if err != nil {
		return done, err
	}
	before := w.Stats()
	refused := &refusedCounts{counts: map[schema.Reason]int64{}}
	var counters ingest.Counters
	doubted := &doubts{source: s, counters: &counters, log: f.o.Log, logged: !serving}
	stopReports := f.reportReading(source, &counters, doubted.look)
	err = ingest.Run(ctx, ingest.Options{
		Source: source, Records: recordsOf(s.Records), Appender: w, Rejects: rejects{f.o.Quarantine, s.Reference()}, Now: f.o.Now,
		Counters: &counters, Refused: refused.add, Times: times(s.Project, s.Local),
	})
	stopReports()
	err = sealed(ctx, w, err)
	err = errors.Join(err, source.Close())
	after := w.Stats()
	done.Records, done.Bytes = counters.Records.Load(), counters.Read.Load()
	done.Rows, done.Duplicates = after.Kept-before.Kept, after.Duplicates-before.Duplicates
	done.Repaired = counters.Repaired.Load()
	done.Quarantined = refused.list(s.Reference())
	doubted.look()
	done.Warning = doubted.warning
	report := source.Report()
	done.Matched, done.Recognised, done.Waiting, done.Skipped = report.Matched, report.Recognised, report.Waiting, report.Skipped
	if done.Matched == 0 && err == nil {
		done.NoFile, err = files.Unmatched(ctx, s.Pattern)
	}
	if err == nil {
		rows, duplicates := done.Rows, done.Duplicates
		if serving {
			// Other sources write to the journal at the same time, and its counts
			// are of all of them.
			rows, duplicates = counters.Rows.Load(), 0
		}
		f.o.Observer.Report(progress.Report{
			Stage: "import", Name: s.Reference(), Rows: rows, Bytes: done.Bytes,
			Duplicates: duplicates, Quarantined: counters.Refused.Load(), Done: true,
		})
	}
	return done, err
}

// manyFiles is how many files a source remembers before status and the log say so.
const manyFiles = 10_000

// crowded returns a warning if a source remembers many files, or "". None is ever
// forgotten: its content could come back under another name, and operations on
// profiles would count twice.
func crowded(d files.Description) string {
	n := d.Files + d.Replaced
	if n < manyFiles {
		return ""
	}
	return fmt.Sprintf("it remembers %d files, with about 1 KiB of memory each, and forgets none, so that no record is read twice: "+
		"move the files that were read out of its path, and give the source another name to begin again", n)
}

// times returns the meaning of the times of events of a project; local is whether
// they are the wall clock of its zone.
func times(p *config.Project, local bool) schema.Times {
	if p.TimeZone == time.UTC {
		return schema.Times{}
	}
	return schema.Times{Zone: p.TimeZone, Local: local}
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

// recordsOf returns the parser's kind of the records that become rows of a stream.
func recordsOf(stream batch.Stream) ingest.Records {
	if stream == batch.People {
		return ingest.People
	}
	return ingest.Events
}

// sealed seals the journal after a source has ended with err, so that the rows
// read before a failure become durable. The journal may have failed after the
// last row, and no other call would report it.
func sealed(ctx context.Context, w interface{ Seal(context.Context) error }, err error) error {
	if ctx.Err() != nil {
		return err
	}
	sealErr := w.Seal(ctx)
	if sealErr == nil || errors.Is(err, sealErr) {
		return err
	}
	return errors.Join(err, sealErr)
}

// reportReading reports progress, and calls look, until the function that it
// returns is called.
func (f *Files) reportReading(source *files.Source, counters *ingest.Counters, look func()) (stop func()) {
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
			look()
			f.o.Observer.Report(progress.Report{
				Stage: "import", Name: f.Name(), Rows: counters.Rows.Load(), Bytes: counters.Read.Load(),
				Total: source.Total(), Quarantined: counters.Refused.Load(),
			})
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// refusedCounts counts refused records by reason.
type refusedCounts struct {
	mu     sync.Mutex
	counts map[schema.Reason]int64
}

func (r *refusedCounts) add(reason schema.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[reason]++
}

func (r *refusedCounts) list(source string) []operation.QuarantineCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []operation.QuarantineCount
	for reason, n := range r.counts {
		list = append(list, operation.QuarantineCount{Source: source, Reason: string(reason), Count: n})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Reason < list[j].Reason })
	return list
}

// rejects puts a source's refused records into quarantine.
type rejects struct {
	store  *quarantine.Store
	source string
}

// Put implements ingest.Rejects. Records that were refused in an earlier file of
// the same name stay.
func (r rejects) Put(file string, edition int, from, to int64, refused []ingest.Refusal) error {
	entries := make([]quarantine.Entry, 0, len(refused))
	for _, x := range refused {
		entries = append(entries, quarantine.Entry{
			Position: fmt.Sprintf("%s at byte %d", file, x.At), Reason: string(x.Reason), Detail: x.Detail, Bytes: x.Bytes, Truncated: x.Truncated,
		})
	}
	position := file
	if edition > 0 {
		position = fmt.Sprintf("%s\x00%d", file, edition)
	}
	return r.store.Put(r.source, quarantine.Span{Position: position, From: from, To: to}, entries)
}
