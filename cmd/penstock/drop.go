package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newQuarantineDropCommand(c *cli, filter *host.QuarantineFilter) *cobra.Command {
	var yes bool
	command := &cobra.Command{
		Use: "drop", Short: "Remove quarantined records for good", Args: none,
		Long: `Remove quarantined records for good: all of them, or those of a source, with a
reason, or one. The command shows what it is about to drop and asks; --yes drops
without asking.

With --missing it forgets records that files of the quarantine have lost, which
'penstock status' names, instead of dropping those that are there.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withOperations(cmd, func(operations host.Operations) error {
				return c.drop(cmd.Context(), operations, *filter, yes)
			})
		},
	}
	command.Flags().StringVar(&filter.ID, "id", "", "only this record")
	command.Flags().BoolVar(&filter.Missing, "missing", false, "forget records that files have lost")
	command.Flags().BoolVarP(&yes, "yes", "y", false, "drop without asking")
	return command
}

// drop shows the records that a filter picks, asks, and drops them. Records that
// are refused while it asks stay.
func (c *cli) drop(ctx context.Context, operations host.Operations, filter host.QuarantineFilter, yes bool) error {
	filter.Before = time.Now()
	picked, err := operations.Quarantine(ctx, filter)
	if err != nil {
		return err
	}
	counts := droppable(picked, filter)
	if len(counts) == 0 && filter.ID != "" {
		return fmt.Errorf("no record %q in quarantine; see 'penstock quarantine list'", filter.ID)
	}
	if !c.json && len(counts) > 0 {
		c.printCounts(counts)
	}
	if !yes && len(counts) > 0 {
		if err := c.confirm(fmt.Sprintf("Drop %s for good?", many(total(counts), "record")), "nothing was dropped"); err != nil {
			return err
		}
	}
	report, err := operations.DropQuarantine(ctx, filter)
	if err != nil {
		return err
	}
	return c.dropped(report, filter)
}

// droppable counts the records that a filter picks out of a list.
func droppable(list *host.QuarantineList, filter host.QuarantineFilter) []host.QuarantineCount {
	var counts []host.QuarantineCount
	switch {
	case filter.Missing:
		for _, m := range list.Missing {
			for reason, n := range m.Reasons {
				counts = append(counts, host.QuarantineCount{Source: m.Source, Reason: reason, Count: n})
			}
		}
	case filter.ID != "":
		for _, r := range list.Records {
			counts = append(counts, host.QuarantineCount{Source: r.Source, Reason: r.Reason, Count: 1})
		}
	default:
		counts = list.Counts
	}
	return counts
}

func total(counts []host.QuarantineCount) (records int64) {
	for _, n := range counts {
		records += n.Count
	}
	return records
}

func (c *cli) dropped(report *host.DropReport, filter host.QuarantineFilter) error {
	if c.json {
		return c.printJSON(report)
	}
	record := "record"
	if filter.Missing {
		record = "missing record"
	}
	fmt.Fprintf(c.out, "dropped %s\n", many(report.Records, record))
	return nil
}

// canAsk reports whether there is a terminal to ask on.
func (c *cli) canAsk() bool {
	in, ok := c.in.(*os.File)
	return c.asks || ok && isatty.IsTerminal(in.Fd())
}

// confirm asks a question on the terminal. Without one, and for machines, it
// refuses. refused is the error of another answer than yes.
func (c *cli) confirm(question, refused string) error {
	if c.json || !c.canAsk() {
		return usageError{errors.New(refused + ": there is no terminal to ask on; add --yes")}
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New(refused)
	}
	return nil
}
