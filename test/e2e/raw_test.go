package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Bodies that clients send to /track are files of events: arrays, in one line
// or several, and single records, with the project's token among the
// properties.
func TestRawRequestsAreEvents(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	at := base.Unix()
	s.Write("events/array.json", fmt.Sprintf(`[
  {"event": "A", "properties": {"token":"tok-raw","distinct_id": "u","time": %d, "$insert_id": "i1"}},
  {"event": "B", "properties": {"time": %d123,"token":"tok-raw","$device_id": "d","distinct_id":"$device:d"}}
]`, at, at+1))
	s.Write("events/lines.ndjson", fmt.Sprintf(`{"event":"C","properties":{"distinct_id":"u","time":%d.75,"token":"tok-raw"}}
[{"event":"D","properties":{"token":"tok-raw","distinct_id":"u","time":%d}},{"event":"E","properties":{"token":"tok-raw","time":%d}}]
`, at+2, at+3, at+4))
	s.Once()
	var names []string
	for _, row := range s.Rows("out") {
		if strings.Contains(row, "tok-raw") {
			t.Errorf("the token is exported: %s", row)
		}
		_, rest, _ := strings.Cut(row, `"event_name":"`)
		name, _, _ := strings.Cut(rest, `"`)
		names = append(names, name)
	}
	if len(names) != 5 {
		t.Errorf("events %q", names)
	}
	for _, want := range []string{
		fmt.Sprintf(`{"device_id":null,"distinct_id":"u","event_name":"A","insert_id":"i1","properties":{"distinct_id": "u","time": %d, "$insert_id": "i1"},"time":%d,"user_id":null}`, at, at),
		fmt.Sprintf(`{"device_id":"d","distinct_id":"$device:d","event_name":"B","insert_id":null,"properties":{"time": %d123,"$device_id": "d","distinct_id":"$device:d"},"time":%d,"user_id":null}`, at+1, at+1),
	} {
		if !strings.Contains(strings.Join(s.Rows("out"), "\n"), want) {
			t.Errorf("%s is missing in\n%s", want, strings.Join(s.Rows("out"), "\n"))
		}
	}
}
