package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPipelinesCommand(c *cli) *cobra.Command {
	return group("pipelines", "List, pause, resume, run, verify and end pipelines",
		&cobra.Command{
			Use: "list", Short: "List pipelines and how they stand", Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.look(cmd.Context(), func(views host.Views) error {
					pipelines, err := views.Pipelines(cmd.Context())
					if err != nil {
						return err
					}
					if c.json {
						return c.printJSON(pipelines)
					}
					c.printPipelines(pipelines)
					return nil
				})
			},
		},
		newPauseCommand(c, "pause", "Start no further run of a pipeline", true),
		newPauseCommand(c, "resume", "Let a paused pipeline run again", false),
		newPipelineShowCommand(c),
		newPipelineRunCommand(c),
		newPipelineCancelCommand(c),
		newPipelineForgetCommand(c),
		newPipelineRecoverCommand(c),
		newPipelineVerifyCommand(c),
	)
}

func newPipelineRunCommand(c *cli) *cobra.Command {
	var allowShrink bool
	command := &cobra.Command{
		Use: "run PIPELINE", Short: "Run a pipeline now, until nothing is left to export",
		Long: `Run a pipeline now, whether or not it is due, until nothing is left to export.
The command reads no source: it exports the rows of the journal, and those that
a running host has collected. Without a host, 'penstock run --once' brings the
requests in a collector's log into the journal.

With --allow-shrink a set that is empty, or less than half as large as the one
at the destination, replaces it all the same, this time.`,
		Args: exactly("PIPELINE"), ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			done, err := operations.RunPipeline(cmd.Context(), args[0], allowShrink)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(done)
			}
			return c.printSummary(&host.Summary{Pipelines: []host.PipelineSummary{*done}})
		},
	}
	command.Flags().BoolVar(&allowShrink, "allow-shrink", false, "replace people or identity by a set less than half as large")
	return command
}

func newPipelineRecoverCommand(c *cli) *cobra.Command {
	var resend, yes bool
	command := &cobra.Command{
		Use: "recover PIPELINE", Short: "Let a pipeline go on whose destination holds other runs than its catalog",
		Long: `Compare the runs that a pipeline's destination holds with those of the catalog.
They differ after the data directory, or the destination, was restored from a
backup, and when a copy of the data directory exports to the same place. The
pipeline has stopped then, and nothing was sent.

Stop the other host first, if there is one.

With --resend the pipeline continues after the destination's last run: the rows
of the destination stay, and all rows after the last run that both have are sent
again, under new numbers. No row is lost. A row that the destination's
other runs hold and that this host sends again is there twice: rows are not
compared, because a destination keeps digests of whole objects. The command shows
the runs that differ and asks; --yes resends without asking.`,
		Args: exactly("PIPELINE"), ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			return c.recover(cmd.Context(), operations, args[0], resend, yes)
		},
	}
	command.Flags().BoolVar(&resend, "resend", false, "send again what came after the last run that both have")
	command.Flags().BoolVarP(&yes, "yes", "y", false, "with --resend: do not ask")
	return command
}

// recover compares a pipeline's runs with those of its destination, and prints the
// comparison. With resend it asks, unless yes is set, and has the rows sent again.
func (c *cli) recover(ctx context.Context, operations host.Operations, pipeline string, resend, yes bool) error {
	r, err := operations.RecoverPipeline(ctx, pipeline, false)
	if err != nil {
		return err
	}
	if r.Differs && !c.json {
		c.printCompared(r)
	}
	if resend && r.Differs {
		if !yes && !r.Untried {
			question := fmt.Sprintf("Send again all rows that came after run %d?", r.Agreed)
			if err := c.confirm(question, "nothing will be sent again"); err != nil {
				return err
			}
		}
		if r, err = operations.RecoverPipeline(ctx, pipeline, true); err != nil {
			return err
		}
	}
	if c.json {
		return c.printJSON(r)
	}
	c.printRecovery(r)
	return nil
}

// printRecovery prints the outcome, and the next command.
func (c *cli) printRecovery(r *host.Recovery) {
	if !r.Differs {
		fmt.Fprintf(c.out, "pipeline %s: %s holds the runs that the catalog has recorded; there is nothing to recover\n", r.Pipeline, r.Destination)
		return
	}
	switch {
	case r.NextRun > 0:
		fmt.Fprintf(c.out, "what came after run %d will be sent again, from run %d on: penstock pipelines run %s\n", r.Agreed, r.NextRun, r.Pipeline)
	case r.Untried:
		fmt.Fprintf(c.out, "run the pipeline: runs of the destination that are this catalog's own are adopted without sending anything\n")
	default:
		fmt.Fprintf(c.out, "to continue after run %d, and send again what came after run %d, add --resend\n", r.Committed, r.Agreed)
	}
}

