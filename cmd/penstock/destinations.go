package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newDestinationsCommand(c *cli) *cobra.Command {
	return group("destinations", "List, check and set up destinations", newDestinationsList(c), newSetupCommand(c), &cobra.Command{
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

func newDestinationsList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List destinations, and the pipelines that export to them", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				destinations, err := views.ListDestinations(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(destinations)
				}
				c.printDestinations(destinations)
				return nil
			})
		},
	}
}

func (c *cli) printDestinations(destinations []host.DestinationStatus) {
	if len(destinations) == 0 {
		fmt.Fprintln(c.out, "the configuration has no destination")
		return
	}
	var rows [][]string
	for _, d := range destinations {
		for _, p := range d.Pipelines {
			rows = append(rows, []string{d.Name, p.Name, p.Project, p.Stream, cmp.Or(p.State, "not registered yet"), thousands(p.Rows), lastRun(p.LastRun)})
		}
		if len(d.Pipelines) == 0 {
			rows = append(rows, []string{d.Name, "none", "", "", "", "", ""})
		}
	}
	c.table([]string{"destination", "pipeline", "project", "stream", "state", "rows exported", "last run (utc)"}, rows)
}

func newSetupCommand(c *cli) *cobra.Command {
	var terraform bool
	command := &cobra.Command{
		Use: "setup DESTINATION", Short: "Print all that must be set up before a destination can be used", Args: exactly("DESTINATION"),
		Long: `Print all that must be set up before penstock can export to a destination
(s3.lake): the bucket, and roles, policies and keys with exactly the permissions
that the plugin uses. The text is a shell script with commands of the vendor's
CLI, or with --terraform a Terraform file. Read it before you run it.

Nothing is contacted, and secrets need not exist yet.`,
		ValidArgsFunction: c.complete(0, destinationNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := c.load(cmd.Context(), host.LoadOptions{Command: true, Describe: true})
			if err != nil {
				return err
			}
			found, err := host.SetupDestination(cmd.Context(), config, args[0], terraform)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(found)
			}
			c.printSetup(found, terraform)
			return nil
		},
	}
	command.Flags().BoolVar(&terraform, "terraform", false, "print a Terraform file")
	return command
}

// printSetup prints the steps as one file: titles are comments in both
// languages.
func (c *cli) printSetup(s *host.DestinationSetup, terraform bool) {
	if !terraform {
		fmt.Fprint(c.out, "#!/bin/sh\nset -eu\n")
	}
	fmt.Fprintf(c.out, "# %s: set up for penstock.\n", s.Destination)
	for i, step := range s.Steps {
		fmt.Fprintf(c.out, "\n# %d. %s\n%s", i+1, strings.Join(strings.Fields(step.Title), " "), step.Text)
		if !strings.HasSuffix(step.Text, "\n") {
			fmt.Fprintln(c.out)
		}
	}
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
