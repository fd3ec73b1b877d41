package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPipelinesCommand(c *cli) *cobra.Command {
	return group("pipelines", "List, pause, resume and run pipelines",
		&cobra.Command{
			Use: "list", Short: "List pipelines and how they stand", Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.with(cmd, func(operations host.Operations) error {
					pipelines, err := operations.Pipelines(cmd.Context())
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
		newPipelineRunCommand(c),
	)
}

func newPipelineRunCommand(c *cli) *cobra.Command {
	var allowShrink bool
	command := &cobra.Command{
		Use: "run PIPELINE", Short: "Run a pipeline now, until nothing is left to export",
		Long: `Run a pipeline now, whether or not it is due, until nothing is left to export.
Sources are not read by it: what is in the journal is exported, and what a
running host has collected. Without a host, what waits in a collector's log is
brought into the journal by 'penstock run --once'.

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

func newPauseCommand(c *cli, use, short string, paused bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " PIPELINE", Short: short, Args: exactly("PIPELINE"), ValidArgsFunction: c.complete(0, pipelineNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, func(operations host.Operations) error {
				return operations.PausePipeline(cmd.Context(), args[0], paused)
			})
		},
	}
}

func newRunsCommand(c *cli) *cobra.Command {
	return group("runs", "List runs, and retry failed ones",
		&cobra.Command{
			Use: "list [PIPELINE]", Short: "List runs, the latest first", Args: atMost("PIPELINE"),
			ValidArgsFunction: c.complete(0, pipelineNames),
			RunE: func(cmd *cobra.Command, args []string) error {
				name := ""
				if len(args) == 1 {
					name = args[0]
				}
				return c.with(cmd, func(operations host.Operations) error {
					runs, err := operations.Runs(cmd.Context(), name)
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
				number, err := strconv.ParseInt(args[1], 10, 64)
				if err != nil {
					return usageError{fmt.Errorf("run number %q is not a number", args[1])}
				}
				return c.with(cmd, func(operations host.Operations) error {
					return operations.RetryRun(cmd.Context(), args[0], number)
				})
			},
		},
	)
}

func (c *cli) printRuns(runs []host.RunStatus) {
	var rows [][]string
	for _, r := range runs {
		if r.From == "" {
			r.From = fullSet
		}
		rows = append(rows, []string{
			r.Pipeline, fmt.Sprint(r.Number), r.State, r.From, r.To, thousands(r.Rows), thousands(r.Rejected), size(r.Bytes), r.Error,
		})
	}
	c.table([]string{"pipeline", "run", "state", "from", "to", "rows", "rejected", "compressed", "error"}, rows)
}

// with opens the operations for the length of do.
func (c *cli) with(cmd *cobra.Command, do func(host.Operations) error) error {
	operations, err := c.operations(cmd.Context())
	if err != nil {
		return err
	}
	defer operations.Close()
	return do(operations)
}
