package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// Events of an input of varying shapes are JSON, have all shapes, lack optional
// properties and hold text beyond ASCII; the same seed gives the same bytes.
func TestShapes(t *testing.T) {
	generate := func() []byte {
		return newShapesInput("", 20_000, 30).piece(0, false)
	}
	data := generate()
	if !bytes.Equal(data, generate()) {
		t.Fatal("the same seed gives other events")
	}
	if n := len(data) / 20_000; n < 500 || n > 1000 {
		t.Errorf("events have %d bytes", n)
	}
	layouts, events, unicode := map[string]bool{}, map[string]bool{}, 0
	for line := range bytes.Lines(data) {
		var e struct {
			Event      string
			Properties map[string]json.RawMessage
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		events[e.Event] = true
		layouts[layoutOf(t, line)] = true
		if utf8.RuneCount(line) < len(line) {
			unicode++
		}
	}
	if len(events) != shapeCount || len(layouts) < 10_000 || unicode < 10_000 {
		t.Errorf("%d names of events, %d layouts, %d events beyond ASCII", len(events), len(layouts), unicode)
	}
}

// layoutOf returns the names of an event's properties, in their order.
func layoutOf(t *testing.T, line []byte) string {
	_, rest, _ := bytes.Cut(line, []byte(`"properties":`))
	d := json.NewDecoder(bytes.NewReader(rest))
	var names []string
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(names, ",")
}

// Writes of any length are compressed in the limit's pieces.
func TestLevelOneIsTheLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := newInput("", 5000, 30).piece(0, false)
	var turn sync.Mutex
	want, err := gzipPieces(bytes.NewReader(data), &turn)
	if err != nil {
		t.Fatal(err)
	}
	l := newLevelOne()
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(3<<20))
		if _, err := l.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if got, err := l.size(); err != nil || got != want {
		t.Errorf("%d bytes, %v; the limit has %d", got, err, want)
	}
}

// The eight files of the part cores hold each line once.
func TestEightFiles(t *testing.T) {
	dir := t.TempDir()
	data := newInput("", 1000, 30).piece(0, false)
	if err := writeEight(bytes.NewReader(data), filepath.Join(dir, "*.ndjson")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for n := range 8 {
		part, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.ndjson", n)))
		if err != nil || len(part) < len(data)/9 || part[0] != '{' {
			t.Errorf("file %d has %d bytes (%v)", n, len(part), err)
		}
		got = append(got, part...)
	}
	if !bytes.Equal(got, data) {
		t.Error("the files hold other lines")
	}
}
