package files

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readAhead is readAll with windows of arrays that are split ahead. It returns how many
// windows were waiting behind pieces.
func readAhead(t *testing.T, pattern string, cursors map[string][]byte, size, most int) (*reading, int) {
	t.Helper()
	s := open(t, Options{Pattern: pattern, Cursors: cursors}, size)
	s.ahead = most
	r, waited := &reading{}, 0
	if cursors != nil {
		r.cursors = append(r.cursors, cursors)
	}
	for {
		p, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return r, waited
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.turns.open {
			waited += len(r.ahead.windows)
		}
		r.take(t, p)
	}
}

// Pieces and cursors are the same with and without windows that are split ahead,
// whatever is torn, wherever reading is taken up.
func TestSplittingAheadChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	odd := []string{
		`[`, `]`, "\n", `{`, `}`, `"`, `{"event":`, "\x00", `{"event":"x","items":[{"event":1},{"event":2}]},`, `nonsense`, "]\n[", "],[",
		`{"x":1},`, "{\"event\":\"" + strings.Repeat("long ", 200) + "\"},",
	}
	waited := 0
	for seed := range 100 {
		var data strings.Builder
		data.WriteString("[")
		for n := range 20 + r.IntN(60) {
			data.WriteString(record(n) + []string{",", ",\n", " , "}[seed%3])
			if r.IntN(12) == 0 && seed%4 > 0 {
				data.WriteString(odd[r.IntN(len(odd))])
			}
		}
		data.WriteString("{}]")
		text := data.String()
		if seed%5 == 0 {
			text = gz(text)
		}
		if seed%10 == 0 { // the stream is cut
			text = text[:len(text)*(60+r.IntN(40))/100]
		}
		dir := t.TempDir()
		write(t, dir, "a.json", text)
		size := 200 + r.IntN(1500)
		want, _ := readAhead(t, dir+"/*", nil, size, 0)
		compare := func(from string, want *reading, cursors map[string][]byte) {
			got, n := readAhead(t, dir+"/*", cursors, size, 2+r.IntN(4))
			waited += n
			if diff := cmp.Diff(want.records, got.records); diff != "" {
				t.Fatalf("seed %d, pieces of %d, %s: records (-alone +ahead):\n%s", seed, size, from, diff)
			}
			if diff := cmp.Diff(want.refused, got.refused); diff != "" {
				t.Fatalf("seed %d, pieces of %d, %s: refused (-alone +ahead):\n%s", seed, size, from, diff)
			}
			if diff := cmp.Diff(want.cursors, got.cursors); diff != "" {
				t.Fatalf("seed %d, pieces of %d, %s: cursors (-alone +ahead):\n%s", seed, size, from, diff)
			}
		}
		compare("from the beginning", want, nil)
		middle := want.cursors[r.IntN(len(want.cursors))]
		rest, _ := readAhead(t, dir+"/*", middle, size, 0)
		compare("from the middle", rest, middle)
	}
	if waited < 700 {
		t.Errorf("only %d windows were split ahead", waited)
	}
}

// A list of items that begin like records is guessed wrong; then the file is split alone.
func TestWrongGuessesEnd(t *testing.T) {
	record := `{"event":"x","items":[` + strings.TrimSuffix(strings.Repeat(`{"event":"item"},`, 40), ",") + `]},`
	dir := t.TempDir()
	write(t, dir, "a.json", "["+strings.Repeat(record, 100)+"{}]")
	want, _ := readAhead(t, dir+"/*", nil, 2000, 0)
	got, waited := readAhead(t, dir+"/*", nil, 2000, 4)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reading{})); diff != "" {
		t.Errorf("(-alone +ahead):\n%.2000s", diff)
	}
	if waited > 50 {
		t.Errorf("%d windows were split ahead", waited)
	}
}

// Reading that is given up leaves no goroutine, and no record is refused for it.
func TestReadingAheadIsGivenUp(t *testing.T) {
	for name, data := range map[string]string{
		"array":   "[" + strings.Repeat(record(1)+",", 20_000) + "{}]",
		"array.z": gz("[" + strings.Repeat(record(1)+",", 20_000) + "{}]"),
		"lines.z": gz(strings.Repeat(record(1)+"\n", 20_000)),
	} {
		dir := t.TempDir()
		write(t, dir, name, data)
		s, err := Open(t.Context(), Options{Name: "files.test", Pattern: dir + "/*", Now: later})
		if err != nil {
			t.Fatal(err)
		}
		s.ahead = 4
		cause := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		for n := 0; ; n++ {
			p, err := s.Next(ctx)
			if err != nil {
				if !errors.Is(err, cause) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			if len(p.Refused) > 0 {
				t.Errorf("%s: %v", name, p.Refused[0].Detail)
			}
			p.Release()
			if n == 2 {
				cancel(cause)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The goroutine of a prefetch ends with its context also when nothing reads from it, and
// its buffers go back.
func TestPrefetchEndsUnread(t *testing.T) {
	s := newSource(Options{}, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cause := errors.New("given up")
	c := &counter{}
	b := startPrefetch(ctx, endless{}, c, &s.inflated)
	data := make([]byte, 10)
	if n, err := b.Read(data); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	cancel(cause)
	defer b.wait()
	for {
		if _, err := b.Read(data); err != nil {
			if !errors.Is(err, cause) || !errors.Is(c.failed(), cause) {
				t.Errorf("%v, and of the place %v", err, c.failed())
			}
			return
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
