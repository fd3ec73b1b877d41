package unusual

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

func TestRow(t *testing.T) {
	deep := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	strict := Rules{RefusesNUL: true, MaxDepth: 3}
	for _, c := range []struct {
		row, want string // want empty: as it came
		changes   Changes
	}{
		{row: `{ "a" : 1 , "b" : [ 1 , {} ] }`},
		{row: `{"a":"\ud83d\ude00 \u00e9","n":0.1,"m":9007199254740992,"t":true,"z":null}`},
		{`{"a":1, "b":{"x":1}, "a":2}`, `{"b":{"x":1},"a":2}`, equalKeys},
		{`{"a":{"x":1,"y":2,"x":{"x":3}},"a":{"x":1,"x":2}}`, `{"a":{"x":2}}`, equalKeys},
		{`{"a":1,"a":2,"a":3}`, `{"a":3}`, equalKeys},
		{`{"A":1,"a":2,"\u0061":3}`, `{"A":1,"\u0061":3}`, equalKeys},
		{`{"a/":1,"a\/":2}`, `{"a\/":2}`, equalKeys},
		{`{"s":"a\ud83d"}`, `{"s":"a\ufffd"}`, loneSurrogate},
		{`{"s":"\ude00\ud83d"}`, `{"s":"\ufffd\ufffd"}`, loneSurrogate},
		{`{"s":"\ud83d\ud83d\ude00"}`, `{"s":"\ufffd\ud83d\ude00"}`, loneSurrogate},
		{`{"s":"\ud83dx"}`, `{"s":"\ufffdx"}`, loneSurrogate},
		{`{"\ud800":1,"\ud801":2}`, `{"\ufffd":2}`, loneSurrogate | equalKeys},
		{`{"s":"a\u0000b","\u0000":1}`, `{"s":"ab","":1}`, nul},
		{`{"k\u0000":1,"k":2}`, `{"k":2}`, nul | equalKeys},
		{`{"n":9007199254740993}`, `{"n":"9007199254740993"}`, wideNumber},
		{`{"n":[1e400,-0.1234567890123456789,1e3]}`, `{"n":["1e400","-0.1234567890123456789",1e3]}`, wideNumber},
		{row: `{"p":` + deep(3) + `}`},
	} {
		w := rewriter{rules: strict}
		got, changes, err := w.row([]byte(c.row))
		if c.want == "" {
			c.want = c.row
		}
		if err != nil || string(got) != c.want || changes != c.changes {
			t.Errorf("%s\n became %s (%b), %v\n   want %s (%b)", c.row, got, changes, err, c.want, c.changes)
		}
		w.rules.Mode = Reject
		got, _, err = w.row([]byte(c.row))
		var refused *refusal
		if rejected := errors.As(err, &refused); rejected != (c.changes != 0) || (!rejected && string(got) != c.row) {
			t.Errorf("in mode reject %s became %s, %v", c.row, got, err)
		}
	}
	w := rewriter{rules: strict}
	if _, _, err := w.row([]byte(`{"p":` + deep(4) + `}`)); err == nil || err.Error() != "nested deeper than 3 levels" {
		t.Errorf("four levels of three: %v", err)
	}
	for _, bad := range []string{``, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `{"a":01e}`, `{"a":-}`, `"\x"`, `"\u12"`, `"a`, `{"a":1}x`, `tru`, `{1:2}`} {
		if _, _, err := w.row([]byte(bad)); !errors.Is(err, errInvalid) {
			t.Errorf("%q: %v, want that it is invalid", bad, err)
		}
	}
}

// An object of many members is united as a small one is.
func TestManyMembers(t *testing.T) {
	var row, want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&row, `"k%d":%d,`, i%400, i)
		if i >= 100 {
			fmt.Fprintf(&want, `"k%d":%d,`, i%400, i)
		}
	}
	w := rewriter{}
	got, _, err := w.row([]byte("{" + strings.TrimSuffix(row.String(), ",") + "}"))
	if err != nil || string(got) != "{"+strings.TrimSuffix(want.String(), ",")+"}" {
		t.Errorf("got %.200s, %v", got, err)
	}
}

