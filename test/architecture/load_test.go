package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// listed is the part of go list's output for a package that the rules use.
type listed struct {
	ImportPath   string
	Dir          string
	Standard     bool
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// all are the packages of the module and everything that they need.
var all = sync.OnceValues(func() (map[string]listed, error) {
	var out, errOut bytes.Buffer
	cmd := exec.Command("go", "list", "-deps",
		"-json=ImportPath,Dir,Standard,GoFiles,Imports,TestImports,XTestImports,Deps", module+"/...")
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, errOut.String())
	}
	packages := map[string]listed{}
	for d := json.NewDecoder(&out); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the output of go list: %w", err)
		}
		packages[p.ImportPath] = p
	}
})

// load returns all packages by their import path.
func load(t *testing.T) map[string]listed {
	t.Helper()
	packages, err := all()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// own are the packages of the module, by their path below it.
func own(t *testing.T) map[string]listed {
	t.Helper()
	packages := map[string]listed{}
	for path, p := range load(t) {
		if short, ok := strings.CutPrefix(path, module+"/"); ok {
			packages[short] = p
		}
	}
	if len(packages) < 30 {
		t.Fatalf("go list knows %d packages of ours", len(packages))
	}
	return packages
}

// short takes the module's path off the paths that have it.
func short(paths ...[]string) []string {
	var all []string
	for _, list := range paths {
		for _, p := range list {
			all = append(all, strings.TrimPrefix(p, module+"/"))
		}
	}
	return all
}
