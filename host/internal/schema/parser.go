package schema

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Reason is why a record is refused: short, stable, for counting.
type Reason string

// The reasons.
const (
	InvalidJSON    Reason = "invalid_json"
	InvalidUTF8    Reason = "invalid_utf8"
	NoEventName    Reason = "no_event_name"
	NoProperties   Reason = "no_properties"
	NoTime         Reason = "no_time"
	InvalidTime    Reason = "invalid_time"
	TimeOutOfRange Reason = "time_out_of_range"
	TooLong        Reason = "too_long"
)

// Rejection says why a record is refused.
type Rejection struct {
	Reason Reason
	Detail string
}

func (r *Rejection) Error() string { return r.Detail }

// MaxRecord is the most bytes of a record.
const MaxRecord = 1 << 20

// Limits of an event's time.
const (
	earliest = 365 * 86400 // 1971-01-01
	ahead    = time.Hour   // of the clock
)

// longRow is where the flag LongRow begins.
const longRow = 256 << 10

// rowRoom is how many bytes a row is usually longer than its record.
const rowRoom = 512

// Event holds the properties of an event's row that the journal needs.
type Event struct {
	Time  int64 // unix seconds
	Key   [16]byte
	Flags batch.Flags
	// Repaired reports whether the row differs from the record in that U+FFFD
	// replaces escaped surrogates that have no partner.
	Repaired bool
	// Clock is the meaning that the event's time seems to have: only set where the
	// parser knows a zone, and the record says when it was received.
	Clock Clock
}

// Parser turns records into rows. It keeps its memory; it is not for
// concurrent use.
type Parser struct {
	now       func() time.Time
	times     Times
	latest    int64 // of event times: the clock was found to be this far
	scanner   scanner
	predictor predictor
	text      []byte
	repair    []byte // memory for a copy of a record that is repaired
	outer     outer  // of the last row
	declined  bool   // the predictor has declined the next record, in AppendLine
	asSent    bool   // the time of the last event is a plain number of seconds, written as in its row
}

// NewParser returns a parser that takes now for the latest time but one hour.
func NewParser(now func() time.Time) *Parser { return NewZoneParser(now, Times{}) }

// NewZoneParser returns a parser for events whose times are not, or may not be,
// UTC.
func NewZoneParser(now func() time.Time, t Times) *Parser { return &Parser{now: now, times: t} }

// AppendEvent validates a record in export shape, {"event":…,"properties":{…}},
// and appends its row with a newline to dst. Row and key are those of the record
// after its repair; the record itself is not changed. A record that is refused
// is a *Rejection, and dst comes back as it was.
func (p *Parser) AppendEvent(dst, record []byte) ([]byte, Event, error) {
	if len(record) > MaxRecord {
		return dst, Event{}, reject(TooLong, "the record has %d bytes, of %d at most", len(record), MaxRecord)
	}
	p.scanner.reset(record)
	usual := !p.declined && p.predictor.scan(&p.scanner)
	p.declined = false
	if !usual && !p.scanner.record() {
		return dst, Event{}, p.invalid()
	}
	return p.appendScanned(dst)
}

// AppendLine is AppendEvent for a record of the usual form that text begins with, if a
// newline follows it, after no more than commas, closing brackets and spaces. It returns the
// bytes of the line, which need not be looked for before; 0: AppendEvent has to take the
// record, and dst comes back as it was.
func (p *Parser) AppendLine(dst, text []byte) (out []byte, e Event, n int) {
	if p.declined = false; len(text) == 0 || text[0] != '{' {
		return dst, Event{}, 0
	}
	p.scanner.reset(text[:min(len(text), usualLine)])
	record, line, ok := p.predictor.line(&p.scanner)
	if p.declined = !ok; p.declined {
		return dst, Event{}, 0
	}
	p.scanner.data = text[:record]
	out, e, err := p.appendScanned(dst)
	if err != nil {
		return dst, Event{}, 0
	}
	return out, e, line
}

// usualLine is the most bytes of a line of the usual form: a scan may go beyond the end of
// an unusual one.
const usualLine = 64 << 10

