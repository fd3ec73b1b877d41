package config

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/sdk/batch"
)

func (l *loader) decodeSources() {
	seen := map[string]hcl.Range{}
	types := make([]string, 0, len(sourceBlocks))
	for t := range sourceBlocks {
		types = append(types, t)
	}
	slices.Sort(types)
	for _, raw := range l.ofType("source") {
		if !l.labelled(raw, filesBlock.labels) || !l.named(seen, raw) {
			continue
		}
		switch typ := raw.Labels[0]; typ {
		case "files":
			l.decodeFiles(raw)
		case "collector":
			l.decodeCollector(raw)
		case "mixpanel":
			l.decodeMixpanel(raw)
		case "kafka":
			(&body{l: l, spec: &blockType{name: typ}, raw: raw}).refuseBlock()
		default:
			l.fail(raw.LabelRanges[0].Ptr(), "Unknown source type", "There is no source type %q.%s", typ, suggest(typ, "types of this version", supportedSources(types)))
		}
	}
	l.checkAuthorities()
}

func (l *loader) decodeFiles(raw *hclsyntax.Block) {
	b := l.read(raw, filesBlock)
	l.config.Sources = append(l.config.Sources, &Source{
		Place: b.place(), Name: raw.Labels[1], Project: b.project("project"), Pattern: b.text("path"), Records: recordsOf(b.text("records")), Follow: b.flag("follow"),
		Local: b.text("data_timezone") == "project",
	})
}

// recordsOf returns the stream that records become rows of; an unknown text was
// refused.
func recordsOf(text string) batch.Stream {
	if text == "people" {
		return batch.People
	}
	return batch.Events
}

// supportedSources returns the source types that this version has.
func supportedSources(types []string) []string {
	var supported []string
	for _, t := range types {
		if (&blockType{name: t}).supports("") {
			supported = append(supported, t)
		}
	}
	return supported
}
