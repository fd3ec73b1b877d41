package export

import (
	"errors"
	"unicode/utf8"
)

// The log lines that a failed attempt keeps: how many, and the bytes of each.
const (
	loggedLines = 20
	loggedBytes = 512
)

// logged is a session, or an error, that has the last log lines of a plugin, oldest
// first. They hold no values of sensitive attributes. The plugin may have written some
// of them for other pipelines of its destination.
type logged interface{ LastLog() []string }

// loggedError is an error with the last log lines of the plugin.
type loggedError struct {
	error
	lines []string
}

func (e *loggedError) Unwrap() error     { return e.error }
func (e *loggedError) LastLog() []string { return e.lines }

// withLog adds the last log lines of a session's plugin to an error. It is called after
// the session was aborted: the lines from before the error have arrived then.
func withLog(err error, session Session) error {
	if l, ok := session.(logged); ok {
		return &loggedError{err, l.LastLog()}
	}
	return err
}

// lastLog returns the log lines that an error has, as many as are kept.
func lastLog(err error) []string {
	var l logged
	if !errors.As(err, &l) {
		return nil
	}
	all := l.LastLog()
	lines := make([]string, 0, loggedLines)
	for _, line := range all[max(0, len(all)-loggedLines):] {
		lines = append(lines, cut(line))
	}
	return lines
}

// cut returns a line that is short enough.
func cut(line string) string {
	if len(line) <= loggedBytes {
		return line
	}
	end := loggedBytes
	for end > loggedBytes-utf8.UTFMax && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + "…"
}
