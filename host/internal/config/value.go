package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/penstock-io/penstock/sdk/schema"
)

// readAttribute evaluates an attribute and checks it. null counts as not set.
func (b *body) readAttribute(a attribute, raw *hclsyntax.Attribute) {
	if a.Sensitive {
		b.l.hideLiterals(raw.Expr)
	}
	b.given[a.Name] = true
	if a.Deprecated != "" {
		b.l.warn(raw.NameRange.Ptr(), "Deprecated attribute", "%q is deprecated: %s", a.Name, a.Deprecated)
	}
	before := len(b.l.diagnostics.Errs())
	v, sensitive, ok := b.l.evaluate(raw.Expr)
	out := value{at: raw.Expr.Range(), name: raw.NameRange, secret: sensitive || a.Sensitive}
	if ok && v.IsNull() {
		b.given[a.Name] = false
		return
	}
	if a.Sensitive && !sensitive {
		b.l.warn(raw.NameRange.Ptr(), "Secret in the configuration",
			"%q is written out here. Take it from env(\"…\") or file(\"…\"), so that it does not stand in a file that people read.", a.Name)
	}
	if ok {
		a.offered = b.spec.supported(a)
		var why string
		out.constant, why = constant(a, v, filepath.Dir(raw.SrcRange.Filename))
		if text := b.l.sourceText(raw.Expr.Range()); why != "" && unquotedDate.MatchString(text) {
			b.l.fail(raw.Expr.Range().Ptr(), "Date without quotes", "Write %s = %q.", a.Name, text)
			return
		}
		if why != "" {
			b.wrong(a, raw, v, out.secret, why)
			return
		}
		out.text = writtenText(a, v, out.constant)
	}
	if !ok && b.l.options.Command && b.spec.needed(a) && len(b.l.diagnostics.Errs()) == before {
		b.l.notFound(a, raw)
	}
	b.values[a.Name] = out
	b.refuseValue(a.Name, out)
}

// unquotedDate matches a date that HCL reads as a subtraction.
var unquotedDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

// notFound complains about a value that a command needs and that env or file do
// not find.
func (l *loader) notFound(a attribute, raw *hclsyntax.Attribute) {
	at, why := raw.Expr.Range(), "A local that it is made with calls env() or file(), and what that names is not there."
	if len(l.missing) > 0 {
		at, why = callRange(raw.Expr, l.missing[0]), l.missing[0].why
	}
	l.fail(&at, "Value not known here", "%s This command needs %q.", why, a.Name)
}

// wrong complains about an attribute's value.
func (b *body) wrong(a attribute, raw *hclsyntax.Attribute, v cty.Value, hidden bool, why string) {
	if hidden && !(v.Type() == cty.String && v.AsString() == "") {
		// A suggestion is similar to the secret.
		why, _, _ = strings.Cut(why, " Did you mean")
		b.l.fail(raw.Expr.Range().Ptr(), "Wrong value", "%s: %s The value is not shown, because it may be a secret.", a.Name, why)
		return
	}
	b.l.fail(raw.Expr.Range().Ptr(), "Wrong value", "%s is %s: %s", a.Name, shown(v), why)
}

// constant is a value as its type says, or why it is not right.
func constant(a attribute, v cty.Value, dir string) (constant any, why string) {
	want := ctyType(a.Type)
	converted, err := convert.Convert(v, want)
	if err != nil || want == cty.String && v.Type() == cty.Bool {
		return nil, "it must be " + wanted(a) + "."
	}
	switch a.Type {
	case schema.Bool:
		return converted.True(), ""
	case schema.Integer:
		n, ok := integer(converted.AsBigFloat())
		if !ok {
			return nil, "it must be an integer."
		}
		return n, a.small(n, fmt.Sprint(a.least))
	case schema.Number:
		n, _ := converted.AsBigFloat().Float64()
		return n, ""
	case schema.ListOfString:
		return listConstant(a, converted)
	case schema.MapOfString:
		return mapConstant(converted)
	default:
		return textConstant(a, converted.AsString(), dir)
	}
}

func (a attribute) small(n int64, least string) string {
	if n >= a.least || a.least == 0 {
		return ""
	}
	return "it must be at least " + least + "."
}

// textConstant reads an attribute that is written as a string.
func textConstant(a attribute, s, dir string) (any, string) {
	if a.form != nil {
		if why := a.form(s); why != "" {
			return nil, why
		}
	}
	switch a.Type {
	case schema.Size:
		n, err := schema.ParseSize(s)
		if err != nil {
			return nil, "it must be " + wanted(a) + "."
		}
		return n, a.small(n, size(a.least))
	case schema.Duration:
		d, err := schema.ParseDuration(s)
		switch {
		case err == nil:
			return int64(d), a.small(int64(d), duration(time.Duration(a.least)))
		case tooLong(s):
			return nil, fmt.Sprintf("it must be at most \"%dd\".", maxDays)
		}
		return nil, "it must be " + wanted(a) + "."
	case schema.Path:
		if why := notEmpty(s); why != "" {
			return nil, why
		}
		if a.address && strings.Contains(s, "://") {
			return s, ""
		}
		if a.pattern && !filepath.IsAbs(s) {
			dir = escapePattern(dir)
		}
		return absolute(dir, s), ""
	}
	if len(a.Allowed) > 0 && !slices.Contains(a.Allowed, s) {
		offered := a.Allowed
		if a.offered != nil {
			offered = a.offered
		}
		return nil, "it must be " + enumerate(offered, "or") + "." + suggestion(s, offered)
	}
	return s, ""
}

func listConstant(a attribute, v cty.Value) (any, string) {
	list := []string{}
	for it := v.ElementIterator(); it.Next(); {
		_, element := it.Element()
		if element.IsNull() {
			return nil, "an element is null: it must be a list of strings."
		}
		s := element.AsString()
		if a.form != nil {
			if why := a.form(s); why != "" {
				return nil, strings.Replace(why, "it must", "each element must", 1)
			}
		}
		list = append(list, s)
	}
	return list, ""
}

func mapConstant(v cty.Value) (any, string) {
	entries := map[string]string{}
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		if element.IsNull() {
			return nil, "an element is null: it must be a map of strings."
		}
		entries[key.AsString()] = element.AsString()
	}
	return entries, ""
}

// ctyType is the type that an expression must have.
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

// wanted describes the values of an attribute, for a message.
func wanted(a attribute) string {
	switch a.Type {
	case schema.Bool:
		return "true or false"
	case schema.Integer:
		return "an integer"
	case schema.Number:
		return "a number"
	case schema.ListOfString:
		return `a list of strings, such as ["a", "b"]`
	case schema.MapOfString:
		return `a map of strings, such as { a = "b" }`
	case schema.Size:
		return `a size with its unit, such as "64MiB" or "10MB"`
	case schema.Duration:
		return `a duration with its unit, such as "90s", "12h" or "10d"`
	default:
		return "a string"
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dB", n)
}

// duration writes a duration for people.
func duration(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("\"%dd\"", days)
	}
	return fmt.Sprintf("%q", d)
}

// escapePattern returns a directory as a pattern that names it alone: none of its
// characters has a meaning.
func escapePattern(dir string) string {
	if a, err := filepath.Abs(dir); err == nil {
		dir = a
	}
	var b strings.Builder
	for _, r := range dir {
		if strings.ContainsRune(`*?[]{}\`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
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
