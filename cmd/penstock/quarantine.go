package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

// noneInQuarantine is the answer for a source and a reason without records.
const noneInQuarantine = "nothing in quarantine is of this source and reason"

func newQuarantineCommand(c *cli) *cobra.Command {
	var filter host.QuarantineFilter
	list := &cobra.Command{
		Use: "list", Short: "List refused records", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				quarantined, err := views.Quarantine(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(quarantined)
				}
				if len(quarantined.Counts) == 0 && quarantined.MissingRecords == 0 && (filter.Source != "" || filter.Reason != "") {
					fmt.Fprintln(c.out, noneInQuarantine)
					return nil
				}
				c.printQuarantine(quarantined)
				return nil
			})
		},
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Show one record with its bytes", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				quarantined, err := views.Quarantine(cmd.Context(), host.QuarantineFilter{ID: args[0]})
				if err != nil {
					return err
				}
				if len(quarantined.Records) == 0 {
					return fmt.Errorf("no record %q in quarantine; see 'penstock quarantine list'", args[0])
				}
				return c.showQuarantined(quarantined.Records[0])
			})
		},
	}
	replay := &cobra.Command{
		Use: "replay", Short: "Feed refused records to the journal again", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withOperations(cmd, func(operations host.Operations) error {
				report, err := operations.ReplayQuarantine(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(report)
				}
				if report.Records == 0 && (filter.Source != "" || filter.Reason != "") {
					fmt.Fprintln(c.out, noneInQuarantine)
					return nil
				}
				fmt.Fprintf(c.out, "replayed %s: %s accepted, %s refused again\n", many(report.Records, "record"), thousands(report.Accepted), thousands(report.Refused))
				if report.Repaired > 0 {
					fmt.Fprintf(c.out, "  repaired: in %s of them U+FFFD replaces half characters\n", thousands(report.Repaired))
				}
				if report.Truncated > 0 {
					fmt.Fprintf(c.out, "not tried: %s of the refused, of which only the beginning is kept\n", thousands(report.Truncated))
				}
				return nil
			})
		},
	}
	drop := newQuarantineDropCommand(c, &filter)
	for _, command := range []*cobra.Command{list, replay, drop} {
		command.Flags().StringVar(&filter.Source, "source", "", "only of this source, or pipeline-NAME")
		command.Flags().StringVar(&filter.Reason, "reason", "", "only with this reason")
		c.completeFlag(command, "source", quarantineSources)
	}
	list.Flags().IntVar(&filter.Limit, "limit", 100, "how many records to list")
	replay.Flags().StringVar(&filter.ID, "id", "", "only this record")
	return group("quarantine", "List, show, replay and drop refused records", list, show, replay, drop)
}

func (c *cli) printQuarantine(list *host.QuarantineList) {
	c.printMissing(list.QuarantineLosses)
	if len(list.Counts) == 0 {
		fmt.Fprintln(c.out, "nothing is in quarantine")
		return
	}
	c.printCounts(list.Counts)
	fmt.Fprintln(c.out)
	var rows [][]string
	for _, r := range list.Records {
		rows = append(rows, []string{r.ID, r.Source, r.Position, r.Reason, recordSize(r), excerpt(r.Bytes, 60)})
	}
	c.table([]string{"id", "source", "position", "reason", "size", "record"}, rows)
}

// printCounts prints numbers of records by source and reason.
func (c *cli) printCounts(counts []host.QuarantineCount) {
	var rows [][]string
	for _, n := range counts {
		rows = append(rows, []string{n.Source, n.Reason, thousands(n.Count), thousands(n.Truncated), thousands(n.OnlyCounted)})
	}
	c.table([]string{"source", "reason", "records", "truncated", "only counted"}, rows)
}

// recordSize says how much of a record is kept.
func recordSize(r host.QuarantinedRecord) string {
	switch {
	case !r.Truncated:
		return size(r.Size)
	case r.OriginalSize > 0:
		return fmt.Sprintf("%s of %s", size(r.Size), size(r.OriginalSize))
	default:
		return "the first " + size(r.Size)
	}
}

func (c *cli) showQuarantined(r host.QuarantinedRecord) error {
	if c.json {
		return c.printJSON(r)
	}
	fmt.Fprintf(c.out, "id:       %s\nsource:   %s\nposition: %s\nreason:   %s\ndetail:   %s\nsize:     %s\nset aside %s UTC\n\n",
		r.ID, r.Source, r.Position, r.Reason, r.Detail, recordSize(r), utc(r.Time))
	if utf8.Valid(r.Bytes) {
		out := c.out
		if !terminal(out) {
			out = unescaped(out) // a file gets the record as it came
		}
		fmt.Fprintf(out, "%s\n", r.Bytes)
	} else {
		fmt.Fprintf(c.out, "%q\n", r.Bytes)
	}
	return nil
}

// excerpt is the beginning of a record on one line.
func excerpt(record []byte, limit int) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return '·'
		}
		return r
	}, string(record[:min(len(record), limit)]))
	if len(record) > limit {
		text += "…"
	}
	return text
}
