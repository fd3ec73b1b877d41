package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPipelineVerifyCommand(c *cli) *cobra.Command {
	var request host.VerifyRequest
	var yes bool
	command := &cobra.Command{
		Use: "verify PIPELINE", Short: "Compare a pipeline's journal, catalog and destination, and repair what differs",
		Long: `Compare, day by day, the rows that the journal holds, those that the pipeline has
committed, those that the destination's own record lists, and the objects that
its service really has: names, sizes and checksums. An object whose service keeps
no checksum is read. Every difference is named with its object; then the exit
status is 3. Nothing is changed.

With --deep every object is read and its rows are counted.

With --repair the command shows what it will do and asks; --yes repairs without
asking. Without a terminal and without --yes it only shows. A repair sends the
missing and damaged objects of committed runs again, byte for byte, and removes
objects with a name of the pipeline that no commit names. Rows that the journal
no longer holds cannot be sent: the command says which. A run of the pipeline
waits until the repair is done.`,
		Args: exactly("PIPELINE"), ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Pipeline = args[0]
			if err := request.ValidDates(); err != nil {
				return usageError{err}
			}
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			return c.verify(cmd.Context(), operations, request, yes)
		},
	}
	flags := command.Flags()
	flags.StringVar(&request.From, "from", "", "first date to compare, YYYY-MM-DD")
	flags.StringVar(&request.To, "to", "", "last date to compare, YYYY-MM-DD")
	flags.BoolVar(&request.Deep, "deep", false, "read every object and count its rows")
	flags.BoolVar(&request.Repair, "repair", false, "restore what is missing or damaged, and remove what no commit names")
	flags.BoolVarP(&yes, "yes", "y", false, "repair without asking")
	return command
}

// verify compares a pipeline and prints the differences. With request.Repair it
// shows the plan, asks, and carries it out.
func (c *cli) verify(ctx context.Context, operations host.Operations, request host.VerifyRequest, yes bool) error {
	repair := request.Repair
	request.Repair = false
	report, err := operations.VerifyPipeline(ctx, request)
	if err != nil {
		return err
	}
	repair = repair && !report.Plan.Empty()
	asks := repair && !yes && !c.json && c.canAsk()
	if !c.json {
		c.printVerification(report)
	}
	if repair && !yes && !asks {
		c.note("nothing was repaired: add --yes to repair without a terminal")
	}
	if asks {
		if err := c.confirm("Repair?", "nothing was repaired"); err != nil {
			c.note(err.Error())
			repair = false
		}
	}
	if repair && (yes || asks) {
		request.Repair, request.Only = true, report.Plan.Names()
		if report, err = operations.VerifyPipeline(ctx, request); err != nil {
			return err
		}
		if !c.json {
			c.printRepaired(report)
		}
	}
	if c.json {
		if err := c.printJSON(report); err != nil {
			return err
		}
	}
	if len(report.Differences) > 0 {
		return &shownError{exitDifferences}
	}
	return nil
}

// note prints a sentence on standard error.
func (c *cli) note(text string) { fmt.Fprintln(c.err, text) }

func (c *cli) printVerification(r *host.Verification) {
	c.printVerifiedDays(r)
	for _, d := range r.Differences {
		c.printDifference(d)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(c.out, "note: %s\n", n)
	}
	if len(r.Differences) == 0 {
		c.printNoDifferences(r)
		return
	}
	fmt.Fprintf(c.out, "pipeline %s: %s\n", r.Pipeline, many(int64(len(r.Differences)), "difference"))
	if r.Plan.Empty() {
		fmt.Fprintf(c.out, "a repair can do nothing about %s\n", them(len(r.Differences)))
		return
	}
	fmt.Fprintln(c.out, "a repair")
	for _, s := range r.Plan.Sends {
		what := many(int64(len(s.Objects)), "object")
		if s.Record {
			what = "its record and the objects that differ"
		}
		fmt.Fprintf(c.out, "  sends %s of run %d again and restores %s\n", many(s.Rows, "row"), s.Run, what)
	}
	for _, name := range r.Plan.Remove {
		fmt.Fprintf(c.out, "  removes %s\n", name)
	}
	if r.Plan.Record && len(r.Plan.Sends) == 0 {
		fmt.Fprintln(c.out, "  writes the destination's record of the pipeline again, from its records of the runs; verify again afterwards")
	}
	if r.Plan.Totals {
		fmt.Fprintln(c.out, "  writes the totals of the days in the destination's record again")
	}
}

// printVerifiedDays prints the four sides of each date.
func (c *cli) printVerifiedDays(r *host.Verification) {
	if len(r.Days) == 0 {
		return
	}
	var rows [][]string
	for _, d := range r.Days {
		if d.Date == "" {
			d.Date = fullSet
		}
		stored := thousands(d.Stored.Rows)
		if d.Uncounted > 0 {
			stored += " + ?"
		}
		rows = append(rows, []string{
			d.Date, thousands(d.Journal.Rows), thousands(d.Waiting), thousands(d.Committed.Rows), thousands(d.Rejected), thousands(d.Recorded.Rows), stored,
			fmt.Sprint(d.Stored.Objects), size(d.Committed.StoredBytes), size(d.Recorded.StoredBytes), size(d.Stored.StoredBytes),
		})
	}
	c.table([]string{
		"date", "journal", "waiting", "committed", "rejected", "recorded", "stored", "objects", "bytes committed", "recorded", "stored",
	}, rows)
	var gone int64
	for _, d := range r.Days {
		gone += d.Gone
	}
	if gone > 0 {
		fmt.Fprintf(c.out, "the journal no longer holds %s of the committed rows\n", thousands(gone))
	}
}

func (c *cli) printDifference(d host.Difference) {
	where := ""
	if d.Run > 0 {
		where = fmt.Sprintf(", run %d", d.Run)
	}
	if d.Date != "" {
		where = ", " + d.Date + where
	}
	object := d.Object
	if object == "" {
		object = "journal"
	}
	fmt.Fprintf(c.out, "%s %s%s: %s\n", strings.ToUpper(string(d.Kind)), object, where, d.Detail)
	if d.Left != "" {
		fmt.Fprintf(c.out, "  not repaired: %s\n", d.Left)
	}
}

func (c *cli) printRepaired(r *host.Verification) {
	if done := r.Repaired; done != nil {
		records := ""
		if done.Records > 0 {
			records = many(int64(done.Records), "record") + " and "
		}
		fmt.Fprintf(c.out, "repaired: %s%s restored, %d removed\n", records, many(int64(done.Objects), "object"), done.Removed)
	}
	for _, d := range r.Differences {
		c.printDifference(d)
	}
	if len(r.Differences) == 0 {
		c.printNoDifferences(r)
		return
	}
	fmt.Fprintf(c.out, "pipeline %s: %s left\n", r.Pipeline, many(int64(len(r.Differences)), "difference"))
}

func (c *cli) printNoDifferences(r *host.Verification) {
	if r.LastRun == 0 {
		fmt.Fprintf(c.out, "pipeline %s: no run is committed yet; no differences\n", r.Pipeline)
		return
	}
	fmt.Fprintf(c.out, "pipeline %s: %s holds what was committed up to run %d; no differences\n", r.Pipeline, r.Destination, r.LastRun)
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
