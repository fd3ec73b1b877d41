package schema

import (
	"bytes"

	"github.com/zeebo/xxh3"
)

var devicePrefix = []byte("$device:")

// resolveIDs finds the event's ids.
func (c *Collector) resolveIDs(r *row, a *Arrival, e *Collected) *Refused {
	distinct, present := inside(c.sent.distinct)
	// An empty id is allowed: the event belongs to no user.
	if c.denied(distinct) {
		if a.Strict {
			return refuse(InvalidDistinctID, "properties.distinct_id", "'properties.distinct_id' is invalid: must not be %q", distinct)
		}
		distinct, present = nil, false
	}
	device, user := c.idOf(c.sent.device), c.idOf(c.sent.user)
	if a.Identity == Simplified {
		// Some clients send the prefix with the id.
		if n := prefix(device, devicePrefix); n != 0 && n < len(device) {
			device = device[n:]
		}
		switch {
		case user != nil:
			r.distinct = user
		case device != nil:
			r.distinct, r.anonymous = device, true
		case len(distinct) != 0:
			r.distinct = distinct
			if n := prefix(distinct, devicePrefix); n != 0 && n < len(distinct) {
				device, r.addDevice = distinct[n:], true
			} else {
				user, r.addUser = distinct, true
			}
		case present:
			r.distinct = distinct
		}
		if user != nil && device != nil && e.Verb == "" {
			e.Device, e.User = c.decode(0, device), c.decode(1, user)
		}
		r.sentDistinct = r.distinct
	} else {
		if !present && e.Verb == "$identify" {
			distinct = c.idOf(c.sent.identified)
			present = distinct != nil
		}
		if present {
			r.distinct = c.aliased(distinct, a, e)
			r.sentDistinct = distinct
		}
	}
	r.device, r.user = device, user
	if a.Strict && r.distinct == nil && e.Verb == "" {
		return refuse(NoDistinctID, "properties.distinct_id", "'properties.distinct_id' is invalid: must not be missing")
	}
	return nil
}

// aliased is the id that another one stands for in a legacy project. Events of identity
// management speak of the ids themselves.
func (c *Collector) aliased(id []byte, a *Arrival, e *Collected) []byte {
	if a.Identity != Legacy || a.Alias == nil || e.Verb != "" || len(id) == 0 {
		return id
	}
	target, ok := a.Alias(c.decode(0, id))
	if !ok {
		return id
	}
	c.target = AppendText(c.target[:0], target)
	return c.target[1 : len(c.target)-1]
}

// idOf returns an id, or nil if it is empty or one that clients send by mistake.
func (c *Collector) idOf(value []byte) []byte {
	id, ok := inside(value)
	if !ok || len(id) == 0 || c.denied(id) {
		return nil
	}
	return id
}

// decode resolves the escapes of an id.
func (c *Collector) decode(i int, id []byte) []byte {
	if bytes.IndexByte(id, '\\') < 0 {
		return id
	}
	c.ids[i] = unescape(c.ids[i][:0], id)
	return c.ids[i]
}

const (
	nilUUID       = "00000000-0000-0000-0000-000000000000"
	longestDenied = len("anonymous") // but for nilUUID
)

// denied reports whether an id is one of those that clients send by mistake, in
// any case: they would make one person of many.
func (c *Collector) denied(id []byte) bool {
	if len(id) == 0 || len(id) > 6*maxInsertID {
		return false
	}
	if id = c.decode(2, id); len(id) > longestDenied && len(id) != len(nilUUID) {
		return false
	}
	var buffer [maxInsertID]byte
	lower := buffer[:copy(buffer[:], id)]
	for i, b := range lower {
		if b-'A' < 26 {
			lower[i] = b | 0x20
		}
	}
	switch string(lower) {
	case nilUUID, "anon", "anonymous", "nil", "none", "null", "n/a", "na",
		"undefined", "unknown", "<nil>", "0", "-1", "true", "false", "[]", "{}":
		return true
	}
	return false
}

// prefix is how many bytes of the inside of a string stand for a prefix of
// ASCII, or 0.
func prefix(text, want []byte) int {
	i := 0
	for _, w := range want {
		switch {
		case i < len(text) && text[i] == w && w != '\\':
			i++
		case i+6 <= len(text) && text[i] == '\\' && text[i+1] == 'u':
			if r, _ := hex4(text, i+2); r != rune(w) {
				return 0
			}
			i += 6
		default:
			return 0
		}
	}
	return i
}

// insertID takes the insert id that was sent, or makes one.
func (c *Collector) insertID(row *row, strict, verb bool) *Refused {
	id, ok := inside(c.sent.insert)
	ok = ok && len(id) != 0
	switch {
	case ok && wellFormed(id) && !c.denied(id):
		row.insert = id
		return nil
	case verb && !ok:
		// It gets one.
	case strict && !ok:
		return refuse(NoInsertID, "properties.$insert_id", "'properties.$insert_id' is invalid: must not be missing")
	case strict && len(id) > maxInsertID:
		return refuse(InvalidInsertID, "$insert_id", "'$insert_id' is invalid: must have at most %d bytes", maxInsertID)
	case strict && wellFormed(id):
		return refuse(InvalidInsertID, "$insert_id", "'$insert_id' is invalid: must not be %q", id)
	case strict:
		return refuse(InvalidInsertID, "$insert_id", "'$insert_id' is invalid: must only contain alphanumeric or hyphen '-' characters")
	}
	row.insert, row.addInsert = c.insert[:], len(c.sent.insert) == 0
	if ok && !c.denied(id) {
		// The same id that is sent again is replaced by the same one.
		c.derive(c.decode(2, id))
		return nil
	}
	if id := c.eventID(); id != nil {
		c.derive(id)
		return nil
	}
	r := c.random
	row.undated = false // no other event has the id, whatever its time
	c.letters([...]uint64{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()})
	return nil
}

func wellFormed(id []byte) bool {
	if len(id) > maxInsertID {
		return false
	}
	other := uint8(0)
	for _, b := range id {
		other |= notOfID[b]
	}
	return other == 0
}

// notOfID is 1 for the bytes that an insert id may not have.
var notOfID = func() (other [256]uint8) {
	for i := range other {
		if b := byte(i); b-'0' > 9 && b|0x20-'a' > 25 && b != '-' {
			other[i] = 1
		}
	}
	return other
}()

// eventID is the id that mobile clients give an event next to its properties,
// and send again with it.
func (c *Collector) eventID() []byte {
	metadata := c.Member("$mp_metadata")
	if len(metadata) == 0 || metadata[0] != '{' {
		return nil
	}
	const name = `"$mp_event_id"`
	i := bytes.Index(metadata, []byte(name))
	if i < 0 {
		return nil
	}
	rest := bytes.TrimLeft(metadata[i+len(name):], " \t:")
	if len(rest) < 2 || rest[0] != '"' {
		return nil
	}
	end := bytes.IndexByte(rest[1:], '"')
	if end < 8 || end > maxInsertID || !wellFormed(rest[1:1+end]) {
		return nil
	}
	return rest[1 : 1+end]
}

// derive makes the insert id that belongs to text.
func (c *Collector) derive(text []byte) {
	var numbers [4]uint64
	for i := range numbers {
		numbers[i] = xxh3.HashSeed(text, uint64(i))
	}
	c.letters(numbers)
}

// letters fills the insert id with letters, nine for each number.
func (c *Collector) letters(numbers [maxInsertID / 9]uint64) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for i := range c.insert {
		n := &numbers[i/9]
		c.insert[i] = alphabet[*n%52]
		*n /= 52
	}
}
