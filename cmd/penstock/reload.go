package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newReloadCommand(c *cli) *cobra.Command {
	plan := false
	command := &cobra.Command{
		Use:   "reload",
		Short: "Have the running host read its configuration again",
		Long: `The running host reads the files of its own --config again, with the secrets and
certificates that they name, and changes to them if they are valid; otherwise nothing
changes, and the exit status is 2, or 1 if something new could not be opened, such as
an address that is in use. SIGHUP does the same. Listeners stay open. Changes that only
a restart makes are listed.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := c.read(cmd.Context(), host.LoadOptions{Command: true})
			if err != nil && (config == nil || config.Host.DataDir == "" || !host.Serving(cmd.Context(), config)) {
				return err
			}
			return c.reload(cmd, config, plan)
		},
	}
	command.Flags().BoolVar(&plan, "plan", false, "only list the changes")
	return command
}

// reload asks the host that serves the data directory of a configuration, which may
// have mistakes, to reload or to plan that.
func (c *cli) reload(cmd *cobra.Command, config *host.Config, plan bool) error {
	if !host.Serving(cmd.Context(), config) {
		return errors.New("no host is serving this data directory: the next one reads the configuration when it starts")
	}
	o, err := host.Operate(cmd.Context(), config)
	if err != nil {
		return err
	}
	defer o.Close()
	ask := o.Reload
	if plan {
		ask = o.PlanReload
	}
	report, err := ask(cmd.Context())
	if err != nil {
		return err
	}
	if c.json {
		err = c.printJSON(report)
	} else {
		c.printReload(report, plan)
	}
	switch {
	case err != nil:
	case report.Refused != "":
		err = &shownError{exitConfiguration}
	case report.Failed != "":
		err = &shownError{exitFailed}
	}
	return err
}

// planReload prints the changes that a reload would make, if a host serves the data
// directory of a configuration. Without a host it prints nothing.
func (c *cli) planReload(ctx context.Context, config *host.Config) error {
	if c.json || !host.Serving(ctx, config) {
		return nil
	}
	o, err := host.Operate(ctx, config)
	if err != nil {
		return err
	}
	defer o.Close()
	report, err := o.PlanReload(ctx)
	switch {
	case err != nil:
		c.note(fmt.Sprintf("the changes of a reload are not known: %v", err))
		return nil
	case report.Refused != "":
		fmt.Fprint(c.err, report.Refused)
		c.note("the running host would refuse to reload this configuration")
	}
	for _, change := range report.Changes {
		fmt.Fprintf(c.out, "with a reload, %s\n", escape(changeText(change)))
	}
	return nil
}

func (c *cli) printReload(r *host.ReloadReport, plan bool) {
	fmt.Fprint(c.err, r.Warnings)
	if r.Refused != "" {
		fmt.Fprint(c.err, r.Refused)
		fmt.Fprintln(c.err, "penstock: the configuration is wrong; the running host goes on with the one before")
		return
	}
	if r.Failed != "" {
		fmt.Fprintf(c.err, "penstock: nothing was changed: %s\n", r.Failed)
		return
	}
	if len(r.Changes) == 0 && plan {
		fmt.Fprintln(c.out, "a reload would change nothing; it reads secrets and certificates again")
	} else if len(r.Changes) == 0 {
		fmt.Fprintln(c.out, "nothing has changed; secrets and certificates were read again")
	}
	for _, change := range r.Changes {
		fmt.Fprintln(c.out, changeText(change))
	}
}

// changeText returns a change as one line.
func changeText(c host.ConfigChange) string {
	text := strings.TrimSuffix(c.Block+": "+c.Attribute, ": ") + " " + c.Event
	if c.From != "" || c.To != "" {
		text += fmt.Sprintf(" from %q to %q", c.From, c.To)
	}
	switch {
	case c.Restart:
		text += " (needs a restart of the host)"
	case c.Refused != "":
		text += ", which is refused: " + c.Refused
	case c.Effect != "":
		text += " (" + c.Effect + ")"
	}
	return text
}
