package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newReloadCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running host read its configuration again",
		Long: `The running host reads the files of its own --config again, with the secrets and
certificates that they name, and changes to them if they are valid; otherwise nothing
changes, and the exit status is 2. SIGHUP does the same. Listeners stay open. Changes
that only a restart makes are listed.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := c.read(cmd.Context(), host.LoadOptions{Command: true})
			if err != nil && (config == nil || config.Host.DataDir == "" || !host.Serving(cmd.Context(), config)) {
				return err
			}
			return c.reload(cmd, config)
		},
	}
}

// reload asks the host that serves the data directory of a configuration, which may
// have mistakes.
func (c *cli) reload(cmd *cobra.Command, config *host.Config) error {
	if !host.Serving(cmd.Context(), config) {
		return errors.New("no host is serving this data directory: the next one reads the configuration when it starts")
	}
	o, err := host.Operate(cmd.Context(), config)
	if err != nil {
		return err
	}
	defer o.Close()
	report, err := o.Reload(cmd.Context())
	if err != nil {
		return err
	}
	if c.json {
		err = c.printJSON(report)
	} else {
		c.printReload(report)
	}
	if err == nil && report.Refused != "" {
		return &shownError{exitConfiguration}
	}
	return err
}

func (c *cli) printReload(r *host.ReloadReport) {
	fmt.Fprint(c.err, r.Warnings)
	if r.Refused != "" {
		fmt.Fprint(c.err, r.Refused)
		fmt.Fprintln(c.err, "penstock: the configuration is wrong; the running host goes on with the one before")
		return
	}
	if len(r.Changes) == 0 {
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
	if c.Restart {
		text += " (needs a restart of the host)"
	}
	return text
}
