package architecture

import (
	"fmt"
	"slices"
	"strings"
)

// module is the import path that all packages of this repository begin with.
const module = "github.com/penstock-io/penstock"

// pkg is a package with its imports. Paths of this module are written without
// the module's own: "sdk/batch".
type pkg struct {
	path        string
	imports     []string // by its own files
	testImports []string // by its tests, of both kinds
}

// rule is one line of the table.
type rule struct {
	importers []string // patterns; see match
	except    []string // importers that the rule leaves out
	tests     bool     // the imports of tests count too

	// An import that matches about is allowed only when it matches may, too.
	about []string
	may   []string
	why   string
}

// ours are all packages of the module; outside paths have a dot in their first
// element, those of the standard library have none.
var ours = []string{"cmd/...", "host/...", "proto/...", "sdk/...", "plugins/...", "examples/...", "test/..."}

var table = []rule{
	{
		importers: []string{"sdk/...", "proto/..."}, about: ours, may: []string{"sdk/...", "proto/..."}, tests: true,
		why: "the contract depends on nothing else: arrows point toward it",
	},
	{
		importers: []string{"proto/..."}, about: ours, may: []string{"proto/..."}, tests: true,
		why: "the protocol is the end of all arrows",
	},
	{
		importers: []string{"sdk/batch", "sdk/schema", "sdk/setup"}, about: ours,
		why: "rows and configuration schemas know neither the protocol nor each other",
	},
	{
		importers: []string{"sdk/protocol"}, about: ours, may: []string{"sdk/batch", "sdk/schema", "proto/..."},
		why: "host and plugin meet here; it knows neither",
	},
	{
		importers: []string{"plugins/..."}, about: ours, may: []string{"sdk", "sdk/batch", "sdk/schema", "sdk/setup", "sdk/unusual", "plugins/internal/..."},
		why: "a plugin is written as an outsider would write it",
	},
	{
		importers: []string{"plugins/..."}, about: ours, may: []string{"sdk/...", "plugins/internal/...", "test/standin/..."}, tests: true,
		why: "a plugin is written as an outsider would write it",
	},
	{
		importers: []string{"examples/..."}, about: ours, may: []string{"sdk/..."}, tests: true,
		why: "an example shows what an outsider can do",
	},
	{
		importers: []string{"cmd/penstock"}, about: ours, may: []string{"host"}, tests: true,
		why: "package host is the sole door to the host",
	},
	{
		importers: []string{"cmd/penstock-destination-*"}, about: ours, may: []string{"sdk", "plugins/*"},
		why: "a destination's command only serves it",
	},
	{
		importers: []string{"host/..."}, about: []string{"cmd/...", "plugins/...", "examples/...", "test/...", "sdk", "sdk/destinationtest/...", "proto/..."},
		why: "a host reaches destinations through sdk/protocol alone",
	},
	{
		importers: []string{"host/internal/..."}, about: []string{"host"}, tests: true,
		why: "package host composes; nothing below it calls back",
	},
	{
		importers: []string{"host/internal/journal/..."}, about: ours,
		may: []string{"host/internal/journal/...", "host/internal/crashpoint", "host/internal/durable", "host/internal/rowmark", "host/internal/swar", "sdk/batch"},
		why: "the journal knows neither destinations nor sources",
	},
	{
		importers: []string{"host/internal/schema"}, about: ours, may: []string{"host/internal/rowmark", "host/internal/swar", "sdk/batch"},
		why: "the schema turns bytes into rows and knows nothing else",
	},
	{
		importers: []string{"host/internal/rowmark"}, about: ours,
		why: "the parser and the compressor of rows share it, and nothing else",
	},
	{
		importers: []string{"host/internal/swar"}, about: ours,
		why: "scanners of several rooms share it",
	},
	{
		importers: []string{"host/internal/durable"}, about: ours,
		why: "it makes names survive a power cut, whatever they name",
	},
	{
		importers: []string{"host/internal/inflate"}, about: ours,
		why: "it turns bytes into bytes",
	},
	{
		importers: []string{"host/internal/source/..."}, about: []string{"host/..."},
		may: []string{"host/internal/source/...", "host/internal/ingest", "host/internal/journal", "host/internal/schema", "host/internal/rowmark", "host/internal/crashpoint", "host/internal/durable", "host/internal/private", "host/internal/swar", "host/internal/inflate"},
		why: "a source feeds the journal and knows nothing of exports",
	},
	{
		importers: []string{"host/internal/pipeline"}, about: ours, may: []string{"host/internal/journal", "sdk/batch"},
		why: "planning an export is apart from carrying it out",
	},
	{
		importers: []string{"host/internal/export"}, about: []string{"host/..."},
		may: []string{"host/internal/journal", "host/internal/pipeline", "host/internal/crashpoint"},
		why: "an attempt at a run is given its catalog and its plugin",
	},
	{
		importers: []string{"host/internal/plugin"}, about: []string{"host/..."}, may: []string{"host/internal/durable"},
		why: "supervising plugins needs no other part of the host",
	},
	{
		importers: []string{"host/internal/lifecycle", "host/internal/progress"}, about: ours,
		why: "gates, pauses and progress are used by every room and know none",
	},
	{
		importers: []string{"host/internal/operation"}, about: ours, may: []string{"host/internal/quarantine", "host/internal/verify"},
		why: "requests and their JSON are for clients, too, which link nothing else",
	},
	{
		importers: []string{"host/internal/listen"}, about: ours, may: []string{"host/internal/lifecycle"},
		why: "a listener knows no endpoint",
	},
	{
		importers: []string{"host/internal/api"}, about: ours,
		may: []string{"host/internal/operation", "host/internal/quarantine", "host/internal/listen"},
		why: "the API asks operations, and nothing behind them",
	},
	{
		importers: []string{"host/internal/httpapi"}, about: ours,
		may: []string{"host/internal/operation", "host/internal/quarantine", "host/internal/listen"},
		why: "the API asks operations, and nothing behind them",
	},
	{
		importers: []string{"host/internal/metrics"}, about: ours, may: []string{"host/internal/operation"},
		why: "metrics show numbers that operations collect",
	},
	{
		importers: []string{"cmd/...", "host/..."}, except: []string{"host/internal/metrics"}, about: []string{"github.com/prometheus/..."},
		why: "one package knows the format of metrics",
	},
	{
		importers: []string{"host/internal/datadir"}, about: rooms, may: []string{"host/internal/lifecycle", "host/internal/operation"},
		why: "a data directory is locked, and its catalog rebuilt, before a host exists",
	},
	{
		importers: []string{"host/internal/backup"}, about: rooms, may: []string{"host/internal/lifecycle", "host/internal/operation", "host/internal/datadir"},
		why: "a backup copies the files of a data directory, and is restored before a host exists",
	},
	{
		importers: []string{"host/internal/destination"}, about: rooms, may: []string{"host/internal/lifecycle"},
		why: "destinations know neither projects nor runs",
	},
	{
		importers: []string{"host/internal/project"}, about: rooms,
		may: []string{"host/internal/lifecycle", "host/internal/progress", "host/internal/operation", "host/internal/datadir"},
		why: "projects know neither the sources that fill them nor the pipelines that read them",
	},
	{
		importers: []string{"host/internal/project"}, about: []string{"host/internal/source/...", "host/internal/export", "host/internal/plugin"},
		why: "projects know neither the sources that fill them nor the pipelines that read them",
	},
	{
		importers: []string{"host/internal/intake"}, about: rooms,
		may: []string{"host/internal/lifecycle", "host/internal/progress", "host/internal/operation", "host/internal/datadir", "host/internal/listen", "host/internal/project"},
		why: "sources know no pipelines",
	},
	{
		importers: []string{"host/internal/runner"}, about: rooms,
		may: []string{"host/internal/lifecycle", "host/internal/progress", "host/internal/operation", "host/internal/destination", "host/internal/project"},
		why: "pipelines know neither sources nor the API",
	},
	{
		importers: []string{"host/internal/runner"}, about: []string{"host/internal/source/...", "host/internal/ingest"},
		why: "pipelines know no sources: rows come out of journals",
	},
	{
		importers: []string{"host/internal/scheduler"}, about: ours,
		why: "a scheduler knows times, and not the work that is due",
	},
	{
		importers: []string{"host/internal/upkeep"}, about: rooms, may: []string{"host/internal/lifecycle", "host/internal/operation"},
		why: "journals are kept small whatever fills and reads them",
	},
	{
		importers: []string{"host/internal/validate"}, about: rooms, may: []string{"host/internal/lifecycle", "host/internal/datadir", "host/internal/destination"},
		why: "a configuration is checked before a host exists",
	},
	{
		importers: []string{"host/internal/service"}, about: []string{"host/internal/api", "host/internal/httpapi", "host/internal/listen", "host/internal/validate"},
		why: "a service is asked, by the API or by a command",
	},
	{
		importers: []string{"cmd/penstock", "host/..."}, about: []string{"cloud.google.com/go/...", "gocloud.dev/blob/gcsblob"},
		why: "the host lists and reads objects through Google's JSON API: its client weighs 23 MB",
	},
	{
		importers: []string{"cmd/...", "host/...", "plugins/...", "examples/..."}, except: []string{"host/internal/plugin", "host/internal/plugin/..."},
		about: []string{"github.com/hashicorp/go-plugin/..."}, tests: true,
		why: "go-plugin's holes are mended in host/internal/plugin and in the SDK",
	},
	{
		importers: ours, except: []string{"sdk/destinationtest", "host/internal/project/projecttest", "plugins/internal/lake/laketest", "plugins/internal/setuptest", "test/..."},
		about: []string{"testing/..."},
		why:   "programs link no test code; packages that help tests are named here",
	},
}

