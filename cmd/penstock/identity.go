package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newIdentityCommand(c *cli) *cobra.Command {
	var filter host.IdentityFilter
	failures := &cobra.Command{
		Use: "failures", Short: "List identity links that were refused, and why", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				refused, err := views.IdentityFailures(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(refused)
				}
				c.printIdentityFailures(refused)
				return nil
			})
		},
	}
	failures.Flags().StringVar(&filter.Project, "project", "", "only of this project")
	c.completeFlag(failures, "project", projectNames)
	failures.Flags().IntVar(&filter.Limit, "limit", 100, "how many links to list of each project, the latest; 0 for all")
	return group("identity", "Show what became of identity links", failures)
}

func (c *cli) printIdentityFailures(list *host.IdentityFailures) {
	if len(list.Counts) == 0 {
		fmt.Fprintln(c.out, "no identity link was refused")
		return
	}
	var rows [][]string
	for _, n := range list.Counts {
		rows = append(rows, []string{n.Project, n.Reason, thousands(n.Count)})
	}
	c.table([]string{"project", "reason", "links"}, rows)
	fmt.Fprintln(c.out)
	rows = nil
	for _, f := range list.Failures {
		rows = append(rows, []string{
			utc(f.Time), f.Project, f.Verb, excerpt([]byte(f.AnonymousID), 60), excerpt([]byte(f.IdentifiedID), 60),
			f.Reason, excerpt([]byte(f.Description), 120),
		})
	}
	c.table([]string{"accepted (utc)", "project", "verb", "anonymous id", "identified id", "reason", "description"}, rows)
}
