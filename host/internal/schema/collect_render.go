package schema

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// render appends the row.
func (c *Collector) render(dst []byte, a *Arrival, r row) []byte {
	start, o := len(dst), &c.outer
	dst = append(dst, textDevice...)
	dst = appendInside(dst, r.device)
	o.distinct = len(dst) - start
	dst = append(dst, textDistinct...)
	if r.anonymous {
		dst = append(dst, `"$device:`...)
		dst = append(dst, r.distinct...)
		dst = append(dst, '"')
	} else {
		dst = appendInside(dst, r.distinct)
	}
	o.event = len(dst) - start
	dst = append(dst, textEvent...)
	dst = appendInside(dst, r.event)
	o.insert = len(dst) - start
	dst = append(dst, textInsert...)
	dst = appendInside(dst, r.insert)
	o.properties = len(dst) - start
	dst = append(dst, textProperties...)
	dst = c.appendProperties(dst, a, r)
	c.places.from(start)
	o.time = len(dst) - start
	dst = append(dst, textTime...)
	dst = strconv.AppendInt(dst, r.time, 10)
	o.user = len(dst) - start
	dst = append(dst, textUser...)
	dst = appendInside(dst, r.user)
	dst = append(dst, '}')
	if c.scanner.lines {
		for i := start; i < len(dst); i++ {
			if dst[i] == '\n' || dst[i] == '\r' {
				dst[i] = ' '
			}
		}
	}
	return append(dst, '\n')
}

// appendInside appends the string with that inside, or null.
func appendInside(dst, inside []byte) []byte {
	if inside == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = append(dst, inside...)
	return append(dst, '"')
}

// appendProperties appends the properties as they were sent, but for edits, and
// those that the server adds.
func (c *Collector) appendProperties(dst []byte, a *Arrival, r row) []byte {
	s := &c.scanner
	from, end, removed := s.properties.from, s.properties.from+1, 0
	if c.members > 0 {
		end = c.lastEnd
	}
	for _, e := range c.edits {
		m := &s.inner[e.member]
		if e.remove {
			if e.before > removed {
				// The comma after the previous member stays for the next one.
				dst = append(dst, s.data[from:m.previous]...)
				from = m.value.to
			} else {
				if removed == 0 {
					dst = append(dst, s.data[from:m.key.from]...)
				}
				from = m.value.to
				if m.next != 0 {
					from = s.space(m.next)
				}
			}
			removed++
			continue
		}
		if e.key != 0 {
			dst = append(append(dst, s.data[from:e.key]...), '"')
			from = m.key.to
		}
		if e.value != 0 {
			dst = append(append(dst, s.data[from:e.value]...), '"')
			from = m.value.to
		}
	}
	if from < end {
		dst = append(dst, s.data[from:end]...)
	}
	c.places.first = len(dst)
	dst = c.appendAdded(dst, a, r)
	if c.members == removed {
		dst[c.places.first] = ' ' // instead of the comma
	}
	return append(dst, s.data[end:s.properties.to]...)
}

// appendAdded appends the properties that the server adds, each with a comma
// before it.
func (c *Collector) appendAdded(dst []byte, a *Arrival, r row) []byte {
	if r.addInsert {
		dst = append(dst, `,"$insert_id":`...)
		dst = appendInside(dst, r.insert)
	}
	if r.addDevice {
		dst = append(dst, `,"$device_id":`...)
		dst = appendInside(dst, r.device)
	}
	if r.addUser {
		dst = append(dst, `,"$user_id":`...)
		dst = appendInside(dst, r.user)
	}
	if a.Geo != nil {
		dst = c.appendPlace(dst, a)
	}
	c.places.shared = len(dst)
	dst = append(dst, c.added.before(a)...)
	c.places.size = len(dst) - len(textSize)
	dst = strconv.AppendInt(dst, int64(c.scanner.body.to-c.scanner.body.from), 10)
	c.places.processed = len(dst)
	return append(dst, c.added.after...)
}

// added holds properties that all events of a request get, rendered.
type added struct {
	endpoint            string
	received, processed int64 // ms
	isImport            bool
	text                []byte // before the size of the event
	after               []byte // behind it
	name                int    // bytes of text before its last value but the size
}

// before returns the text before the size of an event, and renders both texts unless they
// are those of the arrival.
func (t *added) before(a *Arrival) []byte {
	received, processed := a.Received.UnixMilli(), a.Processed.UnixMilli()
	if len(t.text) > 0 && t.received == received && t.processed == processed && t.isImport == a.Import && t.endpoint == a.Endpoint {
		return t.text
	}
	t.endpoint, t.received, t.processed, t.isImport = a.Endpoint, received, processed, a.Import
	text := t.text[:0]
	if a.Import {
		text = append(text, `,"$import":true`...)
	}
	text = appendQuoted(append(text, `,"$mp_api_endpoint":`...), a.Endpoint)
	text = append(text, `,"$mp_api_timestamp_ms":`...)
	t.name = len(text)
	t.text = append(strconv.AppendInt(text, received, 10), textSize...)
	t.after = strconv.AppendInt(append(t.after[:0], textProcessed...), processed, 10)
	return t.text
}

// appendPlace appends where the event comes from, as far as the client does
// not say it.
func (c *Collector) appendPlace(dst []byte, a *Arrival) []byte {
	place := a.Place
	if len(c.sent.address) != 0 {
		place = Place{}
		c.text, _ = appendValueText(c.text[:0], c.sent.address)
		if address, err := netip.ParseAddr(string(c.text[:min(len(c.text), 64)])); err == nil {
			place, _ = a.Geo.Locate(address.Unmap())
		}
	}
	for _, p := range [...]struct {
		name, value string
		sent        bool
	}{{`,"$city":`, place.City, c.sent.city}, {`,"$region":`, place.Region, c.sent.region}, {`,"mp_country_code":`, place.Country, c.sent.country}} {
		if p.value != "" && !p.sent {
			dst = appendQuoted(append(dst, p.name...), p.value)
		}
	}
	return dst
}

// appendQuoted appends a string.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// undatedTime stands in the key of an event without a time: no event has it.
const undatedTime = -1

// key is the dedup key: a hash of insert id, name, time and distinct_id, as the
// client sent them, so that an event that is sent again has the same key. It is
// the key that a Parser gives the row, unless the time was replaced or the id is
// an alias:
//
//	sent                             time in the key
//	1780315000, or 1780315000123     1780315000
//	more than an hour ahead          the time that was sent; the row has the arrival's
//	nothing, or null                 undatedTime; the row has the arrival's
func (c *Collector) key(r row) [16]byte {
	text := appendPart(c.text[:0], c.decode(2, r.insert))
	text = appendPart(text, c.decode(2, r.event))
	seconds := r.sentTime
	if r.undated {
		seconds = undatedTime
	}
	text = binary.LittleEndian.AppendUint64(text, uint64(seconds))
	distinct := c.decode(2, r.sentDistinct)
	switch {
	case r.sentDistinct == nil:
		text = appendPart(append(text, 0xff), nil)
	case r.anonymous:
		text = binary.AppendUvarint(text, uint64(len(devicePrefix)+len(distinct)))
		text = append(append(text, devicePrefix...), distinct...)
	default:
		text = appendPart(text, distinct)
	}
	c.text = text
	return xxh3.Hash128(text).Bytes()
}
