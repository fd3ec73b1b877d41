package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxMethods is how many methods a type of a room has at most: one that has more has
// several jobs.
const maxMethods = 12

// house are the rooms, and the package that composes them.
var house = append([]string{"host"}, rooms...)

// Types of the host's rooms have few methods, package host only composes, and no lock
// is held over I/O.
func TestTheHouse(t *testing.T) {
	t.Parallel()
	packages := own(t)
	for _, path := range house {
		p, ok := packages[path]
		if !ok {
			t.Errorf("there is no package %s", path)
			continue
		}
		var files []*ast.File
		set := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		for _, found := range disorder(set, files, path == "host") {
			t.Errorf("%s: %s", path, found)
		}
	}
}

// disorder returns the places in a package that break a rule of the house.
func disorder(set *token.FileSet, files []*ast.File, composes bool) []string {
	found := manyMethods(files)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				if composes {
					found = append(found, at(set, n)+" starts a goroutine: a room owns it, in a lifecycle.Group")
				}
			case *ast.ImportSpec:
				if composes && strings.Contains(n.Path.Value, `"sync`) {
					found = append(found, at(set, n)+" imports "+n.Path.Value+": a room owns the lock")
				}
			case *ast.FuncDecl:
				if n.Body != nil {
					found = append(found, heldOverIO(set, n.Body)...)
				}
			case *ast.FuncLit:
				found = append(found, heldOverIO(set, n.Body)...)
			}
			return true
		})
	}
	return found
}

func at(set *token.FileSet, n ast.Node) string {
	p := set.Position(n.Pos())
	return fmt.Sprintf("%s:%d", filepath.Base(p.Filename), p.Line)
}

// manyMethods returns the types that have too many methods.
func manyMethods(files []*ast.File) []string {
	methods := map[string]int{}
	for _, file := range files {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				methods[receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if methods[name] > maxMethods {
			found = append(found, fmt.Sprintf("type %s has %d methods, and the limit is %d", name, methods[name], maxMethods))
		}
	}
	return found
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// slow are packages whose functions reach a disk, a network or another process.
var slow = map[string]bool{"os": true, "net": true, "http": true, "exec": true, "syscall": true, "disk": true, "wal": true}

// heldOverIO returns the calls in a function that may take long while it holds a
// sync.Mutex: calls that are given a context, and functions of packages that reach a
// disk or a network. A lifecycle.Gate may be held over them. Functions inside of the
// function are looked at by themselves.
func heldOverIO(set *token.FileSet, body *ast.BlockStmt) []string {
	var found []string
	held, deferred := 0, false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.DeferStmt:
			deferred = deferred || isCall(n.Call, "Unlock", "RUnlock")
			return false
		case *ast.CallExpr:
			switch {
			case isCall(n, "Lock", "RLock"):
				held++
			case isCall(n, "Unlock", "RUnlock"):
				held--
			case (held > 0 || deferred) && isSlow(n):
				found = append(found, at(set, n)+" calls "+nameOf(n.Fun)+" while a mutex is held: use a lifecycle.Gate, or call it before")
			}
		}
		return true
	})
	return found
}

// isCall reports whether a call is of a method without arguments that has one of some
// names.
func isCall(c *ast.CallExpr, names ...string) bool {
	s, ok := c.Fun.(*ast.SelectorExpr)
	return ok && len(c.Args) == 0 && slices.Contains(names, s.Sel.Name)
}

// isSlow reports whether a call may take long.
func isSlow(c *ast.CallExpr) bool {
	if s, ok := c.Fun.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok && slow[x.Name] {
			return true
		}
	}
	return slices.ContainsFunc(c.Args, func(e ast.Expr) bool {
		x, ok := e.(*ast.Ident)
		return ok && x.Name == "ctx"
	})
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return "a function"
}

// The rules see planted disorder, and leave order alone.
func TestPlantedDisorder(t *testing.T) {
	t.Parallel()
	many := strings.Builder{}
	for n := range maxMethods + 1 {
		fmt.Fprintf(&many, "func (x *T) m%d() {}\n", n)
	}
	for _, tt := range []struct {
		body string
		host bool
		want string
	}{
		{many.String(), false, "type T has 13 methods, and the limit is 12"},
		{`func (x T) f() { go x.g() }`, true, "planted.go:2 starts a goroutine: a room owns it, in a lifecycle.Group"},
		{`func (x T) f() { go x.g() }`, false, ""},
		{`import "sync/atomic"`, true, `planted.go:2 imports "sync/atomic": a room owns the lock`},
		{`func (x T) f() { x.mu.Lock(); defer x.mu.Unlock(); _ = os.Remove("a") }`, false,
			"planted.go:2 calls os.Remove while a mutex is held: use a lifecycle.Gate, or call it before"},
		{`func (x T) f(ctx C) { x.mu.Lock(); x.open(ctx); x.mu.Unlock() }`, false,
			"planted.go:2 calls x.open while a mutex is held: use a lifecycle.Gate, or call it before"},
		{`func (x T) f(ctx C) { x.mu.Lock(); n := x.n; x.mu.Unlock(); x.open(ctx, n) }`, false, ""},
		{`func (x T) f() { h := func(ctx C) { x.mu.Lock(); defer x.mu.Unlock(); x.open(ctx) }; h(nil) }`, false,
			"planted.go:2 calls x.open while a mutex is held: use a lifecycle.Gate, or call it before"},
		{`func (x T) f(ctx C) { leave, _ := x.gate.Enter(ctx); defer leave(); x.open(ctx) }`, false, ""},
	} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, "planted.go", "package planted\n"+tt.body, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(disorder(set, []*ast.File{file}, tt.host), "; "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.body, got, tt.want)
		}
	}
}
