package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// secret marks values that come from env and file.
type secret struct{}

// evaluateLocals makes the evaluation context: functions, the destinations'
// references, and locals, which may use each other in any order.
func (l *loader) evaluateLocals() {
	l.eval = &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: l.functions()}
	l.eval.Variables["destination"] = l.references()
	waiting := map[string]*hclsyntax.Attribute{}
	for _, b := range l.blocks {
		if b.Type != "locals" {
			continue
		}
		for _, a := range sortedAttributes(b.Body) {
			if first := waiting[a.Name]; first != nil {
				l.fail(a.NameRange.Ptr(), "Local defined twice", "%q was defined at %s.", a.Name, first.NameRange)
				continue
			}
			waiting[a.Name] = a
		}
	}
	values := map[string]cty.Value{}
	l.eval.Variables["local"] = cty.EmptyObjectVal
	for len(waiting) > 0 && l.evaluateReady(waiting, values) {
		l.eval.Variables["local"] = cty.ObjectVal(values)
	}
	for _, a := range waiting {
		l.fail(a.NameRange.Ptr(), "Local cannot be evaluated", "%q depends on itself, or on a local that is not defined.", a.Name)
	}
}

// evaluateReady evaluates the locals that wait for no other, and says whether
// there were any.
func (l *loader) evaluateReady(waiting map[string]*hclsyntax.Attribute, values map[string]cty.Value) bool {
	progress := false
	for name, a := range waiting {
		if dependsOn(a, values) {
			continue
		}
		value, diagnostics := a.Expr.Value(l.eval)
		l.diagnostics = append(l.diagnostics, diagnostics...)
		values[name] = value
		delete(waiting, name)
		progress = true
	}
	return progress
}

// dependsOn says whether a local uses one that has no value yet.
func dependsOn(a *hclsyntax.Attribute, values map[string]cty.Value) bool {
	for _, traversal := range a.Expr.Variables() {
		if traversal.RootName() != "local" || len(traversal) < 2 {
			continue
		}
		if step, ok := traversal[1].(hcl.TraverseAttr); ok {
			if _, known := values[step.Name]; !known {
				return true
			}
		}
	}
	return false
}

// references is what "destination.s3.lake" evaluates to: "s3.lake".
func (l *loader) references() cty.Value {
	types := map[string]map[string]cty.Value{}
	for _, b := range l.blocks {
		if b.Type == "destination" && len(b.Labels) == 2 {
			typ, name := b.Labels[0], b.Labels[1]
			if types[typ] == nil {
				types[typ] = map[string]cty.Value{}
			}
			types[typ][name] = cty.StringVal(typ + "." + name)
		}
	}
	objects := map[string]cty.Value{}
	for typ, names := range types {
		objects[typ] = cty.ObjectVal(names)
	}
	return cty.ObjectVal(objects)
}

func (l *loader) functions() map[string]function.Function {
	return map[string]function.Function{
		"env": l.envFunction(),
		"abs": stdlib.AbsoluteFunc, "coalesce": stdlib.CoalesceFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc,
		"distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc, "format": stdlib.FormatFunc,
		"join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "keys": stdlib.KeysFunc,
		"length": stdlib.LengthFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc, "max": stdlib.MaxFunc, "merge": stdlib.MergeFunc,
		"min": stdlib.MinFunc, "regex": stdlib.RegexFunc, "regexreplace": stdlib.RegexReplaceFunc, "replace": stdlib.ReplaceFunc,
		"reverse": stdlib.ReverseListFunc, "split": stdlib.SplitFunc, "substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc,
		"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc,
		"upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,
	}
}

// envFunction is env("NAME"): an environment variable, as a secret.
func (l *loader) envFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			value, ok := l.options.Env(name)
			if ok {
				return cty.StringVal(value).Mark(secret{}), nil
			}
			if l.options.Offline {
				l.skip(fmt.Sprintf("the environment variable %s is not set", name))
				return cty.UnknownVal(cty.String).Mark(secret{}), nil
			}
			return cty.NilVal, fmt.Errorf("the environment variable %s is not set", name)
		},
	})
}

// fileFunction is file("path"): a file's text without its last newline, as a
// secret. Relative paths are relative to the file they stand in.
func (l *loader) fileFunction(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			path := absolute(dir, args[0].AsString())
			data, err := os.ReadFile(path)
			if err == nil {
				return cty.StringVal(strings.TrimRight(string(data), "\r\n")).Mark(secret{}), nil
			}
			if l.options.Offline {
				l.skip(fmt.Sprintf("the file %s cannot be read", path))
				return cty.UnknownVal(cty.String).Mark(secret{}), nil
			}
			return cty.NilVal, err
		},
	})
}

func (l *loader) skip(what string) {
	for _, s := range l.config.Skipped {
		if s == what {
			return
		}
	}
	l.config.Skipped = append(l.config.Skipped, what)
}

// value evaluates an expression. ok is false when it has no known value; what
// is wrong then was said.
func (l *loader) value(expr hcl.Expression) (v cty.Value, sensitive, ok bool) {
	eval := l.eval.NewChild()
	eval.Functions = map[string]function.Function{"file": l.fileFunction(filepath.Dir(expr.Range().Filename))}
	v, diagnostics := expr.Value(eval)
	for _, d := range diagnostics {
		d.Summary = plain(d.Summary)
	}
	l.diagnostics = append(l.diagnostics, diagnostics...)
	if diagnostics.HasErrors() {
		return v, false, false
	}
	v, marks := v.UnmarkDeep()
	_, sensitive = marks[secret{}]
	return v, sensitive, v.IsWhollyKnown()
}

// plain replaces summaries of the HCL library that speak to programmers.
func plain(summary string) string {
	if summary == "Error in function call" {
		return "Value cannot be had"
	}
	return summary
}

// absolute makes a path absolute, from dir.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	joined := filepath.Join(dir, path)
	if a, err := filepath.Abs(joined); err == nil {
		return a
	}
	return joined
}
