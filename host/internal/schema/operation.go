package schema

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Verb is the kind of change that an operation makes to a profile.
type Verb string

// The verbs.
const (
	Set     Verb = "$set"
	SetOnce Verb = "$set_once"
	Add     Verb = "$add"
	Append  Verb = "$append"
	Union   Verb = "$union"
	Remove  Verb = "$remove"
	Unset   Verb = "$unset"
	Delete  Verb = "$delete"
)

// verbs are all of them, so that a parsed one takes no memory of its own.
var verbs = [...]Verb{Set, SetOnce, Add, Append, Union, Remove, Unset, Delete}

// Reasons why an operation is refused, in addition to those of records.
const (
	NoProfileID      Reason = "no_distinct_id"
	UnknownOperation Reason = "unknown_operation"
	InvalidValue     Reason = "invalid_value"
)

// latestOperation is the last millisecond of the year 9999.
const latestOperation = 253402300799999

// Operation is a change of one profile. In the journal it is one line of kind
// profiles:
//
//	{"distinct_id":…,"operation":"$set","time":…,"last_seen":true,"value":…}
//
// with exactly these keys in this order. There is one line for each operation:
// distinct_id has one spelling (AppendEscaped), and the value is compact. Other
// than that the value keeps its bytes.
type Operation struct {
	// DistinctID is the unescaped id: see Unescape.
	DistinctID string
	Verb       Verb
	// Time is when it arrived, or its own time, in unix milliseconds.
	Time int64
	// LastSeen says that the profile's $last_seen moves to Time.
	LastSeen bool
	// Value is JSON:
	//
	//	$set, $set_once, $append  an object; here and below an empty list is one
	//	$add                      an object of numbers
	//	$union                    an object of arrays
	//	$remove                   an object of strings, numbers, booleans and nulls
	//	$unset                    an array of strings
	//	$delete                   anything; it is not looked at
	Value []byte
}

// Check validates an operation. One that is refused is a *Rejection.
func (o Operation) Check() error {
	switch {
	case o.DistinctID == "":
		return reject(NoProfileID, "the operation has no distinct_id, or an empty one")
	case !validText(o.DistinctID):
		return reject(InvalidUTF8, "distinct_id is not UTF-8")
	case o.Time < 0 || o.Time > latestOperation:
		return reject(TimeOutOfRange, "the operation's time is %d ms since 1970, and must be in the years 1970 to 9999", o.Time)
	case len(o.DistinctID)+len(o.Value) > MaxRecord:
		return reject(TooLong, "the operation has %d bytes, of %d at most", len(o.DistinctID)+len(o.Value), MaxRecord)
	}
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.reset(o.Value)
	if !s.only() {
		return invalidValue(s)
	}
	value := o.Value[s.body.from:s.body.to]
	if o.Verb.takesObject() && emptyList(value) {
		return nil // AppendOperation makes an object of it
	}
	if !compact(value) {
		value = Compact(nil, value)
	}
	return o.Verb.check(value)
}

// only scans data as one value of any kind and nothing after it.
func (s *scanner) only() bool {
	i := s.space(0)
	if i == len(s.data) {
		return s.fail(InvalidJSON, i)
	}
	end, ok := s.value(i)
	if !ok {
		return false
	}
	if end = s.space(end); end != len(s.data) {
		return s.fail(InvalidJSON, end)
	}
	return true
}

var scanners = sync.Pool{New: func() any { return &scanner{} }}

func invalidValue(s *scanner) error {
	if s.reason == InvalidUTF8 {
		return reject(InvalidUTF8, "the operation's value is not UTF-8")
	}
	if s.reason == TooDeep {
		return reject(TooDeep, "the operation's value is nested deeper than %d levels", maxDepth)
	}
	return reject(InvalidJSON, "the operation's value is not JSON, from byte %d on", s.at)
}

// check refuses a value whose shape does not fit the verb.
func (v Verb) check(value []byte) error {
	member := func([]byte) bool { return true }
	want := ""
	switch v {
	case Set, SetOnce, Append:
		want = "an object"
	case Add:
		member, want = isNumber, "an object of numbers"
	case Union:
		member, want = func(value []byte) bool { return value[0] == '[' }, "an object of lists"
	case Remove:
		member, want = func(value []byte) bool { return value[0] != '[' && value[0] != '{' }, "an object of strings, numbers, booleans and nulls"
	case Unset:
		if !listOfStrings(value) {
			return reject(InvalidValue, "the value of $unset must be a list of property names, and is %.40s", value)
		}
		return nil
	case Delete:
		return nil
	default:
		return reject(UnknownOperation, "%.40q is not an operation", string(v))
	}
	if value[0] != '{' {
		return reject(InvalidValue, "the value of %s must be %s, and is %.40s", v, want, value)
	}
	var wrong, its []byte
	Members(value, func(name, value []byte) bool {
		if !member(value) {
			wrong, its = name, value
		}
		return its == nil
	})
	if its != nil {
		return reject(InvalidValue, "the value of %s must be %s, and \"%.40s\" is %.40s", v, want, wrong, its)
	}
	return nil
}

// takesObject reports whether the value of a verb is an object.
func (v Verb) takesObject() bool {
	switch v {
	case Set, SetOnce, Add, Append, Union, Remove:
		return true
	}
	return false
}

// emptyList reports whether value is a list without elements. PHP encodes an
// empty object so: its arrays are both.
func emptyList(value []byte) bool {
	const space = " \t\r\n"
	inner, ok := bytes.CutPrefix(bytes.TrimLeft(value, space), []byte("["))
	return ok && bytes.HasPrefix(bytes.TrimLeft(inner, space), []byte("]"))
}

func isNumber(value []byte) bool { return value[0] == '-' || value[0]-'0' <= 9 }