// appendScanned appends the row of the record that was scanned.
func (p *Parser) appendScanned(dst []byte) ([]byte, Event, error) {
	s := &p.scanner
	record := s.data
	repaired := s.flags&batch.LoneSurrogate != 0
	if repaired {
		p.repair = append(p.repair[:0], record...)
		record = p.repair
		repairSurrogates(record)
		s.reset(record)
		s.record()
		p.predictor.marks = p.predictor.marks[:0]
	}
	if s.event.empty() || record[s.event.from] != '"' || s.event.to-s.event.from == 2 {
		return dst, Event{}, reject(NoEventName, "the record has no member \"event\" that is a string and not empty")
	}
	if s.properties.empty() || record[s.properties.from] != '{' {
		return dst, Event{}, reject(NoProperties, "the record has no member \"properties\" that is an object")
	}
	seconds, clock, err := p.time()
	if err != nil {
		return dst, Event{}, err
	}
	start := len(dst)
	dst = p.render(slices.Grow(dst, len(record)+rowRoom), seconds)
	e := Event{Time: seconds, Key: p.key(seconds), Flags: s.flags, Repaired: repaired, Clock: clock}
	if len(dst)-start > longRow {
		e.Flags |= batch.LongRow
	}
	return dst, e, nil
}

// tooDeep is the detail of a record that is refused as TooDeep.
const tooDeep = "the record is nested deeper than %d levels"

func reject(reason Reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// invalid returns the rejection of a record that does not scan. Invalid UTF-8 is
// named even if another fault comes before it.
func (p *Parser) invalid() error {
	if p.scanner.reason == InvalidUTF8 || !utf8.Valid(p.scanner.data) {
		return reject(InvalidUTF8, "the record is not UTF-8")
	}
	if p.scanner.reason == TooDeep {
		return reject(TooDeep, tooDeep, maxDepth)
	}
	if p.scanner.at >= len(p.scanner.data) {
		return reject(InvalidJSON, "the record ends before its JSON does")
	}
	return reject(InvalidJSON, "the record is not JSON: unexpected byte %q at %d", p.scanner.data[p.scanner.at], p.scanner.at)
}

// time reads properties.time: a number of seconds, or of milliseconds when it
// is too large for that.
func (p *Parser) time() (int64, Clock, error) {
	s := &p.scanner
	if s.time.empty() || string(s.data[s.time.from:s.time.to]) == "null" {
		return 0, 0, reject(NoTime, "properties.time must not be missing")
	}
	raw := s.data[s.time.from:s.time.to]
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, 0, reject(InvalidTime, "properties.time must be a number of seconds or milliseconds since 1970, and is %.40s", raw)
	}
	seconds, ok := integerSeconds(raw)
	p.asSent = ok && len(raw) == 10 && !p.times.Local
	if !ok {
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.Abs(f) > 1e17 {
			return 0, 0, reject(TimeOutOfRange, "properties.time is %.40s", raw)
		}
		if math.Abs(f) >= milliseconds {
			f /= 1000
		}
		seconds = int64(math.Floor(f))
	}
	var clock Clock
	if p.times.Zone != nil {
		if arrived, ok := integerSeconds(s.data[s.received.from:s.received.to]); ok && !s.received.empty() {
			clock = p.times.compare(seconds, arrived)
		}
		if p.times.Local {
			seconds = instant(seconds, p.times.Zone)
		}
	}
	if seconds > p.latest {
		// The clock is read only for a time later than all before.
		p.latest = p.now().Add(ahead).Unix()
	}
	if seconds < earliest || seconds > p.latest {
		return 0, 0, reject(TimeOutOfRange, "properties.time is %s, and must be from 1971-01-01 to an hour from now",
			time.Unix(seconds, 0).UTC().Format(time.RFC3339))
	}
	return seconds, clock, nil
}

// milliseconds is where a number of seconds would be in the year 5138: it is
// taken for milliseconds.
const milliseconds = 1e11

// integerSeconds reads a plain integer of at most 18 digits.
func integerSeconds(raw []byte) (int64, bool) {
	if len(raw) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if n >= milliseconds {
		n /= 1000
	}
	return n, true
}

// render appends the row.
func (p *Parser) render(dst []byte, seconds int64) []byte {
	s, o, start := &p.scanner, &p.outer, len(dst)
	dst = append(dst, textDevice...)
	dst = s.appendID(dst, s.device)
	o.distinct = len(dst) - start
	dst = append(dst, textDistinct...)
	dst = s.appendID(dst, s.distinct)
	o.event = len(dst) - start
	dst = append(dst, textEvent...)
	dst = append(dst, s.data[s.event.from:s.event.to]...)
	o.insert = len(dst) - start
	dst = append(dst, textInsert...)
	dst = s.appendID(dst, s.insert)
	o.properties = len(dst) - start
	dst = append(dst, textProperties...)
	dst = s.appendProperties(dst)
	o.time = len(dst) - start
	dst = append(dst, textTime...)
	if p.asSent {
		dst = append(dst, s.data[s.time.from:s.time.to]...)
	} else {
		dst = strconv.AppendInt(dst, seconds, 10)
	}
	o.user = len(dst) - start
	dst = append(dst, textUser...)
	dst = s.appendID(dst, s.user)
	return append(dst, "}\n"...)
}

