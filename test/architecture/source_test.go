package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// source is the wording of one file.
type source struct {
	path     string
	passages []passage
	names    []name             // of fields, and of a package's functions, types and values
	docs     []string           // doc comments of declarations; of tests, none are noted
	used     map[exception]bool // nil: not recorded
}

// passage is a comment, a message or a paragraph, with its line breaks.
type passage struct {
	line    int
	text    string
	comment bool
}

type name struct {
	line int
	text string
}

type violation struct {
	line int
	text string
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// readTree reads the files of the tree that have wording: Go, proto, documents,
// scripts and examples. Generated files and testdata are left out.
func readTree(t *testing.T) []*source {
	t.Helper()
	const root = "../.."
	var tree []*source
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		short := strings.TrimPrefix(file, root+"/")
		if e.IsDir() {
			hidden := strings.HasPrefix(e.Name(), ".") && file != root
			if hidden || e.Name() == "testdata" || e.Name() == "node_modules" || short == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() || leftOut[short] != "" || !hasWording(short) {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if generated.Match(text) {
			return nil
		}
		f, err := parseSource(short, text)
		tree = append(tree, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) < 300 {
		t.Fatalf("only %d files were read", len(tree))
	}
	return tree
}

func hasWording(file string) bool {
	switch path.Ext(file) {
	case ".go", ".proto", ".md", ".sh", ".hcl":
		return true
	}
	return path.Base(file) == "Makefile"
}

func parseSource(file string, text []byte) (*source, error) {
	s := &source{path: file}
	switch path.Ext(file) {
	case ".go":
		return s, s.parseGo(text)
	case ".md":
		s.parseMarkdown(string(text))
	case ".proto":
		s.parseComments(string(text), "//")
	default:
		s.parseComments(string(text), "#")
	}
	return s, nil
}

func (s *source) parseGo(text []byte) error {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, s.path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	line := func(p token.Pos) int { return set.Position(p).Line }
	for _, c := range file.Comments {
		if text := c.Text(); text != "" {
			s.passages = append(s.passages, passage{line(c.Pos()), text, true})
		}
	}
	for _, d := range file.Decls {
		s.declared(d, line)
	}
	tags := map[ast.Node]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			tags[n.Tag] = true
			for _, i := range n.Names {
				s.names = append(s.names, name{line(i.Pos()), i.Name})
			}
		case *ast.FuncType:
			// Parameters are as local as variables.
			if n.TypeParams == nil {
				return false
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && !tags[n] && strings.Contains(text, " ") {
				s.passages = append(s.passages, passage{line(n.Pos()), text, false})
			}
		}
		return true
	})
	return nil
}

// declared notes the names and doc comments of a package's declarations.
func (s *source) declared(d ast.Decl, line func(token.Pos) int) {
	note := func(i *ast.Ident, docs ...*ast.CommentGroup) {
		s.names = append(s.names, name{line(i.Pos()), i.Name})
		for _, doc := range docs {
			if doc != nil && !strings.HasSuffix(s.path, "_test.go") {
				s.docs = append(s.docs, doc.Text())
				return
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		note(d.Name, d.Doc)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				note(spec.Name, spec.Doc, d.Doc)
			case *ast.ValueSpec:
				for _, i := range spec.Names {
					note(i, spec.Doc, d.Doc)
				}
			}
		}
	}
}

// codeSpan matches code in a paragraph, which has no wording.
var codeSpan = regexp.MustCompile("`[^`\n]*`")

// parseMarkdown takes a document apart into paragraphs, without code.
func (s *source) parseMarkdown(text string) {
	fenced := false
	begin, paragraph := 0, ""
	flush := func() {
		if paragraph != "" {
			s.passages = append(s.passages, passage{begin, paragraph, false})
		}
		paragraph = ""
	}
	for i, l := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(l)
		code := fenced || strings.HasPrefix(l, "    ") && paragraph == ""
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
			flush()
			continue
		case code, trimmed == "":
			flush()
			continue
		case strings.HasPrefix(trimmed, "#"), strings.HasPrefix(trimmed, "|"), strings.HasPrefix(trimmed, "- "):
			flush()
			trimmed = strings.TrimLeft(trimmed, "#|- ")
		}
		if strings.HasPrefix(l, "#") {
			continue // a heading may be a clause
		}
		if paragraph == "" {
			begin = i + 1
		}
		paragraph += codeSpan.ReplaceAllString(trimmed, "code") + "\n"
	}
	flush()
}

