package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// clocks are functions that tell or wait for the time of day, by package.
var clocks = map[string][]string{
	"time":    {"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"},
	"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"},
}

// The journal is told what time it is: a seal can be repeated.
func TestTheJournalHasNoClock(t *testing.T) {
	t.Parallel()
	looked := 0
	for path, p := range own(t) {
		if !match(path, []string{"host/internal/journal/..."}) {
			continue
		}
		for _, name := range p.GoFiles {
			looked++
			found, err := readsClock(filepath.Join(p.Dir, name), nil)
			if err != nil {
				t.Error(err)
			}
			for _, f := range found {
				t.Errorf("%s/%s; the journal gets the time as an argument", path, f)
			}
		}
	}
	if looked < 10 {
		t.Errorf("looked at %d files only", looked)
	}
}

func TestAPlantedClockIsSeen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		imports, body string
		want          string
	}{
		{`"time"`, `_ = time.Now()`, "planted.go:3 uses time.Now"},
		{`"time"`, `f := time.Now; _ = f`, "planted.go:3 uses time.Now"},
		{`wall "time"`, `_ = wall.Since(wall.Time{})`, "planted.go:3 uses time.Since"},
		{`"time"`, `<-time.After(1)`, "planted.go:3 uses time.After"},
		{`"context"`, `context.WithTimeout(nil, 1)`, "planted.go:3 uses context.WithTimeout"},
		{`. "time"`, `_ = Now()`, "planted.go imports time with a dot"},
		{`"time"`, `_ = time.Unix(0, 0)`, ""},
	}
	for _, tt := range tests {
		source := fmt.Sprintf("package planted\nimport %s\nfunc f() { %s }\n", tt.imports, tt.body)
		found, err := readsClock("planted.go", source)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(found, "; "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.body, got, tt.want)
		}
	}
}

// readsClock finds the uses of clocks in a file, also as values.
func readsClock(path string, source any) ([]string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	names := map[string]string{} // of packages, as the file calls them
	for _, i := range file.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		if clocks[imported] == nil {
			continue
		}
		switch {
		case i.Name == nil:
			names[imported] = imported
		case i.Name.Name == ".":
			found = append(found, fmt.Sprintf("%s imports %s with a dot", filepath.Base(path), imported))
		default:
			names[i.Name.Name] = imported
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && slices.Contains(clocks[names[x.Name]], s.Sel.Name) {
			found = append(found, fmt.Sprintf("%s:%d uses %s.%s", filepath.Base(path), set.Position(s.Pos()).Line, names[x.Name], s.Sel.Name))
		}
		return true
	})
	return found, nil
}
