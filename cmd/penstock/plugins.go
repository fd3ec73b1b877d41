package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

func newPluginsCommand(c *cli) *cobra.Command {
	var dir string
	manage := func(cmd *cobra.Command) (*host.Plugins, error) { return c.plugins(cmd, dir) }
	names := c.completePlugin(&dir)
	command := group("plugins", "List, describe, install and pin destination plugins",
		newPluginsList(c, manage), newPluginsDescribe(c, manage, names), newPluginsInstall(c, manage), newPluginsTrust(c, manage), newPluginsRemove(c, manage, names))
	command.PersistentFlags().StringVar(&dir, "plugin-dir", "", "the plugin directory, when not taken from the configuration")
	return command
}

// pluginManager returns the manager of the plugin directory that a command's flags, or
// the configuration, name.
type pluginManager func(*cobra.Command) (*host.Plugins, error)

func newPluginsList(c *cli, manage pluginManager) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List plugins and whether they are as they were pinned", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plugins, err := manage(cmd)
			if err != nil {
				return err
			}
			listed, err := plugins.List()
			if err != nil {
				return err
			}
			return c.printPlugins(listed)
		},
	}
}

func newPluginsDescribe(c *cli, manage pluginManager, names completion) *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME", Short: "Show a plugin's configuration and guarantees", Args: exactly("NAME"), ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			plugins, err := manage(cmd)
			if err != nil {
				return err
			}
			description, err := plugins.Describe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.printDescription(description)
		},
	}
}

func newPluginsInstall(c *cli, manage pluginManager) *cobra.Command {
	return &cobra.Command{
		Use: "install FILE", Short: "Copy a plugin into the plugin directory and pin it", Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			plugins, err := manage(cmd)
			if err != nil {
				return err
			}
			installed, err := plugins.Install(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.printPlugins([]host.PluginStatus{installed})
		},
	}
}

func newPluginsTrust(c *cli, manage pluginManager) *cobra.Command {
	return &cobra.Command{
		Use: "trust [FILE …]", Short: "Pin plugins that lie in the plugin directory, as they are now",
		RunE: func(cmd *cobra.Command, args []string) error {
			plugins, err := manage(cmd)
			if err != nil {
				return err
			}
			trusted, err := plugins.Trust(cmd.Context(), args)
			if err != nil {
				return err
			}
			return c.printPlugins(trusted)
		},
	}
}

func newPluginsRemove(c *cli, manage pluginManager, names completion) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a plugin and its pin", Args: exactly("NAME"), ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			plugins, err := manage(cmd)
			if err != nil {
				return err
			}
			if err := plugins.Remove(args[0]); err != nil {
				return err
			}
			return c.done(fmt.Sprintf("plugin %s and its pin are removed", args[0]), map[string]any{"removed": args[0]})
		},
	}
}

// plugins is the manager of the directory given, or of the configuration's.
func (c *cli) plugins(cmd *cobra.Command, dir string) (*host.Plugins, error) {
	if dir != "" {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return nil, usageError{err}
		}
		return host.OpenPlugins(absolute, ""), nil
	}
	paths, err := c.configuration()
	if err != nil {
		return nil, usageError{fmt.Errorf("%w; or name the plugin directory with --plugin-dir", err)}
	}
	location, user, err := host.PluginDir(cmd.Context(), paths)
	if err != nil {
		return nil, err
	}
	return host.OpenPlugins(location, user), nil
}

func (c *cli) printPlugins(plugins []host.PluginStatus) error {
	if c.json {
		return c.printJSON(plugins)
	}
	var rows [][]string
	for _, p := range plugins {
		rows = append(rows, []string{p.Type, p.Version, string(p.State), p.SHA256[:min(len(p.SHA256), 12)], p.File})
	}
	c.table([]string{"plugin", "version", "state", "sha-256", "file"}, rows)
	for _, p := range plugins {
		if p.Problem != "" {
			fmt.Fprintf(c.out, "\n%s: %s\n", p.Type, p.Problem)
		}
	}
	return nil
}

func (c *cli) printDescription(d *host.PluginDescription) error {
	if c.json {
		return c.printJSON(d)
	}
	fmt.Fprintf(c.out, "%s %s\nstreams: %v\nguarantee: %s. %s\n\n", d.Name, d.Version, d.Streams, d.Guarantee, d.GuaranteeText)
	var rows [][]string
	for _, a := range d.Attributes {
		need := "optional"
		if a.Required {
			need = "required"
		}
		if a.Sensitive {
			need += ", secret"
		}
		rows = append(rows, []string{a.Name, a.Type, need, a.Default, a.Description})
	}
	c.table([]string{"attribute", "type", "", "default", "meaning"}, rows)
	if len(d.Environment) > 0 {
		fmt.Fprintf(c.out, "\nreads these environment variables: %s\n", strings.Join(d.Environment, " "))
	}
	return nil
}
