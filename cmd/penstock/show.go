package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPipelineShowCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "show PIPELINE", Short: "Show a pipeline, its targets and its latest runs", Args: exactly("PIPELINE"),
		ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				p, err := views.Pipeline(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(p)
				}
				c.printPipeline(p)
				return nil
			})
		},
	}
}

// printPipeline prints a pipeline as lines of a name and a value.
func (c *cli) printPipeline(p *host.PipelineDetail) {
	lines := [][]string{{"pipeline", p.Name}, {"id", p.ID}, {"state", pipelineState(p.PipelineStatus)}, {"project", fmt.Sprint(p.Project)}, {"stream", p.Stream}, {"destination", p.Destination}}
	if p.From != "" {
		lines = append(lines, []string{"dates", strings.TrimPrefix(datesText(host.TargetStatus{From: p.From, To: p.To}), ": ")})
	}
	lines = append(lines,
		[]string{"registered", utc(p.CreatedAt) + " UTC"}, []string{"rows exported", thousands(p.Rows)}, []string{"rejected", thousands(p.Rejected)},
		[]string{"not exported yet", behind(p.PipelineStatus)}, []string{"next run (UTC)", nextRun(p.PipelineStatus, c.time())})
	for _, t := range p.Targets {
		text := t.URI
		if dates := datesText(t); dates != "" {
			text += dates
		}
		if t.AdoptedBy != "" {
			text += ", adopted by " + t.AdoptedBy
		}
		lines = append(lines, []string{"target", text})
	}
	for _, id := range p.Adopted {
		lines = append(lines, []string{"goes on for", "the pipeline with id " + id})
	}
	for _, line := range lines {
		fmt.Fprintf(c.out, "%-17s %s\n", line[0], escape(line[1]))
	}
	for _, text := range outsideTexts(p.Outside) {
		fmt.Fprintf(c.out, "\nnot exported: %s\n", escape(text))
	}
	fmt.Fprintln(c.out)
	c.printRuns(p.LatestRuns)
	if p.Error != "" {
		fmt.Fprintf(c.out, "\nthe host will retry: %s\n", oneLine(p.Error))
	}
	if p.Refused != "" {
		fmt.Fprintf(c.out, "\nthe next run is refused: %s\n", oneLine(p.Refused))
	}
}

func newRunShowCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "show PIPELINE NUMBER", Short: "Show a run, its rows by date, and why an attempt at it failed", Args: exactly("PIPELINE", "NUMBER"),
		ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := runNumber(args[1])
			if err != nil {
				return err
			}
			return c.look(cmd.Context(), func(views host.Views) error {
				r, err := views.Run(cmd.Context(), args[0], number)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(r)
				}
				c.printRun(r)
				return nil
			})
		},
	}
}

func runNumber(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, usageError{fmt.Errorf("run number %q is not a number", text)}
	}
	return number, nil
}

func (c *cli) printRun(r *host.RunDetail) {
	fmt.Fprintf(c.out, "%s, run %d: %s\n", r.Pipeline, r.Number, r.State)
	fmt.Fprintf(c.out, "planned %s UTC, %s", utc(r.PlannedAt), many(r.Attempts, "attempt"))
	if r.StartedAt != nil {
		fmt.Fprintf(c.out, ", the first at %s UTC", utc(*r.StartedAt))
	}
	if r.FinishedAt != nil {
		fmt.Fprintf(c.out, ", ended %s UTC", utc(*r.FinishedAt))
	}
	if r.Seconds > 0 {
		fmt.Fprintf(c.out, ", after %s", time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond))
	}
	fmt.Fprintf(c.out, "\n%s, %s; rejected: %s; at the destination: %s, %s\n\n",
		many(r.Rows, "row"), size(r.Bytes), thousands(r.Rejected), size(r.StoredBytes), many(int64(len(r.Objects)), "file"))
	var rows [][]string
	for _, d := range r.PerDay {
		if d.Date == "" {
			d.Date = fullSet
		}
		rows = append(rows, []string{d.Date, thousands(d.Rows), thousands(d.Rejected), size(d.StoredBytes), fmt.Sprint(d.Files)})
	}
	c.table([]string{"date", "rows", "rejected", "bytes", "files"}, rows)
	if len(r.Changed) > 0 {
		fmt.Fprintf(c.out, "\nrows changed to fit the destination, by reason: %s\n", byReason(r.Changed))
	}
	if r.Error != "" && r.State != succeededRun {
		class := ""
		if r.ErrorClass != "" {
			class = " (" + r.ErrorClass + ")"
		}
		fmt.Fprintf(c.out, "\nerror%s: %s\n", class, escape(r.Error))
	}
	c.printPluginLog(r.PluginLog)
}

// printPluginLog prints the plugin's last lines from before an attempt failed.
func (c *cli) printPluginLog(lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(c.out, "\nthe plugin's last log lines:\n")
	for _, line := range lines {
		fmt.Fprintf(c.out, "  %s\n", escape(line))
	}
}
