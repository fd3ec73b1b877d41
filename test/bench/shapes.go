package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
)

// shapeCount is how many kinds of events an input of varying shapes has.
const shapeCount = 60

// shapesName is the name of the file of an input of varying shapes.
func shapesName(rows, days int) string {
	return fmt.Sprintf("%d-events-%d-days-%d-shapes.ndjson", rows, days, shapeCount)
}

// generateShapes writes events of shapeCount kinds in order of time. Each kind has
// properties of its own out of a common pool of names, and most events lack some of
// theirs: hardly two neighbours have the same names in the same places.
//
//	{"event":"Filter Applied","properties":{"time":1,…,"query_3":"grüne Äpfel","rank":7,"tags":["новый"]}}
//	{"event":"Payment Failed","properties":{"time":2,…,"amount":12.50,"cart":{"sku":"9f…","count":2},"retry":null}}
//	{"event":"Filter Applied","properties":{"time":3,…,"rank":1,"tags":[]}}
func generateShapes(dir string, rows, days int) (*input, error) {
	return newShapesInput(filepath.Join(dir, shapesName(rows, days)), rows, days).write(false)
}

func newShapesInput(path string, rows, days int) *input {
	in := newInput(path, rows, days)
	in.event = newShapes().append
	return in
}

// shapes are the kinds of events of an input. They depend on the seed alone.
type shapes [shapeCount]shape

type shape struct {
	event      string
	properties []property
}

// property is a member of an event's properties.
type property struct {
	name  string
	value func(b []byte, r *rand.Rand) []byte
	often int // of 100 events that have it
}

var (
	subjects = []string{"Page", "Filter", "Cart", "Payment", "Lesson", "Profile", "Séance", "Спринт", "検索", "Video", "Alert", "Invite"}
	verbs    = []string{"Viewed", "Applied", "Opened", "Failed", "Completed"}
	nouns    = []string{"query", "rank", "tags", "amount", "cart", "retry", "plan", "größe", "channel", "$experiment", "note", "latency", "source", "variant", "locale", "размер"}
	words    = []string{"new", "sale", "grüne", "Äpfel", "новый", "товар", "新品", "割引", "café", "naïve", "🎉", "free", "basic", "premium", "A/B", "ελληνικά", "it's", "don\\u2019t", "\\\"quoted\\\"", "line\\nbreak"}
)

// newShapes makes shapes of 10 to 30 properties.
func newShapes() *shapes {
	r := rand.New(rand.NewPCG(seed, shapeCount))
	values := []func([]byte, *rand.Rand) []byte{
		appendWord, appendWord, appendCount, appendCount, appendDecimal, appendBool, appendMissing, appendID, appendTags, appendCart, appendNote, appendMillis,
	}
	var s shapes
	for i := range s {
		s[i].event = subjects[i/len(verbs)] + " " + verbs[i%len(verbs)]
		taken := map[string]bool{}
		for range 10 + r.IntN(21) {
			name := fmt.Sprintf("%s_%d", nouns[r.IntN(len(nouns))], r.IntN(15))
			if taken[name] {
				continue
			}
			taken[name] = true
			often := 100
			if r.IntN(5) > 1 {
				often = 20 + r.IntN(70)
			}
			s[i].properties = append(s[i].properties, property{name, values[r.IntN(len(values))], often})
		}
	}
	return &s
}

// append renders one event of a user, of any shape.
func (s *shapes) append(b []byte, r *rand.Rand, unix int64, user uint64) []byte {
	of := &s[r.IntN(len(s))]
	b = append(append(b, `{"event":"`...), of.event...)
	b = strconv.AppendInt(append(b, `","properties":{"time":`...), unix, 10)
	b = appendHex(append(b, `,"distinct_id":"user-`...), user*0x9E3779B97F4A7C15, 16)
	b = appendHex(append(b, `","$insert_id":"`...), r.Uint64(), 16)
	b = appendHex(b, r.Uint64(), 16)
	b = append(b, '"')
	if r.IntN(10) < 7 {
		b = appendHex(append(b, `,"$device_id":"`...), user*0xD1B54A32D192ED03, 16)
		b = append(b, '"')
	}
	for i := range of.properties {
		p := &of.properties[i]
		if r.IntN(100) >= p.often {
			continue
		}
		b = append(append(append(b, `,"`...), p.name...), `":`...)
		b = p.value(b, r)
	}
	return append(b, "}}\n"...)
}

func appendWord(b []byte, r *rand.Rand) []byte {
	return append(append(append(b, '"'), words[r.IntN(len(words))]...), '"')
}

func appendCount(b []byte, r *rand.Rand) []byte { return strconv.AppendInt(b, r.Int64N(1000), 10) }

func appendDecimal(b []byte, r *rand.Rand) []byte {
	return strconv.AppendFloat(b, r.Float64()*500, 'f', 2, 64)
}

func appendBool(b []byte, r *rand.Rand) []byte { return strconv.AppendBool(b, r.IntN(2) == 0) }

// appendMissing appends a word or null.
func appendMissing(b []byte, r *rand.Rand) []byte {
	if r.IntN(2) == 0 {
		return append(b, "null"...)
	}
	return appendWord(b, r)
}

func appendID(b []byte, r *rand.Rand) []byte {
	return append(appendHex(append(b, '"'), r.Uint64(), 16), '"')
}

func appendTags(b []byte, r *rand.Rand) []byte {
	b = append(b, '[')
	for i := range r.IntN(5) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendWord(b, r)
	}
	return append(b, ']')
}

func appendCart(b []byte, r *rand.Rand) []byte {
	b = appendID(append(b, `{"sku":`...), r)
	b = appendCount(append(b, `,"count":`...), r)
	b = appendDecimal(append(b, `,"price":`...), r)
	return append(b, '}')
}

// appendNote appends a text of 4 to 16 words.
func appendNote(b []byte, r *rand.Rand) []byte {
	b = append(b, '"')
	for i := range 4 + r.IntN(13) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, words[r.IntN(len(words))]...)
	}
	return append(b, '"')
}

func appendMillis(b []byte, r *rand.Rand) []byte {
	return strconv.AppendInt(b, 1_780_000_000_000+r.Int64N(86_400_000), 10)
}