// FuzzRow compares a changed row with the value that encoding/json reads from the
// row as it came: it keeps the last of equal keys and replaces surrogates too.
func FuzzRow(f *testing.F) {
	for _, s := range []string{`{"a":1,"a":{"b":[1,2,{"c":"\ud800","c":1e400}]}}`, `{"\u0000":"\u0000"}`, `[1,2]`, `{"n":0.1234567890123456789}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, row string) {
		if !json.Valid([]byte(row)) || strings.ContainsRune(row, '\ufffd') || row != strings.ToValidUTF8(row, "") {
			return
		}
		w := rewriter{rules: Rules{RefusesNUL: true}}
		got, changes, err := w.row([]byte(row))
		if err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		if changes == 0 && string(got) != row {
			t.Fatalf("%q became %q without a change", row, got)
		}
		if want, have := fitted(parse(t, row)), parse(t, string(got)); !equal(want, have) {
			t.Fatalf("%q became %q: %v, want %v", row, got, have, want)
		}
		again := string(got)
		if _, changes, err = w.row([]byte(again)); err != nil || changes != 0 {
			t.Fatalf("%q became %q, which is changed again: %b, %v", row, again, changes, err)
		}
		strict := rewriter{rules: Rules{RefusesNUL: true, Mode: Reject}}
		if _, _, err := strict.row([]byte(again)); err != nil {
			t.Fatalf("%q is rejected after it was changed to %q: %v", row, again, err)
		}
	})
}

func parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

// fitted is the value that a row must have after the changes. Keys that become
// equal when U+0000 is dropped are not told apart by it: such rows are left out.
func fitted(v any) any {
	switch v := v.(type) {
	case json.Number:
		if len(v) <= 15 && !strings.ContainsAny(string(v), "eE") {
			return v
		}
		if _, exact := batch.FitsDouble([]byte(v)); exact {
			return v
		}
		return string(v)
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		for i := range v {
			v[i] = fitted(v[i])
		}
		return v
	case map[string]any:
		out := make(map[string]any)
		for k, x := range v {
			k = strings.ReplaceAll(k, "\x00", "")
			if _, twice := out[k]; twice {
				return nil
			}
			out[k] = fitted(x)
		}
		return out
	}
	return v
}

// equal compares values; nil stands for any.
func equal(want, have any) bool {
	switch w := want.(type) {
	case nil:
		return true
	case []any:
		h, ok := have.([]any)
		return ok && slices.EqualFunc(w, h, equal)
	case map[string]any:
		h, ok := have.(map[string]any)
		return ok && maps.EqualFunc(w, h, equal)
	}
	return want == have
}

func TestFilter(t *testing.T) {
	plain := destinationtest.Row{Line: `{"properties":{"a":1}}`}
	twice := destinationtest.Row{Line: `{"properties":{"a":1,"a":2}}`, Flags: batch.DuplicateKey}
	lone := destinationtest.Row{Line: `{"properties":{"s":"\ud800"}}`, Flags: batch.LoneSurrogate}
	flaggedOnly := destinationtest.Row{Line: `{"properties":{"n":9007199254740993}}`, Flags: batch.WideNumber}
	keepAll := func([]byte) bool { return true }

	t.Run("unflagged batches pass", func(t *testing.T) {
		b := destinationtest.NewBatch(twice, plain)
		b.Flags = 0
		got := pass(t, NewFilter(Rules{}, false), b)
		if len(got.batches) != 1 || got.batches[0] != b {
			t.Errorf("a batch without flags was not passed as it is")
		}
	})
	t.Run("all decodes them too", func(t *testing.T) {
		b := destinationtest.NewBatch(twice, plain)
		b.Flags = 0
		if got := pass(t, NewFilter(Rules{}, true), b); !slices.Equal(got.lines, []string{`{"properties":{"a":2}}`, plain.Line}) {
			t.Errorf("got %q", got.lines)
		}
	})
	t.Run("flagged batches without such rows pass", func(t *testing.T) {
		b := destinationtest.NewBatch(flaggedOnly, plain)
		f := NewFilter(Rules{KeepsNumber: keepAll}, false)
		if got := pass(t, f, b); len(got.batches) != 1 || got.batches[0] != b || f.Changed() != nil {
			t.Errorf("a batch that needs no change was not passed as it is")
		}
	})
	t.Run("repair", func(t *testing.T) {
		f := NewFilter(Rules{KeepsNumber: keepAll}, false)
		got := pass(t, f, destinationtest.NewBatch(plain, twice, lone, flaggedOnly))
		if want := []string{plain.Line, `{"properties":{"a":2}}`, `{"properties":{"s":"\ufffd"}}`, flaggedOnly.Line}; !slices.Equal(got.lines, want) {
			t.Errorf("got %q", got.lines)
		}
		if want := map[string]uint64{EqualKeys: 1, LoneSurrogate: 1}; !maps.Equal(f.Changed(), want) {
			t.Errorf("changed are %v, want %v", f.Changed(), want)
		}
	})
	t.Run("reject", func(t *testing.T) {
		f := NewFilter(Rules{Mode: Reject, KeepsNumber: keepAll}, false)
		b := destinationtest.NewBatch(plain, twice, lone, plain)
		b.First = 40
		got := pass(t, f, b)
		if want := []string{plain.Line, plain.Line}; !slices.Equal(got.lines, want) {
			t.Errorf("got %q", got.lines)
		}
		if want := []string{"41 equal keys " + twice.Line, "42 surrogate without partner " + lone.Line}; !slices.Equal(got.rejected, want) {
			t.Errorf("rejected %q", got.rejected)
		}
		if f.Changed() != nil {
			t.Errorf("changed are %v", f.Changed())
		}
	})
	t.Run("all rejected", func(t *testing.T) {
		if got := pass(t, NewFilter(Rules{Mode: Reject}, false), destinationtest.NewBatch(twice)); len(got.batches) != 0 || len(got.rejected) != 1 {
			t.Errorf("%d batches, %d rejected", len(got.batches), len(got.rejected))
		}
	})
	t.Run("a damaged batch is an error", func(t *testing.T) {
		b := destinationtest.NewBatch(twice)
		b.RowsCRC32 ^= 1
		err := NewFilter(Rules{}, false).Batch(b, nil, nil)
		if !errors.Is(err, batch.ErrCorrupt) {
			t.Errorf("%v", err)
		}
	})
}

// A batch of many and of long rows becomes batches that each keep the limits, with
// all rows in order.
func TestFilterKeepsLimits(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = ' ' + byte(random.Uint64()%90)
			if b[i] == '"' || b[i] == '\\' {
				b[i] = 'x'
			}
		}
		return string(b)
	}
	var rows []destinationtest.Row
	var want []string
	for i := range 40 {
		pad := noise(100 << 10)
		rows = append(rows, destinationtest.Row{Line: fmt.Sprintf(`{"i":%d,"p":%q,"i":%d}`, i, pad, i), Flags: batch.DuplicateKey})
		want = append(want, fmt.Sprintf(`{"p":%q,"i":%d}`, pad, i))
	}
	long := noise(3 << 20)
	rows = append(rows, destinationtest.Row{Line: fmt.Sprintf(`{"i":1,"p":%q,"i":2}`, long), Flags: batch.DuplicateKey})
	want = append(want, fmt.Sprintf(`{"p":%q,"i":2}`, long))
	var got passed
	f := NewFilter(Rules{}, false)
	for r := range slices.Chunk(rows, 20) {
		p := pass(t, f, destinationtest.NewBatch(r...))
		got.lines, got.batches = append(got.lines, p.lines...), append(got.batches, p.batches...)
	}
	if !slices.Equal(got.lines, want) {
		t.Errorf("%d rows came out, want %d in order", len(got.lines), len(want))
	}
	if len(got.batches) < 5 {
		t.Errorf("%d batches of %d MiB", len(got.batches), 7)
	}
}

// A row that was as long as rows may be, and is longer when its numbers are strings, is
// rejected; the row behind it passes.
func TestARowThatGrowsTooLong(t *testing.T) {
	const number = "123456789012345678901,"
	long := `{"w":[` + strings.Repeat(number, batch.MaxRowsBytes/len(number)-10) + `1]}`
	p := pass(t, NewFilter(Rules{}, false), destinationtest.NewBatch(destinationtest.Row{Line: long, Flags: batch.WideNumber}, destinationtest.Row{Line: `{}`}))
	if len(p.rejected) != 1 || !strings.HasPrefix(p.rejected[0], "0 row is too long to be changed ") || !slices.Equal(p.lines, []string{"{}"}) {
		t.Errorf("%d rows were rejected, the others are %q", len(p.rejected), p.lines)
	}
}

type passed struct {
	batches  []*batch.Batch
	lines    []string
	rejected []string
}

func pass(t *testing.T, f *Filter, b *batch.Batch) passed {
	t.Helper()
	var p passed
	err := f.Batch(b, func(row uint64, reason string, line []byte) error {
		p.rejected = append(p.rejected, fmt.Sprint(row, " ", reason, " ", string(line)))
		return nil
	}, func(b *batch.Batch) error {
		p.batches = append(p.batches, b)
		// A gzip member of the batch alone checks sizes and checksums.
		var member bytes.Buffer
		w := batch.NewGzipWriter(&member)
		if err := errors.Join(w.WriteBatch(b), w.Close()); err != nil {
			return err
		}
		for line, err := range b.Lines() {
			if err != nil {
				return err
			}
			p.lines = append(p.lines, string(line))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("pass a batch: %v", err)
	}
	return p
}
