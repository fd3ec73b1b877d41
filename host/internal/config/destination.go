package config

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/sdk/schema"
)

var destinationLabels = []string{typeLabel, nameLabel}

func (l *loader) decodeDestinations(ctx context.Context) {
	seen := map[string]hcl.Range{}
	for _, raw := range l.ofType("destination") {
		if !l.labelled(raw, destinationLabels) || !l.named(seen, raw) {
			continue
		}
		d := &Destination{Type: raw.Labels[0], Name: raw.Labels[1], Place: Place{Range: raw.DefRange()}}
		l.config.Destinations = append(l.config.Destinations, d)
		if l.config.Host.PluginDir == "" && !l.options.Offline {
			l.suspect["destination"] = append(l.suspect["destination"], d.Reference())
			l.evaluateAll(raw.Body) // the mistake in plugin_dir was reported
			continue
		}
		s, err := l.options.Schema(ctx, l.config.Host.PluginDir, d.Type)
		if err == nil {
			l.decodeBody(d, raw, s)
			continue
		}
		l.noSchema(d, raw, err)
		l.evaluateAll(raw.Body)
	}
}

// evaluateAll reports the mistakes in the values of a body that is not decoded.
func (l *loader) evaluateAll(body *hclsyntax.Body) {
	for _, a := range sortedAttributes(body) {
		l.evaluate(a.Expr)
	}
}

// noSchema says why a destination's body cannot be read.
func (l *loader) noSchema(d *Destination, raw *hclsyntax.Block, err error) {
	why := strings.TrimSuffix(err.Error(), ".")
	if l.options.Offline {
		l.skip("the body of destination %s: %s", d.Reference(), why)
		return
	}
	l.suspect["destination"] = append(l.suspect["destination"], d.Reference())
	detail := fmt.Sprintf("A destination of type %q needs its plugin: %s.", d.Type, strings.TrimPrefix(why, "plugin refused: "))
	if types := l.options.Types(l.config.Host.PluginDir); len(types) > 0 && !slices.Contains(types, d.Type) {
		detail += fmt.Sprintf("\nPinned in %s: %s.%s", l.config.Host.PluginDir, enumerate(types, "and"), suggestion(d.Type, types))
	}
	l.fail(raw.LabelRanges[0].Ptr(), "Destination plugin cannot be used", "%s", detail)
}

// decodeBody reads a destination's body with its schema, into constants.
func (l *loader) decodeBody(d *Destination, raw *hclsyntax.Block, s schema.Schema) {
	spec := &blockType{name: "destination." + d.Type, late: true}
	for _, a := range s.Attributes {
		spec.attributes = append(spec.attributes, attribute{Attribute: a})
	}
	before := len(l.diagnostics.Errs())
	b := l.read(raw, spec)
	d.Complete = len(l.diagnostics.Errs()) == before
	d.Place = b.place()
	constants, secrets := map[string]any{}, []string(nil)
	for _, a := range s.Attributes {
		c := b.get(a.Name)
		if _, set := raw.Body.Attributes[a.Name]; c == nil && set {
			d.Unknown = append(d.Unknown, a.Name)
		}
		if c == nil {
			continue
		}
		constants[a.Name] = c
		if text, ok := c.(string); ok && b.values[a.Name].secret && len(text) > 3 {
			secrets = append(secrets, text, hiddenText)
		}
	}
	d.hide = strings.NewReplacer(secrets...).Replace
	encoded, err := json.Marshal(constants)
	if err != nil {
		panic("config: constants cannot be encoded: " + err.Error())
	}
	d.JSON = encoded
}

// destination looks up the destination that a pipeline names.
func (b *body) destination() *Destination {
	given, ok := b.get("destination").(string)
	if !ok {
		return nil
	}
	for _, d := range b.l.config.Destinations {
		if d.Reference() == given {
			return d
		}
	}
	if b.values["destination"].secret {
		b.l.fail(b.at("destination"), "Unknown destination", "No such destination is defined. Its name comes from env() or file() and is not shown.")
	} else {
		b.l.checkDestination(given, *b.at("destination"))
	}
	return nil
}
