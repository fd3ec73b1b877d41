package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	_ "time/tzdata" // time zones, on machines that have none

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func main() {
	limitCommand()
	if err := host.HideMemory(); err != nil {
		fmt.Fprintf(os.Stderr, "penstock: warning: %v\n", err)
	}
	os.Exit(run(os.Args[1:]))
}

// run carries out one command line and returns its exit status.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{
		in: os.Stdin, out: escaped{os.Stdout}, err: escaped{os.Stderr}, getenv: os.Getenv, fallback: "/etc/penstock",
	}
	return c.execute(ctx, args)
}

func (c *cli) execute(ctx context.Context, args []string) int {
	root := newRoot(c)
	root.SetArgs(args)
	c.json = slices.Contains(args, "--json") // also when another flag is wrong
	return c.status(root.ExecuteContext(ctx))
}

func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "A self-hosted export host for product analytics",
		Long: `Penstock collects events, profiles and identity links, or reads them from files,
keeps them in a durable journal, and exports them to object stores through
destination plugins.

Start with:  penstock run --once --config penstock.hcl

The configuration is read from --config, else from PENSTOCK_CONFIG (paths joined
by colons), else from /etc/penstock.`,
		Version:       host.Version(),
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
	root.SetVersionTemplate("penstock {{.Version}}\n")
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.PersistentFlags().StringArrayVarP(&c.paths, "config", "c", nil, "configuration file, or directory of *.hcl; repeatable")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON, for machines")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newRunCommand(c), newValidateCommand(c), newPlanCommand(c), newStatusCommand(c),
		newPipelinesCommand(c), newRunsCommand(c), newSourcesCommand(c), newDestinationsCommand(c),
		newPluginsCommand(c), newJournalCommand(c), newQuarantineCommand(c), newIdentityCommand(c),
		newBackupCommand(c), newRestoreCommand(c), newReloadCommand(c), newVersionCommand(c),
	)
	return root
}