// rooms are the packages that package host composes: each owns its goroutines and
// locks.
var rooms = []string{
	"host/internal/lifecycle", "host/internal/progress", "host/internal/operation", "host/internal/datadir", "host/internal/listen", "host/internal/destination",
	"host/internal/upkeep", "host/internal/validate", "host/internal/backup", "host/internal/project", "host/internal/intake", "host/internal/runner", "host/internal/scheduler", "host/internal/service", "host/internal/api", "host/internal/httpapi", "host/internal/metrics",
}

// violations are the sentences that a table has for packages.
func violations(table []rule, packages []pkg) []string {
	var found []string
	for _, p := range packages {
		for _, r := range table {
			if match(p.path, r.importers) && !match(p.path, r.except) {
				found = append(found, r.violations(p)...)
			}
		}
	}
	return found
}

func (r rule) violations(p pkg) []string {
	imports := p.imports
	if r.tests {
		imports = slices.Concat(p.imports, p.testImports)
	}
	var found []string
	for _, i := range imports {
		if i == p.path || !match(i, r.about) || match(i, r.may) {
			continue
		}
		verb := "imports"
		if !slices.Contains(p.imports, i) {
			verb = "has tests that import"
		}
		sentence := fmt.Sprintf("%s %s %s: %s", p.path, verb, i, r.why)
		if len(r.may) > 0 {
			sentence += fmt.Sprintf(" (of these it may import %s)", strings.Join(r.may, ", "))
		}
		found = append(found, sentence)
	}
	return found
}

// match knows three forms: a path; a path and all below it ("host/..."); and
// one with a star for the rest of the last element ("plugins/*").
func match(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if below, ok := strings.CutSuffix(pattern, "/..."); ok {
			return path == below || strings.HasPrefix(path, below+"/")
		}
		if begin, ok := strings.CutSuffix(pattern, "*"); ok {
			rest, ok := strings.CutPrefix(path, begin)
			return ok && rest != "" && !strings.Contains(rest, "/")
		}
		return path == pattern
	})
}
