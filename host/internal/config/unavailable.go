package config

import "strings"

// unavailable is what may be configured and is not carried out by this
// version. It is read and checked like everything, and then refused where it
// stands. Whoever builds one of these takes it off the list.
var unavailable = []refusal{
	{block: "host", attribute: "blobs", when: isAddress, instead: "Segments lie in a directory."},
	{block: "host", attribute: "catalog", instead: "The catalog is an SQLite file in data_dir."},
	{block: "host", attribute: "retention", instead: "What is in the journal is kept."},
	{block: "api", instead: "Commands reach a running host through the socket in data_dir."},
	{block: "project", attribute: "profiles_from", when: is("mixpanel"), instead: "This version has no mixpanel source."},
	{block: "mixpanel", instead: `This version has source "files" and source "collector".`},
	{block: "kafka", instead: `This version has source "files" and source "collector".`},
	{block: "pipeline", attribute: "frequency", when: is("continuous"), instead: `Use "hourly" or "daily".`},
	{block: "pipeline", attribute: "min_interval", instead: "Leave it out: frequency says when a run is due."},
	{block: "pipeline", attribute: "at", instead: "Leave it out: the next run is due one period after the last one."},
	{block: "pipeline", attribute: "sync", when: isFlag(false), instead: "Late data is exported, however late: sync = true."},
	{block: "pipeline", attribute: "rate_limit", instead: "Leave it out: a run goes as fast as the destination takes it."},
}

// refusal is one such thing: an attribute, some of its values, or a block.
type refusal struct {
	block, attribute string
	when             func(constant any) bool // nil: whatever the value
	instead          string
}

func is(values ...string) func(any) bool {
	return func(v any) bool {
		for _, x := range values {
			if v == x {
				return true
			}
		}
		return false
	}
}

func isFlag(want bool) func(any) bool { return func(v any) bool { return v == want } }

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
		b.l.fail(&at, unavailableSummary, "%s is known and not carried out yet. %s", what, r.instead)
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
		b.l.fail(&at, unavailableSummary, "%s is known and not carried out yet. %s", what, r.instead)
	}
}
