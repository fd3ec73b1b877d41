package destination

import (
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
)

// Projects returns the projects that are exported to a destination. Without any
// it returns the first project, or anyProject if none could be read.
func Projects(c *config.Config, d *config.Destination) []*config.Project {
	var projects []*config.Project
	seen := map[*config.Project]bool{}
	for _, p := range c.Pipelines {
		if p.Destination == d && Usable(p.Project) && !seen[p.Project] {
			seen[p.Project] = true
			projects = append(projects, p.Project)
		}
	}
	for _, p := range c.Projects {
		if len(projects) == 0 && Usable(p) {
			projects = append(projects, p)
		}
	}
	if len(projects) == 0 {
		projects = append(projects, &anyProject)
	}
	return projects
}

// anyProject takes the place of a project where none could be read. A plugin needs
// one to look at its configuration; the targets that it returns are not used.
var anyProject = config.Project{ID: 1, Name: "unknown", TimeZone: time.UTC}

// Usable reports whether enough of a project could be read.
func Usable(p *config.Project) bool { return p != nil && p.ID > 0 && p.TimeZone != nil }
