package schema

import (
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
)

// sent holds known properties of an event, as sent.
type sent struct {
	time, distinct, insert, device, user []byte
	identified, address, ignore          []byte
	city, region, country                bool
	removed                              int
}

// edit changes a member of properties while they are rendered.
type edit struct {
	member int
	before int // members before it, among all
	remove bool
	key    int // where its name is cut, or 0
	value  int // where its string is cut, or 0
}

// look notes the members of properties that are needed, and those that change.
func (c *Collector) look() *Refused {
	c.sent, c.edits = sent{}, c.edits[:0]
	s := &c.scanner
	if !c.sparse {
		if c.members = len(s.inner); c.members > 0 {
			c.lastEnd = s.inner[c.members-1].value.to
		}
	}
	passed := 0 // members of a sparse record before the last that was removed
	for i := range s.inner {
		m := &s.inner[i]
		value := s.data[m.value.from:m.value.to]
		if c.known(m, value) {
			before := i
			if c.sparse {
				passed = c.before(m.key.from, passed)
				before = passed
			}
			c.edits = append(c.edits, edit{member: i, before: before, remove: true})
			c.sent.removed++
			continue
		}
		e := edit{member: i, before: i}
		if m.key.to-m.key.from > maxText+2 {
			e.key = cut(s.data, m.key)
		}
		switch value[0] {
		case '"':
			if len(value) > maxText+2 && !c.isID(value) {
				e.value = cut(s.data, m.value)
			}
		case '{', '[':
			if r := c.measure(m, value); r != nil {
				return r
			}
		}
		if e.key != 0 || e.value != 0 {
			c.edits = append(c.edits, e)
			if e.key != 0 {
				// The name may now be that of another.
				s.flags |= batch.DuplicateKey
			}
		}
	}
	if n := c.members - c.sent.removed; n > maxMembers {
		return refuse(TooManyProperties, "properties", "'properties' is invalid: must have fewer than %d properties, and has %d", maxMembers+1, n)
	}
	return nil
}

// isID reports whether value is that of an id, which is never cut: two might
// become one.
func (c *Collector) isID(value []byte) bool {
	for _, id := range [...][]byte{c.sent.distinct, c.sent.insert, c.sent.device, c.sent.user} {
		if len(id) != 0 && &id[0] == &value[0] {
			return true
		}
	}
	return false
}

// known notes a known member, and reports whether it is removed: the token, the
// address, and properties that the server adds itself.
func (c *Collector) known(m *member, value []byte) (remove bool) {
	s := &c.scanner
	name := s.data[m.key.from+1 : m.key.to-1]
	if m.escaped {
		s.scratch[0] = unescape(s.scratch[0][:0], name)
		name = s.scratch[0]
	}
	switch string(name) {
	case "token", "$import", "$mp_api_endpoint", "$mp_api_timestamp_ms", "$mp_event_size", "mp_processing_time_ms":
		return true
	case "ip":
		c.sent.address = value
		return true
	case "time":
		c.sent.time = value
	case "distinct_id":
		c.sent.distinct = value
	case "$insert_id":
		c.sent.insert = value
	case "$device_id":
		c.sent.device = value
	case "$user_id":
		c.sent.user = value
	case "$identified_id":
		c.sent.identified = value
	case "$ignore":
		c.sent.ignore = value
	case "$city":
		c.sent.city = true
	case "$region":
		c.sent.region = true
	case "mp_country_code":
		c.sent.country = true
	}
	return false
}

// cut is where a string of more than maxText characters is cut, or 0. An
// escape, or a pair of them for one character, stays whole.
func cut(data []byte, text span) int {
	i := text.from + 1
	for n := 0; i < text.to-1; n++ {
		if n == maxText {
			return i
		}
		switch c := data[i]; {
		case c >= utf8.RuneSelf:
			_, size := utf8.DecodeRune(data[i:])
			i += size
		case c != '\\':
			i++
		case data[i+1] != 'u':
			i += 2
		default:
			r, _ := hex4(data, i+2)
			i += 6
			if r>>10 == 0xd800>>10 && i+6 <= text.to && data[i] == '\\' && data[i+1] == 'u' {
				if low, ok := hex4(data, i+2); ok && low>>10 == 0xdc00>>10 {
					i += 6
				}
			}
		}
	}
	return 0
}

// composite is an open object or array and how many commas it has had.
type composite struct {
	commas int
	object bool
}

// measure checks the limits of an object or array.
func (c *Collector) measure(m *member, value []byte) *Refused {
	refuse := func(reason Reason, format string, limit int) *Refused {
		field := "properties." + string(c.scanner.data[m.key.from+1:m.key.to-1])
		return refuse(reason, field, "'%s' is invalid: "+format, field, limit)
	}
	if len(value) > maxComposite {
		return refuse(PropertyTooLong, "an object or array must have at most %d bytes", maxComposite)
	}
	// All of it is valid JSON.
	open, objects := c.open[:0], 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			for i++; value[i] != '"'; i++ {
				if value[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			open = append(open, composite{object: value[i] == '{'})
			c.open = open
			if value[i] == '{' {
				if objects++; objects > maxObjectDepth {
					return refuse(TooDeep, "objects must not be nested more than %d deep", maxObjectDepth)
				}
			}
		case '}', ']':
			if open[len(open)-1].object {
				objects--
			}
			open = open[:len(open)-1]
		case ',':
			o := &open[len(open)-1]
			if o.commas++; o.commas < maxMembers {
				continue
			}
			if o.object {
				return refuse(TooManyProperties, "an object must have fewer than %d members", maxMembers+1)
			}
			return refuse(TooManyElements, "an array must have fewer than %d elements", maxElements+1)
		}
	}
	return nil
}
