package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newDestinationsCommand(c *cli) *cobra.Command {
	return group("destinations", "Check destinations", &cobra.Command{
		Use: "check [DESTINATION]", Short: "Try the operations that an export needs: write, list, delete", Args: atMost("DESTINATION"),
		Long: `Try the operations that an export needs, such as writing, listing and deleting
an object, at each destination that a pipeline exports to, or at the one that
is named (s3.lake). A refused operation is reported with the permission that is
missing, and the exit status is 1.`,
		ValidArgsFunction: c.complete(0, destinationNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			checks, err := operations.CheckDestinations(cmd.Context(), name)
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
	var details []string
	for _, check := range checks {
		result := "ok"
		switch {
		case check.Skipped:
			result = "skipped"
		case !check.OK:
			result, failed = "FAILED", true
		}
		rows = append(rows, []string{check.Destination, check.Project, check.Action, result})
		if check.Detail != "" {
			names := slices.DeleteFunc([]string{check.Destination, check.Project, check.Action, result}, func(s string) bool { return s == "" })
			details = append(details, fmt.Sprintf("%s: %s", strings.Join(names, ", "), oneLine(check.Detail)))
		}
	}
	if c.json {
		if err := c.printJSON(checks); err != nil {
			return err
		}
	} else if len(checks) == 0 {
		fmt.Fprintln(c.out, "the configuration has no destination: nothing was checked")
	} else {
		c.table([]string{"destination", "project", "action", "result"}, rows)
		for _, text := range details {
			fmt.Fprintf(c.out, "\n%s\n", text)
		}
	}
	if failed {
		return &shownError{exitFailed}
	}
	return nil
}
