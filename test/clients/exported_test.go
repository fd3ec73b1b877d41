package clients

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// made is an insert id that the host made.
var made = regexp.MustCompile(`^[A-Za-z]{36}$`)

// columns are those of an events row, in their order.
var columns = regexp.MustCompile(`^\{"device_id":.*,"distinct_id":.*,"event_name":.*,"insert_id":.*,"properties":\{.*\},"time":[0-9]+,"user_id":.*\}$`)

// events are the rows that were exported, described as those that were sent.
func (s *shop) events(project string) []string {
	s.t.Helper()
	var rows []string
	for _, row := range s.Rows("out/" + project + "/mp_master_event") {
		_, line, _ := strings.Cut(row, " ")
		rows = append(rows, s.describeRow(line))
	}
	slices.Sort(rows)
	return rows
}

func (s *shop) describeRow(line string) string {
	t := s.t
	t.Helper()
	var row struct {
		Device     *string                    `json:"device_id"`
		Distinct   *string                    `json:"distinct_id"`
		Name       string                     `json:"event_name"`
		Insert     string                     `json:"insert_id"`
		Properties map[string]json.RawMessage `json:"properties"`
		Time       json.Number                `json:"time"`
		User       *string                    `json:"user_id"`
	}
	if err := json.Unmarshal([]byte(line), &row); err != nil || !columns.MatchString(line) {
		t.Fatalf("%v in %s", err, line)
	}
	insert, at := row.Insert, row.Time.String()
	switch own := row.Properties["$insert_id"]; {
	case made.MatchString(insert) && textOf(own) == insert:
		delete(row.Properties, "$insert_id")
		fallthrough
	case made.MatchString(insert):
		insert = "made"
	case textOf(own) != insert:
		t.Errorf("the insert id is not that of the properties: %s", line)
	}
	if _, sent := row.Properties["time"]; !sent {
		if seconds, _ := row.Time.Int64(); seconds < s.began.Unix() || seconds > time.Now().Unix() {
			t.Errorf("the time is not that of arrival: %s", line)
		}
		at = "arrival"
	}
	imported := string(row.Properties["$import"]) == "true"
	if host := textOf(row.Properties["$mp_api_endpoint"]); host != "127.0.0.1" {
		t.Errorf("$mp_api_endpoint is %q in %s", host, line)
	}
	for _, name := range []string{"$mp_api_timestamp_ms", "mp_processing_time_ms"} {
		var ms int64
		if err := json.Unmarshal(row.Properties[name], &ms); err != nil || ms < s.began.UnixMilli() || ms > time.Now().UnixMilli() {
			t.Errorf("%s is not a time of this test: %s", name, line)
		}
	}
	var size int
	if err := json.Unmarshal(row.Properties["$mp_event_size"], &size); err != nil || size <= 0 {
		t.Errorf("$mp_event_size is not a size: %s", line)
	}
	for _, name := range added {
		delete(row.Properties, name)
	}
	return describe(row.Name, text(row.Device), text(row.Distinct), text(row.User), insert, at, imported, row.Properties)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// same fails the test unless exported and sent records are equal, each once.
func same(t *testing.T, what string, exported, sent []string) {
	t.Helper()
	for len(exported) > 0 || len(sent) > 0 {
		switch {
		case len(sent) == 0 || len(exported) > 0 && exported[0] < sent[0]:
			t.Errorf("%s: exported, and not sent, or once more than it was: %s", what, exported[0])
			exported = exported[1:]
		case len(exported) == 0 || sent[0] < exported[0]:
			t.Errorf("%s: sent, and not exported: %s", what, sent[0])
			sent = sent[1:]
		default:
			exported, sent = exported[1:], sent[1:]
		}
	}
}
