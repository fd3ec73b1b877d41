package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/host"
)

// completion is the function that a shell asks for the values of an argument
// or a flag.
type completion = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective)

// complete completes the argument at a position, and none after it, with names
// out of the configuration. It starts no plugin and opens no data directory.
// Without a configuration that can be read there is nothing to offer.
func (c *cli) complete(position int, names func(host.Names) []string) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != position {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return matching(names(c.names(cmd.Context())), begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes a flag's value as complete does an argument.
func (c *cli) completeFlag(cmd *cobra.Command, flag string, names func(host.Names) []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return matching(names(c.names(cmd.Context())), begun), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag's name is misspelt
	}
}

func (c *cli) names(ctx context.Context) host.Names {
	paths, err := c.configuration()
	if err != nil {
		return host.Names{}
	}
	if ctx == nil {
		ctx = context.Background() // cobra completes without one
	}
	return host.ReadNames(ctx, paths)
}

func matching(names []string, begun string) []cobra.Completion {
	found := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, begun) })
	slices.Sort(found)
	return found
}

func pipelineNames(n host.Names) []string    { return n.Pipelines }
func projectNames(n host.Names) []string     { return n.Projects }
func destinationNames(n host.Names) []string { return n.Destinations }

func pullNames(n host.Names) []string { return n.Pulls }

// quarantineSources are the values of quarantine list --source.
func quarantineSources(n host.Names) []string {
	sources := slices.Clone(n.Sources)
	for _, p := range n.Pipelines {
		sources = append(sources, "pipeline-"+p)
	}
	return sources
}

// completePlugin completes the name of a plugin in the plugin directory.
func (c *cli) completePlugin(dir *string) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		location := *dir
		if location == "" {
			location = c.names(cmd.Context()).PluginDir
		}
		if _, err := os.Stat(location); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		plugins, err := host.OpenPlugins(location, "").List()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var types []string
		for _, p := range plugins {
			types = append(types, p.Type)
		}
		return matching(types, begun), cobra.ShellCompDirectiveNoFileComp
	}
}
