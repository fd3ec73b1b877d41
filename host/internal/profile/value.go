package profile

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// appendMeaning appends a text that is the same for two compact JSON values
// when they mean the same: strings that stand for the same, numbers of the same
// value, lists of the same elements, objects of the same members in whatever
// order, where the last of several with one name counts. Numbers with an
// exponent of more than 15 digits, and values nested deeper than comparedDepth,
// are compared as they are written.
func appendMeaning(dst, value []byte) []byte { return appendNested(dst, value, comparedDepth) }

// comparedDepth bounds how often a value is looked at: once for each level.
const comparedDepth = 64

func appendNested(dst, value []byte, depth int) []byte {
	if depth == 0 {
		return append(dst, value...)
	}
	switch value[0] {
	case '"':
		return appendText(dst, value)
	case '{':
		return appendObject(dst, value, depth)
	case '[':
		dst = append(dst, '[')
		schema.Elements(value, func(element []byte) bool {
			dst = append(appendNested(dst, element, depth-1), ',')
			return true
		})
		return append(dst, ']')
	case 't', 'f', 'n':
		return append(dst, value...)
	default:
		return appendNumber(dst, value)
	}
}

func appendText(dst, value []byte) []byte {
	if bytes.IndexByte(value, '\\') < 0 {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	dst = schema.AppendEscaped(dst, schema.Unescape(value[1:len(value)-1]))
	return append(dst, '"')
}

func appendNumber(dst, value []byte) []byte {
	d, ok := splitNumber(value)
	if !ok {
		return append(dst, value...)
	}
	if d.negative {
		dst = append(dst, '-')
	}
	dst = append(append(dst, d.digits...), 'e')
	return strconv.AppendInt(dst, int64(d.exponent), 10)
}

func appendObject(dst, value []byte, depth int) []byte {
	type member struct{ name, value []byte }
	var members []member
	schema.Members(value, func(name, value []byte) bool {
		members = append(members, member{plainName(name), value})
		return true
	})
	slices.SortStableFunc(members, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, m := range members {
		if i+1 < len(members) && bytes.Equal(m.name, members[i+1].name) {
			continue
		}
		dst = append(append(append(dst, '"'), m.name...), `":`...)
		dst = append(appendNested(dst, m.value, depth-1), ',')
	}
	return append(dst, '}')
}

// plainName is a member's name in the one spelling that rows have. It may be a
// part of name.
func plainName(name []byte) []byte {
	if bytes.IndexByte(name, '\\') < 0 {
		return name
	}
	return schema.AppendEscaped(nil, schema.Unescape(name))
}
