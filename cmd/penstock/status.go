package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newStatusCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show projects, sources and pipelines, and how they stand",
		Args:  none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				status, err := views.Status(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(status)
				}
				c.printStatus(status)
				return nil
			})
		},
	}
}

func (c *cli) printStatus(s *host.Status) {
	fmt.Fprintf(c.out, "%s: %s\n\n", s.DataDir, hostState(s))
	c.printProjects(s.Projects)
	c.printFiles(s.Sources)
	if len(s.Collectors) > 0 {
		c.printCollectors(s.Collectors)
		fmt.Fprintln(c.out)
	}
	if len(s.Pulls) > 0 {
		c.printPulls(s.Pulls)
		fmt.Fprintln(c.out)
	}
	c.printQuarantineStatus(s.Quarantine)
	c.printPipelines(s.Pipelines)
	if u := s.Upkeep; u != nil {
		fmt.Fprintln(c.out, upkeepLine(u))
	}
}

// hostState reports whether a host serves the data directory.
func hostState(s *host.Status) string {
	switch {
	case s.Running:
		return "a host is running"
	case s.DataDirMissing:
		return "no host is running; this directory does not exist: data_dir may be mistyped, or no host has run with it yet"
	}
	return "no host is running"
}

// printProjects prints the journals of projects, and their identity links if there are any.
func (c *cli) printProjects(projects []host.ProjectStatus) {
	var rows, links [][]string
	for _, p := range projects {
		rows = append(rows, []string{p.Name, fmt.Sprint(p.ID), p.TimeZone, fmt.Sprint(p.Sequence), thousands(p.Rows), size(p.Bytes)})
		if i := p.Identity; i != nil {
			links = append(links, []string{p.Name, thousands(i.IDs), thousands(i.Mappings), reasons(i.Refused)})
		}
	}
	c.table([]string{"project", "id", "time zone", "seals", "rows", "journal"}, rows)
	for _, p := range projects {
		if p.Failing != "" {
			fmt.Fprintf(c.out, "FAILING: the journal of project %s takes nothing, and the host will retry: %s\n", p.Name, p.Failing)
		}
		if p.Missing != nil {
			fmt.Fprintf(c.out, "MISSING: %v\n", p.Missing)
		}
	}
	fmt.Fprintln(c.out)
	if len(links) > 0 {
		c.table([]string{"project", "linked ids", "mappings", "refused links"}, links)
		fmt.Fprintln(c.out)
	}
}

// printFiles prints the sources of files, if there are any.
func (c *cli) printFiles(sources []host.SourceStatus) {
	if len(sources) == 0 {
		return
	}
	var rows [][]string
	for _, source := range sources {
		waiting := "nothing"
		if source.Unread != nil {
			waiting = cmp.Or(unread(*source.Unread), waiting)
		}
		rows = append(rows, []string{source.Name, fmt.Sprint(source.Positions), waiting, thousands(source.Repaired), reasons(source.Quarantined)})
	}
	c.table([]string{"source", "files read", "not read yet", "repaired", "in quarantine"}, rows)
	for _, source := range sources {
		if source.NoFile != "" {
			fmt.Fprintf(c.out, "%s: %s\n", source.Name, source.NoFile)
		}
		if source.Warning != "" {
			fmt.Fprintf(c.out, "%s: %s\n", source.Name, source.Warning)
		}
		if source.Unread != nil {
			for _, path := range skippedPaths(*source.Unread) {
				fmt.Fprintf(c.out, "%s: not read: %s\n", source.Name, path)
			}
		}
		for _, path := range source.Waiting {
			fmt.Fprintf(c.out, "%s waits for the rest of the last record of %s\n", source.Name, path)
		}
	}
	fmt.Fprintln(c.out)
}

// printQuarantineStatus prints the size of the quarantine, and the records that
// cannot be replayed.
func (c *cli) printQuarantineStatus(q host.QuarantineStatus) {
	if len(q.Counts) == 0 && q.MissingRecords == 0 {
		return
	}
	fmt.Fprintf(c.out, "quarantine: %s of %s at most\n", size(q.Bytes), size(q.Cap))
	for _, n := range q.Counts {
		if n.Truncated > 0 {
			fmt.Fprintf(c.out, "  %s: of %s only the beginning is kept, which cannot be replayed\n", n.Source, many(n.Truncated, n.Reason+" record"))
		}
		if n.OnlyCounted > 0 {
			fmt.Fprintf(c.out, "  %s: %s %s only counted, because the quarantine was full: nothing else is kept here\n", n.Source, many(n.OnlyCounted, n.Reason+" record"), verb(n.OnlyCounted, "is", "are"))
		}
	}
	c.printMissing(q.QuarantineLosses)
	fmt.Fprintln(c.out)
}

