package ingest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// split returns the elements of a stream that becomes visible in steps, and then
// ends.
func split(data []byte, step int) (elements []string, s *Splitter) {
	return splitWith(Resume(false), data, step)
}

func splitWith(s *Splitter, data []byte, step int) ([]string, *Splitter) {
	var elements []string
	var window []byte
	for end := false; !end; {
		n := min(step, len(data))
		window, data = append(window, data[:n]...), data[n:]
		end = len(data) == 0
		for {
			span, state := s.Next(window, end)
			if state == Incomplete {
				break
			}
			element := string(window[span.From:span.To])
			if state == TooLong {
				element = fmt.Sprintf("%.10s… too long", element)
			}
			elements = append(elements, element)
		}
		drop := s.At
		if start, open := s.InElement(); open {
			drop = start
		}
		window = append([]byte(nil), window[drop:]...)
		s.Drop(drop)
	}
	return elements, s
}

func TestSplitter(t *testing.T) {
	const event, other = `{"event":"a","properties":{"b":["c"]}}`, `{"event":"o"}`
	torn := func(event string) []string { return []string{event, other} }
	for data, want := range map[string][]string{
		``:                                nil,
		`[]`:                              nil,
		`[{"a":"]}\""},{}]`:               {`{"a":"]}\""}`, `{}`},
		"[\n {\n  \"a\": [1]\n },\n2 ]":   {"{\n  \"a\": [1]\n }", "2"},
		`{"a":1}{"b":[{}]} {"c":2}`:       {`{"a":1}`, `{"b":[{}]}`, `{"c":2}`},
		`[{}][{"a":[]}]`:                  {`{}`, `{"a":[]}`},
		`[{"a":1},null,{"b":1}]`:          {`{"a":1}`, `null`, `{"b":1}`},
		`[[{"a":1}],[{"b":1}]]`:           {`{"a":1}`, `{"b":1}`},
		"[{\"a\":\"\xff\"},{}]":           {"{\"a\":\"\xff\"}", `{}`},
		"[\n{\"a\":1},\n{\"b\":1}\n]\n[]": {`{"a":1}`, `{"b":1}`},

		// A quote is missing.
		"[{\"a\":\"x},\n{\"b\":1},\n{\"c\":1}]": {`{"a":"x}`, `{"b":1}`, `{"c":1}`},
		`[{"event":"x,"p":"y"},` + other + `]`:  torn(`{"event":"x,"p":"y"}`),
		`[{"x":1,"event:"y"},{"x":2}]`:          {`{"x":1,"event:"y"}`, `{"x":2}`},
		// A bracket is missing, or there is another.
		`[{"event":"a","properties":{"b":["c"]},` + other + `]`:           torn(`{"event":"a","properties":{"b":["c"]}`),
		`[{"event":"a","properties":{"b":["c"}},` + other + `]`:           torn(`{"event":"a","properties":{"b":["c"}}`),
		`[{"event":"a","properties":{"b":[{"x":1},` + other + `]`:         torn(`{"event":"a","properties":{"b":[{"x":1}`),
		`[` + event + `},` + other + `]`:                                  {event, `}`, other},
		`[` + event + `,` + other + ",\n{\"event\":\"b\",\"p\":{\"c\":1]": {event, other, "{\"event\":\"b\",\"p\":{\"c\":1]"},
		// A line is cut, at each place.
		`[` + event + `,{"event":"a","pr` + "\n[" + other + "]":     {event, `{"event":"a","pr`, other},
		`[` + event + `,{"event":"a",` + "\n[" + other + "]":        {event, `{"event":"a"`, other},
		`[` + event + `,{"event":"a"` + "\n[" + other + "]":         {event, `{"event":"a"`, other},
		`[` + event + `,` + "\n[" + other + "]":                     {event, other},
		`[` + event + "\n[" + other + "]":                           {event, other},
		`[` + "\n[" + other + "]":                                   {other},
		`[{"event":"a","p":"b` + `{"event":"o"}]`:                   torn(`{"event":"a","p":"b`),
		"[{\"x\":\n [1\n  {\"event\":\"o\"}]":                       torn("{\"x\":\n [1"),
		`[{"x":"` + event[2:20] + "\n,\n" + other + "\n,{\"z\":2}]": {`{"x":"` + event[2:20], other, `{"z":2}`},
		// JSON is wrong, and its brackets are not.
		`[{"event":NaN,"items":[{"n":1},{"n":2}]},` + other + `]`:                          torn(`{"event":NaN,"items":[{"n":1},{"n":2}]}`),
		`[{"z":01},{"z":{"y":2}}]`:                                                         {`{"z":01}`, `{"z":{"y":2}}`},
		`[{"z":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `},{"y":{}}]`: {`{"z":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, `{"y":{}}`},
		// Text that is not JSON.
		"[2026-11-28 12:00] {started} \"x, y\n" + other + "\nnonsense\n" + other: {"2026-11-28 12:00] {started} \"x, y", other, "nonsense", other},
	} {
		for _, step := range []int{1, 2, 3, 1 << 20} {
			if len(data) > 1000 {
				step *= 1000
			}
			got, s := split([]byte(data), step)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%.200s in steps of %d (-want +got):\n%s", data, step, diff)
			}
			if _, open := s.InElement(); open || s.InArray() && strings.HasSuffix(data, "]") {
				t.Errorf("%.200s: open at the end", data)
			}
		}
	}
}

