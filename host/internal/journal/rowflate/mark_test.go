package rowflate

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// sameMarked encodes rows with marks, and compares them with those of the fragment.
func sameMarked(t testing.TB, e *Encoder, rows []byte, marks []rowmark.Mark, base int) int {
	t.Helper()
	fragment := e.EncodeMarked(nil, rows, marks, base)
	if found := inflate(t, fragment); !bytes.Equal(found, rows) {
		t.Fatalf("%d bytes with %d marks inflate to %d others", len(rows), len(marks), len(found))
	}
	return len(fragment)
}

// marksOf finds the members on the outermost level of rows, and those of properties.
func marksOf(rows []byte, base int) []rowmark.Mark {
	var marks []rowmark.Mark
	numbers := map[string]uint16{}
	depth := 0
	for i := 0; i < len(rows); i++ {
		switch rows[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(rows, i)
			if depth > 2 || end >= len(rows) || rows[end] != ':' {
				i = end - 1
				continue
			}
			text := string(rows[i : end+1])
			if numbers[text] == 0 {
				numbers[text] = uint16(len(numbers) + 1)
			}
			marks = append(marks, rowmark.Mark{At: int32(base + i), Name: numbers[text], Text: uint16(len(text))})
			i = end
		}
	}
	return marks
}

// With marks the rows take about as many bytes as without.
func TestMarkedRowsTakeNotManyMoreBytes(t *testing.T) {
	rows := eventRows(rand.New(rand.NewPCG(15, 16)), 2000)
	want := len((&Encoder{}).Encode(nil, rows))
	if n := sameMarked(t, &Encoder{}, rows, marksOf(rows, 100), 100); n > want*21/20 {
		t.Errorf("%d bytes with marks, %d without", n, want)
	}
}

// Whatever marks say, rows inflate to themselves: marks that are shifted, missing, doubled,
// or of other rows.
func FuzzMarks(f *testing.F) {
	r := rand.New(rand.NewPCG(17, 18))
	f.Add(eventRows(r, 40), []byte{}, uint64(1))
	f.Add(eventRows(r, 40), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 7}, uint64(2))
	f.Add([]byte(`{"a":[1,{"b":"cdefghijkl"}],"a":[1,{"b":"cdefghijkl"}]}`+"\n"), []byte{3, 0, 0, 0}, uint64(3))
	f.Add(bytes.Repeat([]byte("{}\n"), 100), bytes.Repeat([]byte{0, 1}, 100), uint64(4))
	f.Fuzz(func(t *testing.T, rows, changes []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 19))
		rows = bytes.Repeat(rows, 1+r.IntN(3))
		const base = 1000
		e := &Encoder{}
		marks := marksOf(rows, base)
		sameMarked(t, e, rows, marks, base)
		for len(changes) >= 4 && len(marks) > 0 {
			m := &marks[int(changes[0])%len(marks)]
			switch changes[1] % 6 {
			case 0:
				m.At += int32(changes[2]%16) - 8
			case 1:
				m.Name = uint16(changes[2])<<8 | uint16(changes[3])
			case 2:
				m.Text = uint16(changes[2])
			case 3:
				m.Name = rowmark.Unknown
			case 4:
				at := int(changes[0]) % len(marks)
				marks = append(marks[:at:at], marks[at+1:]...)
			case 5:
				at := int(changes[0]) % len(marks)
				marks = append(marks[:at+1:at+1], marks[at:]...)
			}
			changes = changes[2:]
			sameMarked(t, e, rows, marks, base)
		}
		// Marks of nothing, after each other.
		marks = marks[:0]
		for at := base; at < base+len(rows); at += r.IntN(40) {
			marks = append(marks, rowmark.Mark{At: int32(at), Name: uint16(r.IntN(4)), Text: uint16(r.IntN(12))})
			if len(marks) > 2000 {
				break
			}
		}
		sameMarked(t, e, rows, marks, base)
		same(t, e, rows)
	})
}
