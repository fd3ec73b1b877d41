package ingest

import (
	"bytes"
	"slices"
)

// resync looks for the end of an element that is torn or too long: the first
// of
//
//   - the bracket that closes it, when only its inside is not JSON,
//   - an object whose first key is the element's own or one that records begin
//     with, unless it is the value of a member,
//   - a line that begins with an object or with an array of objects,
//   - a zero byte.
//
// The end of an element that is not an object is that of its line, or the next
// object behind a comma or bracket.
//
// It keeps its state between windows that continue each other; its owner keeps
// at, the position in the window, in step.
type resync struct {
	at     int
	text   bool   // the element is not an object
	key    []byte // the element's first key; nil: not known
	adrift bool   // where the element's brackets stand is not known

	depth   int
	quoted  bool
	escaped bool
	last    byte // the last byte that is not white space
	newline bool // the byte before at is a newline
}

// recordKeys are keys that records begin with.
var recordKeys = []string{
	"event", "properties", "$distinct_id", "distinct_id", "$token", "token", "$properties", "$time", "$ip", "$ignore_time", "$user_id", "$device_id",
	"$set", "$set_once", "$add", "$append", "$union", "$remove", "$unset", "$delete", "$group_key", "$group_id",
}

// maxKey is how many bytes of a first key, with the white space before it, are
// looked at.
const maxKey = 256

// find moves at to the end of the element, and reports whether it is in the
// window.
func (r *resync) find(window []byte, final bool) bool {
	for first := !r.adrift && r.depth == 0 && !r.text; r.at < len(window); r.at++ {
		c := window[r.at]
		if !first && (c == '{' || c == '[') {
			begins, known := r.begins(window, c)
			if !known && !final {
				return false
			}
			if begins {
				return true
			}
		}
		first = false
		if c == 0 || r.text && c == '\n' {
			return true
		}
		if closed := r.follow(c); closed && !r.adrift && !r.text {
			r.at++
			return true
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			r.last = c
		}
		r.newline = c == '\n' || c == 0
	}
	return false
}

// begins reports whether the bracket c at the position can begin a record; known
// is false if the window ends before that is seen.
func (r *resync) begins(window []byte, c byte) (begins, known bool) {
	rest := bytes.TrimLeft(window[r.at+1:min(len(window), r.at+maxKey)], " \t\r\n")
	whole := r.at+maxKey <= len(window)
	switch {
	case c == '[':
		return r.newline && len(rest) > 0 && rest[0] == '{', len(rest) > 0 || whole || !r.newline
	case r.newline:
		return true, true
	case r.last == ':':
		return false, true
	case len(rest) == 0:
		return false, whole
	case rest[0] != '"':
		return false, true
	case r.text && (r.last == ',' || r.last == '['):
		return true, true
	}
	n := bytes.IndexByte(rest[1:], '"')
	if n < 0 {
		return false, whole
	}
	key := rest[1 : 1+n]
	return bytes.Equal(key, r.key) || slices.Contains(recordKeys, string(key)), true
}

// follow follows strings and brackets, and reports whether c closes the element.
// A newline ends a string: JSON does not allow it there.
func (r *resync) follow(c byte) (closed bool) {
	switch {
	case c == '\n' || c == 0:
		r.quoted, r.escaped = false, false
	case r.escaped:
		r.escaped = false
	case r.quoted:
		r.escaped, r.quoted = c == '\\', c != '"'
	case c == '"':
		r.quoted = true
	case c == '{' || c == '[':
		r.depth++
	case c == '}' || c == ']':
		r.depth--
		return r.depth <= 0
	}
	return false
}

// firstKey returns the first key of an object, as it is written, or nil.
func firstKey(object []byte) []byte {
	rest := bytes.TrimLeft(object[1:min(len(object), maxKey)], " \t\r\n")
	if len(rest) == 0 || rest[0] != '"' {
		return nil
	}
	n := bytes.IndexByte(rest[1:], '"')
	if n <= 0 {
		return nil
	}
	return bytes.Clone(rest[1 : 1+n])
}
