package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host"
)

// printed is the text that a function prints at noon of 2 July 2026.
func printed(print func(*cli)) string {
	var out bytes.Buffer
	print(&cli{out: escaped{&out}, now: func() time.Time { return time.Date(2026, 7, 2, 12, 0, 0, 0, time.UTC) }})
	var lines []string
	for line := range strings.SplitSeq(out.String(), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

func at(hour int) *time.Time {
	t := time.Date(2026, 7, 2, hour, 30, 0, 0, time.FixedZone("CEST", 2*60*60))
	return &t
}

func someRun(number int64, state, failure string) *host.RunStatus {
	r := &host.RunStatus{Pipeline: "a", Number: number, State: state, PlannedAt: *at(10), From: "2026-07-01", To: "2026-07-02", Rows: 12, Bytes: 2048, Error: failure}
	if state == succeededRun || state == failedRun {
		r.FinishedAt = at(11)
	}
	return r
}

// Each state is printed with times in UTC, with the rows that are left, and with
// the next step.
func TestPipelinesAsText(t *testing.T) {
	t.Parallel()
	apart := someRun(5, "failed", "run 5 of pipeline a: 'penstock pipelines recover a' compares the runs")
	apart.NeedsRecovery = true
	got := printed(func(c *cli) {
		c.printPipelines([]host.PipelineStatus{
			{Name: "active", Destination: "s3.lake", State: "active", Phase: "live", Rows: 1200, LastRun: someRun(3, "succeeded", "slow down"), NextRunAt: at(23)},
			{Name: "idle", Destination: "s3.lake", State: "active", Phase: "live", NextRunAt: at(3)},
			{Name: "new", Destination: "s3.lake", State: "active", Phase: "backfill", BehindRows: 1, NextRunAt: &time.Time{}},
			{Name: "set", Destination: "s3.lake", State: "refused", Phase: "full set", BehindRows: 2000, Refused: "it would shrink\nto nothing", NextRunAt: at(3)},
			{Name: "stuck", Destination: "s3.lake", State: "failed", Phase: "live", LastRun: someRun(4, "failed", "run 4 of pipeline a: create the bucket (put: StatusCode: 404, RequestID: R1, HostID: H1, NoSuchBucket; again: RequestID: R1, NoSuchBucket)")},
			{Name: "apart", Destination: "s3.lake", State: "failed", Phase: "live", LastRun: apart},
			{Name: "gone", Destination: "s3.lake", State: "removed", Phase: "backfill", LastRun: someRun(1, "interrupted", "")},
		})
	})
	const want = `PIPELINE  DESTINATION  STATE             ROWS EXPORTED  REJECTED  NOT EXPORTED YET  LAST RUN (UTC)                          NEXT RUN (UTC)
active    s3.lake      active            1,200          0         nothing           2026-07-02 09:30:00, run 3 succeeded    2026-07-02 21:30:00
idle      s3.lake      active            0              0         nothing           never                                   when there is something to export
new       s3.lake      active, backfill  0              0         1 row             never                                   due
set       s3.lake      refused           0              0         2,000 changes     never                                   due
stuck     s3.lake      failed            0              0         nothing           2026-07-02 09:30:00, run 4 failed       none
apart     s3.lake      failed            0              0         nothing           2026-07-02 09:30:00, run 5 failed       none
gone      s3.lake      removed           0              0         nothing           2026-07-02 08:30:00, run 1 interrupted  none

set: the next run is refused: it would shrink; to nothing

a, run 4 failed: create the bucket (put: StatusCode: 404, NoSuchBucket; again: NoSuchBucket) [RequestID R1, HostID H1] (then: penstock runs retry a 4, or start the host again)

a, run 5 failed: 'penstock pipelines recover a' compares the runs
`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}

func TestRunsAsText(t *testing.T) {
	t.Parallel()
	if got := printed(func(c *cli) { c.printRuns(nil) }); got != "no run yet\n" {
		t.Errorf("it prints %q", got)
	}
	got := printed(func(c *cli) {
		c.printRuns([]host.RunStatus{*someRun(3, "retrying", "slow \x1b[2Jdown"), *someRun(2, "succeeded", "")})
	})
	const want = `PIPELINE  RUN  STATE      PLANNED (UTC)        FINISHED (UTC)       FROM        TO          ROWS  REJECTED  COMPRESSED
a         3    retrying   2026-07-02 08:30:00                       2026-07-01  2026-07-02  12    0         2.0 KiB
a         2    succeeded  2026-07-02 08:30:00  2026-07-02 09:30:00  2026-07-01  2026-07-02  12    0         2.0 KiB

a, run 3 retrying: slow \x1b[2Jdown
`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}

// A plan before the first run names everything that is not in the journal yet.
func TestPlanAsText(t *testing.T) {
	t.Parallel()
	got := printed(func(c *cli) {
		c.printPlanned(host.PlannedRun{Pipeline: "a", Phase: "backfill", State: "unregistered", Unread: []host.Unread{
			{Source: "files.import", Files: 1, Bytes: 2048}, {Source: "collector.web", Requests: 2000, Bytes: 5},
			{Source: "files.lake", Error: "it is in a bucket"}, {Source: "files.late", Files: 1, Bytes: 2048, NextStart: true},
			{Source: "files.odd", Skipped: []string{"/in/a.xz: it is compressed with xz"}, SkippedPaths: 3},
		}})
		c.printPlanned(host.PlannedRun{Pipeline: "b", Number: 2, Phase: "live", State: "failed", Rows: 1, Bytes: 10, Days: []host.PlannedDay{{Date: "2026-07-01", Rows: 1, Bytes: 10}}})
		c.printPlanned(host.PlannedRun{Pipeline: "c", Phase: "full set", State: "paused", Rows: 5, Unchanged: true})
		c.printPlanned(host.PlannedRun{Pipeline: "d", Number: 3, Phase: "live", Fixed: true, Rows: 1, Bytes: 10, Days: []host.PlannedDay{{Date: "2026-07-01", Rows: 1, Bytes: 10}}})
		c.printPlanned(host.PlannedRun{Pipeline: "e", Number: 4, Phase: "full set", Fixed: true, Rows: 5, Bytes: 10})
		c.printPlanned(host.PlannedRun{Pipeline: "f", Number: 4, Phase: "full set", State: "cancelled", Rows: 1, Bytes: 10, Changes: 1})
		c.printPlanned(host.PlannedRun{Pipeline: "g", Phase: "live", Outside: &host.OutsideDates{FromDate: "2026-05-30", ToDate: "2026-06-30", After: &host.DatedRows{Rows: 2, From: "2026-07-01", To: "2026-07-02"}}})
	})
	const want = `a: nothing to export in the journal
  not in the journal yet: files.import: 1 file, 2.0 KiB
  not in the journal yet: collector.web: 2,000 requests in its log
  not in the journal yet: files.lake: not known: it is in a bucket
  not in the journal yet: files.late: 1 file, 2.0 KiB: read at the next start, or with follow = true
  not read: files.odd: /in/a.xz: it is compressed with xz
  not read: files.odd: and 2 further paths
b, run 2 (live): 1 row, 10 B, 1 day
  DATE        ROWS  COMPRESSED
  2026-07-01  1     10 B
  run 2 failed, and 'penstock runs show b 2' says why: 'penstock runs retry b 2', or the next start of a host, tries it again
c: nothing to export: the set has not changed
  paused: no run is planned until the pipeline is resumed
d, run 3 (live, planned before): 1 row, 10 B, 1 day
  DATE        ROWS  COMPRESSED
  2026-07-01  1     10 B
e, run 4 (full set, planned before): 5 rows, 10 B
f, run 4 (full set): 1 row, 10 B, before 1 change that is folded first
  cancelled: no run is planned
g: nothing to export in the journal
  not exported: 2 rows of 2026-07-01 to 2026-07-02 lie after 2026-06-30, the last day that this pipeline exports: a later to_date exports them
`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}

// Status names the files that are not read with the reason, and when a running host reads
// the others.
func TestFilesAsText(t *testing.T) {
	t.Parallel()
	got := printed(func(c *cli) {
		c.printFiles([]host.SourceStatus{
			{Name: "files.a", Unread: &host.Unread{Source: "files.a", Skipped: []string{"/in/a.xz: it is compressed with xz"}, SkippedPaths: 1}},
			{Name: "files.b", Positions: 1, Unread: &host.Unread{Source: "files.b", Files: 2, Bytes: 10, NextStart: true}},
			{Name: "files.c", Positions: 1},
		})
	})
	const want = `SOURCE   FILES READ  NOT READ YET                                                  REPAIRED  IN QUARANTINE
files.a  0           nothing                                                       0         none
files.b  1           2 files, 10 B: read at the next start, or with follow = true  0         none
files.c  1           nothing                                                       0         none
files.a: not read: /in/a.xz: it is compressed with xz

`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}

func TestMany(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"1 row": many(1, "row"), "0 rows": many(0, "row"), "2,000 days": many(2000, "day"), "1 query": many(1, "query"), "3 queries": many(3, "query"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The details of checks stand after the table, each on a line.
func TestChecksAsText(t *testing.T) {
	t.Parallel()
	got := printed(func(c *cli) {
		err := c.printChecks([]host.DestinationCheck{
			{Destination: "s3.lake", Project: "shop", Action: "write", OK: true},
			{Destination: "s3.lake", Project: "shop", Action: "conditional write", Detail: "PutObject: RequestID: A1, denied\nallow s3:PutObject"},
			{Destination: "s3.old", Skipped: true, Detail: "no pipeline exports to it"},
		})
		var failed *shownError
		if !errors.As(err, &failed) || failed.status != exitFailed {
			t.Errorf("the error is %v", err)
		}
	})
	const want = `DESTINATION  PROJECT  ACTION             RESULT
s3.lake      shop     write              ok
s3.lake      shop     conditional write  FAILED
s3.old                                   skipped

s3.lake, shop, conditional write, FAILED: PutObject: denied; allow s3:PutObject [RequestID A1]

s3.old, skipped: no pipeline exports to it
`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}

// Pausing and resuming say what has changed, and what keeps a pipeline paused.
func TestPauseAsText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		done   host.Pause
		paused bool
		want   string
	}{
		{host.Pause{Paused: true, Changed: true}, true, "pipeline ev is paused: no further run is planned"},
		{host.Pause{Paused: true}, true, "pipeline ev was paused already"},
		{host.Pause{Changed: true}, false, "pipeline ev is resumed: a running host, or the next 'penstock run', exports its rows"},
		{host.Pause{}, false, "pipeline ev was not paused"},
		{host.Pause{Paused: true, Changed: true, Configured: "a.hcl:7"}, false, "pipeline ev stays paused: the configuration has paused = true (a.hcl:7). Remove that, and restart a running host"},
		{host.Pause{Changed: true, Removed: true}, false, "pipeline ev is resumed: a running host, or the next 'penstock run', exports its rows; it is not in the configuration, so that no run is planned"},
	} {
		tt.done.Pipeline = "ev"
		if got := pauseText(&tt.done, tt.paused); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.done, got, tt.want)
		}
	}
}

