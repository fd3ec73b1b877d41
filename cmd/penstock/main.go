package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // time zones, on machines that have none

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

// The exit statuses.
const (
	exitDone          = 0 // also with quarantined records, which are said
	exitFailed        = 1
	exitConfiguration = 2
	exitDifferences   = 3 // a verification found differences
)

func main() {
	limitCommand()
	os.Exit(run(os.Args[1:]))
}

// run carries out one command line and returns its exit status.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{out: os.Stdout, err: os.Stderr}
	root := newRoot(c)
	root.SetArgs(args)
	return c.status(root.ExecuteContext(ctx))
}

// usageError is a command line that cannot be carried out as it was typed.
type usageError struct{ error }

// status prints err, unless that was done, and classifies it.
func (c *cli) status(err error) int {
	var shown *shownError
	var usage usageError
	var configuration *host.ConfigurationError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &shown):
		return shown.status
	case errors.As(err, &configuration):
		c.printDiagnostics(configuration.Diagnostics)
		c.printBeside(err)
		return exitConfiguration
	case errors.As(err, &usage):
		fmt.Fprintf(c.err, "penstock: %v\n", err)
		return exitConfiguration
	default:
		fmt.Fprintf(c.err, "penstock: %v\n", err)
		return exitFailed
	}
}

// printBeside prints the errors that were joined to a configuration's mistakes.
func (c *cli) printBeside(err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, e := range joined.Unwrap() {
		var configuration *host.ConfigurationError
		if errors.As(e, &configuration) {
			c.printBeside(e)
			continue
		}
		fmt.Fprintf(c.err, "penstock: %v\n", e)
	}
}

// shownError ends the process with a status; what there is to say was said.
type shownError struct{ status int }

func (e *shownError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "A self-hosted export host for product analytics",
		Long: `Penstock collects events, profiles and identity links, or reads them from files,
keeps them in a durable journal, and exports them to object stores through
destination plugins.

Start with:  penstock run --once --config penstock.hcl`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q; see 'penstock --help'", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringArrayVarP(&c.paths, "config", "c", nil, "configuration file, or directory of *.hcl; repeatable")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON, for machines")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newRunCommand(c), newValidateCommand(c), newPlanCommand(c), newStatusCommand(c),
		newPipelinesCommand(c), newRunsCommand(c), newDestinationsCommand(c),
		newPluginsCommand(c), newJournalCommand(c), newQuarantineCommand(c), newIdentityCommand(c), newVersionCommand(c),
	)
	return root
}
