package config

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Options select the files to load and the checks to make. Only Paths and Now
// are required.
type Options struct {
	// Paths are files, and directories of which every *.hcl is read.
	Paths []string
	// Offline makes a warning of a variable that is not set, and of a file or a
	// plugin that is missing: the machine that runs the host may have them.
	Offline bool
	// Command reads for a command that works in the data directory. It is like
	// Offline, except for variables and files that are missing: where such a
	// command needs the value it is an error, and where only a serving host does
	// it goes to Config.Unset without a diagnostic.
	Command bool
	Now     time.Time
	// Env looks up environment variables. nil: none is set.
	Env func(string) (string, bool)
	// Schema returns the schema of a destination type's body. Its error is shown
	// to people. It is called with the host block's plugin
	// directory.
	Schema func(ctx context.Context, pluginDir, typ string) (schema.Schema, error)
	// User checks that plugins can run as a user of the system, before the first
	// schema is asked for. nil: it is not checked.
	User func(name string) error
	// Types lists the destination types that a plugin directory holds, for the
	// message about one that it does not. It may be nil.
	Types func(pluginDir string) []string
	// Registered returns the from_date with which a pipeline is registered in the
	// data directory: it was checked then. nil: no pipeline is registered.
	Registered func(dataDir, name string) (from journal.Day, ok bool)
}

func (o Options) withDefaults() Options {
	o.Offline = o.Offline || o.Command
	if o.Env == nil {
		o.Env = func(string) (string, bool) { return "", false }
	}
	if o.Schema == nil {
		o.Schema = func(context.Context, string, string) (schema.Schema, error) {
			return schema.Schema{}, errors.New("no plugin can be asked")
		}
	}
	if o.User == nil {
		o.User = func(string) error { return nil }
	}
	if o.Types == nil {
		o.Types = func(string) []string { return nil }
	}
	if o.Registered == nil {
		o.Registered = func(string, string) (journal.Day, bool) { return 0, false }
	}
	return o
}

// loader reads a configuration and collects its mistakes.
type loader struct {
	options     Options
	config      *Config
	diagnostics hcl.Diagnostics
	raw         map[string][]byte // file texts as they are
	order       []string          // files in the order in which they were read
	broken      map[string]bool   // files that could not be parsed to their end
	blocks      []*hclsyntax.Block
	names       map[string]map[string]bool // of all blocks by type, also of those that are not read
	partial     bool                       // parts of some file could not be parsed: names may be missing
	suspect     map[string][]string        // names of blocks with wrong labels, by type; "": a block without a name
	eval        *hcl.EvalContext
	locals      map[string]*local
	hidden      []hcl.Range        // literals in the files that are secrets
	missing     []miss             // by env and file, during an evaluation
	unsure      map[*Pipeline]bool // pipelines whose target or dates are not known
}

// Load reads a configuration. When a diagnostic is an error the configuration
// is not to be used; it then holds the parts that could be read.
func Load(ctx context.Context, o Options) (*Config, diagnostic.Diagnostics) {
	l := &loader{
		options: o.withDefaults(), config: &Config{Files: diagnostic.Sources{}}, raw: map[string][]byte{}, broken: map[string]bool{},
		names: map[string]map[string]bool{}, suspect: map[string][]string{}, locals: map[string]*local{}, unsure: map[*Pipeline]bool{},
	}
	l.parse()
	l.refuseEmpty()
	l.evaluateLocals()
	l.decodeHost()
	l.decodeProjects()
	l.decodeSources()
	l.decodeDestinations(ctx)
	l.decodePipelines()
	l.refuseUnknownBlocks()
	return l.done(ctx)
}

func (l *loader) done(ctx context.Context) (*Config, diagnostic.Diagnostics) {
	for _, d := range l.diagnostics {
		// The values of variables and the arguments of functions may be secrets.
		d.Expression, d.EvalContext, d.Extra = nil, nil, nil
		if d.Subject != nil {
			d.Context = l.blockAround(*d.Subject)
		}
	}
	for name, text := range l.raw {
		var values *regexp.Regexp
		if l.broken[name] {
			values = secretValues(l.sensitiveNames(ctx, text))
		}
		l.config.Files[name] = mask(name, text, l.hidden, values)
	}
	diagnostic.Sort(l.diagnostics)
	return l.config, l.diagnostics
}

// blockAround is the head of the block that a range lies in, to its end.
func (l *loader) blockAround(r hcl.Range) *hcl.Range {
	for _, b := range l.blocks {
		if whole := b.Range(); whole.Filename == r.Filename && whole.Overlaps(r) {
			return &whole
		}
	}
	return nil
}

// fail adds an error at a place, which may be nil.
func (l *loader) fail(at *hcl.Range, summary, detail string, args ...any) {
	l.add(hcl.DiagError, at, summary, detail, args...)
}

func (l *loader) warn(at *hcl.Range, summary, detail string, args ...any) {
	l.add(hcl.DiagWarning, at, summary, detail, args...)
}

func (l *loader) add(severity hcl.DiagnosticSeverity, at *hcl.Range, summary, detail string, args ...any) {
	l.diagnostics = append(l.diagnostics, &hcl.Diagnostic{
		Severity: severity, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: at,
	})
}

// skip notes a check that was left out.
func (l *loader) skip(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	for _, s := range l.config.Skipped {
		if s == what {
			return
		}
	}
	l.config.Skipped = append(l.config.Skipped, what)
}