// appendID appends an id: a string as it came, a number's text as a string,
// anything else as null.
func (s *scanner) appendID(dst []byte, id span) []byte {
	if id.empty() {
		return append(dst, "null"...)
	}
	raw := s.data[id.from:id.to]
	switch c := raw[0]; {
	case c == '"':
		return append(dst, raw...)
	case c == '-' || c >= '0' && c <= '9':
		dst = append(dst, '"')
		dst = append(dst, raw...)
		return append(dst, '"')
	default:
		return append(dst, "null"...)
	}
}

// appendProperties appends the property object without its tokens.
func (s *scanner) appendProperties(dst []byte) []byte {
	start := len(dst)
	from := s.properties.from
	for _, t := range s.tokens {
		if t.next != 0 {
			// The comma after a member goes with it.
			dst = append(dst, s.data[from:t.key.from]...)
			from = t.next
			continue
		}
		// The last member takes the comma before it.
		if t.previous >= from {
			dst = append(dst, s.data[from:t.previous]...)
		} else {
			dst = trimComma(dst, start)
		}
		from = t.value.to
	}
	dst = append(dst, s.data[from:s.properties.to]...)
	if s.lines {
		// Inside strings there are none: they would not be JSON.
		for i := start; i < len(dst); i++ {
			if dst[i] == '\n' || dst[i] == '\r' {
				dst[i] = ' '
			}
		}
	}
	return dst
}

// trimComma removes a comma that dst ends with, and white space after it.
func trimComma(dst []byte, start int) []byte {
	for i := len(dst) - 1; i > start; i-- {
		switch dst[i] {
		case ' ', '\t', '\n', '\r':
		case ',':
			return dst[:i]
		default:
			return dst
		}
	}
	return dst
}

// key is the dedup key: a hash of event name, time, distinct_id and insert_id,
// or, without insert_id, of the whole record.
func (p *Parser) key(seconds int64) [16]byte {
	s := &p.scanner
	if text, ok := s.plainKey(p.text[:0], seconds); ok {
		p.text = text
		return xxh3.Hash128(text).Bytes()
	}
	insert := s.id(s.insert)
	if len(insert) == 0 {
		return xxh3.Hash128(s.data[s.body.from:s.body.to]).Bytes()
	}
	// One id at a time: they share the memory for unescaped text.
	text := appendPart(p.text[:0], insert)
	text = appendPart(text, s.id(s.event))
	text = binary.LittleEndian.AppendUint64(text, uint64(seconds))
	distinct := s.id(s.distinct)
	if distinct == nil {
		text = append(text, 0xff)
	}
	p.text = appendPart(text, distinct)
	return xxh3.Hash128(p.text).Bytes()
}

// plainKey appends the text of which key is the hash, for an event whose parts are all
// there, are strings, and have no escapes.
func (s *scanner) plainKey(dst []byte, seconds int64) (text []byte, ok bool) {
	insert, distinct := s.inString(s.insert), s.inString(s.distinct)
	if len(insert) == 0 || len(distinct) == 0 {
		return dst, false
	}
	dst = appendPart(dst, insert)
	dst = appendPart(dst, s.inString(s.event))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(seconds))
	dst = appendPart(dst, distinct)
	// A backslash among the lengths and seconds only costs time.
	return dst, bytes.IndexByte(dst, '\\') < 0
}

// inString returns the text between the quotes of a string; nil for any other value.
func (s *scanner) inString(v span) []byte {
	if v.empty() || s.data[v.from] != '"' {
		return nil
	}
	return s.data[v.from+1 : v.to-1]
}

// appendPart appends a part with its length before it.
func appendPart(dst, part []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(part)))
	return append(dst, part...)
}

// id returns the unescaped text of a string or number, and nil for anything else.
// It is valid until the next call.
func (s *scanner) id(v span) []byte {
	if v.empty() {
		return nil
	}
	raw := s.data[v.from:v.to]
	switch c := raw[0]; {
	case c == '"':
		raw = raw[1 : len(raw)-1]
		if bytes.IndexByte(raw, '\\') < 0 {
			return raw
		}
		s.scratch[0] = unescape(s.scratch[0][:0], raw)
		return s.scratch[0]
	case c == '-' || c-'0' <= 9:
		return raw
	default:
		return nil
	}
}
