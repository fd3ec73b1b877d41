package snowsql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind int

const (
	end     kind = iota
	word         // an unquoted identifier or keyword, as written
	quoted       // "an identifier"
	text         // 'a string' or $$a string$$
	number       // digits
	symbol       // an operator or punctuation
	stage        // @stage/path, unquoted
	file         // file:///path, unquoted
	binding      // ?
	special      // $1
)

// token is a piece of a statement. Line and column count from 1 and 0, as Snowflake's
// messages do.
type token struct {
	kind         kind
	text         string // without quotes
	line, column int
	start, end   int // bytes of the source
}

func (t token) is(words ...string) bool {
	if t.kind != word && t.kind != symbol {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

var symbols = []string{"::", "<=", ">=", "<>", "!=", "=>", "||", "(", ")", ",", ".", ";", "+", "-", "*", "/", "%", "<", ">", "=", ":", "[", "]", "{", "}"}

// lex cuts a statement into tokens.
func lex(source string) ([]token, error) {
	l := &lexer{source: source, line: 1}
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == end {
			return tokens, nil
		}
	}
}

type lexer struct {
	source    string
	at        int
	line      int
	lineStart int
}

func (l *lexer) advance(n int) {
	for i := range n {
		if l.source[l.at+i] == '\n' {
			l.line++
			l.lineStart = l.at + i + 1
		}
	}
	l.at += n
}

func (l *lexer) next() (token, error) {
	if err := l.blanks(); err != nil {
		return token{}, err
	}
	t := token{line: l.line, column: l.at - l.lineStart, start: l.at}
	if l.at == len(l.source) {
		t.kind, t.text, t.end = end, "<EOF>", l.at
		return t, nil
	}
	rest := l.source[l.at:]
	n := 0
	switch c := rest[0]; {
	case c == '\'':
		t.kind = text
		var ok bool
		if t.text, n, ok = unquote(rest, '\'', true); !ok {
			return t, l.unterminated(t)
		}
	case c == '"':
		t.kind = quoted
		var ok bool
		if t.text, n, ok = unquote(rest, '"', false); !ok {
			return t, l.unterminated(t)
		}
	case strings.HasPrefix(rest, "$$"):
		body, _, found := strings.Cut(rest[2:], "$$")
		if !found {
			return t, l.unterminated(t)
		}
		t.kind, t.text, n = text, body, len(body)+4
	case c == '$':
		n = 1 + wordLength(rest[1:])
		t.kind, t.text = special, rest[:n]
	case c == '@':
		n = locationLength(rest)
		t.kind, t.text = stage, rest[:n]
	case c == '?':
		t.kind, t.text, n = binding, "?", 1
	case c >= '0' && c <= '9' || c == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		n = numberLength(rest)
		t.kind, t.text = number, rest[:n]
	case len(rest) > 7 && strings.EqualFold(rest[:7], "file://"):
		n = locationLength(rest)
		t.kind, t.text = file, rest[:n]
	default:
		if n = wordLength(rest); n > 0 {
			t.kind, t.text = word, rest[:n]
			break
		}
		for _, s := range symbols {
			if strings.HasPrefix(rest, s) {
				t.kind, t.text, n = symbol, s, len(s)
				break
			}
		}
		if n == 0 {
			_, size := utf8.DecodeRuneInString(rest)
			t.text = rest[:size]
			return t, unexpected(t)
		}
	}
	l.advance(n)
	t.end = l.at
	return t, nil
}

func (l *lexer) unterminated(t token) error {
	return compileError(1003, "42000", "parse error line %d at position %d near '<EOF>'.", t.line, t.column)
}

// blanks skips white space and comments.
func (l *lexer) blanks() error {
	for l.at < len(l.source) {
		rest := l.source[l.at:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(r):
			l.advance(size)
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.advance(n)
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				return l.unterminated(token{line: l.line, column: l.at - l.lineStart})
			}
			l.advance(n + 2)
		default:
			return nil
		}
	}
	return nil
}

func wordLength(s string) int {
	for n, r := range s {
		if !(r == '_' || unicode.IsLetter(r) || n > 0 && (unicode.IsDigit(r) || r == '$')) {
			return n
		}
	}
	return len(s)
}

func numberLength(s string) int {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
		n++
	}
	if n < len(s) && s[n]|0x20 == 'e' {
		e := n + 1
		if e < len(s) && (s[e] == '+' || s[e] == '-') {
			e++
		}
		if e < len(s) && s[e] >= '0' && s[e] <= '9' {
			for n = e; n < len(s) && s[n] >= '0' && s[n] <= '9'; {
				n++
			}
		}
	}
	return n
}

// locationLength measures an unquoted location: up to a blank, comma, semicolon or
// parenthesis outside of double quotes.
func locationLength(s string) int {
	inQuotes := false
	for n := range len(s) {
		switch {
		case s[n] == '"':
			inQuotes = !inQuotes
		case inQuotes:
		case s[n] <= ' ' || strings.IndexByte(",;()'", s[n]) >= 0:
			return n
		}
	}
	return len(s)
}

// unquote reads a quoted token and returns its value and length.
func unquote(s string, quote byte, escapes bool) (value string, length int, ok bool) {
	var b strings.Builder
	for n := 1; n < len(s); n++ {
		switch c := s[n]; {
		case c == quote && n+1 < len(s) && s[n+1] == quote:
			b.WriteByte(quote)
			n++
		case c == quote:
			return b.String(), n + 1, true
		case c == '\\' && escapes && n+1 < len(s):
			n++
			switch s[n] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case 'b':
				b.WriteByte('\b')
			case 'f':
				b.WriteByte('\f')
			case '0':
				b.WriteByte(0)
			default:
				b.WriteByte(s[n])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}
