package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func gz(data string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(data))
	_ = w.Close()
	return b.String()
}

func zst(data string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(data), nil))
}

func write(t testing.TB, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reading holds the records of a source.
type reading struct {
	records []string // with their positions
	refused []string
	cursors []map[string][]byte // behind each piece
}

// take notes a piece, and holds it to its promises.
func (r *reading) take(t *testing.T, p *ingest.Piece) {
	t.Helper()
	note := func(record []byte, at int) {
		if text := strings.TrimSpace(string(record)); text != "" {
			r.records = append(r.records, fmt.Sprintf("%s@%d", text, p.Base+int64(at)))
		}
	}
	if p.Records == nil {
		at := 0
		for line := range bytes.Lines(p.Data) {
			note(line, at)
			at += len(line)
		}
	}
	for _, s := range p.Records {
		note(p.Data[s.From:s.To], s.From)
	}
	for _, x := range p.Refused {
		r.refused = append(r.refused, fmt.Sprintf("%s@%d %d bytes", x.Reason, x.At, len(x.Bytes)))
	}
	if p.End != p.Base+int64(len(p.Data)) {
		t.Errorf("a piece from %d of %d bytes ends at %d", p.Base, len(p.Data), p.End)
	}
	after := map[string][]byte{}
	if n := len(r.cursors); n > 0 {
		for k, v := range r.cursors[n-1] {
			after[k] = v
		}
	}
	for _, m := range p.Cursor(0) {
		if !bytes.Equal(m.From, after[m.Position]) {
			t.Errorf("the cursor moves from %s, and stood at %s", m.From, after[m.Position])
		}
		after[m.Position] = m.To
	}
	r.cursors = append(r.cursors, after)
	if p.Release != nil {
		clear(p.Data)
		p.Release()
	}
}

func (r *reading) last() map[string][]byte {
	if len(r.cursors) == 0 {
		return nil
	}
	return r.cursors[len(r.cursors)-1]
}

func open(t *testing.T, o Options, size int) *Source {
	t.Helper()
	o.Name = "files.test"
	if o.Now == nil {
		o.Now = later
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.size = size
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// later is a clock by which all files are finished.
func later() time.Time { return time.Now().Add(2 * time.Hour) }

// readAll reads all files, from cursors on.
func readAll(t *testing.T, pattern string, cursors map[string][]byte, size int) *reading {
	t.Helper()
	s := open(t, Options{Pattern: pattern, Cursors: cursors}, size)
	r := &reading{}
	if cursors != nil {
		r.cursors = append(r.cursors, cursors)
	}
	for {
		p, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return r
		}
		if err != nil {
			t.Fatal(err)
		}
		r.take(t, p)
	}
}

func TestFormats(t *testing.T) {
	lines := []string{`{"a":1}@0`, `{"b":"é"}@8`, `{"c":[1]}@19`}
	const ndjson = "{\"a\":1}\n{\"b\":\"é\"}\n{\"c\":[1]}\n"
	for name, test := range map[string]struct {
		data string
		want []string
	}{
		"a.ndjson":             {ndjson, lines},
		"b.jsonl":              {strings.TrimSuffix(ndjson, "\n"), lines},
		"c.log":                {ndjson, lines},
		"d.ndjson.gz":          {gz(ndjson), lines},
		"members.ndjson.gz":    {gz(ndjson[:5]) + gz(ndjson[5:]), lines},
		"e.json.zst":           {zst(ndjson), lines},
		"gzip.ndjson.gz.1":     {gz(ndjson), lines},
		"gzip":                 {gz(ndjson), lines},
		"zstd.ndjson.zst.2":    {zst(ndjson), lines},
		"skippable.1":          {"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc" + zst(ndjson), lines},
		"wrong.ndjson.zst":     {gz(ndjson), lines},
		"unpacked.ndjson.gz":   {ndjson, lines},
		"unpacked.json.zst":    {"\ufeff[{\"a\":1}]", []string{`{"a":1}@4`}},
		"crlf.ndjson":          {"{\"a\":1}\r\n\r\n{\"b\":2}\r\n", []string{`{"a":1}@0`, `{"b":2}@11`}},
		"mark.ndjson":          {"\ufeff{\"a\":1}\n", []string{`{"a":1}@3`}},
		"mark.json":            {"\ufeff[{\"a\":1}]", []string{`{"a":1}@4`}},
		"empty.ndjson":         {"", nil},
		"empty.ndjson.gz":      {"", nil},
		"empty2.ndjson.gz":     {gz(""), nil},
		"array.json":           {"[\n {\n \"a\": 1\n },\n {\"b\":\"]\"} ]\n", []string{"{\n \"a\": 1\n }@3", `{"b":"]"}@18`}},
		"arrays.json.gz":       {gz("[{\"a\":1},{\"b\":2}]\n[{\"c\":3}]\n{\"d\":4}\n"), []string{`{"a":1}@1`, `{"b":2}@9`, `{"c":3}@19`, `{"d":4}@28`}},
		"array.zst":            {zst(`[{"a":1}]`), []string{`{"a":1}@1`}},
		"nonsense.ndjson":      {"nonsense\n\n}{\n", []string{"nonsense@0", "}{@10"}},
		".hidden.ndjson":       {ndjson, nil},
		"deep/er/.part.ndjson": {ndjson, nil},
	} {
		for _, size := range []int{4, 16, 1 << 20} {
			dir := t.TempDir()
			write(t, dir, name, test.data)
			got := readAll(t, dir+"/**", nil, size)
			if diff := cmp.Diff(test.want, got.records); diff != "" || got.refused != nil {
				t.Errorf("%s in pieces of %d: refused %v, records (-want +got):\n%s", name, size, got.refused, diff)
			}
		}
	}
}

// Files in formats that are not read are named, and are not taken for lines of
// text.
func TestOtherFormatsAreNamed(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"a.ndjson.bz2": "BZh91AY&SY\x00\x01", "b.1": "\xfd7zXZ\x00\x00\x04", "c": "\x04\x22\x4d\x18\x64", "d.zip": "PK\x03\x04\x14\x00\x00", "e.Z": "\x1f\x9d\x90{",
		"f.ndjson": "BZhello\n",
	} {
		write(t, dir, name, data)
	}
	s := open(t, Options{Pattern: dir + "/*"}, pieceSize)
	r := &reading{}
	for {
		p, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.take(t, p)
	}
	var want []string
	for _, x := range [][2]string{{"a.ndjson.bz2", "bzip2"}, {"b.1", "xz"}, {"c", "lz4"}, {"d.zip", "zip"}, {"e.Z", "compress (.Z)"}} {
		want = append(want, dir+"/"+x[0]+": it is compressed with "+x[1]+", which is not read: use gzip or zstd")
	}
	if diff := cmp.Diff(want, s.Report().Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"BZhello@0"}, r.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestFilesComeInOrderOfTheirPaths(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b/1.ndjson", "a.ndjson", "c.ndjson.gz", "b/0.ndjson", "other.txt"} {
		data := fmt.Sprintf("{%q:1}\n", name)
		if strings.HasSuffix(name, ".gz") {
			data = gz(data)
		}
		write(t, dir, name, data)
	}
	got := readAll(t, dir+"/**/*.{ndjson,ndjson.gz}", nil, pieceSize)
	want := []string{`{"a.ndjson":1}@0`, `{"b/0.ndjson":1}@0`, `{"b/1.ndjson":1}@0`, `{"c.ndjson.gz":1}@0`}
	if diff := cmp.Diff(want, got.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if _, err := Open(t.Context(), Options{Pattern: dir + "/[a"}); err == nil {
		t.Error("an invalid pattern is taken")
	}
}

// Whatever the cursor behind whichever piece, reading on from it gives the
// rest.
func TestResume(t *testing.T) {
	var ndjson, array strings.Builder
	array.WriteString("[")
	for i := range 60 {
		fmt.Fprintf(&ndjson, "{\"n\":%d,\"x\":%q}\n", i, strings.Repeat("x", i%23))
		fmt.Fprintf(&array, "{\"n\":%d,\n\"x\":%q},\n", i, strings.Repeat("]", i%23))
	}
	array.WriteString("{}]\n")
	for name, data := range map[string]string{
		"a.ndjson": ndjson.String(), "a.ndjson.gz": gz(ndjson.String()), "a.ndjson.zst": zst(ndjson.String()),
		"a.json": array.String(), "a.json.gz": gz(array.String()), "mark.ndjson": "\ufeff" + ndjson.String(),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, name, data)
			whole := readAll(t, dir+"/*", nil, 100)
			if len(whole.cursors) < 10 {
				t.Fatalf("only %d pieces", len(whole.cursors))
			}
			seen := map[int]bool{}
			for i, cursors := range whole.cursors {
				rest := readAll(t, dir+"/*", cursors, 100)
				n := len(whole.records) - len(rest.records)
				if diff := cmp.Diff(append([]string(nil), whole.records[n:]...), append([]string(nil), rest.records...)); diff != "" {
					t.Fatalf("behind piece %d (-want +got):\n%s", i, diff)
				}
				if seen[n] && i < len(whole.cursors)-1 {
					t.Errorf("piece %d did not move the cursor", i)
				}
				seen[n] = true
			}
			if rest := readAll(t, dir+"/*", whole.last(), 100); len(rest.records) != 0 {
				t.Errorf("%d records behind the end", len(rest.records))
			}
		})
	}
}

