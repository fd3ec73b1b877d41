package rowflate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Rows of another kind take about as many bytes as if the encoder had never seen others,
// from their second fragment on; in the middle of a fragment they cost some batches.
func TestOtherRowsGetOtherCodes(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	events, others := eventRows(r, 20_000), otherRows(r, 20_000)
	fresh := &Encoder{}
	same(t, fresh, others)
	want := len(same(t, fresh, others))

	e := &Encoder{}
	same(t, e, events)
	same(t, e, others)
	if n := len(same(t, e, others)); n > want*101/100 {
		t.Errorf("%d bytes after events, %d without", n, want)
	}
	before := len(same(t, e, events))
	if n := len(same(t, e, append(bytes.Clone(events), others...))); n > (before+want)*105/100 {
		t.Errorf("%d bytes in one fragment, %d in two", n, before+want)
	}
}

// otherRows renders rows of which hardly a letter is in those of eventRows.
func otherRows(r *rand.Rand, n int) []byte {
	letters := []rune("ЖЗИЙКЛМНОПРСТУФХЦЧШЩ")
	var b strings.Builder
	for range n {
		b.WriteString(`{"Ж":"`)
		for range r.IntN(12) {
			b.WriteRune(letters[r.IntN(len(letters))])
		}
		b.WriteString("\"}\n")
	}
	return []byte(b.String())
}

// Codes are made again while they rest on few samples, and then kept.
func TestCodesAreKept(t *testing.T) {
	rows := eventRows(rand.New(rand.NewPCG(23, 24)), 2000)
	e := &Encoder{}
	for range 40 {
		same(t, e, rows)
	}
	kept := e.tables.kept
	if e.tables.made < mostSamples/2 || e.tables.samples != mostSamples {
		t.Errorf("after 40 fragments codes are made of %d samples, and %d were taken", e.tables.made, e.tables.samples)
	}
	header := bytes.Clone(e.Encode(nil, rows)[:40])
	same(t, e, eventRows(rand.New(rand.NewPCG(25, 26)), 3)) // has codes of its own
	if found := e.Encode(nil, rows)[:40]; e.tables.kept != kept || !bytes.Equal(found, header) {
		t.Errorf("the next fragment begins with %x, want %x", found, header)
	}
}

// Fragments of one batch have codes that are kept, too, unless they are short.
func TestCodesOfShortFragmentsAreKept(t *testing.T) {
	r := rand.New(rand.NewPCG(29, 30))
	e := &Encoder{}
	for range 4 * mostSamples * samplePause {
		same(t, e, eventRows(r, 100))
	}
	if e.alone.samples != mostSamples || e.tables.made != 0 {
		t.Errorf("%d samples of fragments of one batch, %d of others", e.alone.samples, e.tables.made)
	}
	kept := e.alone.kept
	header := bytes.Clone(e.Encode(nil, eventRows(r, 100))[:40])
	if found := e.Encode(nil, eventRows(r, 100))[:40]; e.alone.kept != kept || !bytes.Equal(found, header) {
		t.Errorf("the next fragment begins with %x, want %x", found, header)
	}
	if found := e.Encode(nil, eventRows(r, 10)); bytes.Equal(found[:40], header) {
		t.Error("a short fragment has no codes of its own")
	}
}

// Rows of one kind keep their codes, although fragments begin with an empty window.
func TestCodesSettle(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a million rows, of one goroutine, without -short")
	}
	for _, rows := range []int{700, 4000} {
		for k, kind := range []func(*rand.Rand, int) []byte{eventRows, peopleRows, otherRows} {
			r := rand.New(rand.NewPCG(33, 34))
			e := &Encoder{}
			changes := 0
			for i := range 120 {
				before := e.tables.kept
				e.Encode(nil, kind(r, rows))
				if i >= 40 && e.tables.kept != before {
					changes++
				}
			}
			if changes > 4 {
				t.Errorf("codes of %d rows of kind %d have changed in %d of 80 fragments", rows, k, changes)
			}
		}
	}
}

// Kinds of rows that take turns, fragment by fragment, take about as many bytes as each of
// them alone.
func TestKindsInTurns(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	kinds := []func(*rand.Rand, int) []byte{eventRows, peopleRows, otherRows}
	if testing.Short() {
		t.Skip("SKIPPED: 400,000 rows, of one goroutine, without -short")
	}
	for _, rows := range []int{30, 100, 300, 1000} {
		var fragments [3][][]byte
		for range 100 {
			for k, kind := range kinds {
				fragments[k] = append(fragments[k], kind(r, rows))
			}
		}
		alone, turns := [3]int{}, [3]int{}
		mixed := &Encoder{}
		for i := range 100 {
			for k := range kinds {
				turns[k] += len(same(t, mixed, fragments[k][i]))
			}
		}
		for k := range kinds {
			e := &Encoder{}
			for _, rows := range fragments[k] {
				alone[k] += len(same(t, e, rows))
			}
			if turns[k] > alone[k]*102/100 {
				t.Errorf("%d rows of kind %d take %d bytes in turns with others, %d alone", rows, k, turns[k], alone[k])
			}
		}
	}
}

// peopleRows renders rows of profiles.
func peopleRows(r *rand.Rand, n int) (rows []byte) {
	for range n {
		rows = fmt.Appendf(rows, `{"distinct_id":"%08x-%04x","op":"$set","time":%d,"properties":{"$email":"user%d@example.com","plan":"%s","visits":%d}}`+"\n",
			r.Uint32(), r.Uint32()&0xffff, 1793232000+r.IntN(86400), r.IntN(100_000), []string{"free", "pro", "team"}[r.IntN(3)], r.IntN(500))
	}
	return rows
}

// Whatever codes a block has, its rows take the room that was made for them.
func TestRoomSuffices(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 28))
	var c counts
	c.spread()
	for i := range 40 { // a few symbols have all of the short codes
		c.literal['a'+i%20] += 1 << (i % 20)
		c.literal[260+i%20] += 1 << (i % 20)
		c.distance[i%4] += 1 << (i % 20)
	}
	var b builder
	table := b.build(&c)
	for range 300 {
		rows := make([]byte, 1+r.IntN(3000), 4000)
		for i := range rows {
			rows[i] = byte(r.Uint32()) | 0x80
		}
		var ops []op
		for at := 0; at < len(rows); {
			literals := min(r.IntN(6), len(rows)-at)
			at += literals
			length := min(minLength, len(rows)-at)
			if length < minLength {
				literals, length, at = literals+length, 0, len(rows)
			}
			ops = append(ops, newOp(literals, length, window-r.IntN(100)))
			at += length
		}
		w := writer{table: table}
		w.room(0)
		w.write(newReader(rows), 0, len(rows), ops)
		if w.n > 2*len(rows) {
			t.Fatalf("%d bytes take %d", len(rows), w.n)
		}
	}
}
