package ingest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// split gives the elements of a stream that becomes visible in steps.
func split(data []byte, step int) (elements []string, s *Splitter) {
	s = &Splitter{}
	var window []byte
	for len(data) > 0 {
		n := min(step, len(data))
		window, data = append(window, data[:n]...), data[n:]
		for {
			span, state := s.Next(window)
			if state == Incomplete {
				break
			}
			elements = append(elements, string(window[span.From:span.To]))
		}
		drop := s.At
		if start, open := s.InElement(); open {
			drop = start
		}
		window = window[drop:]
		s.Drop(drop)
	}
	return elements, s
}

func TestSplitter(t *testing.T) {
	for data, want := range map[string][]string{
		``:                                      nil,
		`[]`:                                    nil,
		`[{"a":"]}\""},{}]`:                     {`{"a":"]}\""}`, `{}`},
		"[\n {\n  \"a\": [1]\n },\n2 ]":         {"{\n  \"a\": [1]\n }", "2 "},
		`{"a":1}{"b":[{}]} {"c":2}`:             {`{"a":1}`, `{"b":[{}]}`, `{"c":2}`},
		`[{}][{"a":[]}]`:                        {`{}`, `{"a":[]}`},
		`["a,b",null,[1,[2]]]`:                  {`"a,b"`, `null`, `[1,[2]]`},
		"[{\"a\":\"x},\n{\"b\":1},\n{\"c\":1}]": {`{"a":"x},`, `{"b":1}`, `{"c":1}`}, // a quote is missing
	} {
		for _, step := range []int{1, 2, 3, 1000} {
			got, s := split([]byte(data), step)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in steps of %d (-want +got):\n%s", data, step, diff)
			}
			if _, open := s.InElement(); open || s.InArray() {
				t.Errorf("%s: something is open at the end", data)
			}
		}
	}
}

// FuzzSplitter: the elements of a valid array come back as they are, however
// the stream is cut, and nothing hangs.
func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{`[{"a":"]}\""},{}]`, "[\n {\n  \"a\": [1]\n },\n2 ]", `["a,b",null,[1,[2]]]`, `[{]}]`, "[\"\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		step = max(1, step%50)
		got, _ := split(data, step)
		whole, _ := split(data, len(data)+1)
		if diff := cmp.Diff(whole, got); diff != "" {
			t.Fatalf("in steps of %d (-whole +got):\n%s", step, diff)
		}
		var want []json.RawMessage
		if trimmed := strings.TrimSpace(string(data)); !strings.HasPrefix(trimmed, "[") || json.Unmarshal(data, &want) != nil {
			return
		}
		if len(want) != len(got) {
			t.Fatalf("%d elements of %d: %q", len(got), len(want), got)
		}
		for i := range want {
			if strings.TrimSpace(got[i]) != string(want[i]) {
				t.Fatalf("element %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}
