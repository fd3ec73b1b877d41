package schema

import "strings"

// Bounds finds where JSON values end. It reuses its memory; it is not for
// concurrent use.
type Bounds struct{ scanner scanner }

// Extent describes the beginning of a text.
type Extent int

// The extents.
const (
	Whole  Extent = iota + 1 // a value
	Cut                      // a value of which the end is missing
	Broken                   // not a value
)

// Value scans the value that data begins with, up to MaxRecord bytes. end is
// where a whole value ends, where a cut one may go on, or where a broken one
// breaks. A string may hold bytes that are not UTF-8: they do not change where
// the value ends. A value that is nested too deeply, or too long, is broken.
func (b *Bounds) Value(data []byte) (end int, extent Extent) {
	s := &b.scanner
	s.anyUTF8 = true
	long := len(data) > MaxRecord
	s.reset(data[:min(len(data), MaxRecord)])
	if len(data) == 0 {
		return 0, Cut
	}
	end, ok := s.value(0)
	switch {
	case ok && (end < len(s.data) || data[0] == '{' || data[0] == '[' || data[0] == '"'):
		return end, Whole
	case ok || s.reason == InvalidJSON && s.cut():
		if long {
			return len(s.data), Broken
		}
		return len(data), Cut
	default:
		return s.at, Broken
	}
}

// cut reports whether a failed scan would go on if the data did.
func (s *scanner) cut() bool {
	rest := s.data[min(s.at, len(s.data)):]
	if len(rest) == 0 {
		return true
	}
	if len(rest) >= len(`\u0000`) {
		return false
	}
	for _, word := range [...]string{"true", "false", "null", `\u`} {
		if strings.HasPrefix(word, string(rest)) {
			return true
		}
	}
	// An escape of which digits are missing.
	if len(rest) < 2 || rest[0] != '\\' || rest[1] != 'u' {
		return false
	}
	for _, c := range rest[2:] {
		if c-'0' > 9 && (c|0x20)-'a' > 5 {
			return false
		}
	}
	return true
}
