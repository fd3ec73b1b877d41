package googlesql

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is the kind of a token.
type Kind int

// The kinds of tokens.
const (
	End    Kind = iota
	Ident       // a name without quotes, or a keyword
	Quoted      // a name in backquotes
	String
	Bytes
	Int
	Float
	Param  // @name
	SysVar // @@name
	Symbol
)

// Token is one token of a script.
type Token struct {
	Kind Kind
	// Text is the name, the value of a literal, or the symbol.
	Text       string
	Start, End int // bytes in the script
}

// Error is a refusal of a script, with the position that it is about.
type Error struct {
	Message string
	// Reason is BigQuery's; empty: invalidQuery.
	Reason string
	// Position is the byte in the script; -1: unknown.
	Position int
}

func (e *Error) Error() string { return e.Message }

func errorAt(position int, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Position: position}
}

// Locate returns the line and column, from 1, of a byte of a script.
func Locate(script string, position int) (line, column int) {
	position = min(max(position, 0), len(script))
	before := script[:position]
	line = strings.Count(before, "\n") + 1
	return line, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

// symbols of two bytes.
var symbols = []string{"<=", ">=", "<>", "!=", "||", "<<", ">>", "=>"}

// Lex returns the tokens of a script, the last of which is End.
func Lex(text string) ([]Token, error) {
	l := lexer{text: text}
	for {
		if err := l.blank(); err != nil {
			return nil, err
		}
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		l.tokens = append(l.tokens, t)
		if t.Kind == End {
			return l.tokens, nil
		}
	}
}

type lexer struct {
	text   string
	at     int
	tokens []Token
}

// blank skips blanks and comments.
func (l *lexer) blank() error {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		switch {
		case strings.ContainsRune(" \t\r\n\f", rune(rest[0])):
			l.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "--"):
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				l.at += end
			} else {
				l.at = len(l.text)
			}
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				return errorAt(l.at, "Syntax error: Unclosed comment")
			}
			l.at += end + 2
		default:
			return nil
		}
	}
	return nil
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func (l *lexer) word(from int) string {
	end := from
	for end < len(l.text) && (isLetter(l.text[end]) || isDigit(l.text[end])) {
		end++
	}
	return l.text[from:end]
}

func (l *lexer) next() (Token, error) {
	start := l.at
	if start == len(l.text) {
		return Token{Kind: End, Start: start, End: start}, nil
	}
	c := l.text[start]
	switch {
	case c == '\'' || c == '"':
		return l.quoted(start, false, String)
	case c == '`':
		end := strings.IndexByte(l.text[start+1:], '`')
		if end < 0 {
			return Token{}, errorAt(start, "Syntax error: Unclosed identifier literal")
		}
		return l.take(Quoted, l.text[start+1:start+1+end], start+end+2), nil
	case isLetter(c):
		word := l.word(start)
		after := start + len(word)
		if after < len(l.text) && (l.text[after] == '\'' || l.text[after] == '"') {
			switch strings.ToLower(word) {
			case "r":
				l.at = after
				return l.quoted(start, true, String)
			case "b":
				l.at = after
				return l.quoted(start, false, Bytes)
			case "rb", "br":
				l.at = after
				return l.quoted(start, true, Bytes)
			}
		}
		return l.take(Ident, word, after), nil
	case isDigit(c) || c == '.' && start+1 < len(l.text) && isDigit(l.text[start+1]) && !l.afterPath():
		return l.number(start)
	case strings.HasPrefix(l.text[start:], "@@"):
		word := l.word(start + 2)
		end := start + 2 + len(word)
		for end < len(l.text) && l.text[end] == '.' {
			more := l.word(end + 1)
			word, end = word+"."+more, end+1+len(more)
		}
		return l.take(SysVar, strings.ToLower(word), end), nil
	case c == '@':
		word := l.word(start + 1)
		return l.take(Param, word, start+1+len(word)), nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(l.text[start:], s) {
			return l.take(Symbol, s, start+len(s)), nil
		}
	}
	if !strings.ContainsRune("()[]{},;.*+-/=<>?:|&^~%$!", rune(c)) {
		r, _ := utf8.DecodeRuneInString(l.text[start:])
		return Token{}, errorAt(start, "Syntax error: Illegal input character %q", string(r))
	}
	return l.take(Symbol, string(c), start+1), nil
}

