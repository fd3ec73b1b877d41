package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
)

var update = flag.Bool("update", false, "write openapi.json")

// The document is that of the table of routes and of the Go types, with their comments.
func TestTheDocumentIsThatOfTheRoutes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(newGenerator(t).document()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(b.Bytes(), document) {
		t.Error("openapi.json differs from the routes and their types: go test ./host/internal/httpapi -run Document -update writes it")
	}
}

// Every operation has a route.
func TestEveryOperationHasARoute(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "routes.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			if s, ok := c.Fun.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "h" {
					called[s.Sel.Name] = true
				}
			}
		}
		return true
	})
	all := reflect.TypeFor[operation.Operations]()
	for i := range all.NumMethod() {
		if name := all.Method(i).Name; name != "Close" && !called[name] {
			t.Errorf("no route calls Operations.%s", name)
		}
	}
}

// Parameters are described, and the body of a request holds none that is in its path.
func TestParametersAreDescribed(t *testing.T) {
	t.Parallel()
	inPath := regexp.MustCompile(`\{(\w+)\}`)
	ids := map[string]bool{}
	for _, e := range endpoints(nil) {
		if ids[e.id] {
			t.Errorf("%s %s: the id %s is used twice", e.method, e.path, e.id)
		}
		ids[e.id] = true
		want := map[string]bool{}
		for _, m := range inPath.FindAllStringSubmatch(e.path, -1) {
			want[m[1]] = true
		}
		for _, p := range parametersOf(e.params) {
			if p.name == "" || p.field.Tag.Get("doc") == "" {
				t.Errorf("%s %s: the field %s has no name or no description", e.method, e.path, p.field.Name)
			}
			if p.inPath != want[p.name] {
				t.Errorf("%s %s: %s is in the path: %v", e.method, e.path, p.name, p.inPath)
			}
			if p.inPath && p.field.Tag.Get("json") != "-" {
				t.Errorf("%s %s: a body may hold %s, which is in the path", e.method, e.path, p.name)
			}
			delete(want, p.name)
		}
		for name := range want {
			t.Errorf("%s %s: no parameter is named %s", e.method, e.path, name)
		}
		if e.result.Kind() != reflect.Pointer {
			t.Errorf("%s %s: the result %s is not a pointer", e.method, e.path, e.result)
		}
	}
}

// object is a JSON object of the document; encoding/json sorts its keys.
type object = map[string]any

// generator makes the document.
type generator struct {
	t        *testing.T
	comments map[string]string // by "operation.Status" and "operation.Status.Version"
	schemas  object
	types    map[string]reflect.Type // by name of their schemas
}

// described are the directories of the types of the document.
var described = []string{".", "../operation", "../verify", "../quarantine"}

func newGenerator(t *testing.T) *generator {
	g := &generator{t: t, comments: map[string]string{}, schemas: object{}, types: map[string]reflect.Type{}}
	for _, dir := range described {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(paths), err)
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.TYPE {
					g.note(file.Name.Name, d)
				}
				return true
			})
		}
	}
	return g
}

// note keeps the comments of types and their fields.
func (g *generator) note(pkg string, d *ast.GenDecl) {
	for _, s := range d.Specs {
		spec := s.(*ast.TypeSpec)
		name := pkg + "." + spec.Name.Name
		g.comments[name] = comment(d.Doc, spec.Doc)
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			for _, n := range f.Names {
				g.comments[name+"."+n.Name] = comment(f.Doc, f.Comment)
			}
		}
	}
}

// comment returns the first of some comments, as one line.
func comment(groups ...*ast.CommentGroup) string {
	for _, c := range groups {
		if c != nil {
			return strings.Join(strings.Fields(c.Text()), " ")
		}
	}
	return ""
}

func (g *generator) document() object {
	paths := object{}
	for _, e := range endpoints(nil) {
		item, ok := paths[base+e.path].(object)
		if !ok {
			item = object{}
			paths[base+e.path] = item
		}
		item[strings.ToLower(e.method)] = g.operation(e)
	}
	paths[base+"/openapi.json"] = plainGet("getOpenAPI", "This document", object{"description": "The document.", "content": object{"application/json": object{"schema": object{"type": "object"}}}}, true)
	health := object{"application/json": object{"schema": g.schema(reflect.TypeFor[Health]())}}
	paths["/healthz"] = plainGet("getHealth", "Whether the process answers; needs no token", object{"description": "It does.", "content": health}, false)
	ready := plainGet("getReadiness", "Whether the host works as it should; without the token the conditions are not listed", object{"description": "It does.", "content": health}, false)
	ready["get"].(object)["responses"].(object)["503"] = object{"description": "A condition does not hold.", "content": health}
	paths["/readyz"] = ready
	paths["/metrics"] = plainGet("getMetrics", "Metrics of the host, for Prometheus", object{"description": "The metrics.", "content": object{"text/plain": object{"schema": object{"type": "string"}}}}, true)
	failure := g.schema(reflect.TypeFor[Failure]())
	g.schemas["Problem"].(object)["properties"].(object)["code"].(object)["examples"] = codes()
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Penstock", "version": "1",
			"description": "A host's operations, health and metrics. Requests carry the token of the api block. Those that change something are POST, " +
				"and may be repeated: a pipeline that is paused stays paused. Parts of lists follow one another by next and cursor.",
		},
		"security": []any{object{"token": []any{}}},
		"paths":    paths,
		"components": object{
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
			"responses": object{"failure": object{
				"description": "An error.", "content": object{"application/json": object{"schema": failure}},
			}},
			"schemas": g.schemas,
		},
	}
}