// A summary says why nothing was read or exported.
func TestSummaryAsText(t *testing.T) {
	t.Parallel()
	got := printed(func(c *cli) {
		err := c.printSummary(&host.Summary{
			Sources: []host.SourceSummary{
				{Name: "files.none"}, {Name: "files.old", Matched: 3}, {Name: "collector.web"}, {Name: "files.a", Matched: 1, Records: 2, Rows: 1, Duplicates: 1},
				{Name: "files.bad", Error: "open a: permission denied"},
			},
			Pipelines: []host.PipelineSummary{
				{Name: "a", Destination: "s3.lake"},
				{Name: "p", Stream: "events", Destination: "s3.lake", State: "paused", Waiting: 1},
				{Name: "i", Stream: "people", Destination: "s3.lake", State: "paused", Waiting: 2000},
				{Name: "n", Stream: "events", Destination: "s3.lake", State: "paused"},
				{Name: "c", Stream: "events", Destination: "s3.lake", State: "cancelled", Waiting: 2000},
				{Name: "o", Stream: "events", Destination: "s3.lake", Outside: &host.OutsideDates{
					FromDate: "2026-05-30", ToDate: "2026-06-30", Before: &host.DatedRows{Rows: 1000, From: "2023-01-01", To: "2023-01-03"}, After: &host.DatedRows{Rows: 1, From: "2026-07-01", To: "2026-07-01"},
				}},
				{Name: "l", Destination: "s3.lake", LeftOut: 3}, {Name: "f", Destination: "s3.lake", Error: "no bucket"}, {Name: "b", Destination: "s3.lake", Runs: 1, Rows: 1, StoredBytes: 9, Objects: 1, Places: []string{"x"}},
			},
		})
		if err != nil {
			t.Error(err)
		}
	})
	const want = `files.none: its path matches no file (yet)
files.old: nothing new in 3 files
collector.web: nothing waits in its log
files.a: 2 records read, 1 row new, 1 repeated
files.bad: 0 records read, 0 rows new, 0 repeated, then failed
a → s3.lake: nothing new to export
p → s3.lake: paused; 1 row waits for 'penstock pipelines resume p'
i → s3.lake: paused; 2,000 changes wait for 'penstock pipelines resume i'
n → s3.lake: paused; nothing waits
c → s3.lake: cancelled; 2,000 rows are not exported: a pipeline with another name and adopt = true goes on where it stopped
o → s3.lake: nothing new to export
  not exported: 1,000 rows of 2023-01-01 to 2023-01-03 lie before 2026-05-30, the first day that this pipeline exports. from_date is fixed when a pipeline is registered: to export all rows, give its block another name, from_date = "2023-01-01" and adopt = true, and let max_backfill in the host block reach so far back
  not exported: 1 row of 2026-07-01 lies after 2026-06-30, the last day that this pipeline exports: a later to_date exports them
l → s3.lake: nothing new to export
  came too late and left out (sync = false): 3 rows
f → s3.lake: 0 runs, 0 rows, 0 B in 0 objects
  failed
b → s3.lake: 1 run, 1 row, 9 B in 1 object
  x
`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}

func TestDestinationsAsText(t *testing.T) {
	t.Parallel()
	got := printed(func(c *cli) {
		c.printDestinations(nil)
		c.printDestinations([]host.DestinationStatus{
			{Name: "localfs.apart", Plugin: "localfs"},
			{Name: "s3.lake", Plugin: "s3", Pipelines: []host.DestinationPipeline{
				{Name: "events", Project: "shop", Stream: "events", State: "active", Rows: 1234, LastRun: someRun(2, "succeeded", "")},
				{Name: "people", Project: "shop", Stream: "people"},
			}},
		})
	})
	const want = `the configuration has no destination
DESTINATION    PIPELINE  PROJECT  STREAM  STATE               ROWS EXPORTED  LAST RUN (UTC)
localfs.apart  none
s3.lake        events    shop     events  active              1,234          2026-07-02 09:30:00, run 2 succeeded
s3.lake        people    shop     people  not registered yet  0              never
`
	if got != want {
		t.Errorf("it prints\n%s\nwant\n%s", got, want)
	}
}
