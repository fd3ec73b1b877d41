package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
)

// canary is a secret that must not be seen anywhere.
const canary = "hunter2canary"

// TestNoSecretIsShown puts a secret into every attribute: as a variable, as a
// literal where the attribute is sensitive, and next to mistakes of every kind.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	specs := everyBlock()
	for typ, s := range schemas {
		spec := &blockType{name: "destination " + typ, labels: destinationLabels}
		for _, a := range s.Attributes {
			spec.attributes = append(spec.attributes, attribute{Attribute: a})
		}
		specs = append(specs, spec)
	}
	for _, spec := range specs {
		for _, a := range spec.attributes {
			for _, value := range waysToWrite(a) {
				text := fmt.Sprintf("  %s = %s\n", a.Name, value)
				checkHidden(t, around(spec, text), false)
				if strings.Contains(value, "env(env(") || strings.Contains(value, "file(") {
					checkHidden(t, around(spec, text), true)
				}
				if !a.Sensitive {
					continue
				}
				for _, beside := range []string{"  oops\n", "  nope = 1\n", fmt.Sprintf("  %s = 1\n", a.Name)} {
					checkHidden(t, around(spec, text+beside), false)
				}
			}
		}
	}
}

// waysToWrite are ways to write a secret.
func waysToWrite(a attribute) []string {
	values := []string{
		`env("CANARY")`, `"x${env("CANARY")}"`, `[env("CANARY")]`, `{ a = env("CANARY") }`, `parseint(env("CANARY"), 10)`,
		`jsondecode(env("CANARY"))`, `regex("^z", env("CANARY"))`, `env(env("CANARY"))`, `file(env("CANARY"))`, `env("CANARY") + 1`,
		`env("CANARY").x`, `local.canary`, `upper(local.inside.a)`, `local.inside[env("CANARY")]`, `{ a = 1 }[env("CANARY")]`,
		`[for x in [env("CANARY")] : x + 1]`, `env("CANARY") ? 1 : 2`, `lookup({}, env("CANARY"))`, `element([], env("CANARY"))`,
	}
	if a.Sensitive {
		values = append(values, `"`+canary+`"`, `["`+canary+`"]`, `"`+canary+`" + 1`, `upper("`+canary+`", 1)`, "<<EOT\n"+canary+"\nEOT", `local.literal`, `"`+canary)
	}
	return values
}

// around is a configuration that holds a block with a body.
func around(spec *blockType, body string) string {
	preface := "locals {\n  canary = env(\"CANARY\")\n  inside = { a = env(\"CANARY\") }\n  literal = \"" + canary + "\"\n}\n"
	kind, typ, _ := strings.Cut(spec.name, " ")
	switch {
	case typ != "":
		return preface + fmt.Sprintf("destination %q \"x\" {\n%s}\n", typ, body)
	case spec == filesBlock || spec == collectorBlock || spec == mixpanelBlock:
		return preface + fmt.Sprintf("source %q \"x\" {\n%s}\n", kind, body)
	case spec == hostBlock:
		return preface + "host {\n" + body + "}\n"
	case spec == projectBlock || spec == pipelineBlock:
		return preface + fmt.Sprintf("%s \"x\" {\n%s}\n", kind, body)
	case spec == apiBlock:
		return preface + "host {\n api {\n" + body + "}\n}\n"
	case spec.name == "service_account":
		return preface + "source \"collector\" \"x\" {\n service_account \"x\" {\n" + body + "}\n}\n"
	default:
		return preface + "source \"mixpanel\" \"x\" {\n " + spec.name + " {\n" + body + "}\n}\n"
	}
}

func checkHidden(t *testing.T, text string, offline bool) {
	t.Helper()
	c, ds := load(t, map[string]string{"a.hcl": text}, func(o *Options) {
		o.Offline = offline
		o.Env = func(name string) (string, bool) { return canary, name == "CANARY" }
	})
	var b strings.Builder
	b.WriteString(report(c, ds))
	if err := diagnostic.WriteJSON(&b, ds); err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		fmt.Fprintf(&b, "%v %+v %#v", d, *d, *d)
	}
	fmt.Fprintf(&b, "%s", ds.Error())
	for _, d := range c.Destinations {
		fmt.Fprintf(&b, "%v %+v %#v", d, *d, *d)
	}
	for line := range strings.Lines(b.String()) {
		// The line of the local that no one would take for a secret is shown
		// where nothing says that it is one.
		if strings.Contains(strings.ToLower(line), canary) {
			t.Fatalf("shown:\n%s\nof:\n%s", line, text)
		}
	}
}

func TestMaskKeepsPositions(t *testing.T) {
	t.Parallel()
	text := "a = 1\npassword = \"abc\"\nkey_secret: <<EOT\nfirst\nsecond\nEOT\nb = 2\ntokens = [\n  \"x\",\n]\nc = 3\napi_key = env(\"KEY\")\n"
	got := string(mask("x", []byte(text), nil, secretValues(nil)))
	want := "a = 1\npassword = \"***\"\nkey_secret: *****\n*****\n******\nEOT\nb = 2\ntokens = *\n**\"*\"*\n*\nc = 3\napi_key = env(\"KEY\")\n"
	if got != want || len(got) != len(text) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLongSecretsAreTakenOutOfWhatPluginsSay(t *testing.T) {
	t.Parallel()
	c, _ := load(t, map[string]string{"a.hcl": "destination \"s3\" \"x\" {\n  bucket = \"b\"\n  region = env(\"R\")\n  secret_access_key = env(\"K\")\n}\n"},
		func(o *Options) { o.Env = func(name string) (string, bool) { return canary + name, true } })
	got := c.Destinations[0].Diagnostic(0, "region", canary+"K", canary+"R and "+canary+"K")
	if strings.Contains(got.Summary+got.Detail, canary) {
		t.Errorf("shown: %v", got)
	}
}
