package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPlanCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what the next run of each pipeline would export",
		Long: `Show what the next run of each pipeline would export out of what is in the
journal: dates, rows, bytes. Nothing is planned by it, and sources are not read.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			operations, err := c.operations(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			runs, err := operations.Plan(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(runs)
			}
			for _, r := range runs {
				if r.Phase == fullSet {
					c.printPlannedSet(r)
					continue
				}
				if len(r.Days) == 0 {
					fmt.Fprintf(c.out, "%s: nothing to export\n", r.Pipeline)
					continue
				}
				fmt.Fprintf(c.out, "%s, run %d (%s): %s rows, %s, %d days\n",
					r.Pipeline, r.Number, r.Phase, thousands(r.Rows), size(r.Bytes), len(r.Days))
				rows := make([][]string, 0, len(r.Days))
				for _, d := range r.Days {
					rows = append(rows, []string{"  " + d.Date, thousands(d.Rows), size(d.Bytes)})
				}
				c.table([]string{"  date", "rows", "compressed"}, rows)
			}
			return nil
		},
	}
}

// fullSet is the phase of pipelines whose runs replace all that was exported.
const fullSet = "full set"

func (c *cli) printPlannedSet(r host.PlannedRun) {
	if r.Unchanged {
		fmt.Fprintf(c.out, "%s: nothing to export\n", r.Pipeline)
		return
	}
	fmt.Fprintf(c.out, "%s, run %d (%s): %s rows, %s", r.Pipeline, r.Number, r.Phase, thousands(r.Rows), size(r.Bytes))
	if r.Changes > 0 {
		fmt.Fprintf(c.out, ", before %s changes that are folded first", thousands(r.Changes))
	}
	fmt.Fprintln(c.out)
	if r.Refused != "" {
		fmt.Fprintf(c.out, "  refused: %s\n", r.Refused)
	}
}
