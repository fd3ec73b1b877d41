package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPipelineCancelCommand(c *cli) *cobra.Command {
	var yes bool
	command := &cobra.Command{
		Use: "cancel PIPELINE", Short: "End a pipeline for good",
		Long: `End a pipeline for good. A run that is under way is stopped. If the destination
has committed it, it is recorded; otherwise its rows are removed there. Rows of
earlier runs stay at the destination, and their dates stay taken: a pipeline with
another name and adopt = true goes on where this one stopped.

If the destination does not answer, the pipeline is left paused, and the command
may be repeated. To stop a pipeline for a while, pause it.`,
		Args: exactly("PIPELINE"), ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			if !yes {
				if _, err := operations.Pipeline(cmd.Context(), args[0]); err != nil {
					return err
				}
				if err := c.confirm(fmt.Sprintf("End pipeline %s for good? It cannot be resumed.", args[0]), "nothing was cancelled"); err != nil {
					return err
				}
			}
			done, err := operations.CancelPipeline(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(done)
			}
			c.printCancellation(done)
			return nil
		},
	}
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return command
}

func (c *cli) printCancellation(done *host.Cancellation) {
	if !done.Changed {
		fmt.Fprintf(c.out, "pipeline %s was cancelled already\n", done.Pipeline)
	} else {
		switch {
		case done.Committed:
			fmt.Fprintf(c.out, "run %d was at the destination, and is recorded\n", done.Run)
		case done.Run > 0:
			fmt.Fprintf(c.out, "run %d was not committed: no rows of it are at the destination\n", done.Run)
		}
		fmt.Fprintf(c.out, "pipeline %s is over: no further run is planned\n", done.Pipeline)
	}
	c.printKept(done.Targets)
}

// printKept names the places of a pipeline that is over.
func (c *cli) printKept(targets []host.TargetStatus) {
	if len(targets) == 0 {
		fmt.Fprintln(c.out, "it has written nothing that is kept: its dates are free. If the destination still names it as the writer there, set adopt = true")
		return
	}
	for _, t := range targets {
		fmt.Fprintf(c.out, "kept at %s%s\n", t.URI, datesText(t))
	}
	fmt.Fprintln(c.out, "another pipeline writes there only with other dates, or with adopt = true, which goes on where this one stopped")
}

// datesText is the dates of a target, in words; empty for those of a set.
func datesText(t host.TargetStatus) string {
	switch {
	case t.From == "":
		return ""
	case t.To == "":
		return fmt.Sprintf(": %s and later", t.From)
	case t.To == t.From:
		return ": " + t.From
	}
	return fmt.Sprintf(": %s to %s", t.From, t.To)
}

func newPipelineForgetCommand(c *cli) *cobra.Command {
	var yes, emptied bool
	command := &cobra.Command{
		Use: "forget PIPELINE", Short: "Drop a pipeline that is not configured any more, and the records of its runs",
		Long: `Drop a pipeline that is not in the configuration any more: its place in the journal
and the records of its runs. Its name is free then.

Nothing is removed from the destination: rows and the destination's own record
stay, and their dates stay taken, unless another pipeline adopts them.

With --emptied you confirm that the rows and the record were removed from the
destination. The dates are free then. If rows are still there, a new pipeline
exports them a second time.`,
		Args: exactly("PIPELINE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withOperations(cmd, func(operations host.Operations) error {
				return c.forget(cmd.Context(), operations, args[0], emptied, yes)
			})
		},
	}
	command.Flags().BoolVar(&emptied, "emptied", false, "the rows were removed from the destination: free their dates")
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return command
}

func (c *cli) forget(ctx context.Context, operations host.Operations, name string, emptied, yes bool) error {
	if !yes {
		p, err := operations.Pipeline(ctx, name)
		if err != nil {
			return err
		}
		question := fmt.Sprintf("Drop pipeline %s and the records of its %s for good?", name, many(p.Runs, "run"))
		if err := c.confirm(question, "nothing was dropped"); err != nil {
			return err
		}
	}
	done, err := operations.ForgetPipeline(ctx, name, emptied)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "pipeline %s is forgotten, with the records of %s\n", name, many(done.Runs, "run"))
	if emptied {
		fmt.Fprintf(c.out, "its dates at %s are free\n", done.Destination)
		return nil
	}
	c.printKept(done.Targets)
	return nil
}
