package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newSourcesCommand(c *cli) *cobra.Command {
	return group("sources", "List sources, and try and pull those that pull", newSourcesList(c), newSourcesCheck(c), newSourcesPull(c))
}

func newSourcesList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List sources, and how far each was read", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.look(cmd.Context(), func(views host.Views) error {
				status, err := views.Status(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]any{"files": status.Sources, "collectors": status.Collectors, "pulls": status.Pulls})
				}
				c.printSources(status)
				return nil
			})
		},
	}
}

// printSources prints one line for each source.
func (c *cli) printSources(s *host.Status) {
	var rows [][]string
	for _, f := range s.Sources {
		state := "everything was read"
		if f.Unread != nil {
			state = "not read yet: " + unread(*f.Unread)
		}
		rows = append(rows, []string{f.Name, many(f.Positions, "file"), state})
	}
	for _, x := range s.Collectors {
		state := "does not listen"
		if x.Leaving {
			state = leavingText
		}
		if x.Listening {
			state = "listens on " + x.Listen
		}
		rows = append(rows, []string{x.Name, "", state})
	}
	for _, p := range s.Pulls {
		rows = append(rows, []string{p.Name, many(int64(p.Done), "day"), pullState(p)})
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.out, "the configuration has no source")
		return
	}
	c.table([]string{"source", "done", "state"}, rows)
}

// pullState says in words how a source that pulls stands.
func pullState(p host.PullStatus) string {
	switch {
	case p.InFlight != "":
		return fmt.Sprintf("pulls %s, %s so far", p.InFlight, size(p.Fetched))
	case p.Missing == 0:
		return fmt.Sprintf("caught up; next: %s at %s UTC", p.Next, utc(p.NextAt))
	case p.CaughtUpAt == nil:
		return many(int64(p.Missing), "day") + " missing"
	}
	return fmt.Sprintf("%s missing, until about %s UTC", many(int64(p.Missing), "day"), utc(*p.CaughtUpAt))
}

// printPulls prints the sources that pull.
func (c *cli) printPulls(pulls []host.PullStatus) {
	var rows [][]string
	for _, p := range pulls {
		next := fmt.Sprintf("%s (%s), %s", p.Next, p.Why, utc(p.NextAt))
		if p.WaitsForLimit {
			next += ", waits for the limit"
		}
		rows = append(rows, []string{p.Name, p.Project, p.From, thousands(int64(p.Done)), pullState(p), next, fmt.Sprint(p.QueriesLeft), reasons(p.Quarantined)})
	}
	c.table([]string{"source", "project", "from", "days done", "state", "next query (utc)", "queries left", "in quarantine"}, rows)
	for _, p := range pulls {
		if p.Error != "" {
			fmt.Fprintf(c.out, "%s: the last query failed: %s\n", p.Name, oneLine(p.Error))
		}
		if p.NotSelected != "" {
			fmt.Fprintf(c.out, "%s: days of the lookback are pulled whole: a query for late events alone did not bring all of them (%s)\n", p.Name, oneLine(p.NotSelected))
		}
		if p.ProfilesAt != nil {
			fmt.Fprintf(c.out, "%s: %s read at %s\n", p.Name, many(p.Profiles, "profile"), utc(*p.ProfilesAt))
		}
	}
}

// dates are the flags of commands on some dates.
type dates struct{ from, to string }

func (d *dates) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.from, "from", "", "first date, YYYY-MM-DD (default: --to, or yesterday)")
	cmd.Flags().StringVar(&d.to, "to", "", "last date (default: yesterday)")
}

func newSourcesCheck(c *cli) *cobra.Command {
	var d dates
	command := &cobra.Command{
		Use:   "check NAME",
		Short: "Try a source's credentials and count the events of some dates; nothing is stored",
		Long: `Ask the server of a source "mixpanel" for the events of some dates, of yesterday
unless told, and count them by day. Nothing is stored. The query counts against
the hourly limit.`,
		Args: exactly("NAME"), ValidArgsFunction: c.complete(0, pullNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			operations, err := c.plugged(cmd.Context())
			if err != nil {
				return err
			}
			defer operations.Close()
			check, err := operations.CheckSource(cmd.Context(), args[0], d.from, d.to)
			if err != nil {
				return err
			}
			return c.printSourceCheck(check)
		},
	}
	d.flags(command)
	return command
}

func (c *cli) printSourceCheck(check *host.SourceCheck) error {
	if c.json {
		if err := c.printJSON(check); err != nil {
			return err
		}
	} else if check.Error != "" {
		fmt.Fprintf(c.out, "%s: %s: FAILED: %s\n", check.Source, check.Server, oneLine(check.Error))
	} else {
		fmt.Fprintf(c.out, "%s: %s answers; nothing was stored\n", check.Source, check.Server)
		var rows [][]string
		for _, d := range check.Days {
			rows = append(rows, []string{"  " + d.Day, thousands(d.Events), size(d.Bytes)})
		}
		c.table([]string{"  date", "events", "bytes"}, rows)
	}
	if check.Error != "" {
		return &shownError{exitFailed}
	}
	return nil
}

func newSourcesPull(c *cli) *cobra.Command {
	var d dates
	command := &cobra.Command{
		Use:   "pull NAME",
		Short: "Pull the events of some dates, whether or not they are due",
		Long: `Pull the events of some dates, of yesterday unless told, into the journal, also
of days that were pulled before and of days before from_date. Events that the
journal has are not stored again. Queries count against the hourly limit, and
wait for it.`,
		Args: exactly("NAME"), ValidArgsFunction: c.complete(0, pullNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			progress := c.progress()
			defer progress.Close()
			operations, err := c.observed(cmd.Context(), progress)
			if err != nil {
				return err
			}
			defer operations.Close()
			summary, err := operations.PullSource(cmd.Context(), args[0], d.from, d.to)
			progress.Close()
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(summary)
			} else {
				err = c.printSummary(&host.Summary{Sources: []host.SourceSummary{*summary}})
				if summary.Error != "" {
					fmt.Fprintf(c.out, "  failed: %s\n", oneLine(summary.Error))
				}
			}
			if err == nil && summary.Error != "" {
				err = &shownError{exitFailed}
			}
			return err
		},
	}
	d.flags(command)
	return command
}
