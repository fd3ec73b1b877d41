package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newValidateCommand(c *cli) *cobra.Command {
	var offline bool
	command := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration, and say every mistake at once",
		Args:  none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.load(cmd.Context(), host.LoadOptions{Offline: offline, Ask: true})
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]any{"valid": true, "skipped": append([]string{}, config.Skipped...)})
			}
			for _, s := range config.Skipped {
				fmt.Fprintf(c.out, "not checked: %s\n", s)
			}
			fmt.Fprintf(c.out, "valid: %d sources, %d destinations, %d pipelines\n",
				len(config.Sources)+len(config.Collectors), len(config.Destinations), len(config.Pipelines))
			return nil
		},
	}
	command.Flags().BoolVar(&offline, "offline", false, "start no plugin and ask no service; say what was not checked")
	return command
}
