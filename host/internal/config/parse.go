package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile is how long a configuration file, and one that file() reads, may be:
// beyond it something else was named by mistake.
const maxFile = 16 << 20

// parse reads all files. Of a file with a syntax error the blocks before the
// first one are read.
func (l *loader) parse() {
	for _, path := range l.files() {
		data, err := readFile(path)
		if err != nil {
			l.fail(nil, "Configuration cannot be read", "%s: %s.", path, reason(err))
			continue
		}
		l.raw[path] = data
		l.order = append(l.order, path)
		file, diagnostics := hclsyntax.ParseConfig(data, path, hcl.InitialPos)
		broken := l.addSyntax(diagnostics)
		body, ok := file.Body.(*hclsyntax.Body)
		l.broken[path] = broken != nil || !ok
		if !ok {
			continue
		}
		l.hideByName(body)
		for _, b := range body.Blocks {
			l.name(b)
			if broken == nil || b.Range().End.Byte <= broken.Start.Byte && b.CloseBraceRange.End.Byte <= broken.Start.Byte {
				l.blocks = append(l.blocks, b)
			}
		}
		for _, a := range sortedAttributes(body) {
			if broken == nil {
				l.fail(a.NameRange.Ptr(), "Attribute outside of a block", "%q stands alone. Attributes belong in a block: host, project, source, destination, pipeline or locals.", a.Name)
			}
		}
	}
}

// refuseEmpty refuses a configuration without any block: commands would work
// with nothing but defaults.
func (l *loader) refuseEmpty() {
	if len(l.blocks) > 0 || l.diagnostics.HasErrors() {
		return
	}
	var at *hcl.Range
	if len(l.order) > 0 {
		at = &hcl.Range{Filename: l.order[0], Start: hcl.InitialPos, End: hcl.InitialPos}
	}
	l.fail(at, "Empty configuration", "It holds no block. To export, write a project, a source, a destination and a pipeline.")
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errors.New("it is longer than 16 MiB")
	}
	return data, nil
}

// reason is an error of the file system without its operation and path.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// name notes that a block exists.
func (l *loader) name(b *hclsyntax.Block) {
	if l.names[b.Type] == nil {
		l.names[b.Type] = map[string]bool{}
	}
	l.names[b.Type][strings.Join(b.Labels, ".")] = true
}

// addSyntax adds the parser's diagnostics, and returns the place of the first
// behind which the tree cannot be trusted.
func (l *loader) addSyntax(diagnostics hcl.Diagnostics) (broken *hcl.Range) {
	said := map[int]bool{}
	for _, d := range diagnostics {
		if d.Subject != nil {
			if said[d.Subject.Start.Byte] {
				continue // one mistake, seen twice
			}
			said[d.Subject.Start.Byte] = true
		}
		switch d.Summary {
		case "Argument or block definition required":
			if said[-2] {
				continue // a file in another language has this in every line
			}
			said[-2] = true
			if d.Subject != nil {
				d.Detail = l.notHCL(d)
			}
		case "Missing newline after argument":
			if m := blockWithEquals.FindStringSubmatch(l.lineOf(d.Subject)); m != nil {
				d.Summary = "Block with an equals sign"
				d.Detail = fmt.Sprintf("A block has no equals sign: write %s %s {.", m[1], m[2])
			}
		case "Unterminated template string":
			d.Summary = "Text without end"
			d.Detail = "A text that begins with <<EOT ends with a line that holds nothing but EOT."
		case "Invalid multi-line string":
			if said[-1] {
				continue // the quotes behind an open string are turned round
			}
			said[-1] = true
			d.Summary = "String without end"
			d.Detail = "A string ends with a quote on its own line. For text of several lines write <<EOT, the lines, and a line with EOT."
		case "Invalid single-argument block definition":
			d.Summary = "Several arguments in a one-line block"
			d.Detail = "A block on one line holds a single argument. Write one argument per line, without commas, and the closing brace on a line of its own."
		case "Attribute redefined":
			d.Summary = "Attribute set twice"
			l.diagnostics = append(l.diagnostics, d)
			continue // the tree is whole
		}
		if d.Subject != nil && (broken == nil || d.Subject.Start.Byte < broken.Start.Byte) {
			broken = d.Subject
		}
		l.partial = true
		l.diagnostics = append(l.diagnostics, d)
	}
	return broken
}

// blockWithEquals matches the head of a block that was written as an attribute.
var blockWithEquals = regexp.MustCompile(`^\s*([a-z_]+)\s*=\s*("[^"]*"(?:\s+"[^"]*")*)\s*\{`)

// notHCL is the detail of a line that is neither an attribute nor a block.
func (l *loader) notHCL(d *hcl.Diagnostic) string {
	const hcl = ` A configuration is written in HCL: name = "value" for attributes, and name { … } over several lines for blocks.`
	switch line := strings.TrimSpace(l.lineOf(d.Subject)); {
	case strings.HasPrefix(line, "{"), strings.HasPrefix(line, "["):
		return "This looks like JSON." + hcl
	case strings.HasSuffix(line, ":"), strings.Contains(line, ": "):
		return "This looks like YAML." + hcl
	}
	return d.Detail
}

// lineOf is the line that a range begins in.
func (l *loader) lineOf(r *hcl.Range) string {
	if r == nil {
		return ""
	}
	lines := strings.Split(string(l.raw[r.Filename]), "\n")
	if r.Start.Line < 1 || r.Start.Line > len(lines) {
		return ""
	}
	return lines[r.Start.Line-1]
}

// files lists the files that Paths name, in order, each once.
func (l *loader) files() []string {
	var files []string
	for _, path := range l.options.Paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			l.fail(nil, "Configuration cannot be read", "%s: %s.", path, reason(err))
			l.partial = true
		case info.IsDir():
			files = append(files, l.filesIn(path)...)
		default:
			files = append(files, path)
		}
	}
	return unique(files)
}

// filesIn lists a directory's *.hcl, without those that begin with a point.
func (l *loader) filesIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.fail(nil, "Configuration cannot be read", "%s: %s.", dir, reason(err))
		return nil
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && filepath.Ext(name) == ".hcl" && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	if len(files) == 0 {
		l.fail(nil, "Configuration cannot be read", "The directory %s holds no *.hcl file.", dir)
	}
	return files
}

// unique drops files that were named before, by whatever path.
func unique(files []string) []string {
	var kept []string
	var seen []fs.FileInfo
	for _, f := range files {
		info, err := os.Stat(f)
		known := false
		for _, s := range seen {
			known = known || err == nil && os.SameFile(s, info)
		}
		if known {
			continue
		}
		if err == nil {
			seen = append(seen, info)
		}
		kept = append(kept, f)
	}
	return kept
}

func sortedAttributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	all := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, a := range body.Attributes {
		all = append(all, a)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].SrcRange.Start.Byte < all[j].SrcRange.Start.Byte })
	return all
}