func TestReadAgain(t *testing.T) {
	one := "{\"a\":1}\n" + strings.Repeat("{\"long\":\"line\"}\n", 1000)
	for name, test := range map[string]struct {
		after string
		want  int // records
		file  string
	}{
		"unchanged":               {one, 0, "a.ndjson"},
		"grown":                   {one + "{\"b\":2}\n{\"c\":3}\n", 2, "a.ndjson"},
		"another file":            {"{\"b\":2}\n", 1, "a.ndjson"},
		"another, longer":         {strings.Repeat("{\"other\":\"line\"}\n", 1001), 1001, "a.ndjson"},
		"changed behind its head": {one[:8000] + "{\"new\":1}\n" + one[8000:], 1002, "a.ndjson"},
		"gz grown":                {gz(one) + gz("{\"b\":2}\n"), 1, "a.ndjson.gz"},
		"gz another":              {gz(strings.Repeat("{\"other\":\"line\"}\n", 1001)), 1001, "a.ndjson.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := one
			if strings.HasSuffix(test.file, ".gz") {
				before = gz(one)
			}
			write(t, dir, test.file, before)
			old := time.Now().Add(-time.Hour)
			path := filepath.Join(dir, test.file)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			first := readAll(t, dir+"/*", nil, 1<<20)
			if test.after != before {
				write(t, dir, test.file, test.after)
			}
			second := readAll(t, dir+"/*", first.last(), 1<<20)
			// A piece that an insertion has cut is one record more or less.
			if n := len(second.records); n != test.want {
				t.Errorf("%d records, want %d; refused %v", n, test.want, second.refused)
			}
			if test.want == 0 && len(second.cursors) != 1 {
				t.Error("the file was opened again")
			}
		})
	}
}

