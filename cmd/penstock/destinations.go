package main

import (
	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newDestinationsCommand(c *cli) *cobra.Command {
	return group("destinations", "Check destinations", &cobra.Command{
		Use: "check", Short: "Try what an export will need: to write, list and delete", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			checks, err := operations.CheckDestinations(cmd.Context())
			if err != nil {
				return err
			}
			return c.printChecks(checks)
		},
	})
}

func (c *cli) printChecks(checks []host.DestinationCheck) error {
	failed := false
	var rows [][]string
	for _, check := range checks {
		result := "ok"
		if !check.OK {
			result, failed = "FAILED", true
		}
		rows = append(rows, []string{check.Destination, check.Project, check.Action, result, check.Detail})
	}
	if c.json {
		if err := c.printJSON(checks); err != nil {
			return err
		}
	} else {
		c.table([]string{"destination", "project", "action", "result", "detail"}, rows)
	}
	if failed {
		return &shownError{exitFailed}
	}
	return nil
}
