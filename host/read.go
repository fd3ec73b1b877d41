package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/files"
	"github.com/penstock-io/penstock/sdk/batch"
)

// followEvery is how often a followed source is looked at.
const followEvery = 2 * time.Second

// read reads a source to its end and seals. With follow the end comes only
// with ctx.
func (h *Host) read(ctx context.Context, s *config.Source, follow bool) (operation.SourceSummary, error) {
	done := operation.SourceSummary{Name: s.Reference()}
	w, err := h.projects.Of(s.Project).Journal.Writer(ctx)
	if err != nil {
		return done, err
	}
	cursors, err := h.catalog.Cursors(ctx, s.Project.ID, s.Reference())
	if err != nil {
		return done, err
	}
	told, err := files.Describe(cursors)
	if err != nil {
		return done, err
	}
	if warning := crowded(told); warning != "" {
		h.log.Warn(warning, "source", s.Reference())
	}
	source, err := files.Open(ctx, files.Options{
		Name: s.Reference(), Pattern: s.Pattern, Follow: follow, Cursors: cursors, Keep: s.Records == batch.People, Now: time.Now,
		Wait: func(ctx context.Context) error { return lifecycle.Wait(ctx, followEvery) },
		Skipped: func(path, why string) {
			if !h.serving {
				return // the summary names it
			}
			h.log.Warn("a path of the source is not read", "source", s.Reference(), "path", path, "reason", why)
		},
	})
	if err != nil {
		return done, err
	}
	before := w.Stats()
	refused := &refusedCounts{counts: map[schema.Reason]int64{}}
	var counters ingest.Counters
	doubted := &doubts{source: s, counters: &counters, log: h.log, logged: !h.serving}
	stopReports := h.reportReading(s, source, &counters, doubted.look)
	err = ingest.Run(ctx, ingest.Options{
		Source: source, Records: recordsOf(s.Records), Appender: w, Rejects: rejects{h.quarantine, s.Reference()}, Now: time.Now,
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
		if h.serving {
			// Other sources write to the journal at the same time, and its counts
			// are of all of them.
			rows, duplicates = counters.Rows.Load(), 0
		}
		h.observer.Report(progress.Report{
			Stage: "import", Name: s.Reference(), Rows: rows, Bytes: done.Bytes,
			Duplicates: duplicates, Quarantined: counters.Refused.Load(), Done: true,
		})
	}
	return done, err
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
func (h *Host) reportReading(s *config.Source, source *files.Source, counters *ingest.Counters, look func()) (stop func()) {
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
			h.observer.Report(progress.Report{
				Stage: "import", Name: s.Reference(), Rows: counters.Rows.Load(), Bytes: counters.Read.Load(),
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
