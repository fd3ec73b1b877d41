package config

import "strings"

// unavailable lists the blocks, attributes and values that this version reads
// and checks, and then refuses where they stand. An entry is removed when the
// feature is built.
var unavailable = []refusal{
	{block: "host", attribute: "blobs", when: isAddress, instead: "Segments lie in a directory."},
	{block: "host", attribute: "catalog", instead: "The catalog is an SQLite file in data_dir."},
	{block: "kafka", instead: `This version has the sources "files", "collector" and "mixpanel".`},
}

// refusal is a block, an attribute or some of an attribute's values.
type refusal struct {
	block, attribute string                  // no attribute: the block
	when             func(constant any) bool // nil: every value
	instead          string
}

// supports reports whether this version has an attribute of the block; "" is
// the block itself.
func (b *blockType) supports(attribute string) bool {
	for _, r := range unavailable {
		if r.block == b.name && r.attribute == attribute && r.when == nil {
			return false
		}
	}
	return true
}

// supported returns the values of an attribute that this version has.
func (b *blockType) supported(a attribute) []string {
	var values []string
	for _, v := range a.Allowed {
		refused := false
		for _, r := range unavailable {
			refused = refused || r.block == b.name && r.attribute == a.Name && r.when != nil && r.when(v)
		}
		if !refused {
			values = append(values, v)
		}
	}
	return values
}

func isAddress(v any) bool {
	text, _ := v.(string)
	return strings.Contains(text, "://")
}

const unavailableSummary = "Not available in this version"

// refuseBlock refuses a block that is not available.
func (b *body) refuseBlock() {
	for _, r := range unavailable {
		if r.block != b.spec.name || r.attribute != "" {
			continue
		}
		what, at := "The block "+b.spec.name, b.raw.TypeRange
		if len(b.raw.Labels) == 2 {
			what, at = "A "+b.raw.Type+" of type \""+b.raw.Labels[0]+"\"", b.raw.LabelRanges[0]
		}
		b.l.fail(&at, unavailableSummary, "%s is not supported in this version. %s", what, r.instead)
	}
}

// refuseValue refuses an attribute, or its value, that is not available.
func (b *body) refuseValue(name string, v value) {
	for _, r := range unavailable {
		if r.block != b.spec.name || r.attribute != name || r.when != nil && !r.when(v.constant) {
			continue
		}
		at, what := v.name, name
		if text, ok := v.constant.(string); ok && r.when != nil && !v.secret {
			at, what = v.at, name+" = \""+text+"\""
		} else if r.when != nil {
			at, what = v.at, strings.TrimSpace(name+" = "+b.l.sourceText(v.at))
		}
		b.l.fail(&at, unavailableSummary, "%s is not supported in this version. %s", what, r.instead)
	}
}
