package setup_test

import (
	"encoding/json"
	"os/exec"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/text/unicode/norm"

	"github.com/penstock-io/penstock/sdk/setup"
)

var values = []string{
	"", "plain", "with space", "it's", `"quoted"`, `back\slash`, "$HOME", "$(id)", "`id`", "${a}", "%{if b}", "$${a}", "$$${a}", "$", "%", "$$", "%%{",
	"line\nbreak", "tab\there", "bell\a", "del\x7f", "Zürich 🏔", "*", "~", "-n", "a;b&c|d>e", "#no comment", "\\n", "!x",
}

// A shell gets every word as it is.
func TestWord(t *testing.T) {
	words := append([]string{"printf", `%s\0`}, values...)
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", setup.Command(words...)).Output()
	want := ""
	for _, v := range values {
		want += v + "\x00"
	}
	if err != nil || string(out) != want {
		t.Errorf("%v: got %q, want %q", err, out, want)
	}
}

// checkString parses a quoted string, which must have the given value, in the
// normal form that Terraform's language gives to strings.
func checkString(t *testing.T, value string) {
	t.Helper()
	quoted := setup.String(value)
	e, diagnostics := hclsyntax.ParseExpression([]byte(quoted), "x.tf", hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatalf("%q is quoted as %s: %v", value, quoted, diagnostics)
	}
	got, diagnostics := e.Value(nil)
	if diagnostics.HasErrors() || got.AsString() != norm.NFC.String(value) {
		t.Errorf("%q is quoted as %s, which is %#v: %v", value, quoted, got, diagnostics)
	}
}

func TestString(t *testing.T) {
	for _, v := range values {
		checkString(t, v)
	}
}

func FuzzString(f *testing.F) {
	for _, v := range values {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if utf8.ValidString(value) {
			checkString(t, value)
		}
	})
}

// An object has the same content in JSON and in Terraform's language.
func TestObject(t *testing.T) {
	o := setup.Object{
		{Key: "b", Value: []string{"x<y", "${z}"}}, {Key: "a:b", Value: setup.Object{{Key: "n", Value: 7}}},
		{Key: "list", Value: []any{setup.Object{{Key: "t", Value: true}}, "s"}}, {Key: "none", Value: []string{}},
	}
	const want = `{"b":["x<y","${z}"],"a:b":{"n":7},"list":[{"t":true},"s"],"none":[]}`
	var decoded, expected any
	if err := json.Unmarshal([]byte(setup.JSON(o)), &decoded); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(decoded)
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := json.Marshal(expected); string(again) != string(other) {
		t.Errorf("JSON is %s, want %s", again, other)
	}
	e, diagnostics := hclsyntax.ParseExpression([]byte(setup.Expression(o)), "x.tf", hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	v, diagnostics := e.Value(nil)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	if got := v.GetAttr("b").AsValueSlice()[1].AsString(); got != "${z}" {
		t.Errorf("b[1] is %q", got)
	}
	if got, _ := v.GetAttr("a:b").GetAttr("n").AsBigFloat().Int64(); got != 7 {
		t.Errorf("a:b.n is %d", got)
	}
}

func TestBlock(t *testing.T) {
	got := setup.Resource("aws_s3_bucket", "9-lake", setup.Field{Key: "bucket", Value: "acme"},
		setup.Block{Type: "rule", Body: []any{setup.Field{Key: "id", Value: setup.Reference("a.b")}, setup.Field{Key: "enabled", Value: true}}})
	const want = `resource "aws_s3_bucket" "_9_lake" {
  bucket = "acme"
  rule {
    id      = a.b
    enabled = true
  }
}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