// Each copy of a file whose last record is not complete remembers each of the copies before
// it once: the record may have been refused under their names. Copies of whole files remember
// none.
func TestManyCopies(t *testing.T) {
	const copies = 16
	for _, test := range []struct {
		content string
		records int
		waits   bool
	}{
		{"[]", 0, false},
		{"{\"a\":1}\n", 1, false},
		{"{\"a\":1}\n{\"b\":", 1, true},
	} {
		dir := t.TempDir()
		for i := range copies {
			write(t, dir, fmt.Sprintf("%02d.json", i), test.content)
		}
		r := &reading{}
		s := open(t, Options{Pattern: dir + "/*", Now: time.Now}, 1000)
		for p, err := s.Next(t.Context()); !errors.Is(err, io.EOF); p, err = s.Next(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			r.take(t, p)
		}
		if len(r.records) != test.records || len(r.last()) != copies {
			t.Errorf("%q: %d records, want %d, of %d files", test.content, len(r.records), test.records, len(r.last()))
		}
		for path, value := range r.last() {
			c, err := decodeCursor(value)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if _, err := fmt.Sscanf(filepath.Base(path), "%d.json", &want); err != nil {
				t.Fatal(err)
			}
			if !test.waits {
				want = 0
			}
			names := map[ingest.Origin]bool{}
			for _, o := range c.Origins {
				names[o] = true
			}
			if len(c.Origins) != want || len(names) != want {
				t.Errorf("%q: %s has %d origins, %d of them different, want %d", test.content, filepath.Base(path), len(c.Origins), len(names), want)
			}
		}
	}
}

func TestFilesThatAreCut(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "{\"n\":%d,\"r\":\"%x\"}\n", i, i*7919)
	}
	whole := gz(b.String())
	damaged := []byte(whole)
	damaged[len(damaged)-5] ^= 1
	for name, test := range map[string]struct {
		file, data, reason string
		records            [2]int // at least, at most
	}{
		"gzip cut in the middle":    {"a.gz", whole[:len(whole)/2], "truncated_file", [2]int{500, 1500}},
		"gzip without its trailer":  {"a.gz", whole[:len(whole)-8], "truncated_file", [2]int{2000, 2000}},
		"gzip cut in its header":    {"a.gz", whole[:5], "truncated_file", [2]int{0, 0}},
		"gzip damaged":              {"a.gz", string(damaged), "damaged_file", [2]int{2000, 2000}},
		"gzip with rubbish behind":  {"a.gz", whole + "rubbish rubbish", "damaged_file", [2]int{2000, 2000}},
		"gzip whose header is lost": {"a.gz", whole[3:], "damaged_file", [2]int{0, 0}},
		"zstd whose header is lost": {"a.zst", zst(b.String())[4:], "damaged_file", [2]int{0, 0}},
		"gzip of any name, cut":     {"a.gz.1", whole[:len(whole)/2], "truncated_file", [2]int{500, 1500}},
		"zstd cut":                  {"a.zst", zst(b.String())[:1000], "truncated_file", [2]int{0, 1999}},
		"array without end":         {"a.json", "[{\"a\":1},\n{\"b\":2}", "truncated_file", [2]int{2, 2}},
		"array cut in a record":     {"a.json", "[{\"a\":1},\n{\"b\":", "truncated_file", [2]int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, test.file, test.data)
			write(t, dir, "z.ndjson", "{\"next\":1}\n")
			got := readAll(t, dir+"/*", nil, pieceSize)
			n := len(got.records) - 1
			if n < 0 || got.records[n] != `{"next":1}@0` {
				t.Fatal("the next file was not read")
			}
			if n < test.records[0] || n > test.records[1] || len(got.refused) != 1 || !strings.HasPrefix(got.refused[0], test.reason) {
				t.Errorf("%d records, refused %v", n, got.refused)
			}
			if again := readAll(t, dir+"/*", got.last(), pieceSize); len(again.records)+len(again.refused) != 0 {
				t.Errorf("read again: %v %v", again.records, again.refused)
			}
		})
	}
}

