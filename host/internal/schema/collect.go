package schema

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Further reasons, of records that clients send.
const (
	NotAnObject       Reason = "not_an_object"
	NoDistinctID      Reason = "no_distinct_id"
	InvalidDistinctID Reason = "invalid_distinct_id"
	NoInsertID        Reason = "no_insert_id"
	InvalidInsertID   Reason = "invalid_insert_id"
	TooOld            Reason = "too_old"
	TooManyProperties Reason = "too_many_properties"
	TooManyElements   Reason = "too_many_elements"
	TooDeep           Reason = "too_deep"
	PropertyTooLong   Reason = "property_too_long"
	IdentityVerb      Reason = "identity_verb"
)

// Refused says why a record that a client sent is refused, and where.
type Refused struct {
	Rejection
	Field    string // "properties.time"; "" when it is the whole record
	InsertID string // of the record, as sent
}

// Identity is a project's kind of identity management.
type Identity uint8

// The kinds.
const (
	Simplified Identity = iota
	Original
	Legacy
)

// Place is where an address is. Empty strings are not known.
type Place struct {
	City, Region string
	Country      string // two letters
}

// Geo finds addresses.
type Geo interface {
	Locate(address netip.Addr) (Place, bool)
}

// Limits of what an event holds.
const (
	maxMembers     = 254 // of properties, and of objects within
	maxElements    = 254
	maxObjectDepth = 3
	maxComposite   = 8 << 10 // bytes of an object or array
	maxText        = 255     // characters of names and strings
	maxInsertID    = 36
)

// Arrival is what the events of a request have in common.
type Arrival struct {
	Received  time.Time // the default time, and $mp_api_timestamp_ms
	Processed time.Time // mp_processing_time_ms
	Endpoint  string    // the name of the host that was asked
	Import    bool      // through /import
	// Strict refuses what is otherwise put right: times that lie ahead, ids that
	// are not allowed or missing.
	Strict   bool
	Identity Identity
	Oldest   int64 // unix seconds; earlier events are refused
	Geo      Geo   // nil: addresses are only dropped
	Place    Place // of the caller, for events without an address
}

// Collected is an event that was collected.
type Collected struct {
	Event
	// Ignored says that the client does not want the event kept: there is no
	// row.
	Ignored bool
	// Verb says that the event is one of identity management: its name.
	Verb string
	// Device and User are set when a simplified project's event links the two:
	// without prefix, valid until the next record.
	Device, User []byte
}

// Collector turns what clients send into rows: it validates like a Parser,
// derives ids, fills in defaults and adds the properties that a server adds. It
// keeps its memory; it is not for concurrent use.
type Collector struct {
	scanner scanner
	random  *rand.ChaCha8

	// The body and where the next record is.
	body    []byte
	next    int
	mode    bodyMode
	count   int
	broken  *Rejection
	refused *Refused // what is wrong with the whole record

	sent   sent
	edits  []edit
	open   []composite
	text   []byte
	insert [maxInsertID]byte
	ids    [3][]byte // memory for decoded ids
	clean  []byte
}

type bodyMode uint8

const (
	oneAfterAnother bodyMode = iota
	onePerLine
	elements
	ended
)

// NewCollector returns a collector that generates insert ids from seed, which
// must be a secret of its own.
func NewCollector(seed [32]byte) *Collector {
	c := &Collector{random: rand.NewChaCha8(seed)}
	c.scanner.every = true
	return c
}

// Begin begins a body: an array of records, one record, or records one after
// another. With lines a line that is no record does not spoil the others. The
// body must not change until the last record was taken.
func (c *Collector) Begin(body []byte, lines bool) {
	c.body, c.count, c.broken, c.mode = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), 0, nil, oneAfterAnother
	if lines {
		c.mode = onePerLine
	}
	c.next = c.space(0)
	switch {
	case c.next == len(c.body):
		c.mode, c.broken = ended, &Rejection{Reason: InvalidJSON, Detail: "the body is empty"}
	case c.body[c.next] == '[':
		c.mode = elements
		if c.next = c.space(c.next + 1); c.next < len(c.body) && c.body[c.next] == ']' {
			c.end(c.next + 1)
		}
	}
}

