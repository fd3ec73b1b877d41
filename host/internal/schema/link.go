package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/sdk/batch"
)

// LinkVerb is the kind of record that made a link.
type LinkVerb string

// The verbs. Which of them count depends on the project's identity rules.
const (
	VerbLink     LinkVerb = "link"     // an event with $device_id and $user_id
	VerbIdentify LinkVerb = "identify" // $identify
	VerbAlias    LinkVerb = "alias"    // $create_alias
	VerbMerge    LinkVerb = "merge"    // $merge
)

// Link says that two ids are one person, as a client asked for it. Whether it
// holds is decided later, in the order in which links were sealed.
//
// Ids are unescaped (see Unescape), in the form that events have as distinct_id: a
// device is "$device:" and its id.
type Link struct {
	AnonymousID  string   // link: the device; identify: $anon_id; alias: alias; merge: the second id
	IdentifiedID string   // link: the user; identify: $identified_id; alias: distinct_id; merge: the first id
	Time         int64    // unix seconds: when the record was accepted, so that a day's links lie in the order in which they came
	Verb         LinkVerb // one of the above
}

// Key is the dedup key of the link's row. Time is not part of it: a repeated
// request is the same row, and so is the same link by another event of that
// day (keys are kept by day). Nothing is lost with a row that is dropped,
// because the second of two equal links never changes anything.
func (l Link) Key() [16]byte {
	var room [256]byte
	text := room[:0]
	for _, part := range [...]string{string(l.Verb), l.AnonymousID, l.IdentifiedID} {
		text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
	}
	return xxh3.Hash128(text).Bytes()
}

// The pieces of a link's row.
const (
	linkAnonymous  = `{"anonymous_id":`
	linkIdentified = `,"identified_id":`
	linkTime       = `,"time":`
	linkVerb       = `,"verb":"`
	linkEnd        = "\"}\n"
)

// AppendLink appends the row of a link, newline included:
//
//	{"anonymous_id":…,"identified_id":…,"time":…,"verb":…}
func AppendLink(dst []byte, l Link) []byte {
	dst = AppendText(append(dst, linkAnonymous...), l.AnonymousID)
	dst = AppendText(append(dst, linkIdentified...), l.IdentifiedID)
	dst = strconv.AppendInt(append(dst, linkTime...), l.Time, 10)
	dst = append(dst, linkVerb...)
	dst = append(dst, l.Verb...)
	return append(dst, linkEnd...)
}

// ParseLink reads a row that AppendLink wrote, with or without its newline. It
// takes the keys in their order only, and no white space. It allocates nothing
// but the two ids.
func ParseLink(line []byte) (Link, error) {
	r := NewRowReader(line)
	l := Link{
		AnonymousID:  r.Text(linkAnonymous),
		IdentifiedID: r.Text(linkIdentified),
		Time:         r.integer(linkTime),
		Verb:         r.verb(),
	}
	if err := r.End(linkEnd); err != nil {
		return Link{}, fmt.Errorf("read link: %w", err)
	}
	return l, nil
}

func (r *RowReader) verb() LinkVerb {
	r.literal(linkVerb)
	for _, v := range []LinkVerb{VerbLink, VerbIdentify, VerbAlias, VerbMerge} {
		if r.Literal(string(v)) {
			return v
		}
	}
	r.bad = true
	return ""
}

// The pieces of a mapping's row.
const (
	mappingID       = `{"distinct_id":`
	mappingResolved = `,"resolved_distinct_id":`
	mappingEnd      = "}\n"
)

// AppendMapping appends the row of an identity mapping, newline included:
//
//	{"distinct_id":…,"resolved_distinct_id":…}
func AppendMapping(dst []byte, id, resolved string) []byte {
	dst = AppendText(append(dst, mappingID...), id)
	dst = AppendText(append(dst, mappingResolved...), resolved)
	return append(dst, mappingEnd...)
}

// ParseMapping reads a row that AppendMapping wrote, with or without its
// newline.
func ParseMapping(line []byte) (id, resolved string, err error) {
	r := NewRowReader(line)
	id, resolved = r.Text(mappingID), r.Text(mappingResolved)
	if err := r.End(mappingEnd); err != nil {
		return "", "", fmt.Errorf("read mapping: %w", err)
	}
	return id, resolved, nil
}

// RowReader reads a row of a fixed form, piece by piece. End returns the error, if
// any piece was not in its form.
type RowReader struct {
	scanner scanner
	at      int
	bad     bool
}

// NewRowReader begins a row. It must not change while it is read.
func NewRowReader(line []byte) RowReader { return RowReader{scanner: scanner{data: line}} }

// Literal takes the text if it comes next, and reports whether it does.
func (r *RowReader) Literal(text string) bool {
	rest := r.scanner.data[r.at:]
	if len(rest) < len(text) || string(rest[:len(text)]) != text {
		return false
	}
	r.at += len(text)
	return true
}

func (r *RowReader) literal(text string) {
	if !r.Literal(text) {
		r.bad = true
	}
}

// Text takes the literal before a string, and the string.
func (r *RowReader) Text(before string) string {
	r.literal(before)
	data, i := r.scanner.data, r.at
	if r.bad || i >= len(data) || data[i] != '"' {
		r.bad = true
		return ""
	}
	end, escaped, ok := r.scanner.text(i)
	if !ok {
		r.bad = true
		return ""
	}
	r.at = end
	inside := data[i+1 : end-1]
	if escaped {
		inside = unescape(nil, inside)
	}
	return string(inside)
}

func (r *RowReader) integer(before string) int64 {
	r.literal(before)
	n := r.at
	for n < len(r.scanner.data) && (r.scanner.data[n]-'0' <= 9 || r.scanner.data[n] == '-') {
		n++
	}
	text := r.scanner.data[r.at:n]
	v, err := strconv.ParseInt(string(text), 10, 64)
	var room [20]byte
	if err != nil || !bytes.Equal(strconv.AppendInt(room[:0], v, 10), text) {
		r.bad = true // or spelt otherwise than AppendLink does
	}
	r.at = n
	return v
}

var errRow = errors.New("the row does not have its form")

// End takes the end of the row, whose newline may be missing. It fails unless every
// piece was in its form.
func (r *RowReader) End(end string) error {
	if !r.Literal(end) {
		r.literal(strings.TrimSuffix(end, "\n"))
	}
	if r.bad || r.at != len(r.scanner.data) {
		return errRow
	}
	return nil
}

// AppendText appends a JSON string: see AppendEscaped. Bytes that no JSON
// string stands for become U+FFFD.
func AppendText(dst []byte, text string) []byte {
	if !validText(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	return append(AppendEscaped(append(dst, '"'), text), '"')
}

// TextFlags returns the flags of a row that has a length in bytes and holds texts.
func TextFlags(length int, texts ...string) batch.Flags {
	var f batch.Flags
	if length > longRow {
		f |= batch.LongRow
	}
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 {
			f |= batch.NUL
		}
		if !utf8.ValidString(text) {
			f |= batch.LoneSurrogate
		}
	}
	return f
}