// printCompared prints the runs of both sides, the runs whose rows may be at the
// destination twice after a resend, and the rows that cannot be sent again.
func (c *cli) printCompared(r *host.Recovery) {
	fmt.Fprintf(c.out, "pipeline %s: the last run at %s is run %d, in the catalog it is run %d; both have the runs up to %d\n",
		r.Pipeline, r.Destination, r.Committed, r.Recorded, r.Agreed)
	if r.Committed > r.Agreed && !r.Untried {
		fmt.Fprintf(c.out, "if rows are sent again, those of the destination's %s that this journal has, too, will be there twice\n", runRange(r.Agreed+1, r.Committed))
	}
	if r.GoneRows > 0 {
		fmt.Fprintf(c.out, "%s of %s to %s that came after run %d cannot be sent again: removed from the journal by host.retention\n",
			many(r.GoneRows, "row"), r.GoneFrom, r.GoneTo, r.Agreed)
	}
}

// runRange names runs: "run 4", "runs 4 to 5".
func runRange(first, last int64) string {
	if first == last {
		return fmt.Sprintf("run %d", first)
	}
	return fmt.Sprintf("runs %d to %d", first, last)
}

func newPauseCommand(c *cli, use, short string, paused bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " PIPELINE", Short: short, Args: exactly("PIPELINE"), ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withOperations(cmd, func(operations host.Operations) error {
				done, err := operations.PausePipeline(cmd.Context(), args[0], paused)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(done)
				}
				fmt.Fprintln(c.out, pauseText(done, paused))
				return nil
			})
		},
	}
}

// pauseText says what pausing or resuming a pipeline has changed.
func pauseText(done *host.Pause, paused bool) string {
	text := "pipeline " + done.Pipeline
	switch {
	case paused && done.Changed:
		text += " is paused: no further run is planned"
	case paused:
		text += " was paused already"
	case done.Configured != "":
		return fmt.Sprintf("%s stays paused: the configuration has paused = true (%s). Remove that, and restart a running host", text, done.Configured)
	case done.Changed:
		text += " is resumed: a running host, or the next 'penstock run', exports its rows"
	default:
		text += " was not paused"
	}
	if done.Removed {
		text += "; it is not in the configuration, so that no run is planned"
	}
	return text
}

func newRunsCommand(c *cli) *cobra.Command {
	return group("runs", "List and show runs, and retry failed ones",
		newRunShowCommand(c),
		&cobra.Command{
			Use: "list [PIPELINE]", Short: "List runs, the latest first", Args: atMost("PIPELINE"),
			ValidArgsFunction: c.complete(0, pipelineNames),
			RunE: func(cmd *cobra.Command, args []string) error {
				name := ""
				if len(args) == 1 {
					name = args[0]
				}
				return c.look(cmd.Context(), func(views host.Views) error {
					runs, err := views.Runs(cmd.Context(), host.RunFilter{Pipeline: name})
					if err != nil {
						return err
					}
					if c.json {
						return c.printJSON(runs)
					}
					c.printRuns(runs)
					return nil
				})
			},
		},
		&cobra.Command{
			Use: "retry PIPELINE NUMBER", Short: "Let a failed run be tried again", Args: exactly("PIPELINE", "NUMBER"),
			ValidArgsFunction: c.complete(0, pipelineNames),
			RunE: func(cmd *cobra.Command, args []string) error {
				number, err := runNumber(args[1])
				if err != nil {
					return err
				}
				return c.withOperations(cmd, func(operations host.Operations) error {
					if err := operations.RetryRun(cmd.Context(), args[0], number); err != nil {
						return err
					}
					return c.done(fmt.Sprintf("run %d of pipeline %s will be tried again by a running host, or by the next 'penstock run'", number, args[0]),
						map[string]any{"pipeline": args[0], "number": number})
				})
			},
		},
	)
}

func (c *cli) printRuns(runs []host.RunStatus) {
	if len(runs) == 0 {
		fmt.Fprintln(c.out, "no run yet")
		return
	}
	var rows [][]string
	for _, r := range runs {
		if r.From == "" {
			r.From = fullSet
		}
		finished := ""
		if r.FinishedAt != nil {
			finished = utc(*r.FinishedAt)
		}
		rows = append(rows, []string{
			r.Pipeline, fmt.Sprint(r.Number), r.State, utc(r.PlannedAt), finished, r.From, r.To, thousands(r.Rows), thousands(r.Rejected), size(r.Bytes),
		})
	}
	c.table([]string{"pipeline", "run", "state", "planned (utc)", "finished (utc)", "from", "to", "rows", "rejected", "compressed"}, rows)
	for _, r := range runs {
		if r.Error != "" && r.State != succeededRun {
			c.printRunError(r)
		}
	}
}

// done confirms a command that has no other result.
func (c *cli) done(text string, result map[string]any) error {
	if c.json {
		return c.printJSON(result)
	}
	fmt.Fprintln(c.out, text)
	return nil
}

// withOperations opens the operations for the length of do.
func (c *cli) withOperations(cmd *cobra.Command, do func(host.Operations) error) error {
	operations, err := c.operations(cmd.Context())
	if err != nil {
		return err
	}
	defer operations.Close()
	return do(operations)
}
