package schema

// Text returns the text of a member's value, which is a string or a number; "" for
// anything else.
func (c *Collector) Text(value []byte) string {
	text, ok := inside(value)
	if !ok {
		return ""
	}
	return string(unescape(nil, text))
}

// ID returns the id in a member's value. It is "" when the id is missing, empty, or
// one that clients send by mistake.
func (c *Collector) ID(value []byte) string { return string(unescape(nil, c.idOf(value))) }

// Milliseconds is the instant that a member's value stands for, a number of
// seconds or, when it is too large for that, of milliseconds; in milliseconds
// since 1970.
func (c *Collector) Milliseconds(value []byte) (int64, bool) {
	if inner, ok := inside(value); ok {
		value = inner
	}
	seconds, ok := readTime(value)
	return seconds * 1000, ok
}

// True reports whether a member's value means yes: true, a number other than 0, or
// a text that is neither empty nor one of these spelt out otherwise.
func True(value []byte) bool {
	switch string(value) {
	case "", "null", "false", "0", `""`, `"0"`, `"false"`:
		return false
	}
	return true
}