// printMissing names the files of the quarantine that have lost records.
func (c *cli) printMissing(q host.QuarantineLosses) {
	shown := int64(0)
	for _, m := range q.Missing {
		shown += m.Records
		fmt.Fprintf(c.out, "  MISSING: %s of %s (%s), kept in %s before and not there any more: %s\n",
			many(m.Records, "record"), m.Source, reasons(m.Reasons), m.File, m.Consequence)
	}
	if more := q.MissingRecords - shown; more > 0 {
		fmt.Fprintf(c.out, "  MISSING: %s of other files\n", many(more, "record"))
	}
}

// failingEffect returns the consequence of a collector's error for its clients.
func failingEffect(s host.CollectorStatus) string {
	if s.Listening {
		return "answers 503"
	}
	return "does not listen"
}

// leavingText is the state of a collector that is not configured any more.
const leavingText = "is removed, and its log goes to the journal"

func (c *cli) printCollectors(collectors []host.CollectorStatus) {
	var rows, refused, counts [][]string
	for _, s := range collectors {
		listen := "does not listen"
		if s.Leaving {
			listen = leavingText
		}
		if s.Listening {
			listen = "http://" + s.Listen
			if s.TLS {
				listen = "https://" + s.Listen
			}
		}
		var requests int64
		for _, n := range s.Requests {
			requests += n.Requests
			if n.Reason != "" {
				refused = append(refused, []string{s.Name, endpoint(n.Endpoint), fmt.Sprint(n.Status), n.Reason, thousands(n.Requests)})
			}
		}
		waiting := "not known" // to a host of an older version
		if s.Waiting != nil {
			waiting = thousands(*s.Waiting)
		}
		rows = append(rows, []string{s.Name, listen, thousands(requests), waiting, size(s.LogBytes), reasons(s.Quarantined)})
		for _, n := range s.Records {
			project := n.Project
			if project == "" {
				project = "not known"
			}
			counts = append(counts, []string{s.Name, project, "/" + n.Endpoint, n.Outcome, thousands(n.Records)})
		}
	}
	c.table([]string{"collector", "listens", "requests", "waiting", "log", "in quarantine"}, rows)
	if len(refused) > 0 {
		fmt.Fprintln(c.out)
		c.table([]string{"collector", "endpoint", "status", "refused because", "requests"}, refused)
	}
	if len(counts) > 0 {
		fmt.Fprintln(c.out)
		c.table([]string{"collector", "project", "endpoint", "outcome", "records"}, counts)
	}
	for _, s := range collectors {
		if s.Failing != "" {
			fmt.Fprintf(c.out, "FAILING: %s %s, and the host will retry: %s\n", s.Name, failingEffect(s), s.Failing)
		}
		c.printLosses(s.Lost)
	}
}

// endpoint is a path as clients ask for it.
func endpoint(name string) string {
	if name == "other" {
		return "other paths"
	}
	return "/" + name
}

// printLosses prints the missing parts of write-ahead logs, and how to confirm
// that they are known.
func (c *cli) printLosses(losses []host.LogLoss) {
	for _, l := range losses {
		fmt.Fprintf(c.out, "LOST %s, found %s: %s\n", l.Source, l.Time.UTC().Format("2006-01-02 15:04:05 UTC"), l.Detail)
		if l.Cut != "" {
			fmt.Fprintf(c.out, "  half an entry was cut: %s\n", l.Cut)
		}
		if l.Noted != "" {
			fmt.Fprintf(c.out, "  remove %s when you have dealt with it\n", l.Noted)
		}
	}
}

// reasons lists counts by reason, most first.
func reasons(counts map[string]int64) string {
	if len(counts) == 0 {
		return "none"
	}
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		if counts[names[i]] != counts[names[j]] {
			return counts[names[i]] > counts[names[j]]
		}
		return names[i] < names[j]
	})
	text := ""
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %s", thousands(counts[name]), name)
	}
	return text
}

// The states of a run that cmd knows.
const (
	failedRun    = "failed" // waits for 'penstock runs retry' or the next start of a host
	succeededRun = "succeeded"
)

// The states of a pipeline that cmd knows.
const (
	pausedPipeline    = "paused"
	cancelledPipeline = "cancelled"
)

