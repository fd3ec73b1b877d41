package config

import (
	"context"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-io/penstock/sdk/schema"
)

func (l *loader) decodeDestinations(ctx context.Context) {
	seen := map[string]hcl.Range{}
	for _, raw := range l.ofType("destination") {
		if !l.labels(raw, `"TYPE"`, `"NAME"`) || !l.named(seen, "destination", strings.Join(raw.Labels, "."), raw.DefRange()) {
			continue
		}
		d := &Destination{Type: raw.Labels[0], Name: raw.Labels[1], Range: raw.DefRange(), attributes: map[string]hcl.Range{}}
		l.config.Destinations = append(l.config.Destinations, d)
		s, err := l.options.Schema(ctx, l.config.Host.PluginDir, d.Type)
		if err != nil && l.options.Offline {
			l.skip("the body of destination " + d.Reference() + ": " + err.Error())
			continue
		}
		if err != nil {
			l.fail(raw.LabelRanges[0].Ptr(), "Destination plugin cannot be used", "%v.", err)
			continue
		}
		l.decodeBody(d, raw, s)
	}
}

// decodeBody reads a destination's body with its schema, into constants.
func (l *loader) decodeBody(d *Destination, raw *hclsyntax.Block, s schema.Schema) {
	b := l.block("destination of type "+d.Type, raw)
	values := map[string]any{}
	for _, attribute := range s.Attributes {
		a := b.attribute(attribute.Name, attribute.Required)
		if a == nil {
			if attribute.Default != nil {
				values[attribute.Name] = defaultValue(attribute)
			}
			continue
		}
		d.attributes[attribute.Name] = a.SrcRange
		if attribute.Deprecated != "" {
			l.warn(a.NameRange.Ptr(), "Deprecated attribute", "%q is deprecated: %s", attribute.Name, attribute.Deprecated)
		}
		if v, ok := b.constant(a, attribute); ok {
			values[attribute.Name] = v
		}
	}
	b.finish()
	encoded, err := json.Marshal(values)
	if err != nil {
		panic("config: constants cannot be encoded: " + err.Error())
	}
	d.JSON = encoded
}

// constant is an attribute's value as the plugin gets it.
func (b *block) constant(a *hclsyntax.Attribute, attribute schema.Attribute) (any, bool) {
	v, ok := b.read(a, ctyType(attribute.Type), attribute.Sensitive)
	if !ok {
		return nil, false
	}
	wrong := func(why string) (any, bool) {
		b.wrong(a, attribute.Sensitive, v, why)
		return nil, false
	}
	switch attribute.Type {
	case schema.String:
		if !allowed(attribute, v.AsString()) {
			return wrong("it must be one of " + strings.Join(attribute.Allowed, ", ") + suggestion(v.AsString(), attribute.Allowed))
		}
		return v.AsString(), true
	case schema.Path:
		return absolute(dirOf(a), v.AsString()), true
	case schema.Size:
		n, err := schema.ParseSize(v.AsString())
		if err != nil {
			return wrong("it must be a size such as \"64MiB\"")
		}
		return n, true
	case schema.Duration:
		n, err := schema.ParseDuration(v.AsString())
		if err != nil {
			return wrong("it must be a duration such as \"90s\" or \"10d\"")
		}
		return int64(n), true
	case schema.Bool:
		return v.True(), true
	case schema.Integer:
		n, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact {
			return wrong("it must be an integer")
		}
		return n, true
	case schema.Number:
		n, _ := v.AsBigFloat().Float64()
		return n, true
	default:
		return collection(v), true
	}
}

func allowed(attribute schema.Attribute, text string) bool {
	if len(attribute.Allowed) == 0 {
		return true
	}
	for _, x := range attribute.Allowed {
		if x == text {
			return true
		}
	}
	return false
}

// collection is a list or a map of strings.
func collection(v cty.Value) any {
	if v.Type().IsListType() {
		list := []string{}
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			list = append(list, element.AsString())
		}
		return list
	}
	entries := map[string]string{}
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		entries[key.AsString()] = element.AsString()
	}
	return entries
}

// ctyType is what an expression must evaluate to.
func ctyType(t schema.Type) cty.Type {
	switch t {
	case schema.Bool:
		return cty.Bool
	case schema.Integer, schema.Number:
		return cty.Number
	case schema.ListOfString:
		return cty.List(cty.String)
	case schema.MapOfString:
		return cty.Map(cty.String)
	default:
		return cty.String
	}
}

// defaultValue is a default as the plugin gets it; the schema was validated.
func defaultValue(a schema.Attribute) any {
	text, isText := a.Default.(string)
	switch {
	case a.Type == schema.Size && isText:
		if n, err := schema.ParseSize(text); err == nil {
			return n
		}
	case a.Type == schema.Duration && isText:
		if n, err := schema.ParseDuration(text); err == nil {
			return int64(n)
		}
	}
	return a.Default
}
