package architecture

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWording holds comments, messages and names to the word list. Paths in
// testdata/not-yet are left out until their owner has gone through them.
func TestWording(t *testing.T) {
	t.Parallel()
	tree := readTree(t)
	pending := readPending(t)
	dirty := map[string]bool{}
	for _, f := range tree {
		entry := pending.entry(f.path)
		for _, v := range f.violations() {
			if entry != "" {
				dirty[entry] = true
				continue
			}
			t.Errorf("%s:%d: %s", f.path, v.line, v.text)
		}
	}
	for unit, m := range measure(tree, unit) {
		switch entry := pending.entry(unit); {
		case !m.tooManyWhats():
		case entry != "":
			dirty[entry] = true
		default:
			t.Errorf("%s: %d \"what\" in %d words of comments, the limit is %d per 1,000: let a noun be the subject", unit, m.whats, m.words, maxWhats)
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(pending)) {
		if !dirty[entry] {
			t.Errorf("testdata/not-yet/%s names %s, which keeps to the word list: remove the line", pending[entry], entry)
		}
	}
}

// TestWordingMeasures prints, with -v, how comments of each directory read in
// numbers, and holds the whole tree to the limits.
func TestWordingMeasures(t *testing.T) {
	t.Parallel()
	tree := readTree(t)
	byDir := measure(tree, func(f *source) string { return path.Dir(f.path) })
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		t.Logf("%-44s %s", dir, byDir[dir])
	}
	whole := measure(tree, func(*source) string { return "" })[""]
	t.Logf("%-44s %s", "whole tree", whole)
	if whole.words < 10_000 || whole.docs < 500 {
		t.Errorf("only %d words and %d doc comments were read", whole.words, whole.docs)
	}
	if len(readPending(t)) > 0 {
		return
	}
	if whole.perThousand() > maxWhats {
		t.Errorf("%.1f \"what\" per 1,000 words of comments, the limit is %d", whole.perThousand(), maxWhats)
	}
	if whole.docLength() < minDocLength {
		t.Errorf("a doc comment has %.1f words, the least is %d", whole.docLength(), minDocLength)
	}
}

// Each exception is still needed.
func TestWordingExceptions(t *testing.T) {
	t.Parallel()
	used := map[exception]bool{}
	for _, f := range readTree(t) {
		f.used = used
		f.violations()
	}
	for _, e := range exceptions {
		if !used[e] {
			t.Errorf("the exception for %s in %s (%s) excuses nothing: remove it", e.rule, e.path, e.why)
		}
	}
}

func TestPlantedWording(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, source, want string }{
		{"planted.go", "// ok says whether it is.\nfunc ok() {}", `3: "says whether": write "reports whether"`},
		{"planted.go", "// ok reports whether it is.\nfunc ok() {}", ""},
		{"planted.go", "// ok says\n// whether it is.\nfunc ok() {}", `3: "says whether"`},
		{"planted.go", "func ok() { // made anew\n}", `3: "anew"`},
		{"planted.go", "func ok() {\n\t/* for whoever\n\twaits */\n}", `4: "whoever"`},
		{"planted.go", "// What is sealed is kept.\nvar a int", `3: "What is": let a noun be the subject`},
		{"planted.go", "// A block is kept. What\n// follows is dropped.\nvar a int", `3: "What follows"`},
		{"planted.go", "// A block is kept: what follows is dropped.\nvar a int", `3: "what follows"`},
		{"planted.go", "// What is a block? It is a fragment.\nvar a int", ""},
		{"planted.go", "// It knows what is sealed.\nvar a int", ""},
		{"planted.go", "// It is no file.\nvar a int", `3: "is no"`},
		{"planted.go", "// There is no file, and it is no longer read.\nvar a int", ""},
		{"planted.go", "// The default is none.\nvar a int", `3: "is none"`},
		{"planted.go", "// The first, nil if there is none.\nvar a int", ""},
		{"planted.go", `var a = "%s is known by now"`, `3: "by now"`},
		{"planted.go", "var a = `one line\nand nobody else`", `4: "nobody"`},
		{"planted.go", `var a = "attributes belong into a block"`, `3: "belong into"`},
		{"planted.go", "type a struct {\n\tb int `json:\"is no b\"`\n}", ""},
		{"planted.go", "func passing() {}", `3: passing: a function's name is a verb, a type's and a value's a noun`},
		{"planted.go", "func (h *host) with() {}", `3: with: `},
		{"planted.go", "type nobody struct{}", `3: nobody: `},
		{"planted.go", "var one = 1", `3: one: `},
		{"planted.go", "func ok() { one := 1; _ = one }", ""},
		{"planted.proto", "// A message that says\n// whether it is.", `1: "says whether"`},
		{"planted.proto", "string a = 1; // also what may pass", `1: "what may pass"`},
		{"planted.proto", "optional string nobody = 1;", ""},
		{"planted.md", "# What there is\n\nAs it stands, rows are copied.", `3: "As it stands"`},
		{"planted.md", "    nobody:*:65534\n\n`is no code`", ""},
		{"planted.md", "```\nnobody\n```\n\nBeside it lies a file.", `5: "Beside"`},
		{"planted.sh", "# made anew\necho nobody", `1: "anew"`},
		{"planted.hcl", "a = 1 # nobody", `1: "nobody"`},
	}
	for _, tt := range tests {
		text := tt.source
		if path.Ext(tt.name) == ".go" {
			text = "package planted\n\n" + text + "\n"
		}
		f, err := parseSource(tt.name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, v := range f.violations() {
			found = append(found, fmt.Sprintf("%d: %s", v.line, v.text))
		}
		got := strings.Join(found, "\n")
		if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || len(found) > 1 {
			t.Errorf("%s\nfound %q, want %q", tt.source, got, tt.want)
		}
	}
}

func TestPlantedMeasures(t *testing.T) {
	t.Parallel()
	few := "package planted\n\n// A comment of seven words and what.\nvar a int\n"
	many := "package planted\n\n// It knows what and what. It also knows what.\nvar a int\n"
	for text, tooMany := range map[string]bool{few: false, many: true} {
		f, err := parseSource("a/planted.go", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		m := measure([]*source{f}, func(*source) string { return "" })[""]
		if m.tooManyWhats() != tooMany || m.docs != 1 || m.docWords != m.words {
			t.Errorf("%s\nis measured as %s", text, m)
		}
	}
}

// pending are paths whose wording was not gone through yet, each with the file
// in testdata/not-yet that names it. An entry is a directory, which stands for
// the files in it and not below it, or a file.
type pending map[string]string

func readPending(t *testing.T) pending {
	t.Helper()
	lists, err := filepath.Glob("testdata/not-yet/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	p := pending{}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range strings.Fields(string(text)) {
			p[entry] = filepath.Base(list)
		}
	}
	return p
}

// entry returns the entry that a file or a directory falls under, or "".
func (p pending) entry(name string) string {
	for _, candidate := range []string{name, path.Dir(name)} {
		if _, ok := p[candidate]; ok && (candidate == name || path.Ext(name) != "") {
			return candidate
		}
	}
	return ""
}

// unit is the directory of a file, or the file itself where a directory has
// several owners: it is measured as a whole.
func unit(f *source) string {
	if dir := path.Dir(f.path); dir != "host" {
		return dir
	}
	return f.path
}