// codes lists the codes of errors, each with its status.
func codes() []any {
	all := map[operation.Code]int{
		codeUnauthorized: http.StatusUnauthorized, codeWrongHost: http.StatusMisdirectedRequest, codeWrongOrigin: http.StatusForbidden,
		codeUnknownPath: http.StatusNotFound, codeMethodNotAllowed: http.StatusMethodNotAllowed, codeMediaType: http.StatusUnsupportedMediaType,
		codeTooLarge: http.StatusRequestEntityTooLarge, codeBusy: http.StatusServiceUnavailable,
	}
	maps.Copy(all, statuses)
	var names []any
	for _, code := range slices.Sorted(maps.Keys(all)) {
		names = append(names, code)
	}
	return names
}

func plainGet(id, summary string, response object, secured bool) object {
	o := object{"operationId": id, "summary": summary, "responses": object{"200": response, "default": object{"$ref": "#/components/responses/failure"}}}
	if !secured {
		o["security"] = []any{}
	}
	return object{"get": o}
}

func (g *generator) operation(e endpoint) object {
	o := object{
		"operationId": e.id, "summary": e.summary,
		"responses": object{
			"200":     object{"description": "The result.", "content": object{"application/json": object{"schema": g.schema(e.result)}}},
			"default": object{"$ref": "#/components/responses/failure"},
		},
	}
	var parameters []any
	body, required := object{}, []any{}
	for _, p := range parametersOf(e.params) {
		s := g.schema(p.field.Type)
		s["description"] = p.field.Tag.Get("doc")
		for _, bound := range []string{"max", "default"} {
			if n, err := strconv.Atoi(p.field.Tag.Get(bound)); err == nil {
				s[map[string]string{"max": "maximum", "default": "default"}[bound]] = n
			}
		}
		switch {
		case p.inPath:
			parameters = append(parameters, object{"name": p.name, "in": "path", "required": true, "schema": s})
		case e.method == http.MethodGet:
			parameters = append(parameters, object{"name": p.name, "in": "query", "schema": s})
		default:
			body[p.name] = s
			if !isOptional(p.field) {
				required = append(required, p.name)
			}
		}
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if len(body) > 0 {
		s := object{"type": "object", "properties": body, "additionalProperties": false}
		if len(required) > 0 {
			s["required"] = required
		}
		o["requestBody"] = object{"required": len(required) > 0, "content": object{"application/json": object{"schema": s}}}
	}
	return o
}

// schema returns the schema of a type; that of a struct is a reference.
func (g *generator) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.schema(t.Elem())
	case reflect.Struct:
		return object{"$ref": "#/components/schemas/" + g.component(t)}
	case reflect.Slice:
		return object{"type": "array", "items": g.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.schema(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	}
	g.t.Fatalf("no schema for %s", t)
	return nil
}

// component makes the schema of a struct, and returns its name.
func (g *generator) component(t reflect.Type) string {
	name := t.Name()
	switch pkg := filepath.Base(t.PkgPath()); {
	case strings.HasPrefix(name, "Page["):
		name = t.Field(0).Type.Elem().Name() + "Page"
	case pkg == "verify" && name == "Report":
		name = "Verification"
	case pkg == "verify":
		name = "Verified" + name
	}
	if known, ok := g.types[name]; ok {
		if known != t {
			g.t.Fatalf("%s and %s have the same name", known, t)
		}
		return name
	}
	g.types[name] = t
	properties, required := object{}, []any{}
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() {
			continue
		}
		if key == "" {
			g.t.Fatalf("%s.%s has no name in JSON", t, f.Name)
		}
		s := g.schema(f.Type)
		if f.Type.Kind() == reflect.Pointer && !isOptional(f) {
			s["type"] = []any{s["type"], "null"}
		}
		if text := g.comments[owner(t, f)+"."+f.Name]; text != "" {
			s["description"] = text
		}
		properties[key] = s
		if !isOptional(f) {
			required = append(required, key)
		}
	}
	s := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if text := g.comments[typeName(t)]; text != "" {
		s["description"] = text
	}
	g.schemas[name] = s
	return name
}

// owner names the struct that declares a field, which may be embedded in t.
func owner(t reflect.Type, f reflect.StructField) string {
	for _, i := range f.Index[:len(f.Index)-1] {
		t = t.Field(i).Type
	}
	return typeName(t)
}

// typeName is how comments are kept: "operation.Status".
func typeName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return fmt.Sprintf("%s.%s", filepath.Base(t.PkgPath()), name)
}
