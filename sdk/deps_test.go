package sdk_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestWhatABarePluginLinks keeps a plugin near go-plugin's own weight: of the
// example that uses nothing but the SDK.
func TestWhatABarePluginLinks(t *testing.T) {
	t.Parallel()
	const example = "github.com/penstock-io/penstock/examples/third-party"
	outside := 0
	for _, pkg := range dependencies(t, example) {
		switch {
		case strings.HasPrefix(pkg, "github.com/penstock-io/penstock/host"), strings.HasSuffix(pkg, "/destinationtest"):
			t.Errorf("a plugin links %s", pkg)
		case strings.HasPrefix(pkg, "github.com/penstock-io/penstock/"):
		case strings.Contains(strings.SplitN(pkg, "/", 2)[0], "."):
			outside++
		}
	}
	alone := 0
	for _, pkg := range dependencies(t, "github.com/hashicorp/go-plugin") {
		if strings.Contains(strings.SplitN(pkg, "/", 2)[0], ".") {
			alone++
		}
	}
	t.Logf("%d packages from outside; go-plugin alone has %d", outside, alone)
	if outside > alone+5 {
		t.Errorf("a plugin links %d packages from outside, go-plugin alone has %d", outside, alone)
	}
}

// Only the conformance suite imports testing; go-plugin does too.
func TestTheSDKImportsNoTesting(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}: {{.Imports}}",
		"github.com/penstock-io/penstock/sdk/...", "github.com/penstock-io/penstock/proto/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if strings.HasSuffix(pkg, "/destinationtest") {
			continue
		}
		for _, i := range strings.Fields(strings.Trim(imports, "[]")) {
			if i == "testing" {
				t.Errorf("%s imports testing", pkg)
			}
		}
	}
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}
