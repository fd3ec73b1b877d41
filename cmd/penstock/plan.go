package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPlanCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what the next run of each pipeline would export",
		Long: `Show the rows in the journal that the next run of each pipeline would export:
dates, rows, bytes. Below them stand rows that lie outside the dates of the
pipeline, and sources with records that are not in the journal yet: the next
start of 'penstock run' and 'penstock run --once' read them. A running host reads
further files of a source with follow = true only. The command plans no run and
reads no source.

Above them stand the pipelines whose block is not as they were registered, with
the effect of each change. A change that would be refused ends the command with
status 2. While a host runs, the changes that a reload would make come first.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.load(cmd.Context(), host.LoadOptions{Command: true})
			if err != nil {
				return err
			}
			if err := c.planReload(cmd.Context(), config); err != nil {
				return err
			}
			changes, err := host.DefinitionChanges(cmd.Context(), config)
			if err != nil {
				c.note(fmt.Sprintf("changes of definitions are not known: %v", err))
			}
			return c.lookAt(cmd.Context(), config, func(views host.Views) error {
				runs, err := views.Plan(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					return errors.Join(c.printJSON(planned(runs, changes)), refusal(changes))
				}
				for _, change := range changes {
					c.printChange(change)
				}
				if len(runs) == 0 {
					fmt.Fprintln(c.out, "the configuration has no pipeline")
				}
				for _, r := range runs {
					c.printPlanned(r)
				}
				return refusal(changes)
			})
		},
	}
}

// plannedRun is a planned run with the changes of its pipeline's definition.
type plannedRun struct {
	host.PlannedRun
	Definition []host.DefinitionChange `json:"definition,omitempty"`
}

// planned adds the changes of definitions to the runs. A pipeline that is not configured
// any more has no run.
func planned(runs []host.PlannedRun, changes []host.DefinitionChange) []plannedRun {
	all := []plannedRun{}
	for _, r := range runs {
		all = append(all, plannedRun{PlannedRun: r})
	}
	for _, change := range changes {
		i := slices.IndexFunc(all, func(r plannedRun) bool { return r.Pipeline == change.Pipeline })
		if i < 0 {
			i = len(all)
			all = append(all, plannedRun{PlannedRun: host.PlannedRun{Pipeline: change.Pipeline, State: "removed", Days: []host.PlannedDay{}}})
		}
		all[i].Definition = append(all[i].Definition, change)
	}
	return all
}

// refusal returns the error that ends a plan with the status of a wrong configuration,
// if one of the changes is refused.
func refusal(changes []host.DefinitionChange) error {
	for _, change := range changes {
		if change.Refused {
			return &shownError{exitConfiguration}
		}
	}
	return nil
}

func (c *cli) printChange(change host.DefinitionChange) {
	text := change.Pipeline
	if change.File != "" {
		text += fmt.Sprintf(" (%s:%d)", change.File, change.Line)
	}
	if change.Attribute != "" {
		text += fmt.Sprintf(": %s changes from %s to %s", change.Attribute, change.Was, change.Is)
	}
	if change.Refused {
		text += ", which is refused"
	}
	fmt.Fprintf(c.out, "%s: %s\n", escape(text), escape(change.Consequence))
}

func (c *cli) printPlanned(r host.PlannedRun) {
	switch {
	case r.Phase == fullSet:
		c.printPlannedSet(r)
	case len(r.Days) == 0:
		fmt.Fprintf(c.out, "%s: nothing to export in the journal\n", r.Pipeline)
	default:
		fmt.Fprintf(c.out, "%s, run %d (%s): %s, %s, %s\n",
			r.Pipeline, r.Number, phaseText(r), many(r.Rows, "row"), size(r.Bytes), many(int64(len(r.Days)), "day"))
		rows := make([][]string, 0, len(r.Days))
		for _, d := range r.Days {
			rows = append(rows, []string{"  " + d.Date, thousands(d.Rows), size(d.Bytes)})
		}
		c.table([]string{"  date", "rows", "compressed"}, rows)
	}
	switch r.State {
	case "failed":
		fmt.Fprintf(c.out, "  run %d failed, and 'penstock runs show %s %d' says why: 'penstock runs retry %s %d', or the next start of a host, tries it again\n",
			r.Number, r.Pipeline, r.Number, r.Pipeline, r.Number)
	case pausedPipeline:
		fmt.Fprintf(c.out, "  paused: no run is planned until the pipeline is resumed\n")
	case cancelledPipeline:
		fmt.Fprintf(c.out, "  cancelled: no run is planned\n")
	}
	for _, text := range outsideTexts(r.Outside) {
		fmt.Fprintf(c.out, "  not exported: %s\n", text)
	}
	if r.NextRunAt != nil && r.NextRunAt.After(c.time()) {
		fmt.Fprintf(c.out, "  next run: %s UTC\n", utc(*r.NextRunAt))
	}
	for _, u := range r.Unread {
		if text := unread(u); text != "" {
			fmt.Fprintf(c.out, "  not in the journal yet: %s: %s\n", u.Source, text)
		}
		for _, path := range skippedPaths(u) {
			fmt.Fprintf(c.out, "  not read: %s: %s\n", u.Source, path)
		}
	}
}

// phaseText is the phase of a run, and whether it is one that was planned and did
// not end: its rows are fixed.
func phaseText(r host.PlannedRun) string {
	if r.Fixed {
		return r.Phase + ", planned before"
	}
	return r.Phase
}

// unread is the part of a source that is not in the journal, in words; "" if the source
// has nothing but paths that are not read.
func unread(u host.Unread) string {
	switch {
	case u.Error != "":
		return "not known: " + oneLine(u.Error)
	case u.Days > 0:
		text := fmt.Sprintf("%s to pull", many(int64(u.Days), "day"))
		if u.CaughtUpAt != nil {
			text += fmt.Sprintf(", until about %s", utc(*u.CaughtUpAt))
		}
		return text
	case u.Files > 0:
		text := fmt.Sprintf("%s, %s", many(int64(u.Files), "file"), size(u.Bytes))
		if u.NextStart {
			text += ": read at the next start, or with follow = true"
		}
		return text
	case u.Requests > 0:
		return many(u.Requests, "request") + " in its log"
	}
	return ""
}

// skippedPaths lists the paths of a source that are not read, with the reasons.
func skippedPaths(u host.Unread) []string {
	list := slices.Clone(u.Skipped)
	if more := u.SkippedPaths - len(list); more > 0 {
		list = append(list, "and "+many(int64(more), "further path"))
	}
	return list
}

// outsideTexts describes the rows that lie outside a pipeline's dates, and the way to
// have them exported.
func outsideTexts(o *host.OutsideDates) []string {
	if o == nil {
		return nil
	}
	var texts []string
	if d := o.Before; d != nil {
		texts = append(texts, fmt.Sprintf("%s before %s, the first day that this pipeline exports. from_date is fixed when a pipeline is registered: "+
			"to export all rows, give its block another name, from_date = %q and adopt = true, and let max_backfill in the host block reach so far back",
			lie(*d), o.FromDate, d.From))
	}
	if d := o.After; d != nil {
		texts = append(texts, fmt.Sprintf("%s after %s, the last day that this pipeline exports: a later to_date exports them", lie(*d), o.ToDate))
	}
	return texts
}

// lie is a number of rows with their dates: "1 row of 2023-01-01 lies".
func lie(d host.DatedRows) string {
	dates := d.From
	if d.To != d.From {
		dates += " to " + d.To
	}
	return fmt.Sprintf("%s of %s %s", many(d.Rows, "row"), dates, verb(d.Rows, "lies", "lie"))
}

// fullSet is the phase of pipelines whose runs replace all that was exported.
const fullSet = "full set"

func (c *cli) printPlannedSet(r host.PlannedRun) {
	if r.Unchanged {
		why := "the set has not changed"
		if r.Rows == 0 {
			why = "the set is empty"
		}
		fmt.Fprintf(c.out, "%s: nothing to export: %s\n", r.Pipeline, why)
		return
	}
	fmt.Fprintf(c.out, "%s, run %d (%s): %s, %s", r.Pipeline, r.Number, phaseText(r), many(r.Rows, "row"), size(r.Bytes))
	if r.Changes > 0 {
		fmt.Fprintf(c.out, ", before %s that %s folded first", many(r.Changes, "change"), verb(r.Changes, "is", "are"))
	}
	fmt.Fprintln(c.out)
	if r.Refused != "" {
		fmt.Fprintf(c.out, "  refused: %s\n", oneLine(r.Refused))
	}
}
