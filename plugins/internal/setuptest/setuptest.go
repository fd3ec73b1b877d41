package setuptest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/sdk"
)

var update = flag.Bool("update", false, "write the golden files")

// Case is one configuration of a plugin.
type Case struct {
	// Name is that of the golden files: testdata/setup/<name>.sh and .tf.
	Name     string
	Config   map[string]any
	Unknown  []string
	Projects []sdk.Project
	// NoTerraform is set for a plugin without anything that Terraform makes.
	NoTerraform bool
}

// Run compares the setup text of a case in both formats, and returns the commands
// that the script ran, word by word, and the Terraform file.
func Run(t *testing.T, plugin sdk.Plugin, c Case) (commands [][]string, terraform *hcl.File) {
	t.Helper()
	script := Text(t, plugin, c, sdk.SetupCommands)
	golden(t, c.Name+".sh", script)
	commands = execute(t, script)
	if c.NoTerraform {
		return commands, nil
	}
	file := Text(t, plugin, c, sdk.SetupTerraform)
	golden(t, c.Name+".tf", file)
	parsed, diagnostics := hclsyntax.ParseConfig([]byte(file), c.Name+".tf", hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatalf("%s: Terraform does not parse: %v\n%s", c.Name, diagnostics, file)
	}
	return commands, parsed
}

// Text returns the text of all steps, as the host prints it.
func Text(t *testing.T, plugin sdk.Plugin, c Case, format sdk.SetupFormat) string {
	t.Helper()
	config, err := json.Marshal(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := plugin.Setup(sdk.SetupRequest{
		Projects: c.Projects, Destination: plugin.Name + ".lake", Format: format, Unknown: c.Unknown, JSON: config,
	})
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	var text strings.Builder
	for i, s := range steps {
		if s.Title == "" || strings.ContainsAny(s.Title, "\r\n") || s.Text != "" && !strings.HasSuffix(s.Text, "\n") {
			t.Errorf("%s: step %d: title %q, text %q", c.Name, i+1, s.Title, s.Text)
		}
		fmt.Fprintf(&text, "# %d. %s\n%s\n", i+1, s.Title, s.Text)
	}
	return text.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "setup", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s has changed; go test -update writes it:\n%s", path, got)
	}
}

// recorders are the commands that a setup script may run. Each writes its words to
// a file of its own, whose name is the next free number, since the commands of a
// pipeline run at once; and prints "made" for command substitutions.
const recorders = `
record() {
	n=1
	until (set -C; : >"$RECORDS/$n") 2>/dev/null; do n=$((n+1)); done
	printf '%s\0' "$@" >"$RECORDS/$n"
	echo made
}
aws() { record aws "$@"; }
gcloud() { record gcloud "$@"; }
az() { record az "$@"; }
bq() { record bq "$@"; }
openssl() { record openssl "$@"; }
grep() { record grep "$@"; }
tr() { record tr "$@"; }
snow() { text=; while IFS= read -r l; do text="$text$l
"; done; record snow "$@" "$text"; }
sed() { command -p sed "$@"; }
mkdir() { record mkdir "$@"; }
chown() { record chown "$@"; }
chmod() { record chmod "$@"; }
mktemp() { record mktemp "$@"; }
CALLER=host@acme.iam.gserviceaccount.com
RESOURCE_GROUP=group LOCATION=westeurope PRINCIPAL_ID=principal ISSUER=https://issuer SUBJECT=system:serviceaccount:a:b EXPIRY=2030-01-01
PATH=/nonexistent
set -eu
`

// execute runs a script and returns the commands that it ran, in the order in which
// they began; those of a pipeline begin in any order.
func execute(t *testing.T, script string) [][]string {
	t.Helper()
	records := t.TempDir()
	command := exec.CommandContext(t.Context(), "/bin/sh")
	command.Dir = t.TempDir()
	command.Env = append(os.Environ(), "RECORDS="+records)
	command.Stdin = strings.NewReader(recorders + script)
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("the script ends with %v: %s\n%s", err, said, script)
	}
	entries, err := os.ReadDir(records)
	if err != nil {
		t.Fatal(err)
	}
	commands := make([][]string, len(entries))
	for i := range commands {
		data, err := os.ReadFile(filepath.Join(records, strconv.Itoa(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		commands[i] = strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
	return commands
}

// Argument returns the word after a flag in the first command that has the given
// words in this order at its beginning and the flag.
func Argument(t *testing.T, commands [][]string, flag string, begin ...string) string {
	t.Helper()
	for _, words := range commands {
		if len(words) < len(begin) || strings.Join(words[:len(begin)], "\x00") != strings.Join(begin, "\x00") {
			continue
		}
		for i, w := range words {
			if value, ok := strings.CutPrefix(w, flag+"="); ok {
				return value
			}
			if w == flag && i+1 < len(words) {
				return words[i+1]
			}
		}
	}
	t.Fatalf("no command %q has %s: %q", begin, flag, commands)
	return ""
}

// Strings returns all strings of a Terraform file, with their escapes resolved.
// It leaves out those that interpolate a variable of the file ("${var.x}"), and
// fails the test for any other interpolation.
func Strings(t *testing.T, file *hcl.File) []string {
	t.Helper()
	var found []string
	diagnostics := hclsyntax.VisitAll(file.Body.(*hclsyntax.Body), func(node hclsyntax.Node) hcl.Diagnostics {
		e, ok := node.(*hclsyntax.TemplateExpr)
		if !ok || slices.ContainsFunc(e.Variables(), func(v hcl.Traversal) bool { return v.RootName() == "var" }) {
			return nil
		}
		v, diagnostics := e.Value(nil)
		if !diagnostics.HasErrors() {
			found = append(found, v.AsString())
		}
		return diagnostics
	})
	if diagnostics.HasErrors() {
		t.Fatalf("a string of the Terraform file is a template: %v", diagnostics)
	}
	return found
}
