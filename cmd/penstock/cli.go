package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

// cli holds the common flags and the streams that commands print to.
type cli struct {
	in       io.Reader
	asks     bool // in is a terminal, whatever it is; for tests
	out, err io.Writer
	paths    []string
	json     bool

	getenv   func(string) string // nil: no variable is set
	fallback string              // configuration when none is named; "": none

	now func() time.Time // nil: time.Now

	printed bool           // a JSON result is on standard output
	log     *slog.Logger   // of a host that runs; nil: none
	logJSON bool           // log writes JSON
	level   *slog.LevelVar // of log; nil: none
	bars    *progress      // on the terminal; nil: none
}

func (c *cli) time() time.Time {
	if c.now == nil {
		return time.Now()
	}
	return c.now()
}

// machine reports whether standard error is read by machines.
func (c *cli) machine() bool { return c.json || c.logJSON }

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := unescaped(w).(*os.File)
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
	paths, err := c.configuration()
	if err != nil {
		return nil, host.Diagnostics{}, err
	}
	o.Paths = paths
	return host.Load(ctx, o)
}

// configVariable names the configuration when no flag does: paths joined as in
// PATH.
const configVariable = "PENSTOCK_CONFIG"

// configuration returns the paths of the configuration: of the flags, else of
// the environment, else the usual place.
func (c *cli) configuration() ([]string, error) {
	if len(c.paths) > 0 {
		return c.paths, nil
	}
	if c.getenv != nil {
		if paths := filepath.SplitList(c.getenv(configVariable)); len(paths) > 0 {
			return paths, nil
		}
	}
	if c.fallback == "" {
		return nil, usageError{errors.New("no configuration: name it with --config FILE (or -c)")}
	}
	if _, err := os.Stat(c.fallback); errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("no configuration: %s does not exist; name a file or a directory with --config (or -c), or in %s", c.fallback, configVariable)}
	}
	return []string{c.fallback}, nil
}

// operations loads the configuration and opens the data directory, which must
// exist, or, when a host is running on it, speaks with that host. The caller
// closes it.
func (c *cli) operations(ctx context.Context) (host.Operations, error) {
	config, err := c.load(ctx, host.LoadOptions{Command: true})
	if err == nil {
		err = host.CheckDataDir(config)
	}
	if err != nil {
		return nil, err
	}
	return host.Operate(ctx, config)
}

// look loads the configuration and opens the data directory for reading, or, when
// a host is running on it, speaks with that host, for the length of do.
func (c *cli) look(ctx context.Context, do func(host.Views) error) error {
	config, err := c.load(ctx, host.LoadOptions{Command: true})
	if err != nil {
		return err
	}
	return c.lookAt(ctx, config, do)
}

// lookAt is look with a configuration that was loaded.
func (c *cli) lookAt(ctx context.Context, config *host.Config, do func(host.Views) error) error {
	views, err := host.Look(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(do(views), views.Close())
}

// plugged returns the operations for a command that uses plugins: unless a host
// is running, the configuration must have every value that the plugins need.
func (c *cli) plugged(ctx context.Context) (host.Operations, error) {
	return c.observed(ctx, nil)
}

// observed is plugged for a command that takes long: the observer, if there is one, is
// told of its progress unless a running host carries it out.
func (c *cli) observed(ctx context.Context, observer host.Observer) (host.Operations, error) {
	config, warnings, err := c.read(ctx, host.LoadOptions{Command: true})
	if err == nil && !host.Serving(ctx, config) {
		config, warnings, err = c.read(ctx, host.LoadOptions{Ask: true})
	}
	if err != nil {
		return nil, err
	}
	c.printDiagnostics(warnings)
	return host.OperateWith(ctx, config, host.Options{Observer: observer})
}

// printDiagnostics prints diagnostics on standard error.
func (c *cli) printDiagnostics(diagnostics host.Diagnostics) {
	switch {
	case c.logJSON && c.log != nil:
		for _, d := range diagnostics.Entries() {
			c.logDiagnostic(d)
		}
	case c.json:
		// An unwritable standard error has no other place to be reported to.
		_ = diagnostics.WriteJSON(c.err)
	default:
		if terminal(c.err) && c.getenv != nil && c.getenv("NO_COLOR") == "" {
			diagnostics.WriteText(unescaped(c.err), true) // which escapes foreign text itself
		} else {
			diagnostics.WriteText(c.err, false)
		}
	}
}

// logDiagnostic reports a diagnostic as a line of the host's log.
func (c *cli) logDiagnostic(d host.DiagnosticEntry) {
	level := slog.LevelError
	if d.Severity == "warning" {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, d.Summary, "detail", d.Detail, "file", d.File, "line", d.Line, "column", d.Column)
}

// printJSON prints v as indented JSON, the one document that a command prints.
func (c *cli) printJSON(v any) error {
	c.printed = true
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// table prints rows below a heading, in columns. A cell stays on its line.
func (c *cli) table(heading []string, rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(heading, "\t")))
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, strings.NewReplacer("\n", " ", "\t", " ").Replace(escape(cell)))
		}
		fmt.Fprintln(w)
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

// exactly is cobra.ExactArgs with an error that names the arguments.
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