// End forgets the body, and memory beyond what most bodies need.
func (c *Collector) End() {
	c.body, c.refused, c.mode = nil, nil, ended
	s := &c.scanner
	s.reset(nil)
	if cap(s.keys)+cap(s.inner)+cap(s.outer)+cap(s.stack) > manyMembers {
		s.keys, s.inner, s.outer, s.stack, c.edits = nil, nil, nil, nil, nil
	}
	if cap(c.clean) > longRow || cap(c.text) > longRow || cap(s.scratch[0])+cap(s.scratch[1]) > longRow {
		c.clean, c.text, s.scratch, c.ids = nil, nil, [2][]byte{}, [3][]byte{}
	}
}

// maxEscape is how far before the end of its data a scan may stop because of
// the end: the longest escape.
const maxEscape = 12

// manyMembers is for how many members memory is kept.
const manyMembers = 8 << 10

// space is the index of the first byte from i on that is no white space.
func (c *Collector) space(i int) int {
	for i < len(c.body) && (c.body[i] == ' ' || c.body[i] == '\n' || c.body[i] == '\t' || c.body[i] == '\r') {
		i++
	}
	return i
}

// end ends an array, behind which there is nothing.
func (c *Collector) end(i int) {
	c.mode = ended
	if i = c.space(i); i != len(c.body) {
		c.spoil(i)
	}
}

// spoil says that the body is not JSON at i.
func (c *Collector) spoil(i int) bool {
	c.mode = ended
	if i >= len(c.body) {
		c.broken = &Rejection{Reason: InvalidJSON, Detail: "the body ends before its JSON does"}
	} else {
		c.broken = &Rejection{Reason: InvalidJSON, Detail: fmt.Sprintf("the body is not JSON: unexpected byte %q at %d", c.body[i], i)}
	}
	return false
}

// Err says what is wrong with the body, a *Rejection, once Next has returned
// false. The records before it are then of no use to anybody: the client
// believes that none was taken.
func (c *Collector) Err() error {
	if c.broken == nil {
		return nil
	}
	return c.broken
}

// Next goes to the next record, and says whether there is one.
func (c *Collector) Next() bool {
	if c.mode == ended {
		return false
	}
	if c.next == len(c.body) {
		if c.mode == elements {
			return c.spoil(c.next)
		}
		c.mode = ended
		return false
	}
	s := &c.scanner
	from := c.next
	// No more is scanned than a record may have, whatever the body has: memory
	// grows with the number of members.
	s.reset(c.body[:min(len(c.body), from+MaxRecord+1)])
	c.refused = nil
	to, ok := s.value(from)
	switch {
	case !ok && s.at+maxEscape > len(s.data) && len(s.data) < len(c.body):
		to = skip(c.body, from)
		s.reset(c.body)
		c.refused = refuse(TooLong, "", "the record has %d bytes, of %d at most", to-from, MaxRecord)
	case !ok:
		if to, ok = c.recover(from); !ok {
			return false
		}
	case c.body[from] != '{':
		c.refused = refuse(NotAnObject, "", "a record must be an object")
	case to-from > MaxRecord:
		c.refused = refuse(TooLong, "", "the record has %d bytes, of %d at most", to-from, MaxRecord)
	}
	s.body = span{from, to}
	c.count++
	return c.behind(to)
}

// behind finds what follows the record that ends at i.
func (c *Collector) behind(i int) bool {
	c.next = c.space(i)
	if c.mode != elements {
		return true
	}
	switch {
	case c.next == len(c.body):
		return c.spoil(c.next)
	case c.body[c.next] == ']':
		c.end(c.next + 1)
		return c.broken == nil
	case c.body[c.next] != ',':
		return c.spoil(c.next)
	}
	if c.next = c.space(c.next + 1); c.next == len(c.body) {
		return c.spoil(c.next)
	}
	return true
}

