package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// local is an attribute of a locals block.
type local struct {
	*hclsyntax.Attribute
	done      bool
	sensitive bool // made with env or file
}

// evaluateLocals makes the evaluation context: functions, the destinations'
// references, and locals, which may use each other in any order.
func (l *loader) evaluateLocals() {
	l.eval = &hcl.EvalContext{Functions: l.functions(), Variables: map[string]cty.Value{
		"destination": l.references(), "local": cty.EmptyObjectVal,
	}}
	waiting := l.collectLocals()
	values := map[string]cty.Value{}
	for len(waiting) > 0 {
		var ready, rest []*local
		for _, x := range waiting {
			if l.waits(x) {
				rest = append(rest, x)
			} else {
				ready = append(ready, x)
			}
		}
		for _, x := range ready {
			v, sensitive, _ := l.evaluate(x.Expr)
			if sensitive {
				v = v.Mark(secret{})
			}
			values[x.Name], x.sensitive, x.done = v, sensitive, true
		}
		if len(ready) == 0 {
			for _, x := range rest {
				l.fail(x.Expr.Range().Ptr(), "Locals in a circle", "local.%s depends on itself.", x.Name)
				values[x.Name] = cty.DynamicVal
			}
			rest = nil
		}
		l.eval.Variables["local"] = cty.ObjectVal(values)
		waiting = rest
	}
}

// collectLocals returns the locals in the order in which they are written.
func (l *loader) collectLocals() (all []*local) {
	for _, b := range l.ofType("locals") {
		if len(b.Labels) > 0 {
			l.fail(b.LabelRanges[0].Ptr(), "Wrong number of labels", "A locals block has no label: write locals { … }.")
		}
		for _, inner := range b.Body.Blocks {
			l.fail(inner.DefRange().Ptr(), "Unknown block", "A locals block holds attributes only. To define an object write %s = { … }.", inner.Type)
		}
		for _, a := range sortedAttributes(b.Body) {
			if first := l.locals[a.Name]; first != nil {
				l.fail(a.NameRange.Ptr(), "Name used twice", "A local named %q was defined at %s:%d.", a.Name, first.NameRange.Filename, first.NameRange.Start.Line)
				continue
			}
			l.locals[a.Name] = &local{Attribute: a}
			all = append(all, l.locals[a.Name])
		}
	}
	return all
}

// waits reports whether a local uses one that has no value yet.
func (l *loader) waits(x *local) bool {
	for _, t := range x.Expr.Variables() {
		if other := l.locals[step(t, 1)]; t.RootName() == "local" && other != nil && !other.done {
			return true
		}
	}
	return false
}

// step is the name of a traversal's step, or "".
func step(t hcl.Traversal, i int) string {
	if i >= len(t) {
		return ""
	}
	switch s := t[i].(type) {
	case hcl.TraverseAttr:
		return s.Name
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString()
		}
	}
	return ""
}

// references returns the value of the variable destination, in which
// destination.s3.lake is "s3.lake".
func (l *loader) references() cty.Value {
	types := map[string]map[string]cty.Value{}
	for reference := range l.names["destination"] {
		typ, name, ok := strings.Cut(reference, ".")
		if !ok {
			continue
		}
		if types[typ] == nil {
			types[typ] = map[string]cty.Value{}
		}
		types[typ][name] = cty.StringVal(reference)
	}
	objects := map[string]cty.Value{}
	for typ, names := range types {
		objects[typ] = cty.ObjectVal(names)
	}
	return cty.ObjectVal(objects)
}

// evaluate computes an expression. ok is false when it has no known value; the
// mistake was reported then. sensitive means that env or file had a part in it.
// The value has no marks.
func (l *loader) evaluate(expr hclsyntax.Expression) (v cty.Value, sensitive, ok bool) {
	sensitive = l.touchesSecret(expr)
	if !l.checkNames(expr) {
		return cty.DynamicVal, sensitive, false
	}
	eval := l.eval.NewChild()
	eval.Functions = map[string]function.Function{"file": l.fileFunction(filepath.Dir(expr.Range().Filename))}
	l.missing = nil
	v, diagnostics := expr.Value(eval)
	for _, m := range l.missing {
		if l.options.Command {
			l.unset(m)
			continue
		}
		l.warn(callRange(expr, m).Ptr(), "Value not known here", "%s Offline this is a warning; values that depend on it were not checked.", m.why)
		l.skip("%s", strings.TrimSuffix(m.why, "."))
	}
	for _, d := range diagnostics {
		l.diagnostics = append(l.diagnostics, l.translate(d, sensitive))
	}
	v, _ = v.UnmarkDeep()
	if diagnostics.HasErrors() {
		return cty.DynamicVal, sensitive, false
	}
	return v, sensitive, v.IsWhollyKnown()
}

// unset notes a variable or file that was not found.
func (l *loader) unset(m miss) {
	what := fmt.Sprintf("%s(%q)", m.function, m.name)
	if !slices.Contains(l.config.Unset, what) {
		l.config.Unset = append(l.config.Unset, what)
	}
}

