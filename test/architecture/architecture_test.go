package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestImports(t *testing.T) {
	t.Parallel()
	var packages []pkg
	for path, p := range own(t) {
		packages = append(packages, pkg{path: path, imports: short(p.Imports), testImports: short(p.TestImports, p.XTestImports)})
	}
	slices.SortFunc(packages, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	for _, v := range violations(table, packages) {
		t.Error(v)
	}
}

// Each line of the table names packages of the tree.
func TestTheTableIsAboutSomething(t *testing.T) {
	t.Parallel()
	paths := slices.Collect(maps.Keys(own(t)))
	for _, r := range table {
		for _, pattern := range slices.Concat(r.importers, r.except) {
			if !slices.ContainsFunc(paths, func(p string) bool { return match(p, []string{pattern}) }) {
				t.Errorf("%q of the rule %q matches no package", pattern, r.why)
			}
		}
	}
}

// TestPlantedViolations shows that the table refuses wrong imports and allows
// right ones.
func TestPlantedViolations(t *testing.T) {
	t.Parallel()
	const goPlugin = "github.com/hashicorp/go-plugin"
	tests := []struct {
		pkg  pkg
		want string // beginning of the sentence; empty: none
	}{
		{pkg{path: "sdk", imports: []string{"host"}}, "sdk imports host: "},
		{pkg{path: "sdk/batch", imports: []string{"host/internal/journal"}}, "sdk/batch imports host/internal/journal: "},
		{pkg{path: "sdk", testImports: []string{"host/internal/plugin"}}, "sdk has tests that import host/internal/plugin: "},
		{pkg{path: "proto/penstock/destination/v1", imports: []string{"sdk"}}, "proto/penstock/destination/v1 imports sdk: "},
		{pkg{path: "sdk/schema", imports: []string{"sdk/protocol"}}, "sdk/schema imports sdk/protocol: "},
		{pkg{path: "sdk/protocol", imports: []string{"sdk/batch", "sdk/schema", goPlugin}}, ""},
		{pkg{path: "plugins/s3", imports: []string{"host"}}, "plugins/s3 imports host: "},
		{pkg{path: "plugins/s3", imports: []string{"sdk/protocol"}}, "plugins/s3 imports sdk/protocol: "},
		{pkg{path: "plugins/s3", imports: []string{"plugins/localfs"}}, "plugins/s3 imports plugins/localfs: "},
		{pkg{path: "plugins/s3", imports: []string{"sdk", "plugins/internal/lake", "net/http"}}, ""},
		{pkg{path: "plugins/s3", imports: []string{goPlugin}}, "plugins/s3 imports " + goPlugin + ": "},
		{pkg{path: "examples/third-party", imports: []string{"plugins/internal/lake"}}, "examples/third-party imports plugins/internal/lake: "},
		{pkg{path: "cmd/penstock", imports: []string{"host/internal/config"}}, "cmd/penstock imports host/internal/config: "},
		{pkg{path: "cmd/penstock", imports: []string{"sdk"}}, "cmd/penstock imports sdk: "},
		{pkg{path: "cmd/penstock-destination-s3", imports: []string{"sdk", "plugins/s3"}}, ""},
		{pkg{path: "cmd/penstock-destination-s3", imports: []string{"plugins/internal/lake"}}, "cmd/penstock-destination-s3 imports plugins/internal/lake: "},
		{pkg{path: "host", imports: []string{"plugins/s3"}}, "host imports plugins/s3: "},
		{pkg{path: "host", imports: []string{"sdk/destinationtest"}}, "host imports sdk/destinationtest: "},
		{pkg{path: "host/internal/api", imports: []string{"host"}}, "host/internal/api imports host: "},
		{pkg{path: "host/internal/journal", imports: []string{"sdk/protocol"}}, "host/internal/journal imports sdk/protocol: "},
		{pkg{path: "host/internal/journal/disk", imports: []string{"host/internal/plugin"}}, "host/internal/journal/disk imports host/internal/plugin: "},
		{pkg{path: "host/internal/source/files", imports: []string{"host/internal/export"}}, "host/internal/source/files imports host/internal/export: "},
		{pkg{path: "host/internal/export", imports: []string{goPlugin}}, "host/internal/export imports " + goPlugin + ": "},
		{pkg{path: "host/internal/plugin", imports: []string{goPlugin, goPlugin + "/runner"}}, ""},
		{pkg{path: "host/internal/lifecycle", imports: []string{"host/internal/config"}}, "host/internal/lifecycle imports host/internal/config: "},
		{pkg{path: "host/internal/operation", imports: []string{"host/internal/catalog"}}, "host/internal/operation imports host/internal/catalog: "},
		{pkg{path: "host/internal/api", imports: []string{"host/internal/service"}}, "host/internal/api imports host/internal/service: "},
		{pkg{path: "host/internal/httpapi", imports: []string{"host/internal/service"}}, "host/internal/httpapi imports host/internal/service: "},
		{pkg{path: "host/internal/metrics", imports: []string{"host/internal/runner"}}, "host/internal/metrics imports host/internal/runner: "},
		{pkg{path: "host/internal/catalog", imports: []string{"github.com/prometheus/client_golang/prometheus"}}, "host/internal/catalog imports github.com/prometheus/client_golang/prometheus: "},
		{pkg{path: "host/internal/datadir", imports: []string{"host/internal/project"}}, "host/internal/datadir imports host/internal/project: "},
		{pkg{path: "host/internal/backup", imports: []string{"host/internal/intake"}}, "host/internal/backup imports host/internal/intake: "},
		{pkg{path: "host/internal/destination", imports: []string{"host/internal/runner"}}, "host/internal/destination imports host/internal/runner: "},
		{pkg{path: "host/internal/project", imports: []string{"host/internal/intake"}}, "host/internal/project imports host/internal/intake: "},
		{pkg{path: "host/internal/project", imports: []string{"host/internal/runner"}}, "host/internal/project imports host/internal/runner: "},
		{pkg{path: "host/internal/project", imports: []string{"host/internal/source/collector/rowlog"}}, "host/internal/project imports host/internal/source/collector/rowlog: "},
		{pkg{path: "host/internal/intake", imports: []string{"host/internal/runner"}}, "host/internal/intake imports host/internal/runner: "},
		{pkg{path: "host/internal/runner", imports: []string{"host/internal/scheduler"}}, "host/internal/runner imports host/internal/scheduler: "},
		{pkg{path: "host/internal/scheduler", imports: []string{"host/internal/pipeline"}}, "host/internal/scheduler imports host/internal/pipeline: "},
		{pkg{path: "host/internal/runner", imports: []string{"host/internal/intake"}}, "host/internal/runner imports host/internal/intake: "},
		{pkg{path: "host/internal/runner", imports: []string{"host/internal/project", "host/internal/destination"}}, ""},
		{pkg{path: "host/internal/validate", imports: []string{"host/internal/project"}}, "host/internal/validate imports host/internal/project: "},
		{pkg{path: "host/internal/service", imports: []string{"host/internal/api"}}, "host/internal/service imports host/internal/api: "},
		{pkg{path: "host/internal/source/files", imports: []string{"cloud.google.com/go/storage"}}, "host/internal/source/files imports cloud.google.com/go/storage: "},
		{pkg{path: "host/internal/schema", imports: []string{"testing"}}, "host/internal/schema imports testing: "},
		{pkg{path: "sdk", imports: []string{"testing/iotest"}}, "sdk imports testing/iotest: "},
		{pkg{path: "sdk/destinationtest", imports: []string{"testing"}}, ""},
		{pkg{path: "host/internal/schema", testImports: []string{"testing"}}, ""},
	}
	for _, tt := range tests {
		found := violations(table, []pkg{tt.pkg})
		switch {
		case tt.want == "" && len(found) > 0:
			t.Errorf("%+v: %q", tt.pkg, found)
		case tt.want != "" && !slices.ContainsFunc(found, func(v string) bool { return strings.HasPrefix(v, tt.want) }):
			t.Errorf("%+v: %q, want %q", tt.pkg, found, tt.want)
		}
	}
}

// Every package has a package comment in doc.go.
func TestPackagesAreDocumented(t *testing.T) {
	t.Parallel()
	for path, p := range own(t) {
		if !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has no doc.go", path)
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, "doc.go"), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			continue
		}
		if file.Doc == nil || !documents(file) {
			t.Errorf("%s/doc.go has no package comment that begins with the package's name", path)
		}
	}
}

