package config

import (
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

// Diagnostic is what a plugin found wrong in its configuration, at its place.
// attribute is "" for the whole block. The values of sensitive attributes are
// taken out of the texts.
func (d *Destination) Diagnostic(severity hcl.DiagnosticSeverity, attribute, summary, detail string) *hcl.Diagnostic {
	at := d.AttributeRange(attribute)
	if _, ok := d.attributes[attribute]; !ok && attribute != "" {
		detail = strings.TrimSpace(fmt.Sprintf("%s (Attribute %q.)", detail, attribute))
	}
	return &hcl.Diagnostic{
		Severity: severity, Summary: d.hide(summary), Detail: d.hide(detail), Subject: &at, Context: d.Range.Ptr(),
	}
}

func (d *Destination) hide(text string) string {
	for _, s := range d.secrets {
		text = strings.ReplaceAll(text, s, hiddenText)
	}
	return text
}

// hideLiterals notes what is written out in a sensitive attribute, or in the
// locals that it is made of.
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

// secretName finds what looks like an attribute that holds a secret, up to
// where its value begins. It works on text: there may be no tree, or no schema
// to say what is sensitive.
var secretName = regexp.MustCompile(`(?i)[\w-]*(?:secret|passw|passphrase|token|private_key|account_key|api_?key|credential)[\w-]*"?[ \t]*[=:][ \t]*`)

// reference is a call that names a secret and is none.
var reference = regexp.MustCompile(`^(?:env|file)\([ \t]*"[^"\n]*"[ \t]*\)`)

// mask returns a file's text with the given ranges, and what looks like a
// secret, replaced by stars. Length and lines stay.
func mask(file string, text []byte, hidden []hcl.Range) []byte {
	masked := append([]byte(nil), text...)
	for _, r := range hidden {
		if r.Filename == file && r.CanSliceBytes(masked) {
			stars(r.SliceBytes(masked))
		}
	}
	for _, m := range secretName.FindAllIndex(masked, -1) {
		maskValue(masked[m[1]:])
	}
	return masked
}

// maskValue masks the strings of the value that text begins with, to the
// line's end, or to that of a heredoc.
func maskValue(text []byte) {
	line := len(text)
	for i, c := range text {
		if c == '\n' {
			line = i
			break
		}
	}
	if marker, ok := strings.CutPrefix(string(text[:line]), "<<"); ok {
		marker = strings.TrimSpace(strings.TrimPrefix(marker, "-"))
		stars(text[line:heredocEnd(text, line, marker)])
		return
	}
	for i := 0; i < line; i++ {
		if n := len(reference.Find(text[i:line])); n > 0 {
			i += n - 1
			continue
		}
		if text[i] != '"' {
			continue
		}
		end := i + 1
		for end < line && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, line)
		stars(text[i+1 : end])
		i = end
	}
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
