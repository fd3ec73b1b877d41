package ingest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// splitStrictly is split with a splitter that asks no outline.
func splitStrictly(data []byte, step int) []string {
	elements, _ := splitWith(&Splitter{again: scannedAgain, strict: true}, data, step)
	return elements
}

const longEvent = `{"event":"Page View","properties":{"time":1780000000,"distinct_id":"user-3","items":[{"sku":"a"},{"sku":"b}]"}],"url":"https:\/\/a.example\/{x}?q=\"y\""}}`

// The outline of these objects decides their end; that of the others does not.
func TestOutline(t *testing.T) {
	after := `,{"event":"next one"}` + strings.Repeat(" ", 64)
	for _, object := range []string{
		longEvent,
		`{}`,
		`{"a":"x}","b":[1]}`,
		`{"a":"\\","b":"\\\"}","c":[{"d":[{"e":"}"}]}]}`,
		`{"a":nul}`,
		`{"a":"` + strings.Repeat(`\\`, 100) + `"}`,
		`{"a":"` + strings.Repeat(`x`, 57) + `\"}` + strings.Repeat("y", 60) + `"}`,
	} {
		if n := outline([]byte(object + after)); n != len(object) {
			t.Errorf("%s: %d bytes, want %d", object, n, len(object))
		}
	}
	for _, object := range []string{
		`{"a":[{"event":1}]}`,     // could be a record
		`{"a":[{"b":1},{"a":2}]}`, // has the same first key
		`{"a":"x{"event":1}"}`,    // and is not JSON
		"{\"a\":1,\n\"b\":2}",     // has lines
		"{\"a\":\"\x00\"}",        // has a hole
		`{"a":\"x\"}`,             // a backslash outside of a string
		`{"a":[1}]`,               // is closed by another bracket
		`{"a":Y}`,                 // letters that the mask takes for brackets
		`{"a":[1,2`,               // is open
		`{"a":[{` + strings.Repeat(" ", 300) + `"b":1}]}`, // a key that is far away
	} {
		if n := outline([]byte(object + after)); n != 0 {
			t.Errorf("%s: %d bytes, want no decision", object, n)
		}
	}
	for n := range len(longEvent) + 16 {
		if got := outline([]byte((longEvent + strings.Repeat(" ", 64))[:n])); got != 0 {
			t.Errorf("%d bytes with %d to come: %d", n, len(longEvent)+16-n, got)
		}
	}
}

// Whatever happens to a stream, the elements are those of a strict scan.
func TestOutlineIsStrict(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{
		`{"event":"a"}`, `,`, `[`, `]`, "\n", `{`, `}`, `"`, `\`, `"x":`, `{"event":`, `:`, "\x00", ` `, `"b":"\u00e9"`, `tr`, `{"y":[{"$set":1}]}`, `Y_`,
		strings.Repeat("filler ", 12), longEvent, longEvent, longEvent,
	}
	decided := 0
	for seed := range 4000 {
		var data strings.Builder
		data.WriteString("[")
		for range 1 + r.IntN(30) {
			if r.IntN(4) > 0 {
				data.WriteString(longEvent + ",")
				continue
			}
			data.WriteString(pieces[r.IntN(len(pieces))])
		}
		text := []byte(data.String())
		for range r.IntN(4) {
			text[r.IntN(len(text))] = "{}[]\"\\,:\n\x00x"[r.IntN(11)]
		}
		step := 1 + r.IntN(2*len(text))
		got, _ := split(text, step)
		if diff := cmp.Diff(splitStrictly(text, step), got); diff != "" {
			t.Fatalf("seed %d, steps of %d, %q (-strict +got):\n%s", seed, step, text, diff)
		}
		for at := range text {
			if text[at] == '{' && outline(text[at:]) > 0 {
				decided++
			}
		}
	}
	if decided < 20_000 {
		t.Errorf("outline decided %d times", decided)
	}
}

// FuzzOutline: a splitter that asks outlines finds what one finds that scans each
// element as JSON.
func FuzzOutline(f *testing.F) {
	for _, seed := range []string{longEvent, `{"a":nul},{"a":[{"event":1}]},` + longEvent, "{\"a\":\"x\n\"}," + longEvent, `{"a":"x{"event":1}"},` + longEvent} {
		f.Add([]byte("["+seed+"]"), 70)
		f.Add([]byte("["+longEvent+","+seed+","+longEvent+"]"), 1000)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if len(data) > 4000 {
			return
		}
		step = 1 + (step%2000+2000)%2000
		if len(data)/step > 200 {
			step = 1 + len(data)/200 // small steps take quadratic time
		}
		got, _ := split(data, step)
		if diff := cmp.Diff(splitStrictly(data, step), got); diff != "" {
			t.Fatalf("in steps of %d (-strict +got):\n%s", step, diff)
		}
	})
}

// BenchmarkSplitter tells what it costs to find an element of 735 bytes.
func BenchmarkSplitter(b *testing.B) {
	var e strings.Builder
	e.WriteString(`{"event":"Product Viewed","properties":{"time":1780000000,"distinct_id":"3f7c1a52-8f0e-4f5c-9d3e-7a1b2c3d4e5f","$insert_id":"a1b2c3d4-e5f6-7890-abcd-ef1234567890"`)
	for i := range 19 {
		fmt.Fprintf(&e, `,"$%c_property":"a value of it"`, 'a'+i)
	}
	event := e.String() + "}}"
	const events = 600
	data := []byte("[" + strings.Repeat(event+",", events))
	for name, strict := range map[string]bool{"outline": false, "strict": true} {
		b.Run(name, func(b *testing.B) {
			s := Resume(false)
			s.strict = strict
			for b.Loop() {
				*s = Splitter{again: scannedAgain, strict: strict, bounds: s.bounds}
				for n := 0; ; n++ {
					if _, state := s.Next(data, false); state != Complete {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events/1000, "µs/event")
		})
	}
}