// afterPath reports whether a point continues a path.
func (l *lexer) afterPath() bool {
	if len(l.tokens) == 0 {
		return false
	}
	t := l.tokens[len(l.tokens)-1]
	return t.End == l.at && (t.Kind == Ident || t.Kind == Quoted || t.Text == ")" || t.Text == "]")
}

func (l *lexer) take(kind Kind, text string, end int) Token {
	t := Token{Kind: kind, Text: text, Start: l.at, End: end}
	l.at = end
	return t
}

func (l *lexer) number(start int) (Token, error) {
	end, kind := start, Int
	if hex := l.word(start); len(hex) > 2 && strings.EqualFold(hex[:2], "0x") {
		return l.take(Int, hex, start+len(hex)), nil
	}
	for end < len(l.text) {
		c := l.text[end]
		switch {
		case isDigit(c):
		case c == '.':
			kind = Float
		case c|0x20 == 'e' && end+1 < len(l.text) && (isDigit(l.text[end+1]) || strings.ContainsRune("+-", rune(l.text[end+1]))):
			kind = Float
			end++
		case isLetter(c):
			return Token{}, errorAt(end, "Syntax error: Missing whitespace between literal and alias")
		default:
			return l.take(kind, l.text[start:end], end), nil
		}
		end++
	}
	return l.take(kind, l.text[start:end], end), nil
}

// quoted reads a literal in quotes, of which there may be three.
func (l *lexer) quoted(start int, raw bool, kind Kind) (Token, error) {
	quote := l.text[l.at : l.at+1]
	if strings.HasPrefix(l.text[l.at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	var value strings.Builder
	at := l.at + len(quote)
	for {
		rest := l.text[at:]
		switch {
		case rest == "" || len(quote) == 1 && rest[0] == '\n':
			return Token{}, errorAt(start, "Syntax error: Unclosed string literal")
		case strings.HasPrefix(rest, quote):
			l.at = at + len(quote)
			return Token{Kind: kind, Text: value.String(), Start: start, End: l.at}, nil
		case rest[0] == '\\' && len(rest) > 1 && raw:
			value.WriteString(rest[:2])
			at += 2
		case rest[0] == '\\' && len(rest) > 1:
			text, n, ok := escape(rest[1:])
			if !ok {
				return Token{}, errorAt(start, "Syntax error: Illegal escape sequence: \\%c", rest[1])
			}
			value.WriteString(text)
			at += 1 + n
		default:
			value.WriteByte(rest[0])
			at++
		}
	}
}

// escape decodes an escape sequence without its backslash, and returns its length.
func escape(s string) (text string, n int, ok bool) {
	if at := strings.IndexByte("abfnrtv\\?\"'`", s[0]); at >= 0 {
		return "\a\b\f\n\r\t\v\\?\"'`"[at : at+1], 1, true
	}
	digits := map[byte]int{'x': 2, 'X': 2, 'u': 4, 'U': 8}[s[0]]
	switch {
	case digits > 0 && len(s) > digits:
		code, err := strconv.ParseUint(s[1:1+digits], 16, 32)
		if err != nil || digits > 2 && !utf8.ValidRune(rune(code)) {
			return "", 0, false
		}
		if digits == 2 {
			b, _ := hex.DecodeString(s[1:3])
			return string(b), 3, true
		}
		return string(rune(code)), 1 + digits, true
	case s[0] >= '0' && s[0] <= '3' && len(s) >= 3:
		code, err := strconv.ParseUint(s[:3], 8, 8)
		return string([]byte{byte(code)}), 3, err == nil
	}
	return "", 0, false
}