// recover finds the end of the record at from, which does not scan: it is not
// UTF-8, or a line of its own that is not JSON.
func (c *Collector) recover(from int) (to int, ok bool) {
	s := &c.scanner
	at := s.at
	if s.reason == InvalidUTF8 {
		to = min(skip(c.body, from), from+MaxRecord)
		c.clean = append(c.clean[:0], c.body[from:to]...)
		first := sanitize(c.clean)
		s.reset(c.clean)
		if end, valid := s.value(0); valid && end == len(c.clean) {
			c.refused = refuse(InvalidUTF8, c.fieldAt(first), "string should be valid utf8")
			if c.refused.Field != "" {
				c.refused.Detail = c.refused.Field + " is invalid: " + c.refused.Detail
			}
			// Nothing of the copy is a place in the body.
			s.reset(c.body)
			return to, true
		}
		at = from + s.at
	}
	if c.mode != onePerLine {
		c.spoil(at)
		return 0, false
	}
	to = len(c.body)
	if n := bytes.IndexByte(c.body[from:], '\n'); n >= 0 {
		to = from + n
	}
	s.reset(c.body)
	c.refused = refuse(InvalidJSON, "", "the line is not JSON")
	return to, true
}

// fieldAt names the member in whose name or value i is.
func (c *Collector) fieldAt(i int) string {
	for _, group := range []struct {
		prefix  string
		members []member
	}{{"properties.", c.scanner.inner}, {"", c.scanner.outer}} {
		for _, m := range group.members {
			if m.key.from <= i && i < m.value.to {
				return group.prefix + string(c.scanner.data[m.key.from+1:m.key.to-1])
			}
		}
	}
	return ""
}

// skip is the end of the value at from, an object or array mostly, by its
// brackets alone.
func skip(data []byte, from int) int {
	depth := 0
	for i := from; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			continue
		}
		if depth <= 0 {
			return min(i+1, len(data))
		}
	}
	return len(data)
}

// sanitize puts question marks in the place of bytes that are not UTF-8, and
// returns the first of them.
func sanitize(data []byte) (first int) {
	first = -1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			if data[i] = '?'; first < 0 {
				first = i
			}
		}
		i += n
	}
	return first
}

// Count is how many records there were up to now.
func (c *Collector) Count() int { return c.count }

// Record is the record, as sent. It is a part of the body.
func (c *Collector) Record() []byte { return c.body[c.scanner.body.from:c.scanner.body.to] }

// Refused says what is wrong with the record whatever it is for, or is nil.
func (c *Collector) Refused() *Refused { return c.refused }

// Member is the last member of that name of the record, as sent, or nil.
func (c *Collector) Member(name string) []byte { return c.find(c.scanner.outer, name) }

// Property is the last member of that name of the record's properties, as sent,
// or nil.
func (c *Collector) Property(name string) []byte { return c.find(c.scanner.inner, name) }

func (c *Collector) find(members []member, name string) []byte {
	s := &c.scanner
	for i := len(members) - 1; i >= 0; i-- {
		if m := &members[i]; s.is(m.key, m.escaped, name) {
			return s.data[m.value.from:m.value.to]
		}
	}
	return nil
}

// appendValueText appends what a string or number stands for; ok is false for
// anything else.
func appendValueText(dst, value []byte) (text []byte, ok bool) {
	inner, ok := inside(value)
	if !ok {
		return dst, false
	}
	return unescape(dst, inner), true
}

// inside is the inside of a string, or a number.
func inside(value []byte) ([]byte, bool) {
	switch {
	case len(value) == 0:
		return nil, false
	case value[0] == '"':
		return value[1 : len(value)-1], true
	case value[0] == '-' || value[0]-'0' <= 9:
		return value, true
	}
	return nil, false
}

func refuse(reason Reason, field, format string, args ...any) *Refused {
	return &Refused{Rejection: Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}, Field: field}
}

// sent is what an event's properties hold, as sent.
type sent struct {
	time, distinct, insert, device, user []byte
	identified, address, ignore          []byte
	city, region, country                bool
	removed                              int
}

// edit changes a member of properties while they are rendered.
type edit struct {
	member int
	remove bool
	key    int // where its name is cut, or 0
	value  int // where its string is cut, or 0
}