// documents reports whether a package comment begins as go doc wants it.
func documents(file *ast.File) bool {
	text := file.Doc.Text()
	if file.Name.Name == "main" {
		return strings.HasPrefix(text, "Command ")
	}
	return strings.HasPrefix(text, "Package "+file.Name.Name+" ")
}

// barePlugin is a plugin that uses nothing but the SDK.
const barePlugin = module + "/examples/third-party"

// outsideLimit is near go-plugin's own weight, which is 134 packages.
const outsideLimit = 140

// A bare plugin links little more than go-plugin, and nothing of the host.
func TestWhatABarePluginLinks(t *testing.T) {
	t.Parallel()
	packages := load(t)
	var outside []string
	for _, dep := range packages[barePlugin].Deps {
		switch {
		case packages[dep].Standard:
		case strings.HasPrefix(dep, module+"/"):
			if short := strings.TrimPrefix(dep, module+"/"); !match(short, []string{"sdk/...", "proto/..."}) || short == "sdk/destinationtest" {
				t.Errorf("a plugin links %s", short)
			}
		default:
			outside = append(outside, dep)
		}
	}
	t.Logf("%d packages from outside", len(outside))
	if len(outside) > outsideLimit || len(outside) < 50 {
		t.Errorf("a bare plugin links %d packages from outside, the limit is %d:\n%s", len(outside), outsideLimit, strings.Join(outside, "\n"))
	}
}
