package schema

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unsafe"

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

// Refused is the reason why a record of a client is refused, and the place.
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

// Limits of an event.
const (
	maxMembers     = 254 // of properties, and of objects within
	maxElements    = 254
	maxObjectDepth = 3
	maxComposite   = 8 << 10 // bytes of an object or array
	maxText        = 255     // characters of names and strings
	maxInsertID    = 36
)

// Arrival holds the properties that the events of a request share.
type Arrival struct {
	Received  time.Time // the default time, and $mp_api_timestamp_ms
	Processed time.Time // mp_processing_time_ms
	Endpoint  string    // the name of the host that was asked
	Import    bool      // through /import
	// Strict refuses records that are otherwise corrected: times that lie ahead,
	// ids that are not allowed or missing. Events of identity management may do without
	// time, distinct_id and insert id all the same.
	Strict   bool
	Identity Identity
	Oldest   int64 // unix seconds; earlier events are refused
	Geo      Geo   // nil: addresses are only dropped
	Place    Place // of the caller, for events without an address
	// Alias is the id that events of an id are stored under instead, in a legacy
	// project; nil: there are no aliases.
	Alias func(id []byte) (string, bool)
}

// Collected is an event that was collected.
type Collected struct {
	Event
	// KeyTime is the time that the client sent, in unix seconds: the one in Key.
	// It is Time, unless that was replaced because it lies ahead; then it is at
	// most that of the year 9999.
	KeyTime int64
	// Undated reports that the client sent an insert id and no time. Key holds
	// no time then, and KeyTime is Time: that of the arrival.
	Undated bool
	// Ignored reports that the client asked for the event to be dropped: it has no
	// row.
	Ignored bool
	// Verb is the name of an event of identity management; otherwise "".
	Verb string
	// Device and User are set when a simplified project's event links the two:
	// without prefix, valid until the next record.
	Device, User []byte
}

// Collector turns records of clients into rows: it validates like a Parser,
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
	refused *Refused // why the whole record is refused
	// sentAt is the record's place in body; scanner.body, its place in the text
	// that rows are made of, which is a copy when repaired is set.
	sentAt   span
	repaired bool

	predictor predictor
	// sparse reports that scanner.inner lacks members of properties that neither a row nor
	// a caller needs.
	sparse  bool
	members int // of properties
	lastEnd int // of the value of the last of them

	sent   sent
	edits  []edit
	open   []composite
	text   []byte
	insert [maxInsertID]byte
	ids    [3][]byte // memory for decoded ids
	target []byte    // memory for the id of an alias
	added  added     // to the events of a request
	outer  outer     // of the last row
	places addedPlaces
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
	c.scanner.every, c.predictor.keeps = true, true
	return c
}

// AppendEvent appends the row of the record, an event, with a newline to dst. A
// record that is refused is a *Refused, and dst comes back as it was.
func (c *Collector) AppendEvent(dst []byte, a *Arrival) ([]byte, Collected, error) {
	e, row, refused := c.event(a)
	if refused != nil {
		return dst, Collected{}, c.WithID(refused)
	}
	if e.Ignored {
		return dst, e, nil
	}
	start := len(dst)
	s := &c.scanner
	dst = c.render(slices.Grow(dst, s.body.to-s.body.from+rowRoom), a, row)
	e.Key, e.Flags = c.key(row), s.flags
	e.KeyTime, e.Undated = row.sentTime, row.undated
	if len(dst)-start > longRow {
		e.Flags |= batch.LongRow
	}
	return dst, e, nil
}

// WithID adds the insert id of the record, as sent, to why it is refused.
func (c *Collector) WithID(r *Refused) *Refused {
	if c.refused == nil {
		id, _ := appendValueText(nil, c.Property("$insert_id"))
		r.InsertID = string(id[:min(len(id), 256)])
	}
	return r
}

// row holds the columns of an event's row. Ids are the insides of JSON
// strings; nil is null.
type row struct {
	event                          []byte
	device, distinct, insert, user []byte
	time                           int64
	anonymous                      bool // "$device:" goes before distinct
	// The values as sent, for the key: an event that is sent again has the same
	// key, whenever it comes and whichever aliases exist then.
	sentTime     int64
	undated      bool
	sentDistinct []byte
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
		refused = c.resolveIDs(&r, a, &e)
	}
	if refused == nil {
		refused = c.insertID(&r, a.Strict, e.Verb != "")
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

// ignored reports whether the client wants the event dropped.
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
		if a.Import && !verb {
			return refuse(NoTime, field, "'properties.time' is invalid: must not be missing")
		}
		r.time, r.sentTime, r.undated = received, received, true
		return nil
	}
	if !a.Strict && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	seconds, ok := readTime(raw)
	if !ok {
		return refuse(InvalidTime, field, "'properties.time' is invalid: must be specified as seconds since epoch")
	}
	r.sentTime = min(seconds, latestOperation/1000)
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
// for that. A number beyond any time is cut to the latest one.
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
