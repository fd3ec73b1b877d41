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
				return c.withOperations(cmd, func(operations host.Operations) error {
					segments, err := operations.Segments(cmd.Context())
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
				return c.withOperations(cmd, func(operations host.Operations) error {
					report, err := operations.VerifyJournal(cmd.Context())
					if err != nil {
						return err
					}
					return c.printJournalReport(report)
				})
			},
		},
		&cobra.Command{
			Use: "rebuild-catalog", Short: "Rebuild the catalog from segments and commit records", Args: none,
			Long: `Rebuild the catalog from segments and commit records. The host must be
stopped. The old catalog is kept next to the new one. Pipelines and runs cannot be
restored: the command explains the consequences.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.withOperations(cmd, func(operations host.Operations) error {
					report, err := operations.RebuildCatalog(cmd.Context())
					if err != nil {
						return err
					}
					if c.json {
						return c.printJSON(report)
					}
					fmt.Fprintf(c.out, "restored: %d segments with %s rows, %d source cursors\n",
						report.Segments, thousands(report.Rows), report.Cursors)
					for _, n := range report.NotRestored {
						fmt.Fprintf(c.out, "not restored: %s\n", n)
					}
					return nil
				})
			},
		},
	)
}

func (c *cli) printSegments(segments []host.SegmentStatus) {
	if len(segments) == 0 {
		fmt.Fprintln(c.out, "the journal holds no segment yet")
	}
	for _, s := range segments {
		fmt.Fprintf(c.out, "%s %d: %s, %s rows, %s, sealed %s UTC\n",
			s.Project, s.Sequence, s.Blob, thousands(s.Rows), size(s.Bytes), utc(s.SealedAt))
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
		for _, d := range report.Corruptions {
			fmt.Fprintf(c.out, "CORRUPT %s, %s: %s\n", d.Blob, d.Place, d.Detail)
		}
		c.printLosses(report.Lost)
		fmt.Fprintf(c.out, "%d segments, %d blocks, %s read, and %d files of the quarantine: %d corruptions\n",
			report.Segments, report.Blocks, size(report.Bytes), report.QuarantineFiles, len(report.Corruptions))
	}
	if len(report.Corruptions)+len(report.Lost) > 0 {
		return &shownError{exitDifferences}
	}
	return nil
}
