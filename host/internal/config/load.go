package config

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Options say what to load and what to check it against.
type Options struct {
	// Paths are files, and directories of which every *.hcl is read.
	Paths []string
	// Offline turns what only this machine knows (an unset variable, a file
	// that is missing) into warnings.
	Offline bool
	Now     time.Time
	// Env looks up environment variables.
	Env func(string) (string, bool)
	// Schema returns what a destination type's body may hold. Its error says,
	// for people, why it cannot. It is called with the host block's plugin
	// directory.
	Schema func(ctx context.Context, pluginDir, typ string) (schema.Schema, error)
	// Registered says whether a pipeline is registered in the data directory;
	// how far back it may reach was checked then.
	Registered func(dataDir, name string) bool
}

// loader collects what is wrong while it reads.
type loader struct {
	options     Options
	config      *Config
	diagnostics hcl.Diagnostics
	eval        *hcl.EvalContext
	blocks      []*hclsyntax.Block
}

// Load reads a configuration. When a diagnostic is an error the configuration
// is not to be used.
func Load(ctx context.Context, o Options) (*Config, diagnostic.Diagnostics) {
	l := &loader{options: o, config: &Config{Files: diagnostic.Sources{}}}
	l.parse()
	if l.diagnostics.HasErrors() {
		return l.done()
	}
	l.evaluateLocals()
	l.decodeHost()
	l.decodeProjects()
	l.decodeSources()
	l.decodeDestinations(ctx)
	l.decodePipelines()
	l.refuseUnknownBlocks()
	return l.done()
}

func (l *loader) done() (*Config, diagnostic.Diagnostics) {
	for _, d := range l.diagnostics {
		// The values of variables may be secrets.
		d.Expression, d.EvalContext = nil, nil
	}
	diagnostic.Sort(l.diagnostics)
	return l.config, l.diagnostics
}

// parse reads all files.
func (l *loader) parse() {
	parser := hclparse.NewParser()
	for _, path := range l.files() {
		data, err := os.ReadFile(path)
		if err != nil {
			l.fail(nil, "Configuration cannot be read", "%v.", err)
			continue
		}
		l.config.Files[path] = data
		file, diagnostics := parser.ParseHCL(data, path)
		l.addParse(diagnostics)
		if body, ok := file.Body.(*hclsyntax.Body); ok {
			l.blocks = append(l.blocks, body.Blocks...)
			for _, a := range sortedAttributes(body) {
				l.fail(a.NameRange.Ptr(), "Attribute outside of a block", "%q stands alone. Attributes belong into a block: host, project, source, destination, pipeline or locals.", a.Name)
			}
		}
	}
}

// addParse adds the parser's diagnostics. The commonest trap gets a word.
func (l *loader) addParse(diagnostics hcl.Diagnostics) {
	for _, d := range diagnostics {
		if d.Summary == "Invalid single-argument block definition" {
			d.Detail += " A block on one line can hold a single argument: write one argument per line, with the closing brace on a line of its own."
		}
	}
	l.diagnostics = append(l.diagnostics, diagnostics...)
}

// files lists what Paths name, in order.
func (l *loader) files() []string {
	var files []string
	for _, path := range l.options.Paths {
		info, err := os.Stat(path)
		if err != nil {
			detail := err.Error()
			if pathErr, ok := err.(*fs.PathError); ok {
				detail = pathErr.Err.Error()
			}
			l.fail(nil, "Configuration cannot be read", "%s: %s.", path, detail)
			continue
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		found, err := filepath.Glob(filepath.Join(path, "*.hcl"))
		if err != nil || len(found) == 0 {
			l.fail(nil, "Configuration cannot be read", "The directory %s holds no *.hcl file.", path)
			continue
		}
		sort.Strings(found)
		files = append(files, found...)
	}
	return files
}

// fail adds an error at a place, which may be nil.
func (l *loader) fail(at *hcl.Range, summary, detail string, args ...any) {
	l.add(hcl.DiagError, at, nil, summary, detail, args...)
}

func (l *loader) warn(at *hcl.Range, summary, detail string, args ...any) {
	l.add(hcl.DiagWarning, at, nil, summary, detail, args...)
}

func (l *loader) add(severity hcl.DiagnosticSeverity, at *hcl.Range, extra any, summary, detail string, args ...any) {
	l.diagnostics = append(l.diagnostics, &hcl.Diagnostic{
		Severity: severity, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: at, Extra: extra,
	})
}

func sortedAttributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	all := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, a := range body.Attributes {
		all = append(all, a)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].SrcRange.Start.Byte < all[j].SrcRange.Start.Byte })
	return all
}