// Records of which the end is missing stay open until the stream is final, and
// then as well: more may come.
func TestSplitterWaits(t *testing.T) {
	for _, data := range []string{`[{"a":"x`, `[{"a":"\`, `[{"a":"\u00`, `[{"a":tr`, `[{"a":-`, `[{"a":[1,2`, `[{"a":1`, `[{`} {
		got, s := split([]byte(`{}`+data), 1)
		if start, open := s.InElement(); len(got) != 1 || !open || start != 0 {
			t.Errorf("%s: %q, open %v at %d", data, got, open, start)
		}
	}
	// It is only torn where another record follows.
	if got, s := split([]byte(`[{"event":[1,{"event":2},{"event":3`), 100); len(got) != 2 || got[0] != `{"event":[1` {
		t.Errorf("%q, open %v", got, s.inside)
	}
}

// An element that is too long is passed over, in a window that stays small.
func TestSplitterPassesOverLongElements(t *testing.T) {
	const other = `{"x":"o"}`
	fill := strings.Repeat(`"y]}{",`, 300_000)
	for name, test := range map[string]struct {
		data string
		want []string
	}{
		"whole":            {`[{"x":[` + fill + `1]},` + other + `]`, []string{`{"x":["y]}… too long`, other}},
		"without end":      {`[{"x":[` + fill + "\n[" + other + `]`, []string{`{"x":["y]}… too long`, other}},
		"with a record in": {`[{"x":[` + fill + `{"x":1}]},` + other + `]`, []string{`{"x":["y]}… too long`, `{"x":1}`, `}`, other}},
		"at the end":       {`[{"x":[` + fill, []string{`{"x":["y]}… too long`}},
		"text":             {"[" + strings.Repeat("x", 3<<20) + ",{\"x\":\"o\"}", []string{"xxxxxxxxxx… too long", other}},
	} {
		for _, step := range []int{100_000, 100_001} {
			got, _ := split([]byte(test.data), step)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%.400s", name, diff)
			}
		}
	}
}

// A hostile stream, in which each element breaks far from where the next one
// begins, takes time in proportion to its length.
func TestSplitterIsLinear(t *testing.T) {
	data := []byte(strings.Repeat(`[{"event":`, 400_000))
	s, dropped, scanned := Resume(false), 0, 0
	for len(data) > 0 {
		window := data[:min(len(data), schema.MaxRecord+1)]
		for {
			_, state := s.Next(window, len(window) == len(data))
			if state == Incomplete {
				break
			}
		}
		scanned += scannedAgain - s.again
		drop := s.At
		if start, open := s.InElement(); open {
			drop = start
		}
		if dropped += drop; len(window) == len(data) {
			break
		}
		data = data[drop:]
		s.Drop(drop)
	}
	if dropped < 3_000_000 || scanned > 5*scannedAgain {
		t.Errorf("%d bytes are done, %d scanned again", dropped, scanned)
	}
}

// Whatever is cut out of a line of an array of records, the records of all other
// lines are found.
func TestEachTornLineCostsItself(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for seed := range 600 {
		var data strings.Builder
		want := map[string]bool{}
		torn := r.IntN(20)
		for line := range 20 {
			var text []string
			for n := range 1 + r.IntN(3) {
				e := fmt.Sprintf(`{"event":"%d.%d","properties":{"a":[{"b":"}]"},{"c":"\""}],"d":{"e":%d}}}`, line, n, n)
				text = append(text, e)
				if line != torn {
					want[e] = true
				}
			}
			l := "[" + strings.Join(text, ",") + "]"
			if seed%2 == 0 { // one array over all lines
				l = strings.Trim(l, "[]") + ","
			}
			if line == torn {
				from := r.IntN(len(l))
				l = l[:from] + l[from+r.IntN(len(l)-from):]
			}
			data.WriteString(l + "\n")
		}
		text := data.String()
		if seed%2 == 0 {
			text = "[\n" + text + "{}]\n"
		}
		got, _ := split([]byte(text), 40+r.IntN(600))
		for _, e := range got {
			delete(want, e)
		}
		if len(want) > 0 {
			t.Fatalf("%d records are missing, such as %v, in\n%s\ngot\n%s", len(want), want, text, strings.Join(got, "\n"))
		}
	}
}

// FuzzSplitter: the objects of a valid array come back as they are, however the
// stream is cut, and nothing hangs.
func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{`[{"a":"]}\""},{}]`, "[\n {\n  \"a\": [1]\n },\n2 ]", `["a,b",null,[1,[2]]]`, `[{]}]`, "[\"\n", `[{"event":1,{"event":"\ud8`, "[{\n[{\n{"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if len(data) > 1000 {
			return // small steps take quadratic time
		}
		step = max(1, step%50)
		got, _ := split(data, step)
		whole, _ := split(data, len(data)+1)
		if diff := cmp.Diff(whole, got); diff != "" {
			t.Fatalf("in steps of %d (-whole +got):\n%s", step, diff)
		}
		var want []json.RawMessage
		if json.Unmarshal(data, &want) != nil {
			return
		}
		for i := range want {
			if want[i][0] != '{' {
				return
			}
		}
		if len(want) != len(got) {
			t.Fatalf("%d elements of %d: %q", len(got), len(want), got)
		}
		for i := range want {
			if got[i] != string(want[i]) {
				t.Fatalf("element %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}