// A record that is too long is refused and skipped, and its neighbours are
// kept, wherever it stands.
func TestTooLongRecords(t *testing.T) {
	for _, n := range []int{2 << 20, 5 << 20} {
		long := `{"x":"` + strings.Repeat("x", n) + `"}`
		const a, b, c = "{\"a\":1}", "{\"b\":2}", "{\"c\":3}"
		kept := schema.MaxRecord
		refused := func(at int) []string { return []string{fmt.Sprintf("too_long@%d %d bytes", at, kept)} }
		for name, test := range map[string]struct {
			data    string
			records []string
			refused []string
		}{
			"first":      {long + "\n" + a + "\n" + b + "\n", []string{a, b}, refused(0)},
			"middle":     {a + "\n" + long + "\n" + b + "\n" + c, []string{a, b, c}, refused(8)},
			"last":       {a + "\n" + long + "\n", []string{a}, refused(8)},
			"two":        {long + "\n" + long + "\n" + a, []string{a}, append(refused(0), refused(len(long)+1)...)},
			"in array":   {"[" + a + "," + long + "," + b + "]", []string{a, b}, refused(9)},
			"array last": {"[" + a + ",\n" + long + "]", []string{a}, refused(10)},
		} {
			t.Run(fmt.Sprintf("%s of %d", name, n), func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "a.json", test.data)
				got := readAll(t, dir+"/*", nil, pieceSize)
				for i, r := range got.records {
					got.records[i], _, _ = strings.Cut(r, "@")
				}
				if diff := cmp.Diff(test.records, got.records); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.refused, got.refused); diff != "" {
					t.Errorf("refused (-want +got):\n%s", diff)
				}
				for i, cursors := range got.cursors {
					for _, r := range readAll(t, dir+"/*", cursors, pieceSize).records {
						if name, _, _ := strings.Cut(r, "@"); name != a && name != b && name != c {
							t.Errorf("behind piece %d a part of a record is taken for one: %.40s", i, r)
						}
					}
				}
			})
		}
	}
}

// faulty is a place whose files break off with an error of the place.
type faulty struct {
	place
	after int64
	err   error
}

func (f faulty) open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	r, err := f.place.open(ctx, path, from)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, f.after-from), failing{f.err}), r}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// An error of the place, also one that looks like the end, is not a fault of the
// file: nothing is refused, and the rest is read the next time.
func TestErrorsOfThePlace(t *testing.T) {
	data := strings.Repeat("{\"long\":\"line\"}\n", 2000)
	for name, data := range map[string]string{"a.ndjson": data, "a.ndjson.gz": gz(data) + gz(data), "a.ndjson.zst": zst(data)} {
		dir := t.TempDir()
		write(t, dir, name, data)
		s := open(t, Options{Pattern: dir + "/*"}, 1000)
		s.place = faulty{s.place, int64(len(data)) - 20, io.ErrUnexpectedEOF}
		r := &reading{}
		var err error
		for err == nil {
			var p *ingest.Piece
			if p, err = s.Next(t.Context()); err == nil {
				r.take(t, p)
			}
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(r.refused) > 0 {
			t.Errorf("%s: got %v, refused %v", name, err, r.refused)
		}
		whole, rest := readAll(t, dir+"/*", nil, 1000), readAll(t, dir+"/*", r.last(), 1000)
		if len(rest.records)+len(r.records) != len(whole.records) {
			t.Errorf("%s: %d and %d records of %d", name, len(r.records), len(rest.records), len(whole.records))
		}
	}
}
