package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newValidateCommand(c *cli) *cobra.Command {
	var offline bool
	command := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration, and report every mistake at once",
		Long: `Check the configuration, and report every mistake at once. Plugins check their
destinations without using the network, and pipelines are compared with the
catalog in data_dir, if there is one.

With --json the result is one object on standard output: valid, diagnostics,
and the checks that were skipped.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, diagnostics, err := c.read(cmd.Context(), host.LoadOptions{Offline: offline, Ask: true})
			var wrong *host.ConfigurationError
			switch {
			case err != nil && !errors.As(err, &wrong):
				return err
			case c.json:
				return c.printValidation(config, diagnostics, err == nil)
			case err != nil:
				return err
			}
			c.printDiagnostics(diagnostics)
			for _, s := range config.Skipped {
				fmt.Fprintf(c.out, "not checked: %s\n", s)
			}
			v := newValidation(config)
			fmt.Fprintf(c.out, "valid: %s, %s, %s, %s\n",
				many(int64(v.Projects), "project"), many(int64(v.Sources), "source"), many(int64(v.Destinations), "destination"), many(int64(v.Pipelines), "pipeline"))
			return nil
		},
	}
	command.Flags().BoolVar(&offline, "offline", false, "start no plugin and look into no data directory; list the checks that were skipped")
	return command
}

// validation is the result of validate --json.
type validation struct {
	Valid        bool                   `json:"valid"`
	Diagnostics  []host.DiagnosticEntry `json:"diagnostics"`
	Skipped      []string               `json:"skipped"`
	Projects     int                    `json:"projects"`
	Sources      int                    `json:"sources"`
	Destinations int                    `json:"destinations"`
	Pipelines    int                    `json:"pipelines"`
}

func newValidation(config *host.Config) validation {
	return validation{
		Skipped:  append([]string{}, config.Skipped...),
		Projects: len(config.Projects), Sources: len(config.Sources) + len(config.Collectors) + len(config.Mixpanel),
		Destinations: len(config.Destinations), Pipelines: len(config.Pipelines),
	}
}

func (c *cli) printValidation(config *host.Config, diagnostics host.Diagnostics, valid bool) error {
	v := newValidation(config)
	v.Valid, v.Diagnostics = valid, diagnostics.Entries()
	if err := c.printJSON(v); err != nil {
		return err
	}
	if !valid {
		return &shownError{exitConfiguration}
	}
	return nil
}
