package config

import (
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/schema"
)

// block reads the attributes of one block. What was not asked for is unknown.
type block struct {
	l     *loader
	what  string // "host block", "pipeline"
	body  *hclsyntax.Body
	at    hcl.Range
	asked map[string]bool
}

func (l *loader) block(what string, b *hclsyntax.Block) *block {
	return &block{l: l, what: what, body: b.Body, at: b.DefRange(), asked: map[string]bool{}}
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// labels checks a block's labels: how many, and that names are names.
func (l *loader) labels(b *hclsyntax.Block, what ...string) bool {
	if len(b.Labels) != len(what) {
		l.fail(b.DefRange().Ptr(), "Wrong number of labels", "A %s block is written %s %s { … }.", b.Type, b.Type, strings.Join(what, " "))
		return false
	}
	ok := true
	for i, label := range b.Labels {
		if !namePattern.MatchString(label) {
			l.fail(b.LabelRanges[i].Ptr(), "Invalid name", "%q is not a name: use lower-case letters, digits and underscores, beginning with a letter.", label)
			ok = false
		}
	}
	return ok
}

// named says whether a name is new, and complains if not.
func (l *loader) named(seen map[string]hcl.Range, kind, name string, at hcl.Range) bool {
	if first, ok := seen[name]; ok {
		l.fail(at.Ptr(), "Name used twice", "A %s named %q was defined at %s:%d.", kind, name, first.Filename, first.Start.Line)
		return false
	}
	seen[name] = at
	return true
}

// attribute asks for an attribute. It is nil when it is not set; required then
// complains.
func (b *block) attribute(name string, required bool) *hclsyntax.Attribute {
	b.asked[name] = true
	a := b.body.Attributes[name]
	if a == nil && required {
		b.l.fail(b.at.Ptr(), "Missing attribute", "The %s needs %q.", b.what, name)
	}
	return a
}

// finish complains about what was not asked for.
func (b *block) finish() {
	known := make([]string, 0, len(b.asked))
	for name := range b.asked {
		known = append(known, name)
	}
	sort.Strings(known)
	for _, a := range sortedAttributes(b.body) {
		if !b.asked[a.Name] {
			b.l.fail(a.NameRange.Ptr(), "Unknown attribute", "A %s has no %q.%s", b.what, a.Name, suggestion(a.Name, known))
		}
	}
	for _, inner := range b.body.Blocks {
		if !b.asked[inner.Type] {
			b.l.fail(inner.DefRange().Ptr(), "Unknown block", "A %s holds no block %q.%s", b.what, inner.Type, suggestion(inner.Type, known))
		}
	}
}

// read evaluates an attribute as a type.
func (b *block) read(a *hclsyntax.Attribute, want cty.Type, sensitive bool) (cty.Value, bool) {
	v, fromSecret, ok := b.l.value(a.Expr)
	if !ok {
		return v, false
	}
	if sensitive && !fromSecret && len(a.Expr.Variables()) == 0 {
		b.l.add(hcl.DiagWarning, a.NameRange.Ptr(), diagnostic.Secret{}, "Secret in the configuration",
			"%q is written out here. Take it from env(\"…\") or file(\"…\"), so that it is not in a file that people read.", a.Name)
	}
	converted, err := convert.Convert(v, want)
	if err != nil || converted.IsNull() {
		b.wrong(a, sensitive || fromSecret, v, "it must be "+typeName(want))
		return v, false
	}
	return converted, true
}

// wrong complains about an attribute's value.
func (b *block) wrong(a *hclsyntax.Attribute, hidden bool, v cty.Value, why string) {
	if hidden {
		b.l.add(hcl.DiagError, a.NameRange.Ptr(), diagnostic.Secret{}, "Wrong value", "The value of %q is wrong: %s. It is not shown, because it may be a secret.", a.Name, why)
		return
	}
	b.l.fail(a.Expr.Range().Ptr(), "Wrong value", "%q is %s: %s.", a.Name, shown(v), why)
}

func (b *block) text(name string, required bool, otherwise string) string {
	a := b.attribute(name, required)
	if a == nil {
		return otherwise
	}
	v, ok := b.read(a, cty.String, false)
	if !ok {
		return otherwise
	}
	return v.AsString()
}

// quietText is text whose value is not shown.
func (b *block) quietText(name string) string {
	a := b.attribute(name, false)
	if a == nil {
		return ""
	}
	v, _, ok := b.l.value(a.Expr)
	if !ok {
		return ""
	}
	if v.Type() != cty.String || v.IsNull() {
		b.wrong(a, true, v, "it must be a string")
		return ""
	}
	return v.AsString()
}

func (b *block) flag(name string) bool {
	a := b.attribute(name, false)
	if a == nil {
		return false
	}
	v, ok := b.read(a, cty.Bool, false)
	return ok && v.True()
}

func (b *block) oneOf(name, otherwise string, allowed ...string) string {
	text := b.text(name, false, otherwise)
	for _, x := range allowed {
		if text == x {
			return text
		}
	}
	if a := b.body.Attributes[name]; a != nil {
		b.l.fail(a.Expr.Range().Ptr(), "Wrong value", "%q is %q: it must be one of %s.%s", name, text, strings.Join(allowed, ", "), suggestion(text, allowed))
	}
	return otherwise
}

func (b *block) path(name, otherwise string, required bool) string {
	text := b.text(name, required, "")
	if text == "" {
		return otherwise
	}
	return absolute(dirOf(b.body.Attributes[name]), text)
}

func (b *block) size(name, otherwise string, least int64) int64 {
	text := b.text(name, false, otherwise)
	n, err := schema.ParseSize(text)
	if err == nil && n >= least {
		return n
	}
	why := "it must be a size such as \"64MiB\""
	if err == nil {
		why = "it is too small"
	}
	if a := b.body.Attributes[name]; a != nil {
		b.l.fail(a.Expr.Range().Ptr(), "Wrong value", "%q is %q: %s.", name, text, why)
	}
	n, err = schema.ParseSize(otherwise)
	if err != nil {
		panic("config: wrong default for " + name)
	}
	return n
}

func (b *block) date(name string, required bool) (journal.Day, bool) {
	a := b.attribute(name, required)
	if a == nil {
		return 0, false
	}
	v, ok := b.read(a, cty.String, false)
	if !ok {
		return 0, false
	}
	day, err := journal.ParseDay(v.AsString())
	if err != nil {
		b.l.fail(a.Expr.Range().Ptr(), "Wrong value", "%q is %q: it must be a date that exists, written YYYY-MM-DD.", name, v.AsString())
		return 0, false
	}
	return day, true
}

// zone reads a time zone's name.
func (b *block) zone(name string) *time.Location {
	text := b.text(name, false, "UTC")
	location, err := time.LoadLocation(text)
	if err == nil && text != "" && text != "Local" {
		return location
	}
	b.l.fail(b.body.Attributes[name].Expr.Range().Ptr(), "Unknown time zone",
		"%q is no time zone: use an IANA name such as \"Europe/Berlin\" or \"UTC\".%s", text, suggestion(text, commonZones))
	return time.UTC
}

func dirOf(a *hclsyntax.Attribute) string { return dir(a.SrcRange.Filename) }
