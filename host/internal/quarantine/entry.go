package quarantine

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// MaxRecord is the most bytes of a record that an entry keeps. Of a longer
// record the first MaxRecord bytes are kept, and the entry is Truncated. It is
// more than any source takes for one record (1 MiB) and than a request's body
// has by default (10 MB), so that only bodies that are not JSON are truncated,
// and only where max_body was raised.
const MaxRecord = 16 << 20

// Entry is a record that was refused.
type Entry struct {
	ID       string    `json:"-"` // names the entry in its store; set by reads
	Sum      uint64    `json:"-"` // hash of the stored line; set by reads
	Time     time.Time `json:"time"`
	Source   string    `json:"source"`
	Position string    `json:"position"` // "events/a.ndjson at byte 4711"
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail,omitempty"`
	// Truncated means that Bytes are only the beginning of the record: it cannot
	// be replayed.
	Truncated bool `json:"truncated,omitempty"`
	// Size is the number of bytes of a truncated record as it came; 0 when its
	// source did not read to its end, or when Bytes are the whole record.
	Size  int64  `json:"size,omitempty"`
	Bytes []byte `json:"-"`
}

// line is an entry as it is stored: the record as text where that is possible.
type line struct {
	Entry
	Text   *string `json:"record,omitempty"`
	Base64 []byte  `json:"record_base64,omitempty"`
	// Counted stands for rows of a run of which nothing is kept, by reason.
	Counted map[string]int64 `json:"counted,omitempty"`
}

// maxText is the most bytes of an entry's texts: a destination may say
// anything as a reason.
const maxText = 4 << 10

// limit truncates an entry's record and texts.
func (e *Entry) limit() {
	for _, text := range []*string{&e.Position, &e.Reason, &e.Detail} {
		if len(*text) > maxText {
			*text = strings.ToValidUTF8((*text)[:maxText], "") + "…"
		}
	}
	if len(e.Bytes) <= MaxRecord {
		return
	}
	if !e.Truncated {
		e.Truncated, e.Size = true, int64(len(e.Bytes))
	}
	e.Bytes = e.Bytes[:MaxRecord]
}

// encode renders an entry as a line. It holds one copy of the record in memory.
func (e *Entry) encode() ([]byte, error) {
	head, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	const name, name64 = `,"record":"`, `,"record_base64":"`
	head = head[:len(head)-1] // the brace
	size := len(head) + len(name64) + len("\"}\n")
	if length, ok := textLength(e.Bytes); ok {
		data := append(append(make([]byte, 0, size+length), head...), name...)
		return append(appendText(data, e.Bytes), "\"}\n"...), nil
	}
	data := append(append(make([]byte, 0, size+base64.StdEncoding.EncodedLen(len(e.Bytes))), head...), name64...)
	return append(base64.StdEncoding.AppendEncode(data, e.Bytes), "\"}\n"...), nil
}

// escapeSlack is how many bytes longer than base64 a text may be.
const escapeSlack = 4 << 10

// textLength returns the length of a record as the text of a JSON string. ok is
// false when the record is not UTF-8, or so full of control characters that
// base64 is shorter: a line is never much longer than a third more than its
// record.
func textLength(record []byte) (length int, ok bool) {
	if !utf8.Valid(record) {
		return 0, false
	}
	for _, c := range record {
		switch {
		case c == '"' || c == '\\':
			length += 2
		case c < ' ':
			length += len(`\u0000`)
		default:
			length++
		}
	}
	return length, length <= base64.StdEncoding.EncodedLen(len(record))+escapeSlack
}

// appendText appends a record in UTF-8 as the text of a JSON string.
func appendText(dst, record []byte) []byte {
	const hex = "0123456789abcdef"
	from := 0
	for i, c := range record {
		if c != '"' && c != '\\' && c >= ' ' {
			continue
		}
		dst = append(dst, record[from:i]...)
		from = i + 1
		if c >= ' ' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, record[from:]...)
}

// decode is the inverse of encode. It keeps nothing of data.
func decode(data []byte) (l line, err error) {
	err = json.Unmarshal(data, &l)
	if l.Bytes = l.Base64; l.Text != nil {
		l.Bytes = []byte(*l.Text)
	}
	l.Text, l.Base64 = nil, nil
	l.Sum = xxh3.Hash(data)
	return l, err
}

// Count counts the entry alone.
func (e *Entry) Count() Count {
	if e.Truncated {
		return Count{Entries: 1, Truncated: 1}
	}
	return Count{Entries: 1}
}

// tally counts the records that a line stands for. The record itself is
// skipped.
func tally(data []byte, sum counts) error {
	var head struct {
		Reason    string           `json:"reason"`
		Truncated bool             `json:"truncated"`
		Counted   map[string]int64 `json:"counted"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(data), &head); err != nil {
		return err
	}
	if head.Counted == nil {
		one := Entry{Truncated: head.Truncated}
		sum.add(head.Reason, one.Count())
	}
	for reason, n := range head.Counted {
		sum.add(reason, Count{Counted: n})
	}
	return nil
}
