package schema

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// writer writes JSON with unusual white space and escapes, as the grammar allows.
type writer struct {
	*rand.Rand
	strings.Builder
}

func (w *writer) space() { w.WriteString([]string{"", "", "", " ", "\t", "  "}[w.IntN(6)]) }

// value writes a value of at most depth levels.
func (w *writer) value(depth int) {
	kind := w.IntN(8)
	if depth == 0 {
		kind = w.IntN(5)
	}
	switch kind {
	case 0, 1:
		w.number()
	case 2, 3:
		w.text("")
	case 4:
		w.WriteString([]string{"true", "false", "null"}[w.IntN(3)])
	case 5, 6:
		w.list('[', ']', func() { w.value(depth - 1) })
	default:
		w.list('{', '}', func() { w.member(depth - 1) })
	}
}

func (w *writer) list(begin, end byte, item func()) {
	w.WriteByte(begin)
	w.space()
	for i := range w.IntN(4) {
		if i > 0 {
			w.WriteByte(',')
			w.space()
		}
		item()
		w.space()
	}
	w.WriteByte(end)
}

// member writes a member whose key may be there already.
func (w *writer) member(depth int) {
	if w.IntN(3) == 0 {
		fmt.Fprintf(w, `"k%d"`, w.IntN(3))
	} else {
		w.text("")
	}
	w.space()
	w.WriteByte(':')
	w.space()
	w.value(depth)
}

func (w *writer) number() {
	if w.IntN(3) == 0 {
		w.WriteString([]string{"1e400", "-0", "9007199254740993", "-0.0e-0", "0", "1E+2", "0.1000", "123456789012345678901234567890.5"}[w.IntN(8)])
		return
	}
	if w.IntN(2) == 0 {
		w.WriteByte('-')
	}
	fmt.Fprint(w, w.Int64())
	if w.IntN(2) == 0 {
		fmt.Fprintf(w, ".%020d", w.Int64())
	}
	if w.IntN(3) == 0 {
		fmt.Fprintf(w, "%s%d", []string{"e", "E", "e+", "E-"}[w.IntN(4)], w.IntN(500))
	}
}

// text writes a string that begins with prefix.
func (w *writer) text(prefix string) {
	w.WriteString(`"` + prefix)
	for range w.IntN(12) {
		switch w.IntN(8) {
		case 0:
			fmt.Fprintf(w, `\u%04x`, w.IntN(1<<16)) // NUL and lone surrogates too
		case 1:
			w.WriteString([]string{`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`}[w.IntN(8)])
		case 2:
			w.WriteString([]string{"😀", "👩‍👩‍👧", "é", "e\u0301", "\u2028", "\ufeff", "\U0010ffff", "漢字"}[w.IntN(8)])
		default:
			w.WriteByte("abcxyz{}[]:,0 <>&'"[w.IntN(18)])
		}
	}
	w.WriteByte('"')
}

// Whatever the properties are, the row has them byte for byte, but for surrogates
// that have no partner, and for the project's token, wherever and however often
// that is there.
func TestAnyPropertiesAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	p := parser()
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 9))
		var members, kept []string
		add := func(text string, keep bool) {
			members = append(members, text)
			if keep {
				kept = append(kept, text)
			}
		}
		at := r.IntN(6)
		for i := range 6 {
			if i == at {
				add(`"time":1780000000`, true)
			}
			w := &writer{Rand: r}
			if r.IntN(4) == 0 {
				w.WriteString([]string{`"token":`, `"\u0074oken":`, `"tok\u0065n" : `}[r.IntN(3)])
				w.value(3)
				add(w.String(), false)
				continue
			}
			w.text("p") // no name that has a meaning
			w.WriteString(" :\t")
			w.value(r.IntN(40))
			add(w.String(), true)
		}
		record := `{"properties":{` + strings.Join(members, ",") + `},"event":"e"}`
		want := `,"properties":{` + repairedText(strings.Join(kept, ",")) + `},"time":1780000000,"user_id":null}` + "\n"
		row, _, err := p.AppendEvent(nil, []byte(record))
		if err != nil || !strings.HasSuffix(string(row), want) {
			t.Fatalf("seed %d: %v\nrecord %s\nrow    %s\nwant …%s", seed, err, record, row, want)
		}
	}
}
