package service

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/runner"
	"github.com/penstock-io/penstock/host/internal/upkeep"
	"github.com/penstock-io/penstock/sdk/batch"
)

// now is the time in these tests.
var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// open returns the service of a data directory with one project and no sources.
func open(t *testing.T) (*Service, Options) {
	t.Helper()
	configured := &config.Config{Projects: []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}, {Name: "new", ID: 2, TimeZone: time.UTC}}}
	stores := projecttest.Open(t, t.TempDir(), configured.Projects[:1])
	d, c := stores.Dir, stores.Catalog
	if err := c.RegisterProject(t.Context(), 9, "old", "Asia/Tokyo"); err != nil {
		t.Fatal(err)
	}
	clock, log := func() time.Time { return now }, slog.New(slog.DiscardHandler)
	q, err := quarantine.Open(d.Path(datadir.QuarantineDir), quarantine.Options{Ledger: c.Quarantine(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	projects := project.New(project.Options{Dir: d, Store: stores.Blobs, Catalog: c, Now: clock, Log: log, Observer: progress.Discard{}}, configured.Projects)
	sources, err := intake.Open(t.Context(), intake.Options{
		Config: func() *config.Config { return configured }, Dir: d, Projects: projects, Catalog: c, Quarantine: q, Grace: lifecycle.NewGrace(time.Second, 0, clock),
		Now: clock, Wait: lifecycle.Wait, Log: log, Observer: progress.Discard{},
	})
	if err != nil {
		t.Fatal(err)
	}
	tidy := upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project { return []upkeep.Project{{ID: 1, Name: "shop"}} }, Store: stores.Blobs, Catalog: c,
		Retention: func() time.Duration { return 200 * 24 * time.Hour }, Now: clock, Wait: lifecycle.Wait, Log: log,
	})
	o := Options{
		Upkeep:  tidy,
		Version: "1.2.3", Config: func() *config.Config { return configured }, Dir: d, Store: stores.Blobs, Catalog: c, Records: q, Projects: projects, Intake: sources,
		Runner: runner.New(runner.Options{Projects: projects, Catalog: c, Quarantine: q, Now: clock, Log: log, Observer: progress.Discard{}}, nil),
	}
	s := New(o, func() error { return errors.Join(projects.Close(), q.Close(), c.Close()) })
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, o
}

// seal seals a row of the project.
func seal(t *testing.T, o Options) {
	t.Helper()
	w, err := o.Projects.ByID(1).Journal.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	row := []byte("{}\n")
	c := journal.Chunk{Rows: []journal.Row{{Length: len(row), Time: now.Unix(), Kind: journal.KindEvents, Key: journal.Key{1}}}, Data: row}
	if err := errors.Join(w.Append(t.Context(), c), w.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// Status names projects that are registered, configured or not, and those that are
// only configured; a segment that is missing is named as well.
func TestStatusNamesAllProjects(t *testing.T) {
	t.Parallel()
	s, o := open(t)
	seal(t, o)
	status, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range status.Projects {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "shop old new" || status.Projects[0].Rows != 1 || status.Running || status.Version != "1.2.3" {
		t.Errorf("projects %s, %+v", got, status)
	}
	segments, err := s.Segments(t.Context())
	if err != nil || len(segments) != 1 || !segments[0].SealedAt.Equal(now) {
		t.Fatalf("%+v, %v", segments, err)
	}
	if report, err := s.VerifyJournal(t.Context()); err != nil || len(report.Corruptions) > 0 || report.Segments != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if err := os.Remove(filepath.Join(o.Dir.Blobs, segments[0].Blob)); err != nil {
		t.Fatal(err)
	}
	missing, err := s.MissingSegments(t.Context())
	var said *operation.MissingSegments
	if len(missing) != 1 || missing[0].Rows != 1 || missing[0].From != "2026-11-01" || !errors.As(err, &said) {
		t.Errorf("%+v, %v", missing, err)
	}
	if status, err := s.Status(t.Context()); err != nil || status.Projects[0].Missing == nil {
		t.Errorf("%+v, %v", status, err)
	}
}

// A run that the catalog has as running is running only where a host serves.
func TestARunWithoutAHostIsInterrupted(t *testing.T) {
	t.Parallel()
	s, o := open(t)
	seal(t, o)
	def := pipeline.Definition{Name: "events", ProjectID: 1, Stream: batch.Events, Destination: "x.y", To: pipeline.Forever}
	stored, err := o.Catalog.RegisterPipeline(t.Context(), def, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	run := &pipeline.Run{Content: "c", PlannedAt: now}
	if err := o.Catalog.InsertRun(t.Context(), stored, run); err != nil {
		t.Fatal(err)
	}
	retry := map[string]string{
		"planned":     "there is no failed run 1 to try again: it is planned: a running host, or the next 'penstock run', sends it",
		"interrupted": "there is no failed run 1 to try again: it is interrupted: the next 'penstock run' tries it again",
	}
	for _, want := range []string{"planned", "interrupted"} {
		runs, err := s.Runs(t.Context(), operation.RunFilter{Pipeline: "events"})
		if err != nil || len(runs) != 1 || runs[0].State != want {
			t.Errorf("%+v, %v, want %s", runs, err, want)
		}
		if err := s.RetryRun(t.Context(), "events", run.Number); err == nil || err.Error() != retry[want] {
			t.Errorf("retry: %v, want %q", err, retry[want])
		}
		if _, err := o.Catalog.AcquireRun(t.Context(), stored.ID, run.Number, "test", time.Minute); err != nil && want == "planned" {
			t.Fatal(err)
		}
	}
	o.Serving = true
	if runs, err := New(o, nil).Runs(t.Context(), operation.RunFilter{Pipeline: "events"}); err != nil || runs[0].State != "running" {
		t.Errorf("%+v, %v", runs, err)
	}
	if _, err := s.Runs(t.Context(), operation.RunFilter{Pipeline: "evnts"}); err == nil || !strings.Contains(err.Error(), "registered are events") {
		t.Errorf("another name: %v", err)
	}
}

// Stats sum up the journal by day, and status shows the last pass over it.
func TestStatsOfTheJournal(t *testing.T) {
	t.Parallel()
	s, o := open(t)
	seal(t, o)
	stats, err := s.JournalStats(t.Context())
	if err != nil || len(stats) != 1 || stats[0].Seals != 1 || stats[0].Files != 1 || stats[0].Keys != 1 || len(stats[0].Days) != 1 || stats[0].Days[0].Rows != 1 {
		t.Fatalf("stats: %+v, %v", stats, err)
	}
	if _, err := o.Upkeep.Pass(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	status, err := s.Status(t.Context())
	if err != nil || status.Upkeep == nil || !status.Upkeep.FinishedAt.Equal(now) {
		t.Errorf("status: %+v, %v", status.Upkeep, err)
	}
}