func listOfStrings(value []byte) bool {
	if value[0] != '[' {
		return false
	}
	strings := true
	Elements(value, func(value []byte) bool {
		strings = value[0] == '"'
		return strings
	})
	return strings
}

// AppendOperation appends the row of an operation that passes Check, with a
// newline.
func AppendOperation(dst []byte, o Operation) []byte {
	dst = append(dst, operationID...)
	dst = AppendEscaped(dst, o.DistinctID)
	dst = append(dst, operationVerb...)
	dst = append(dst, o.Verb...)
	dst = append(dst, operationTime...)
	dst = strconv.AppendInt(dst, o.Time, 10)
	dst = append(dst, operationLastSeen...)
	dst = strconv.AppendBool(dst, o.LastSeen)
	dst = append(dst, operationValue...)
	if o.Verb.takesObject() && emptyList(o.Value) {
		dst = append(dst, "{}"...)
	} else {
		dst = Compact(dst, o.Value)
	}
	return append(dst, operationEnd...)
}

// The pieces of an operation's row, between its values.
const (
	operationID       = `{"distinct_id":"`
	operationVerb     = `","operation":"`
	operationTime     = `","time":`
	operationLastSeen = `,"last_seen":`
	operationValue    = `,"value":`
	operationEnd      = "}\n"
)

// OperationKey returns the dedup key of an operation's row. id identifies the
// operation within the project: a request that is sent again has the same ids, and
// two operations of one request have different ones.
func OperationKey(id, row []byte) [16]byte {
	var text [64]byte
	sum := xxh3.Hash128(row).Bytes()
	all := binary.AppendUvarint(text[:0], uint64(len(id)))
	all = append(all, id...)
	return xxh3.Hash128(append(all, sum[:]...)).Bytes()
}

// OperationRow is a row that is taken apart and not validated.
type OperationRow struct {
	ID       []byte // the inside of the string, as it is written
	Verb     Verb
	Time     int64
	LastSeen bool
	Value    []byte
}

// SplitOperation takes a row apart, its newline included. The value is only
// found, not looked at.
func SplitOperation(line []byte) (OperationRow, error) {
	var o OperationRow
	rest, ok := bytes.CutPrefix(line, []byte(operationID))
	end := -1
	if ok {
		end = skipString(line, len(operationID)-1)
	}
	if end < 0 {
		return o, notARow("distinct_id")
	}
	o.ID = rest[:end-1-len(operationID)]
	if rest, ok = bytes.CutPrefix(line[end-1:], []byte(operationVerb)); !ok {
		return o, notARow("operation")
	}
	verb, rest, ok := bytes.Cut(rest, []byte(operationTime))
	if o.Verb = known(verb); !ok || o.Verb == "" {
		return o, notARow("operation")
	}
	time, rest, ok := bytes.Cut(rest, []byte(operationLastSeen))
	if o.Time, ok = parseTime(time, ok); !ok {
		return o, notARow("time")
	}
	seen, rest, ok := bytes.Cut(rest, []byte(operationValue))
	o.LastSeen = string(seen) == "true"
	if !ok || !o.LastSeen && string(seen) != "false" {
		return o, notARow("last_seen")
	}
	if o.Value, ok = bytes.CutSuffix(rest, []byte(operationEnd)); !ok || len(o.Value) == 0 {
		return o, notARow("value")
	}
	return o, nil
}

func notARow(part string) error {
	return reject(InvalidJSON, "the line is not a row of a profile operation: its %s is missing, misplaced or invalid", part)
}

func known(verb []byte) Verb {
	for _, v := range verbs {
		if string(verb) == string(v) {
			return v
		}
	}
	return ""
}

// parseTime reads a time that is written as rows have it.
func parseTime(text []byte, ok bool) (int64, bool) {
	if !ok || len(text) == 0 || len(text) > len("253402300799999") || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	var n int64
	for _, c := range text {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n <= latestOperation
}

// ParseOperation reads a row, its newline included, and accepts only the
// bytes that AppendOperation writes for an operation that passes Check. The value is a part
// of line.
func ParseOperation(line []byte) (Operation, error) {
	row, err := SplitOperation(line)
	if err != nil {
		return Operation{}, err
	}
	o := Operation{Verb: row.Verb, Time: row.Time, LastSeen: row.LastSeen, Value: row.Value}
	// The whole line is JSON if its parts are: distinct_id is validated with it.
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.reset(line)
	if !s.record() {
		return Operation{}, invalidValue(s)
	}
	o.DistinctID = Unescape(row.ID)
	if bytes.IndexByte(row.ID, '\\') >= 0 && string(AppendEscaped(nil, o.DistinctID)) != string(row.ID) {
		return Operation{}, notARow("distinct_id")
	}
	// Other members could follow the value, as far as JSON is concerned.
	if SkipValue(row.Value, 0) != len(row.Value) || !compact(row.Value) {
		return Operation{}, notARow("value")
	}
	switch {
	case o.DistinctID == "":
		return Operation{}, reject(NoProfileID, "the operation has an empty distinct_id")
	case len(o.DistinctID)+len(o.Value) > MaxRecord:
		return Operation{}, reject(TooLong, "the operation has %d bytes, of %d at most", len(o.DistinctID)+len(o.Value), MaxRecord)
	}
	return o, o.Verb.check(o.Value)
}

// RowFlags validates a row, its newline included or not, and returns its flags.
func RowFlags(row []byte) (batch.Flags, error) {
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.reset(row)
	if !s.record() {
		return 0, reject(s.reason, "the row is not JSON, from byte %d on", s.at)
	}
	flags := s.flags
	if len(row) > longRow {
		flags |= batch.LongRow
	}
	return flags, nil
}
