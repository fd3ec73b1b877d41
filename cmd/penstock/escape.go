package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escape makes control characters visible, so that names and bytes from
// outside cannot steer a terminal: ESC becomes \x1b. Newlines and tabs stay.
// JSON stays JSON: encoding/json leaves DEL, C1 controls and marks of direction,
// and these become \u escapes.
func escape(text string) string {
	if strings.IndexFunc(text, steers) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case steers(r) && r < ' ':
			fmt.Fprintf(&b, `\x%02x`, r)
		case steers(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		text = text[n:]
	}
	return b.String()
}

// steers reports whether a terminal would obey a character instead of showing
// it. Marks that change the direction of writing count too.
func steers(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
}

// escaped is a writer that escapes control characters. Everything that commands
// print goes through one, but for their own colours and bars. A character must
// not be split between two calls of Write.
type escaped struct{ io.Writer }

func (w escaped) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, escape(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unescaped returns the writer below an escaped one, for a command's own control
// characters.
func unescaped(w io.Writer) io.Writer {
	if e, ok := w.(escaped); ok {
		return e.Writer
	}
	return w
}