func (c *cli) printPipelines(pipelines []host.PipelineStatus) {
	if len(pipelines) == 0 {
		fmt.Fprintln(c.out, "no pipeline is registered yet: the first 'penstock run' registers those of the configuration")
		return
	}
	var rows [][]string
	for _, p := range pipelines {
		rows = append(rows, []string{
			p.Name, p.Destination, pipelineState(p), thousands(p.Rows), thousands(p.Rejected), behind(p), lastRun(p.LastRun), nextRun(p, c.time()),
		})
	}
	c.table([]string{"pipeline", "destination", "state", "rows exported", "rejected", "not exported yet", "last run (utc)", "next run (utc)"}, rows)
	for _, p := range pipelines {
		if p.Backfill != nil {
			fmt.Fprintf(c.out, "\n%s: backfill: %s\n", p.Name, backfill(*p.Backfill))
		}
		if p.LeftOut > 0 {
			fmt.Fprintf(c.out, "\n%s: %s came too late and %s left out (sync = false)\n", p.Name, many(p.LeftOut, "row"), verb(p.LeftOut, "was", "were"))
		}
		for _, text := range outsideTexts(p.Outside) {
			fmt.Fprintf(c.out, "\n%s: not exported: %s\n", p.Name, text)
		}
		if len(p.Changed) > 0 {
			fmt.Fprintf(c.out, "\n%s: rows changed to fit the destination, by reason: %s\n", p.Name, byReason(p.Changed))
		}
		if p.LastRun != nil && p.LastRun.Error != "" && p.LastRun.State != succeededRun {
			c.printRunError(*p.LastRun)
		}
		if p.Error != "" {
			fmt.Fprintf(c.out, "\n%s: the host will retry: %s\n", p.Name, oneLine(p.Error))
		}
		if p.Refused != "" {
			fmt.Fprintf(c.out, "\n%s: the next run is refused: %s\n", p.Name, oneLine(p.Refused))
		}
	}
}

// backfill is how far a backfill has come.
func backfill(b host.Backfill) string {
	text := fmt.Sprintf("%d of %s, %s of %s, %s of %s", b.DaysDone, many(int64(b.Days), "day"), thousands(b.RowsDone), many(b.Rows, "row"),
		size(b.BytesDone), size(b.Bytes))
	if b.BytesPerSecond > 0 {
		text += fmt.Sprintf(", %s per second", size(b.BytesPerSecond))
	}
	if b.SecondsLeft > 0 {
		text += fmt.Sprintf(", about %s left", time.Duration(b.SecondsLeft)*time.Second)
	}
	return text
}

// byReason lists counts of rows, the reasons in alphabetical order.
func byReason(rows map[string]int64) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, reason+" "+thousands(rows[reason]))
	}
	return strings.Join(list, ", ")
}

// printRunError prints the error of a run, and the command that retries a failed
// one. An error that needs a recovery names its command itself.
func (c *cli) printRunError(r host.RunStatus) {
	again := ""
	if r.State == failedRun && !r.NeedsRecovery {
		again = fmt.Sprintf(" (then: penstock runs retry %s %d, or start the host again)", r.Pipeline, r.Number)
	}
	if r.RetryAt != nil {
		again = fmt.Sprintf(" (next attempt: %s UTC)", utc(*r.RetryAt))
	}
	state := r.State
	if r.State == failedRun && r.ErrorClass == "configuration" {
		state = "failed: configuration error"
	}
	// The error begins with the run, too.
	text := strings.TrimPrefix(r.Error, fmt.Sprintf("run %d of pipeline %s: ", r.Number, r.Pipeline))
	fmt.Fprintf(c.out, "\n%s, run %d %s: %s%s\n", r.Pipeline, r.Number, state, oneLine(text), again)
}

// upkeepLine describes the latest pass over the journals.
func upkeepLine(u *host.Upkeep) string {
	line := fmt.Sprintf("journals tidied %s UTC: ", utc(u.FinishedAt))
	switch {
	case u.Error != "":
		return "FAILING: " + line + oneLine(u.Error)
	case !u.AheadSince.IsZero():
		line += fmt.Sprintf("the clock is far ahead of %s UTC, no further rows are removed for now; ", utc(u.CountedTo))
	}
	if u.Rewritten+u.Swept == 0 {
		return line + "nothing was due"
	}
	return line + fmt.Sprintf("%s removed, %s made of %d, %s freed, %s removed",
		many(u.RowsRemoved, "row"), many(int64(u.Written), "file"), u.Rewritten, size(u.BytesFreed), many(int64(u.Swept), "orphan"))
}

// pipelineState is a pipeline's state; a backfill is named.
func pipelineState(p host.PipelineStatus) string {
	if p.Phase == "backfill" && p.State != "removed" {
		return p.State + ", backfill"
	}
	return p.State
}

// behind is how much of the journal a pipeline has yet to export.
func behind(p host.PipelineStatus) string {
	thing := "row"
	if p.Phase == fullSet {
		thing = "change"
	}
	if p.BehindRows == 0 {
		return "nothing"
	}
	return many(p.BehindRows, thing)
}

func lastRun(r *host.RunStatus) string {
	switch {
	case r == nil:
		return "never"
	case r.FinishedAt != nil:
		return fmt.Sprintf("%s, run %d %s", utc(*r.FinishedAt), r.Number, r.State)
	}
	return fmt.Sprintf("%s, run %d %s", utc(r.PlannedAt), r.Number, r.State)
}

// nextRun is when the next run is due, at now.
func nextRun(p host.PipelineStatus, now time.Time) string {
	switch {
	case p.NextRunAt == nil:
		return "none"
	case p.NextRunAt.After(now):
		return utc(*p.NextRunAt)
	case p.BehindRows == 0:
		return "when there is something to export"
	}
	return "due"
}