// parseComments collects comments that begin with mark, adjacent lines joined.
func (s *source) parseComments(text, mark string) {
	var last *passage
	for i, l := range strings.Split(text, "\n") {
		at := strings.Index(l, mark)
		if at < 0 || strings.HasPrefix(l, "#!") {
			last = nil
			continue
		}
		comment := strings.TrimSpace(strings.TrimLeft(l[at:], mark)) + "\n"
		if last != nil && strings.TrimSpace(l[:at]) == "" {
			last.text += comment
			continue
		}
		s.passages = append(s.passages, passage{i + 1, comment, true})
		last = &s.passages[len(s.passages)-1]
	}
}

// violations returns the places where a file breaks the word list.
func (s *source) violations() []violation {
	var found []violation
	for _, p := range s.passages {
		text := strings.NewReplacer("\n", " ", "\t", " ").Replace(p.text)
		add := func(at int, words, instead string) {
			if !s.excused(strings.ToLower(words)) {
				found = append(found, violation{p.line + strings.Count(p.text[:at], "\n"), fmt.Sprintf("%q: %s", words, instead)})
			}
		}
		for _, r := range wordList {
			for _, m := range r.pattern.FindAllStringIndex(text, -1) {
				if !r.excepted(text, m) {
					add(m[0], text[m[0]:m[1]], r.instead)
				}
			}
		}
		for _, m := range clauseSubject.FindAllStringSubmatchIndex(text, -1) {
			if text[m[6]:m[7]] != "?" && (p.comment || m[0] != m[2] || text[m[2]] == 'W') {
				add(m[2], text[m[2]:m[3]], nounSubject)
			}
		}
	}
	for _, n := range s.names {
		if refusedNames[n.text] && !s.excused(n.text) {
			found = append(found, violation{n.line, n.text + ": a function's name is a verb, a type's and a value's a noun"})
		}
	}
	return found
}

func (s *source) excused(rule string) bool {
	for _, e := range exceptions {
		if e.path == s.path && e.rule == rule {
			if s.used != nil {
				s.used[e] = true
			}
			return true
		}
	}
	return false
}

// excepted reports whether a match of a rule is excused by the words around it.
func (r wordRule) excepted(text string, match []int) bool {
	if r.except == nil {
		return false
	}
	const around = 12
	before, after := text[max(0, match[0]-around):match[1]], text[match[0]:min(len(text), match[1]+around)]
	return r.except.MatchString(before) || r.except.MatchString(after)
}

// measures are the wording of some files in numbers.
type measures struct{ words, whats, docs, docWords int }

var anyWhat = regexp.MustCompile(`(?i)\bwhat\b`)

// measure adds up the comments of Go and proto files by group.
func measure(tree []*source, group func(*source) string) map[string]measures {
	all := map[string]measures{}
	for _, f := range tree {
		if e := path.Ext(f.path); e != ".go" && e != ".proto" {
			continue
		}
		m := all[group(f)]
		for _, p := range f.passages {
			if p.comment {
				m.words += len(strings.Fields(p.text))
				m.whats += len(anyWhat.FindAllString(p.text, -1))
			}
		}
		for _, d := range f.docs {
			m.docs++
			m.docWords += len(strings.Fields(d))
		}
		all[group(f)] = m
	}
	return all
}

func (m measures) perThousand() float64 { return 1000 * float64(m.whats) / float64(max(m.words, 1)) }

func (m measures) docLength() float64 { return float64(m.docWords) / float64(max(m.docs, 1)) }

// tooManyWhats reports whether a directory is over the limit; two are allowed
// however short its comments are.
func (m measures) tooManyWhats() bool { return m.whats > 2 && m.perThousand() > maxWhats }

func (m measures) String() string {
	return fmt.Sprintf("%6d words, %4.1f what per 1,000; %4d doc comments of %4.1f words", m.words, m.perThousand(), m.docs, m.docLength())
}