// touchesSecret reports whether env or file have a part in an expression.
func (l *loader) touchesSecret(expr hclsyntax.Expression) bool {
	found := false
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		call, ok := n.(*hclsyntax.FunctionCallExpr)
		found = found || ok && (call.Name == "env" || call.Name == "file")
		return nil
	})
	for _, t := range expr.Variables() {
		x := l.locals[step(t, 1)]
		found = found || t.RootName() == "local" && x != nil && x.sensitive
	}
	return found
}

func (l *loader) functionNames() []string {
	return slices.Sorted(maps.Keys(l.eval.Functions))
}

// callRange is where env or file is called with a name, or the expression.
func callRange(expr hclsyntax.Expression, m miss) hcl.Range {
	at := expr.Range()
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && call.Name == m.function && len(call.Args) == 1 {
			if v, d := call.Args[0].Value(nil); !d.HasErrors() && v.Type() == cty.String && v.IsKnown() && v.AsString() == m.name {
				at = call.Range()
			}
		}
		return nil
	})
	return at
}

// translate rewrites a diagnostic of the HCL library for people, and takes
// secrets out.
func (l *loader) translate(d *hcl.Diagnostic, sensitive bool) *hcl.Diagnostic {
	extra, isCall := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d)
	if call, ok := d.Expression.(*hclsyntax.FunctionCallExpr); ok && isCall {
		if own, ok := extra.FunctionCallError().(*readError); ok {
			return &hcl.Diagnostic{Severity: d.Severity, Summary: own.summary, Detail: own.detail, Subject: call.Range().Ptr()}
		}
	}
	if d.Summary == "Error in function call" {
		d.Summary = "Function failed"
	}
	switch d.Summary {
	case "Call to unknown function":
		if call, ok := d.Expression.(*hclsyntax.FunctionCallExpr); ok {
			d.Detail = fmt.Sprintf("There is no function named %q.%s", call.Name, suggestion(call.Name, append(l.functionNames(), "file")))
		}
		return d
	case "Not enough function arguments", "Too many function arguments":
		return d // these speak of names only
	}
	if sensitive {
		d.Detail = "The value of env() or file() does not fit this use. It is not shown, because it may be a secret."
	}
	return d
}

// checkNames checks the names in an expression. The HCL library would report a
// misspelt name in terms of objects and attributes.
func (l *loader) checkNames(expr hclsyntax.Expression) bool {
	good := true
	for _, t := range expr.Variables() {
		at := t.SourceRange()
		switch t.RootName() {
		case "local":
			good = l.checkLocal(step(t, 1), at) && good
		case "destination":
			good = l.checkDestination(step(t, 1)+"."+step(t, 2), at) && good
		case "project", "source", "pipeline":
			good = false
			l.fail(&at, "Name without quotes", "A %s is named by a string: write %q.", t.RootName(), step(t, len(t)-1))
		default:
			good = false
			if _, ok := l.eval.Functions[t.RootName()]; ok || t.RootName() == "file" {
				l.fail(&at, "Function without argument", "%s is a function: write %s(…), as in env(\"NAME\").", t.RootName(), t.RootName())
				continue
			}
			detail := "There is no %q here. Names and values are written in quotes, as in %q; without quotes there are local.NAME and destination.TYPE.NAME.%s"
			text := l.sourceText(at)
			l.fail(&at, "Name without quotes", detail, text, text, suggestion(t.RootName(), []string{"local", "destination"}))
		}
	}
	return good
}

func (l *loader) checkLocal(name string, at hcl.Range) bool {
	if _, ok := l.locals[name]; ok {
		return true
	}
	names := slices.Collect(maps.Keys(l.locals))
	switch {
	case l.partial:
	case len(names) == 0:
		l.fail(&at, "Unknown local", "No local is defined. Define it in a block: locals { %s = … }.", name)
	default:
		l.fail(&at, "Unknown local", "No local %q is defined.%s", name, suggest(name, "locals", names))
	}
	return false
}

func (l *loader) checkDestination(reference string, at hcl.Range) bool {
	if l.names["destination"][reference] {
		return true
	}
	l.unknownName("destination", strings.Trim(reference, "."), &at)
	return false
}

// unknownName reports a name that no block of a type has. It reports nothing
// when the name may be that of a block with a mistake in its own labels.
func (l *loader) unknownName(typ, given string, at *hcl.Range) {
	names := slices.Collect(maps.Keys(l.names[typ]))
	suspects := l.suspect[typ]
	if l.partial || slices.Contains(suspects, "") || slices.Contains(suspects, nearest(given, names)) {
		return
	}
	var detail string
	switch last := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, "."+given) }); {
	case len(names) == 0:
		detail = fmt.Sprintf(" The configuration has no %s.", typ)
	case last >= 0:
		detail = fmt.Sprintf(" Did you mean %q?", names[last])
	default:
		detail = suggest(given, typ+"s", names)
	}
	l.fail(at, "Unknown "+typ, "No %s %q is defined.%s", typ, given, detail)
}

func (l *loader) sourceText(r hcl.Range) string {
	if data := l.raw[r.Filename]; r.CanSliceBytes(data) {
		return string(r.SliceBytes(data))
	}
	return ""
}
