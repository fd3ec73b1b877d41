package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

// cli is what the commands share: the common flags and where to print.
type cli struct {
	out, err io.Writer
	paths    []string
	json     bool
}

// terminal says whether f is one that a person looks at.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}

// load reads the configuration and prints its warnings.
func (c *cli) load(ctx context.Context, o host.LoadOptions) (*host.Config, error) {
	config, warnings, err := c.read(ctx, o)
	if err != nil {
		return nil, err
	}
	c.printDiagnostics(warnings)
	return config, nil
}

func (c *cli) read(ctx context.Context, o host.LoadOptions) (*host.Config, host.Diagnostics, error) {
	if len(c.paths) == 0 {
		return nil, host.Diagnostics{}, usageError{fmt.Errorf("no configuration: name it with --config FILE (or -c)")}
	}
	o.Paths = c.paths
	return host.Load(ctx, o)
}

// operations loads the configuration and opens the data directory, or, when a
// host is running on it, speaks with that host. The caller closes it.
func (c *cli) operations(ctx context.Context) (host.Operations, error) {
	config, err := c.load(ctx, host.LoadOptions{Command: true})
	if err != nil {
		return nil, err
	}
	return host.Operate(ctx, config)
}

// plugged is operations for a command that has plugins work: unless a host is
// running, everything that they need must be in the configuration.
func (c *cli) plugged(ctx context.Context) (host.Operations, error) {
	config, warnings, err := c.read(ctx, host.LoadOptions{Command: true})
	if err == nil && !host.Serving(ctx, config) {
		config, warnings, err = c.read(ctx, host.LoadOptions{Ask: true})
	}
	if err != nil {
		return nil, err
	}
	c.printDiagnostics(warnings)
	return host.Operate(ctx, config)
}

func (c *cli) printDiagnostics(diagnostics host.Diagnostics) {
	if c.json {
		// An unwritable standard error has no other place to be reported to.
		_ = diagnostics.WriteJSON(c.err)
		return
	}
	diagnostics.WriteText(c.err, terminal(c.err) && os.Getenv("NO_COLOR") == "")
}

// printJSON prints v as indented JSON.
func (c *cli) printJSON(v any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// table prints rows below a heading, in columns.
func (c *cli) table(heading []string, rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(heading, "\t")))
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
}

// group is a command that only holds others. Called bare, it says which.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%s has no command %q; see 'penstock %s --help'", use, args[0], use)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(children...)
	return command
}

// exactly is cobra.ExactArgs with an error that names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usageError{fmt.Errorf("%s takes %s", cmd.CommandPath(), strings.Join(names, " "))}
		}
		return nil
	}
}

// atMost takes the argument that is named, or none.
func atMost(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{fmt.Errorf("%s takes %s and nothing more, and was given %q", cmd.CommandPath(), name, args[1])}
		}
		return nil
	}
}

// none refuses arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, and was given %q", cmd.CommandPath(), args[0])}
	}
	return nil
}
