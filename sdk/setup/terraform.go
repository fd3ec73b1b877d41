package setup

import (
	"fmt"
	"regexp"
	"strings"
)

// Block is a block of Terraform's language.
//
//	Block{"resource", []string{"aws_s3_bucket", "lake"}, []any{Field{"bucket", "acme-lake"}}} is
//
//	resource "aws_s3_bucket" "lake" {
//	  bucket = "acme-lake"
//	}
type Block struct {
	Type   string
	Labels []string
	// Body has Fields, which become arguments, and Blocks.
	Body []any
}

// Resource returns the text of a resource block.
func Resource(typ, label string, body ...any) string {
	return Block{"resource", []string{typ, Label(label)}, body}.String()
}

// String returns the block's text, with a newline at the end.
func (b Block) String() string {
	var text strings.Builder
	b.write(&text, "")
	return text.String()
}

func (b Block) write(text *strings.Builder, indent string) {
	text.WriteString(indent + b.Type)
	for _, l := range b.Labels {
		text.WriteString(" " + String(l))
	}
	text.WriteString(" {\n")
	width := 0
	for _, item := range b.Body {
		if f, ok := item.(Field); ok {
			width = max(width, len(f.Key))
		}
	}
	for _, item := range b.Body {
		switch item := item.(type) {
		case Field:
			fmt.Fprintf(text, "%s  %-*s = ", indent, width, item.Key)
			writeExpression(text, item.Value, indent+"  ")
			text.WriteByte('\n')
		case Block:
			item.write(text, indent+"  ")
		}
	}
	text.WriteString(indent + "}\n")
}

// String returns a quoted string of Terraform's language.
func String(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		case (r == '$' || r == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Expression returns a value as an expression of Terraform's language: a string,
// a number, a bool, an Object, a Reference, a Call, or a list of these.
func Expression(v any) string {
	var b strings.Builder
	writeExpression(&b, v, "")
	return b.String()
}

func writeExpression(b *strings.Builder, v any, indent string) {
	switch v := v.(type) {
	case Reference:
		b.WriteString(string(v))
	case Call:
		b.WriteString(v.Function + "(")
		writeExpression(b, v.Argument, indent)
		b.WriteByte(')')
	case string:
		b.WriteString(String(v))
	case []string:
		writeList(b, v, indent)
	case []any:
		writeList(b, v, indent)
	case Object:
		b.WriteString("{\n")
		for _, f := range v {
			fmt.Fprintf(b, "%s  %s = ", indent, key(f.Key))
			writeExpression(b, f.Value, indent+"  ")
			b.WriteByte('\n')
		}
		b.WriteString(indent + "}")
	default:
		fmt.Fprint(b, v)
	}
}

func writeList[T any](b *strings.Builder, list []T, indent string) {
	b.WriteByte('[')
	for i, e := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		writeExpression(b, any(e), indent)
	}
	b.WriteByte(']')
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// key returns the key of an object's element.
func key(s string) string {
	if identifier.MatchString(s) {
		return s
	}
	return String(s)
}

// Call is a call of a function with one argument, such as jsonencode.
type Call struct {
	Function string
	Argument any
}

// Reference is an expression of Terraform's language that is written as it is. It
// must not hold values of a configuration.
type Reference string

var notLabel = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// Label returns the label of a Terraform resource for a name: letters, digits and
// underscores, not beginning with a digit.
func Label(name string) string {
	label := notLabel.ReplaceAllString(name, "_")
	if label == "" || label[0] >= '0' && label[0] <= '9' {
		label = "_" + label
	}
	return label
}
