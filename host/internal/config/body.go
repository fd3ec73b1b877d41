package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/sdk/schema"
)

// value is an attribute as it was read.
type value struct {
	constant any       // as schema.Type says; nil: not known, offline
	at       hcl.Range // of the value
	name     hcl.Range // of the name
	secret   bool
	text     string // as it was written
}

// body is a block that was read with its description.
type body struct {
	l      *loader
	spec   *blockType
	raw    *hclsyntax.Block
	what   string // `project "shop"`
	values map[string]value
	given  map[string]bool // attributes with a value, right or wrong
	meant  map[string]bool // attributes that an unknown one is a misspelling of
	blocks map[string][]*body
	before int // mistakes of the configuration when the block was begun
}

// labelled checks a block's labels: how many, and that they are names.
func (l *loader) labelled(raw *hclsyntax.Block, labels []string) bool {
	if len(raw.Labels) != len(labels) {
		l.suspect[raw.Type] = append(l.suspect[raw.Type], "")
		l.fail(raw.DefRange().Ptr(), "Wrong number of labels", "A %s block is written %s { … }.", raw.Type, strings.Join(append([]string{raw.Type}, labels...), " "))
		return false
	}
	good := true
	for i, label := range raw.Labels {
		if why := nameForm(label); why != "" {
			l.suspect[raw.Type] = append(l.suspect[raw.Type], strings.Join(raw.Labels, "."))
			l.fail(raw.LabelRanges[i].Ptr(), "Invalid name", "%q is not a name: %s", label, why)
			good = false
		}
	}
	return good
}

// named reports whether a name is new. A name that was used before is a mistake.
func (l *loader) named(seen map[string]hcl.Range, raw *hclsyntax.Block) bool {
	name := strings.Join(raw.Labels, ".")
	if first, ok := seen[name]; ok && name == "" {
		l.fail(raw.DefRange().Ptr(), "Block defined twice", "There can be one block %s, and another is at %s:%d. Put the attributes of both into one.", raw.Type, first.Filename, first.Start.Line)
		return false
	} else if ok {
		l.fail(raw.DefRange().Ptr(), "Name used twice", "A %s named %q was defined at %s:%d. Give this one another name, or remove one of them.", raw.Type, name, first.Filename, first.Start.Line)
		return false
	}
	seen[name] = raw.DefRange()
	return true
}

// ofType are the blocks of a type, in order.
func (l *loader) ofType(typ string) []*hclsyntax.Block {
	var found []*hclsyntax.Block
	for _, b := range l.blocks {
		if b.Type == typ {
			found = append(found, b)
		}
	}
	return found
}

// read reads a block as described, and reports all mistakes in it.
func (l *loader) read(raw *hclsyntax.Block, spec *blockType) *body {
	b := &body{
		l: l, spec: spec, raw: raw, what: raw.Type, values: map[string]value{}, given: map[string]bool{}, meant: map[string]bool{}, blocks: map[string][]*body{},
		before: len(l.diagnostics.Errs()),
	}
	for _, label := range raw.Labels {
		b.what += fmt.Sprintf(" %q", label)
	}
	b.refuseBlock()
	b.readAttributes()
	b.readBlocks()
	return b
}

func (b *body) readAttributes() {
	b.refuseUnknown()
	for _, a := range b.spec.attributes {
		if raw := b.raw.Body.Attributes[a.Name]; raw != nil {
			b.readAttribute(a, raw)
		}
		if a.Required && !b.given[a.Name] && !b.meant[a.Name] {
			b.missing(a)
		}
	}
}

// refuseUnknown refuses attributes that the block does not have. An attribute
// that was misspelt is not reported as missing, too.
func (b *body) refuseUnknown() {
	known := map[string]bool{}
	var names []string
	for _, a := range b.spec.attributes {
		known[a.Name] = true
		names = append(names, a.Name)
	}
	for _, raw := range sortedAttributes(b.raw.Body) {
		if known[raw.Name] {
			continue
		}
		b.meant[nearest(raw.Name, names)] = true
		b.l.evaluate(raw.Expr) // reports the mistakes in the value
		b.l.fail(raw.NameRange.Ptr(), "Unknown attribute", "%s has no %q.%s", b.what, raw.Name, b.alternatives(raw.Name, true))
	}
}

func (b *body) missing(a attribute) {
	detail := fmt.Sprintf("%s needs %q", b.what, a.Name)
	if a.Description != "" {
		detail += ": " + lowerFirst(strings.TrimSuffix(a.Description, "."))
	}
	b.l.fail(b.raw.DefRange().Ptr(), "Missing attribute", "%s.", detail)
}

