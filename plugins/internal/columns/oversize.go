package columns

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// DroppedKey is the property that names the properties that were dropped from a
// row.
const DroppedKey = "$penstock_dropped"

// Limit is the longest string that a destination can hold, and the treatment of
// longer ones.
type Limit struct {
	Bytes int // of one string in UTF-8; 0: no limit
	// Truncate fits a row: whole properties are dropped, the largest first, and
	// named in DroppedKey; the name of an event is cut after a whole rune. Without
	// it a row with a longer string is rejected. An id is never cut, since a part of
	// it would be the id of another user.
	Truncate bool
}

// The reasons for changed rows.
const (
	PropertiesDropped = "properties dropped to fit"
	NameCut           = "name cut to fit"
)

// fit changes a row so that all of its strings fit. rejected is not empty for a
// row that cannot be stored, changed is the reason of a change.
func (l Limit) fit(columns []Column, row *Row) (changed, rejected string) {
	if l.Bytes == 0 {
		return "", ""
	}
	for i := range row.Values {
		v := &row.Values[i]
		if len(v.Text) <= l.Bytes {
			continue
		}
		refused := fmt.Sprintf("%s has %d bytes, at most %d fit", columns[i].Name, len(v.Text), l.Bytes)
		switch kind := columns[i].Kind; {
		case !l.Truncate || kind == ID:
			return "", refused
		case kind == Name:
			v.Text, changed = cutRunes(v.Text, l.Bytes), NameCut
		default:
			text, ok := dropProperties(v.Text, l.Bytes)
			if !ok {
				return "", refused
			}
			v.Text, changed = text, PropertiesDropped
		}
	}
	return changed, ""
}

// member is a property of an object: text[from:to] without comma.
type member struct {
	from, to int
	key      []byte // with quotes, as it is written
	dropped  bool
}

// dropProperties drops properties, the largest first, until the object with the
// list of their names has at most limit bytes:
//
//	{"a":"0123456789","b":1,"c":"01234"}      limit 45
//	{"b":1,"c":"01234","$penstock_dropped":["a"]}
//
// Of two properties of equal size the later one is dropped first. ok is false if
// the names alone are too long, or the text is not an object.
func dropProperties(text []byte, limit int) (out []byte, ok bool) {
	members, ok := membersOf(text)
	if !ok {
		return nil, false
	}
	size := len(`{}`) // of the result
	var bySize []*member
	for i := range members {
		m := &members[i]
		if string(m.key) == `"`+DroppedKey+`"` {
			m.dropped, m.key = true, nil // of an earlier export: replaced
			continue
		}
		size += m.to - m.from + len(`,`)
		bySize = append(bySize, m)
	}
	slices.SortStableFunc(bySize, func(a, b *member) int {
		return cmp.Or(cmp.Compare(b.to-b.from, a.to-a.from), cmp.Compare(b.from, a.from))
	})
	size += len(`"` + DroppedKey + `":[]`)
	listed := false
	for _, m := range bySize {
		if size <= limit {
			break
		}
		m.dropped = true
		size += len(m.key) - (m.to - m.from)
		if !listed {
			size-- // the first name has no comma
		}
		listed = true
	}
	if size > limit {
		return nil, false
	}
	return renderDropped(text, members, size), true
}

// renderDropped renders the kept members and the list of the dropped ones.
func renderDropped(text []byte, members []member, size int) []byte {
	out := append(make([]byte, 0, size), '{')
	for _, m := range members {
		if !m.dropped {
			out = append(append(out, text[m.from:m.to]...), ',')
		}
	}
	out = append(out, `"`+DroppedKey+`":[`...)
	comma := false
	for _, m := range members {
		if !m.dropped || m.key == nil {
			continue
		}
		if comma {
			out = append(out, ',')
		}
		out, comma = append(out, m.key...), true
	}
	return append(out, ']', '}')
}

// membersOf finds the members of an object.
func membersOf(text []byte) (members []member, ok bool) {
	end := len(text) - 1
	if end < 1 || text[0] != '{' || text[end] != '}' {
		return nil, false
	}
	i := skipSpace(text, 1)
	if i == end {
		return nil, true
	}
	for {
		m := member{from: i}
		n := tokenEnd(text[i:])
		if n == 0 || text[i] != '"' {
			return nil, false
		}
		m.key = text[i : i+n]
		if i = skipSpace(text, i+n); i >= end || text[i] != ':' {
			return nil, false
		}
		if i = valueEnd(text, i+1); i > end {
			return nil, false
		}
		m.to = i
		for m.to > m.from && isSpace(text[m.to-1]) {
			m.to--
		}
		members = append(members, m)
		if i == end {
			return members, true
		}
		if text[i] != ',' {
			return nil, false
		}
		i = skipSpace(text, i+1)
	}
}

// valueEnd returns the index of the comma or bracket after the value at i; len(text)
// if there is none.
func valueEnd(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			n := tokenEnd(text[i:])
			if n == 0 {
				return len(text)
			}
			i += n
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

func isSpace(c byte) bool { return bytes.IndexByte([]byte(" \t\r\n"), c) >= 0 }

func skipSpace(text []byte, i int) int {
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	return i
}
