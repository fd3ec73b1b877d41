package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newJournalCommand(c *cli) *cobra.Command {
	return group("journal", "Inspect, verify and repair the journal",
		&cobra.Command{
			Use: "inspect", Short: "List segments and what lies in them", Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.look(cmd.Context(), func(views host.Views) error {
					segments, err := views.Segments(cmd.Context())
					if err != nil {
						return err
					}
					if c.json {
						return c.printJSON(segments)
					}
					c.printSegments(segments)
					return nil
				})
			},
		},
		&cobra.Command{
			Use: "verify", Short: "Read every byte of the journal and compare checksums", Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.look(cmd.Context(), func(views host.Views) error {
					report, err := views.VerifyJournal(cmd.Context())
					if err != nil {
						return err
					}
					return c.printJournalReport(report)
				})
			},
		},
		&cobra.Command{
			Use: "stats", Short: "Show what the journal holds by day, and what keeps old rows from being removed", Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.look(cmd.Context(), func(views host.Views) error {
					stats, err := views.JournalStats(cmd.Context())
					if err != nil {
						return err
					}
					if c.json {
						return c.printJSON(stats)
					}
					for _, s := range stats {
						c.printStats(s)
					}
					return nil
				})
			},
		},
		newRebuildCommand(c),
	)
}

func newRebuildCommand(c *cli) *cobra.Command {
	var o host.RebuildOptions
	command := &cobra.Command{
		Use: "rebuild-catalog", Short: "Restore a lost or damaged catalog from segments and commit records", Args: none,
		Long: `Restore the catalog from segments and commit records. The host must be stopped.
The old catalog is kept next to the new one. Pipelines keep their ids and their
runs as far as the old catalog can be read; the command names what it could not
restore, and the consequences. A catalog that is in order is only rebuilt with
--force.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.load(cmd.Context(), host.LoadOptions{Command: true})
			if err != nil {
				return err
			}
			report, err := host.RebuildCatalog(cmd.Context(), config, o)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(report)
			}
			c.printRebuild(report)
			return nil
		},
	}
	command.Flags().BoolVar(&o.Force, "force", false, "rebuild a catalog that is in order")
	return command
}

func (c *cli) printRebuild(report *host.RebuildReport) {
	fmt.Fprintf(c.out, "restored: %s with %s, %s\n", many(int64(report.Segments), "segment"), many(report.Rows, "row"), many(int64(report.Cursors), "source cursor"))
	if report.Pipelines > 0 {
		fmt.Fprintf(c.out, "kept: %s with ids and cursors, %s\n", many(int64(report.Pipelines), "pipeline"), many(int64(report.Runs), "run"))
	}
	for _, n := range report.NotRestored {
		fmt.Fprintf(c.out, "not restored: %s\n", n)
	}
	if report.OldCatalog != "" {
		fmt.Fprintf(c.out, "the old catalog is kept as %s\n", report.OldCatalog)
	}
}

func (c *cli) printStats(s host.JournalStats) {
	fmt.Fprintf(c.out, "%s: %s in %s, %s; %s of %s (rows: %s) on average; %s\n",
		s.Project, many(s.Seals, "seal"), many(s.Files, "file"), size(s.Bytes), many(s.Blocks, "block"), size(s.MeanBlock), size(s.MeanBlockRows), many(s.Keys, "key"))
	var rows [][]string
	for _, d := range s.Days {
		rows = append(rows, []string{"  " + d.Date, d.Kind, thousands(d.Rows), size(d.Bytes), thousands(d.Blocks), thousands(d.Removed)})
	}
	if len(rows) > 0 {
		c.table([]string{"  utc date", "kind", "rows", "compressed", "blocks", "removed rows"}, rows)
	}
	fmt.Fprintf(c.out, "retention keeps rows from %s on", s.Retention)
	if s.Due.Rows > 0 {
		fmt.Fprintf(c.out, "; the next pass removes %s, %s", many(s.Due.Rows, "row"), size(s.Due.Bytes))
	}
	fmt.Fprintln(c.out)
	for _, h := range s.Held {
		fmt.Fprintf(c.out, "HELD: %s of %s to %s, %s, %s kept for %s\n", many(h.Rows, "older row"), h.From, h.To, size(h.Bytes), verb(h.Rows, "is", "are"), h.Holder)
	}
	for _, name := range s.Orphans {
		fmt.Fprintf(c.out, "orphan: %s\n", name)
	}
	fmt.Fprintln(c.out)
}

func (c *cli) printSegments(segments []host.SegmentStatus) {
	if len(segments) == 0 {
		fmt.Fprintln(c.out, "the journal holds no segment yet")
	}
	for _, s := range segments {
		fmt.Fprintf(c.out, "%s %d: %s, %s, %s, sealed %s UTC\n",
			s.Project, s.Sequence, s.Blob, many(s.Rows, "row"), size(s.Bytes), utc(s.SealedAt))
		var rows [][]string
		for _, e := range s.Extents {
			rows = append(rows, []string{"  " + e.Kind, e.UTCDate, e.ZoneDate, thousands(e.Rows), size(e.Bytes)})
		}
		c.table([]string{"  kind", "utc date", "zone date", "rows", "compressed"}, rows)
	}
}

func (c *cli) printJournalReport(report *host.JournalReport) error {
	if c.json {
		if err := c.printJSON(report); err != nil {
			return err
		}
	} else {
		rows := int64(0)
		for _, d := range report.Corruptions {
			fmt.Fprintf(c.out, "CORRUPT %s, %s: %s%s\n", d.Blob, d.Place, d.Detail, lostRows(d))
			rows += d.Rows
		}
		c.printLosses(report.Lost)
		fmt.Fprintf(c.out, "%s, %s, %s read, and %s of the quarantine: %s\n",
			many(report.Segments, "segment"), many(report.Blocks, "block"), size(report.Bytes), many(report.QuarantineFiles, "file"), many(int64(len(report.Corruptions)), "corruption"))
		if rows > 0 {
			fmt.Fprintf(c.out, "%s of the journal may be lost: restore the files from a backup\n", many(rows, "row"))
		}
	}
	if len(report.Corruptions)+len(report.Lost) > 0 {
		return &shownError{exitDifferences}
	}
	return nil
}

// lostRows says which rows a corruption may have cost; "" when it cost none.
func lostRows(d host.Corruption) string {
	switch {
	case d.Rows == 0:
		return ""
	case d.From == d.To:
		return fmt.Sprintf(" (%s of %s may be lost)", many(d.Rows, "row"), d.From)
	}
	return fmt.Sprintf(" (%s of %s to %s may be lost)", many(d.Rows, "row"), d.From, d.To)
}