// alternatives suggests a name near the given one; if there is none, it lists
// the names that this version supports.
func (b *body) alternatives(given string, isAttribute bool) string {
	var attributes, blocks []string
	for _, a := range b.spec.attributes {
		if b.spec.supports(a.Name) {
			attributes = append(attributes, a.Name)
		}
		if !isAttribute && a.Name == given {
			return fmt.Sprintf(" It is an attribute: write %s = ….", given)
		}
	}
	for _, inner := range b.spec.blocks {
		if inner.supports("") {
			blocks = append(blocks, inner.name)
		}
		if isAttribute && inner.name == given {
			return fmt.Sprintf(" It is a block: write %s { … } without an equals sign.", strings.Join(append([]string{given}, inner.labels...), " "))
		}
	}
	all := append(append([]string(nil), attributes...), blocks...)
	if s := suggestion(given, all); s != "" {
		return s
	}
	if !isAttribute {
		all = blocks
	}
	if len(all) == 0 {
		return " It has none."
	}
	if isAttribute {
		return " Its attributes are " + strings.Join(all, ", ") + "."
	}
	return " Its blocks are " + strings.Join(all, ", ") + "."
}

func (b *body) readBlocks() {
	specs := map[string]*blockType{}
	for _, inner := range b.spec.blocks {
		specs[inner.name] = inner
	}
	seen := map[string]map[string]hcl.Range{}
	for _, raw := range b.raw.Body.Blocks {
		spec := specs[raw.Type]
		if spec == nil {
			b.meant[nearest(raw.Type, slices.Collect(maps.Keys(specs)))] = true
			b.l.fail(raw.DefRange().Ptr(), "Unknown block", "%s holds no block %q.%s", b.what, raw.Type, b.alternatives(raw.Type, false))
			continue
		}
		if !b.l.labelled(raw, spec.labels) {
			continue
		}
		if seen[raw.Type] == nil {
			seen[raw.Type] = map[string]hcl.Range{}
		}
		if b.l.named(seen[raw.Type], raw) {
			b.blocks[raw.Type] = append(b.blocks[raw.Type], b.l.read(raw, spec))
		}
	}
}

// place is where the block stands.
func (b *body) place() Place {
	p := Place{Range: b.raw.DefRange(), shown: b.shown(), Incomplete: b.isIncomplete(), attributes: map[string]hcl.Range{}}
	for name, v := range b.values {
		p.attributes[name] = v.at
	}
	return p
}

// isIncomplete reports whether a mistake was found since the block was begun.
func (b *body) isIncomplete() bool { return len(b.l.diagnostics.Errs()) > b.before }

// isMistaken reports whether an attribute's name is misspelt, or its value is wrong. The
// default, which get returns then, is not what was meant.
func (b *body) isMistaken(name string) bool {
	_, read := b.values[name]
	return b.meant[name] || b.given[name] && !read
}

// isIntended reports whether an attribute was set, or is misspelt.
func (b *body) isIntended(name string) bool { return b.given[name] || b.meant[name] }

// has reports whether an attribute was set to something.
func (b *body) has(name string) bool { return b.given[name] }

// at is where an attribute's value stands, or the block.
func (b *body) at(name string) *hcl.Range {
	r := b.place().AttributeRange(name)
	return &r
}

// get returns an attribute's constant: its value, or the default, or nil. A wrong
// value counts as not set.
func (b *body) get(name string) any {
	if v, ok := b.values[name]; ok && v.constant != nil {
		return v.constant
	}
	for _, a := range b.spec.attributes {
		if a.Name == name && a.Default != nil {
			return defaultConstant(a.Attribute)
		}
	}
	return nil
}

func (b *body) text(name string) string {
	s, _ := b.get(name).(string)
	return s
}

func (b *body) integer(name string) int64 {
	n, _ := b.get(name).(int64)
	return n
}

func (b *body) flag(name string) bool {
	f, _ := b.get(name).(bool)
	return f
}

func (b *body) list(name string) []string {
	l, _ := b.get(name).([]string)
	return l
}

// defaultConstant is a default as a constant; the description was validated.
func defaultConstant(a schema.Attribute) any {
	switch d := a.Default.(type) {
	case string:
		if a.Type == schema.Size {
			if n, err := schema.ParseSize(d); err == nil {
				return n
			}
		}
		if a.Type == schema.Duration {
			if n, err := schema.ParseDuration(d); err == nil {
				return int64(n)
			}
		}
	case int:
		return int64(d)
	}
	return a.Default
}