// look notes the members of properties that are needed, and those that change.
func (c *Collector) look() *Refused {
	c.sent, c.edits = sent{}, c.edits[:0]
	s := &c.scanner
	for i := range s.inner {
		m := &s.inner[i]
		value := s.data[m.value.from:m.value.to]
		if c.known(m, value) {
			c.edits = append(c.edits, edit{member: i, remove: true})
			c.sent.removed++
			continue
		}
		e := edit{member: i}
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
	if n := len(s.inner) - c.sent.removed; n > maxMembers {
		return refuse(TooManyProperties, "properties", "'properties' is invalid: must have fewer than %d properties, and has %d", maxMembers+1, n)
	}
	return nil
}

// isID says whether value is that of an id, which is never cut: two might
// become one.
func (c *Collector) isID(value []byte) bool {
	for _, id := range [...][]byte{c.sent.distinct, c.sent.insert, c.sent.device, c.sent.user} {
		if len(id) != 0 && &id[0] == &value[0] {
			return true
		}
	}
	return false
}

// known notes a member that means something, and says whether it is not kept:
// the token, the address, and what the server adds itself.
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

// AppendEvent appends the row of the record, an event, with a newline to dst. A
// record that is refused is a *Refused, and dst comes back as it was.
func (c *Collector) AppendEvent(dst []byte, a *Arrival) ([]byte, Collected, error) {
	e, row, refused := c.event(a)
	if refused != nil {
		refused.InsertID = c.insertIDAsSent()
		return dst, Collected{}, refused
	}
	if e.Ignored {
		return dst, e, nil
	}
	start := len(dst)
	s := &c.scanner
	dst = c.render(slices.Grow(dst, s.body.to-s.body.from+rowRoom), a, row)
	e.Key, e.Flags = c.key(row), s.flags
	if len(dst)-start > longRow {
		e.Flags |= batch.LongRow
	}
	return dst, e, nil
}

func (c *Collector) insertIDAsSent() string {
	if c.refused != nil {
		return ""
	}
	id, _ := appendValueText(nil, c.Property("$insert_id"))
	return string(id[:min(len(id), 256)])
}

// row is what the columns of an event's row hold. Ids are the insides of JSON
// strings; nil is null.
type row struct {
	event                          []byte
	device, distinct, insert, user []byte
	time                           int64
	anonymous                      bool // "$device:" goes before distinct
	// Which of them the properties do not have, and get.
	addDevice, addUser, addInsert bool
}

// event validates the record as an event.
func (c *Collector) event(a *Arrival) (Collected, row, *Refused) {
	var e Collected
	var r row
	if c.refused != nil {
		return e, r, c.refused
	}
	s := &c.scanner
	for i := range s.outer {
		switch m := &s.outer[i]; {
		case s.is(m.key, m.escaped, "event"):
			s.event = m.value
		case s.is(m.key, m.escaped, "properties"):
			s.properties = m.value
		}
	}
	if r.event = c.name(); r.event == nil {
		return e, r, refuse(NoEventName, "event", "'event' must not be missing or blank")
	}
	if s.properties.empty() || s.data[s.properties.from] != '{' {
		return e, r, refuse(NoProperties, "properties", "'properties' is invalid: must not be missing")
	}
	if refused := c.look(); refused != nil {
		return e, r, refused
	}
	if c.ignored() {
		e.Ignored = true
		return e, r, nil
	}
	e.Verb = verb(r.event)
	if e.Verb != "" && a.Import && a.Identity == Simplified {
		return e, r, refuse(IdentityVerb, "event", "identity events are not allowed when project is using simplified identity management")
	}
	refused := c.when(&r, a, e.Verb != "")
	if refused == nil {
		refused = c.who(&r, a, &e)
	}
	if refused == nil {
		refused = c.insertID(&r, a.Strict)
	}
	e.Time = r.time
	return e, r, refused
}

// verb is the name of an event of identity management, or "".
func verb(name []byte) string {
	for _, v := range [...]string{"$identify", "$create_alias", "$merge"} {
		if string(name) == v {
			return v
		}
	}
	return ""
}

// name is the event's name, cut to its limit, or nil.
func (c *Collector) name() []byte {
	s := &c.scanner
	if s.event.empty() || s.data[s.event.from] != '"' {
		return nil
	}
	name := s.data[s.event.from+1 : s.event.to-1]
	if len(bytes.TrimSpace(name)) == 0 {
		return nil
	}
	if len(name) > maxText {
		if i := cut(s.data, s.event); i != 0 {
			name = s.data[s.event.from+1 : i]
		}
	}
	return name
}

// ignored says whether the client wants the event dropped.
func (c *Collector) ignored() bool {
	v := c.sent.ignore
	return len(v) != 0 && (v[0] == 't' || v[0] == '"' && len(v) > 2)
}

// when finds the event's time.
func (c *Collector) when(r *row, a *Arrival, verb bool) *Refused {
	const field = "properties.time"
	received := a.Received.Unix()
	raw := c.sent.time
	if len(raw) == 0 || raw[0] == 'n' {
		if a.Import && (a.Strict || !verb) {
			return refuse(NoTime, field, "'properties.time' is invalid: must not be missing")
		}
		r.time = received
		return nil
	}
	if !a.Strict && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	seconds, ok := readTime(raw)
	if !ok {
		return refuse(InvalidTime, field, "'properties.time' is invalid: must be specified as seconds since epoch")
	}
	if latest := received + int64(ahead/time.Second); seconds > latest {
		if a.Strict {
			return refuse(TimeOutOfRange, field, "'properties.time' is invalid: must not be more than an hour in the future")
		}
		seconds = received
	}
	switch {
	case seconds < earliest:
		return refuse(TimeOutOfRange, field, "'properties.time' is invalid: must not be before 1971-01-01")
	case seconds < a.Oldest:
		return refuse(TooOld, field, "'properties.time' is invalid: must not be before %s, use /import", time.Unix(a.Oldest, 0).UTC().Format(time.RFC3339))
	}
	r.time = seconds
	return nil
}

// readTime reads a number of seconds, or of milliseconds when it is too large
// for that. What is beyond any time is the latest there is.
func readTime(raw []byte) (int64, bool) {
	if len(raw) == 0 {
		return 0, false
	}
	if seconds, ok := integerSeconds(raw); ok {
		return seconds, true
	}
	if c := raw[0]; c != '-' && c-'0' > 9 || len(raw) > 400 || bytes.IndexByte(raw, '_') >= 0 {
		return 0, false
	}
	f, err := strconv.ParseFloat(unsafe.String(&raw[0], len(raw)), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	if math.Abs(f) >= milliseconds {
		f /= 1000
	}
	return int64(math.Floor(max(-1e15, min(f, 1e15)))), true
}

var devicePrefix = []byte("$device:")

// who finds the event's ids.
func (c *Collector) who(r *row, a *Arrival, e *Collected) *Refused {
	distinct, present := inside(c.sent.distinct)
	// An id that is empty is allowed: the event is nobody's.
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
	} else {
		if !present && e.Verb == "$identify" {
			distinct = c.idOf(c.sent.identified)
			present = distinct != nil
		}
		if present {
			r.distinct = distinct
		}
	}
	r.device, r.user = device, user
	if a.Strict && r.distinct == nil && e.Verb == "" {
		return refuse(NoDistinctID, "properties.distinct_id", "'properties.distinct_id' is invalid: must not be missing")
	}
	return nil
}

// idOf is an id that stands for somebody, or nil.
func (c *Collector) idOf(value []byte) []byte {
	id, ok := inside(value)
	if !ok || len(id) == 0 || c.denied(id) {
		return nil
	}
	return id
}

// decode is what an id stands for.
func (c *Collector) decode(i int, id []byte) []byte {
	if bytes.IndexByte(id, '\\') < 0 {
		return id
	}
	c.ids[i] = unescape(c.ids[i][:0], id)
	return c.ids[i]
}

// denied says whether an id is one of those that clients send by mistake, in
// whatever case: they would make one person of many.
func (c *Collector) denied(id []byte) bool {
	if len(id) == 0 || len(id) > 6*maxInsertID {
		return false
	}
	if id = c.decode(2, id); len(id) > maxInsertID {
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
	case "00000000-0000-0000-0000-000000000000", "anon", "anonymous", "nil", "none", "null", "n/a", "na",
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
func (c *Collector) insertID(row *row, strict bool) *Refused {
	id, ok := inside(c.sent.insert)
	ok = ok && len(id) != 0
	switch {
	case ok && wellFormed(id) && !c.denied(id):
		row.insert = id
		return nil
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
		// What is sent again becomes the same id.
		c.derive(c.decode(2, id))
		return nil
	}
	if id := c.eventID(); id != nil {
		c.derive(id)
		return nil
	}
	r := c.random
	c.letters([...]uint64{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()})
	return nil
}

func wellFormed(id []byte) bool {
	if len(id) > maxInsertID {
		return false
	}
	for _, b := range id {
		if b-'0' > 9 && b|0x20-'a' > 25 && b != '-' {
			return false
		}
	}
	return true
}

// eventID is the id that mobile clients give an event beside its properties,
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

// render appends the row.
func (c *Collector) render(dst []byte, a *Arrival, r row) []byte {
	start := len(dst)
	dst = append(dst, `{"device_id":`...)
	dst = appendInside(dst, r.device)
	dst = append(dst, `,"distinct_id":`...)
	if r.anonymous {
		dst = append(dst, `"$device:`...)
		dst = append(dst, r.distinct...)
		dst = append(dst, '"')
	} else {
		dst = appendInside(dst, r.distinct)
	}
	dst = append(dst, `,"event_name":`...)
	dst = appendInside(dst, r.event)
	dst = append(dst, `,"insert_id":`...)
	dst = appendInside(dst, r.insert)
	dst = append(dst, `,"properties":`...)
	dst = c.appendProperties(dst, a, r)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, r.time, 10)
	dst = append(dst, `,"user_id":`...)
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
// what the server adds.
func (c *Collector) appendProperties(dst []byte, a *Arrival, r row) []byte {
	s := &c.scanner
	from, end, removed := s.properties.from, s.properties.from+1, 0
	if n := len(s.inner); n > 0 {
		end = s.inner[n-1].value.to
	}
	for _, e := range c.edits {
		m := &s.inner[e.member]
		if e.remove {
			if e.member > removed {
				// The comma behind the member before stays for what follows.
				dst = append(dst, s.data[from:m.previous]...)
				from = m.value.to
			} else {
				if removed == 0 {
					dst = append(dst, s.data[from:m.key.from]...)
				}
				from = m.value.to
				if m.next != 0 {
					from = s.inner[e.member+1].key.from
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
	added := len(dst)
	dst = c.appendAdded(dst, a, r)
	if len(s.inner) == removed {
		dst[added] = ' ' // instead of the comma
	}
	return append(dst, s.data[end:s.properties.to]...)
}

// appendAdded appends what the server adds, each with a comma before it.
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
	if a.Import {
		dst = append(dst, `,"$import":true`...)
	}
	dst = append(dst, `,"$mp_api_endpoint":`...)
	dst = appendQuoted(dst, a.Endpoint)
	dst = append(dst, `,"$mp_api_timestamp_ms":`...)
	dst = strconv.AppendInt(dst, a.Received.UnixMilli(), 10)
	dst = append(dst, `,"$mp_event_size":`...)
	dst = strconv.AppendInt(dst, int64(c.scanner.body.to-c.scanner.body.from), 10)
	dst = append(dst, `,"mp_processing_time_ms":`...)
	return strconv.AppendInt(dst, a.Processed.UnixMilli(), 10)
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

// key is the dedup key: that of the row when it is read as a record.
func (c *Collector) key(r row) [16]byte {
	text := appendPart(c.text[:0], c.decode(2, r.insert))
	text = appendPart(text, c.decode(2, r.event))
	text = binary.LittleEndian.AppendUint64(text, uint64(r.time))
	distinct := c.decode(2, r.distinct)
	switch {
	case r.distinct == nil:
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
