package clients

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// event is a record of an event: as a client sent it.
type event struct {
	name       string
	properties map[string]json.RawMessage
	imported   bool
}

// records are the JSON texts of the records that an exchange brought.
func (e exchange) records(t *testing.T) []json.RawMessage {
	t.Helper()
	text := e.body
	if e.header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err == nil {
			text, err = io.ReadAll(z)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", e.method, e.path, err)
		}
	}
	if len(text) == 0 || text[0] != '[' && text[0] != '{' {
		form := string(text)
		if e.method == "GET" {
			form = e.query
		}
		pairs, err := url.ParseQuery(form)
		if err != nil {
			t.Fatalf("%s %s: %v in %s", e.method, e.path, err, form)
		}
		text = unpack(t, pairs.Get("data"))
	}
	return split(t, text)
}

// split splits an array of records, or records one after another.
func split(t *testing.T, text []byte) []json.RawMessage {
	t.Helper()
	var all []json.RawMessage
	for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
		var value json.RawMessage
		err := d.Decode(&value)
		if err == nil && value[0] == '[' {
			var elements []json.RawMessage
			err = json.Unmarshal(value, &elements)
			all = append(all, elements...)
		} else {
			all = append(all, value)
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	return all
}

// unpack reads the parameter data: JSON, or its base64 with a space for each
// plus.
func unpack(t *testing.T, data string) []byte {
	t.Helper()
	if strings.HasPrefix(data, "[") || strings.HasPrefix(data, "{") {
		return []byte(data)
	}
	data = strings.TrimRight(strings.NewReplacer(" ", "+", "-", "+", "_", "/", "\n", "").Replace(data), "=")
	text, err := base64.RawStdEncoding.DecodeString(data)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return repaired(text)
}

// repaired joins the two surrogates of three bytes each that mixpanel-browser makes
// of a character beyond the basic plane before it encodes base64. A half alone
// becomes the replacement character.
func repaired(text []byte) []byte {
	half := func(i int) rune {
		if i+2 < len(text) && text[i] == 0xed && text[i+1] >= 0xa0 {
			return 0xd000 | rune(text[i+1]&0x3f)<<6 | rune(text[i+2]&0x3f)
		}
		return 0
	}
	var b []byte
	for i := 0; i < len(text); {
		r := half(i)
		if r == 0 {
			b = append(b, text[i])
			i++
			continue
		}
		i += 3
		if whole := utf16.DecodeRune(r, half(i)); whole != utf8.RuneError {
			r = whole
			i += 3
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

// events are those that clients sent to a project and the host has taken, as
// they should be exported. Events that were sent again are there once.
func (r *relay) events(t *testing.T, token string) []string {
	t.Helper()
	once := map[string]bool{}
	var rows []string
	for _, e := range r.all() {
		path := strings.Trim(e.path, "/")
		if e.method == "OPTIONS" || path != "track" && path != "import" {
			continue
		}
		refused := e.refused(t)
		for i, text := range e.records(t) {
			sent := parseEvent(t, text)
			sent.imported = path == "import"
			row := sent.row(token == shopToken)
			to := textOf(sent.properties["token"])
			if to == "" {
				to = shopToken // by its credentials
			}
			if to != token || refused(i) || once[row] && sent.properties["$insert_id"] != nil {
				continue
			}
			once[row] = true
			rows = append(rows, row)
		}
	}
	slices.Sort(rows)
	return rows
}

// refused says which of an exchange's records the host has not taken, as far
// as it has said so.
func (e exchange) refused(t *testing.T) func(index int) bool {
	t.Helper()
	var answer struct {
		Imported int                   `json:"num_records_imported"`
		Failed   []struct{ Index int } `json:"failed_records"`
	}
	if e.status == 400 && json.Unmarshal(e.answer, &answer) == nil && answer.Imported > 0 {
		return func(index int) bool {
			return slices.ContainsFunc(answer.Failed, func(f struct{ Index int }) bool { return f.Index == index })
		}
	}
	return func(int) bool { return e.status != 200 || string(e.answer) == "0" }
}

func parseEvent(t *testing.T, text []byte) event {
	t.Helper()
	var e struct {
		Event      string
		Properties map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return event{name: e.Event, properties: e.Properties}
}

// textOf is the text of a string or number.
func textOf(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// The properties that a server adds, and those that it does not keep.
var (
	added = []string{"$import", "$mp_api_endpoint", "$mp_api_timestamp_ms", "$mp_event_size", "mp_processing_time_ms"}
	taken = []string{"token", "ip"}
)

var wellFormed = regexp.MustCompile(`^[A-Za-z0-9-]{1,36}$`)

// row describes the row that the event should become: the columns, then each
// property, byte by byte. Ids that the host makes are "made", the time of
// arrival is "arrival".
func (e event) row(simplified bool) string {
	properties := maps.Clone(e.properties)
	for _, name := range slices.Concat(added, taken) {
		delete(properties, name)
	}
	for name, value := range properties {
		properties[name] = withoutHalves(value)
	}
	device, user := textOf(properties["$device_id"]), textOf(properties["$user_id"])
	distinct := textOf(properties["distinct_id"])
	if simplified {
		device = strings.TrimPrefix(device, "$device:")
		switch rest, anonymous := strings.CutPrefix(distinct, "$device:"); {
		case user != "":
			distinct = user
		case device != "":
			distinct = "$device:" + device
		case anonymous:
			device = rest
			properties["$device_id"] = quoted(rest)
		case distinct != "":
			user = distinct
			properties["$user_id"] = properties["distinct_id"]
		}
	}
	if !simplified && e.name == "$identify" && distinct == "" {
		distinct = textOf(properties["$identified_id"])
	}
	insert := textOf(properties["$insert_id"])
	if !wellFormed.MatchString(insert) {
		insert = "made"
	}
	at := "arrival"
	if sent, ok := properties["time"]; ok {
		seconds, err := strconv.ParseFloat(string(sent), 64)
		if err != nil {
			at = "not a time: " + string(sent)
		} else {
			if seconds >= 1e11 {
				seconds /= 1000
			}
			at = strconv.FormatInt(int64(math.Floor(seconds)), 10)
		}
	}
	return describe(e.name, device, distinct, user, insert, at, e.imported, properties)
}

// escapes are the escapes of JSON strings: two surrogates that are one character,
// a surrogate that is not, and all others.
var escapes = regexp.MustCompile(`\\u[dD][89abAB][[:xdigit:]]{2}\\u[dD][c-fC-F][[:xdigit:]]{2}|\\u[dD][89a-fA-F][[:xdigit:]]{2}|\\.`)

// withoutHalves is JSON in which U+FFFD stands for each surrogate that is alone.
func withoutHalves(value json.RawMessage) json.RawMessage {
	return escapes.ReplaceAllFunc(value, func(escape []byte) []byte {
		if len(escape) == len(`\ud83d`) {
			return []byte(`\ufffd`)
		}
		return escape
	})
}

func quoted(text string) json.RawMessage {
	encoded, _ := json.Marshal(text) // there is nothing in strings that fails
	return encoded
}

func describe(name, device, distinct, user, insert, at string, imported bool, properties map[string]json.RawMessage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q device=%q distinct=%q user=%q insert=%s time=%s import=%v", name, device, distinct, user, insert, at, imported)
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&b, "\n\t%q: %s", key, properties[key])
	}
	return b.String()
}
