package setup

import (
	"regexp"
	"strings"
)

// unquoted are words that a POSIX shell takes as they are.
var unquoted = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Word returns a word of a POSIX shell command, in single quotes if it needs
// them.
func Word(s string) string {
	if unquoted.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Line returns a command of several words on one line, without a newline.
func Line(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Word(word)
	}
	return strings.Join(quoted, " ")
}

// Command returns a command of several words on one or more lines, each
// continued after about 100 characters.
//
//	Command("mkdir", "-p", "/a b") is mkdir -p '/a b'
func Command(words ...string) string {
	const width = 100
	var b strings.Builder
	column := 0
	for i, word := range words {
		word = Word(word)
		switch {
		case i > 0 && column+1+len(word) > width:
			b.WriteString(" \\\n    ")
			column = 4
		case i > 0:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		if at := strings.LastIndexByte(word, '\n'); at >= 0 {
			column = len(word) - at - 1
		} else {
			column += len(word)
		}
	}
	return b.String() + "\n"
}
