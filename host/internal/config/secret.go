package config

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// hiddenText stands where a secret would.
const hiddenText = "(hidden)"

// Constants is a destination's configuration as JSON. It may hold secrets and
// does not print.
type Constants []byte

// Format prints that something is hidden, whatever the verb.
func (Constants) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hiddenText) }

// MarshalJSON hides the constants: they go to the plugin as they are, and
// nowhere else.
func (Constants) MarshalJSON() ([]byte, error) { return json.Marshal(hiddenText) }

// Diagnostic is a mistake that a plugin found in its configuration, at its place.
// attribute is "" for the whole block. The values of sensitive attributes are
// taken out of the texts.
func (d *Destination) Diagnostic(severity hcl.DiagnosticSeverity, attribute, summary, detail string) *hcl.Diagnostic {
	at := d.AttributeRange(attribute)
	if _, ok := d.attributes[attribute]; !ok && attribute != "" {
		detail = strings.TrimSpace(fmt.Sprintf("%s (Attribute %q.)", detail, attribute))
	}
	if d.hide != nil {
		summary, detail = d.hide(summary), d.hide(detail)
	}
	return &hcl.Diagnostic{Severity: severity, Summary: summary, Detail: detail, Subject: &at, Context: d.Range.Ptr()}
}

// hideLiterals notes the literals in a sensitive attribute, and in the locals
// that it is made of.
func (l *loader) hideLiterals(expr hclsyntax.Expression) {
	w := literals{}
	_ = hclsyntax.Walk(expr, &w)
	l.hidden = append(l.hidden, w.found...)
	for _, t := range expr.Variables() {
		// A local that has a value is in no circle.
		if x := l.locals[step(t, 1)]; t.RootName() == "local" && x != nil && x.done {
			l.hideLiterals(x.Expr)
		}
	}
}

// literals walks over an expression and collects literals but for the
// arguments of env and file.
type literals struct {
	inside int
	found  []hcl.Range
}

func namesSecret(n hclsyntax.Node) bool {
	call, ok := n.(*hclsyntax.FunctionCallExpr)
	return ok && (call.Name == "env" || call.Name == "file")
}

// Enter is called before a node's children.
func (w *literals) Enter(n hclsyntax.Node) hcl.Diagnostics {
	if namesSecret(n) {
		w.inside++
	}
	if literal, ok := n.(*hclsyntax.LiteralValueExpr); ok && w.inside == 0 {
		w.found = append(w.found, literal.SrcRange)
	}
	return nil
}

// Exit is called behind a node's children.
func (w *literals) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if namesSecret(n) {
		w.inside--
	}
	return nil
}

// hideByName notes the literals in attributes, and in elements of objects, that
// have the name of a secret: there may be no schema that marks them as sensitive.
// A project's token is public.
func (l *loader) hideByName(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		for _, a := range sortedAttributes(b.Body) {
			if secretName.MatchString(a.Name) && (b.Type != "project" || a.Name != "token") {
				l.hideLiterals(a.Expr)
			}
			_ = hclsyntax.VisitAll(a.Expr, l.hideElements)
		}
		l.hideByName(b.Body)
	}
}

func (l *loader) hideElements(n hclsyntax.Node) hcl.Diagnostics {
	object, ok := n.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil
	}
	for _, item := range object.Items {
		if secretName.MatchString(l.sourceText(item.KeyExpr.Range())) {
			l.hideLiterals(item.ValueExpr)
		}
	}
	return nil
}

const secretWords = `[\w-]*(?:secret|passw|passphrase|token|private_key|account_key|api_?key|credential)[\w-]*`

// secretName matches the names of attributes that hold secrets.
var secretName = regexp.MustCompile("(?i)" + secretWords)

// secretValues finds where the values of secrets begin, in a text of which
// there is no tree.
func secretValues(names []string) *regexp.Regexp {
	return regexp.MustCompile("(?i)(?:" + strings.Join(append(names, secretWords), "|") + `)"?[ \t]*[=:][ \t]*`)
}

var destinationHead = regexp.MustCompile(`destination[ \t]+"?([a-z][a-z0-9_]*)`)

// sensitiveNames are the sensitive attributes of the host's blocks, and of the
// destinations that a text speaks of.
func (l *loader) sensitiveNames(ctx context.Context, text []byte) []string {
	var found []string
	for _, a := range hostBlock.attributes {
		if a.Sensitive {
			found = append(found, regexp.QuoteMeta(a.Name))
		}
	}
	for _, m := range destinationHead.FindAllSubmatch(text, -1) {
		// Without a schema there is the way that secrets are called.
		s, err := l.options.Schema(ctx, l.config.Host.PluginDir, string(m[1]))
		for _, a := range s.Attributes {
			if err == nil && a.Sensitive {
				found = append(found, regexp.QuoteMeta(a.Name))
			}
		}
	}
	return found
}

// reference matches a value that names a secret without holding it.
var reference = regexp.MustCompile(`^(?:env|file)\([ \t]*"[^"\n]*"[ \t]*\)[ \t\r]*(?:[#}\n]|$)`)

// mask returns a file's text with the given ranges replaced by stars, and, in a
// broken file, the values that begin where values matches. Length and lines
// stay.
func mask(file string, text []byte, hidden []hcl.Range, values *regexp.Regexp) []byte {
	masked := append([]byte(nil), text...)
	for _, r := range hidden {
		if r.Filename == file && r.CanSliceBytes(masked) {
			stars(r.SliceBytes(masked))
		}
	}
	if values == nil {
		return masked
	}
	for _, m := range values.FindAllIndex(masked, -1) {
		if rest := masked[m[1]:]; !reference.Match(rest) {
			stars(rest[:valueEnd(rest)])
		}
	}
	return masked
}

// valueEnd is where the value that a text begins with ends: with the line, or
// the last line of a heredoc, or that of the closing bracket.
func valueEnd(text []byte) int {
	line, _, _ := strings.Cut(string(text), "\n")
	if marker, ok := strings.CutPrefix(line, "<<"); ok {
		marker, _, _ = strings.Cut(strings.TrimSpace(strings.TrimPrefix(marker, "-")), " ")
		return heredocEnd(text, len(line), marker)
	}
	depth, at := 0, 0
	for l := range strings.SplitAfterSeq(string(text), "\n") {
		at += len(l)
		depth += strings.Count(l, "[") + strings.Count(l, "{") - strings.Count(l, "]") - strings.Count(l, "}")
		if depth <= 0 {
			return at
		}
	}
	return len(text)
}

// heredocEnd is where the line with the marker begins.
func heredocEnd(text []byte, from int, marker string) int {
	at := from
	for l := range strings.SplitAfterSeq(string(text[from:]), "\n") {
		if strings.TrimSpace(l) == marker && marker != "" {
			return at
		}
		at += len(l)
	}
	return len(text)
}

func stars(b []byte) {
	for i, c := range b {
		if c != '\n' && c != '\r' && c != '"' {
			b[i] = '*'
		}
	}
}
