package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const page = "../../../docs/configuration.md"

// sections are the page's texts by heading.
func sections(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found, heading := map[string]string{}, ""
	for line := range strings.Lines(string(data)) {
		if h, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "##") {
			heading = strings.TrimSpace(h)
		}
		found[heading] += line
	}
	return found
}

// headings are where the blocks are described.
var headings = map[string]string{
	"host": "`host`", "api": "`api`", "project": "`project NAME`", "files": "`source \"files\" NAME`", "collector": "`source \"collector\" NAME`",
	"service_account": "`service_account NAME`", "mixpanel": "`source \"mixpanel\" NAME`", "export_limit": "`export_limit`",
	"profile_limit": "`profile_limit`", "kafka": "`source \"kafka\" NAME`", "pipeline": "`pipeline NAME`",
}

var row = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (.*) \\| (.*) \\|$")

func TestThePageDescribesEveryAttribute(t *testing.T) {
	t.Parallel()
	text := sections(t)
	for _, spec := range everyBlock() {
		section, ok := text[headings[spec.name]]
		if !ok {
			t.Errorf("no section describes %s", spec.name)
			continue
		}
		rows := map[string][]string{}
		for _, m := range row.FindAllStringSubmatch(section, -1) {
			rows[m[1]] = m[2:]
		}
		for _, a := range spec.attributes {
			described, ok := rows[a.Name]
			if !ok {
				t.Errorf("%s.%s is not described", spec.name, a.Name)
				continue
			}
			checkRow(t, spec, a, described[0], described[1])
			delete(rows, a.Name)
		}
		for name := range rows {
			t.Errorf("%s.%s is described, and there is no such attribute", spec.name, name)
		}
	}
}

// checkRow holds a row's default and meaning to the description.
func checkRow(t *testing.T, spec *blockType, a attribute, fallback, meaning string) {
	t.Helper()
	want := ""
	switch d := a.Default.(type) {
	case nil:
		if a.Required {
			want = "required"
		}
	case string:
		want = fmt.Sprintf("`%q`", d)
	default:
		want = fmt.Sprintf("`%v`", d)
	}
	if want != "" && fallback != want {
		t.Errorf("%s.%s: the default is described as %s and is %s", spec.name, a.Name, fallback, want)
	}
	for _, v := range a.Allowed {
		if !strings.Contains(meaning, "`"+v+"`") {
			t.Errorf("%s.%s: %s is not described", spec.name, a.Name, v)
		}
	}
	if a.Sensitive != strings.Contains(meaning, "Sensitive.") {
		t.Errorf("%s.%s: sensitive is %v", spec.name, a.Name, a.Sensitive)
	}
	later := slices.ContainsFunc(unavailable, func(r refusal) bool { return r.block == spec.name && r.attribute == a.Name })
	if later != strings.Contains(strings.ToLower(meaning), "*later") {
		t.Errorf("%s.%s: not available is %v, the page says otherwise", spec.name, a.Name, later)
	}
}

func TestThePageDescribesWhatIsLater(t *testing.T) {
	t.Parallel()
	text := sections(t)
	for name, heading := range headings {
		later := slices.ContainsFunc(unavailable, func(r refusal) bool { return r.block == name && r.attribute == "" })
		_, body, _ := strings.Cut(text[heading], "\n")
		if later != strings.HasPrefix(strings.TrimSpace(body), "*Later.*") {
			t.Errorf("%s: not available is %v, the page says otherwise", name, later)
		}
	}
}

func TestThePageListsEveryFunction(t *testing.T) {
	t.Parallel()
	l := &loader{}
	section := sections(t)["Values"]
	for name := range l.functions() {
		if !strings.Contains(section, "`"+name+"`") && !strings.Contains(section, "`"+name+"(") {
			t.Errorf("%s is not listed", name)
		}
	}
}

// The example at the page's top is one that works.
func TestThePagesExampleLoads(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n    host {")
	example, _, _ := strings.Cut("    host {"+rest, "\n\n")
	c, ds := load(t, map[string]string{"a.hcl": example}, func(o *Options) {
		o.Env = func(name string) (string, bool) { return "0123", name == "SHOP_TOKEN" }
	})
	if len(ds) > 0 || len(c.Pipelines) != 1 {
		t.Error(report(c, ds))
	}
}

// The examples that people begin with can be loaded on any day: no date in them
// grows too old.
func TestExamplesDoNotAge(t *testing.T) {
	t.Parallel()
	const root = "../../../"
	readme, err := os.ReadFile(root + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```hcl\n")
	example, _, _ := strings.Cut(rest, "```")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ = strings.Cut(string(text), "\n    host {")
	top, _, _ := strings.Cut("    host {"+rest, "\n\n")
	examples := map[string]string{"README.md": example, "configuration.md": top}
	for _, path := range []string{"examples/quickstart/penstock.hcl", "examples/collector/penstock.hcl"} {
		data, err := os.ReadFile(root + path)
		if err != nil {
			t.Fatal(err)
		}
		examples[path] = string(data)
	}
	for name, text := range examples {
		for _, years := range []int{0, 1, 30} {
			c, ds := load(t, map[string]string{"a.hcl": text}, func(o *Options) {
				o.Now = now.AddDate(years, 0, 0)
				o.Env = func(name string) (string, bool) { return "0123", name == "SHOP_TOKEN" }
			})
			if len(ds) > 0 || len(c.Pipelines) == 0 {
				t.Errorf("%s in %d years:\n%s", name, years, report(c, ds))
			}
		}
	}
}
