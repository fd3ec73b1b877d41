package validate

import (
	"context"
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/source/files"
)

// unmatched warns of sources whose path names no file. Patterns that cannot be
// looked at are a mistake of the configuration, or the host's to report.
func unmatched(ctx context.Context, c *config.Config) diagnostic.Diagnostics {
	var found diagnostic.Diagnostics
	for _, s := range c.Sources {
		if s.Incomplete {
			continue
		}
		text, err := files.Unmatched(ctx, s.Pattern)
		if err != nil || text == "" || s.Pattern == "" {
			continue
		}
		at := s.AttributeRange("path")
		found = append(found, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "No file", Detail: text, Subject: &at, Context: s.Range.Ptr()})
	}
	return found
}

// compare compares a configuration with the catalog in its data directory. A
// command only needs the projects to be as they were.
func compare(c *config.Config, s *stored, o Options) diagnostic.Diagnostics {
	if o.Offline {
		if len(c.Destinations) > 0 {
			c.Skipped = append(c.Skipped, "what plugins check in their destinations, and whether two pipelines write to one place: no plugin was started")
		}
		if len(c.Sources) > 0 {
			c.Skipped = append(c.Skipped, "whether the paths of sources name files")
		}
		if c.Host.PluginUser != "" {
			c.Skipped = append(c.Skipped, fmt.Sprintf("whether plugins can run as user %s", c.Host.PluginUser))
		}
		c.Skipped = append(c.Skipped, "whether projects and pipelines are as they were registered: the catalog in data_dir was not read")
		return nil
	}
	if !o.Command {
		if found := checkDirectories(c); len(found) > 0 {
			return found
		}
	}
	s.open(c.Host.DataDir)
	if s.err != nil {
		c.Skipped = append(c.Skipped, fmt.Sprintf("whether projects and pipelines are as they were registered: %v", s.err))
		return nil
	}
	found := s.compareProjects(c)
	if !o.Command {
		found = append(found, s.comparePipelines(c)...)
	}
	return found
}
