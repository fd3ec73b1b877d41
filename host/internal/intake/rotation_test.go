package intake

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock-io/penstock/host/internal/quarantine"
)

func gzipped(data string) string {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = z.Write([]byte(data))
	_ = z.Close()
	return b.String()
}

func zstded(t *testing.T, data string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return string(z.EncodeAll([]byte(data), nil))
}

func (s *filesSite) rename(from, to string) {
	s.Helper()
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		s.Fatal(err)
	}
}

func (s *filesSite) remove(name string) {
	s.Helper()
	if err := os.Remove(s.path(name)); err != nil {
		s.Fatal(err)
	}
}

func (s *filesSite) read(name string) string {
	s.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

// add is an operation that counts n more.
func add(n int) string { return fmt.Sprintf(`{"$distinct_id":"u","$add":{"n":%d}}`, n) + "\n" }

// Operations count once however their file is rotated, renamed or compressed, and
// those of the file that takes its place are done.
func TestRotatedOperationsCountOnce(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]func(s *filesSite){
		"renamed":                 func(s *filesSite) { s.rename("people/a.ndjson", "people/a.ndjson.1") },
		"renamed to come first":   func(s *filesSite) { s.rename("people/a.ndjson", "people/0.ndjson") },
		"copied and truncated":    func(s *filesSite) { s.write("people/a.ndjson.1", s.read("people/a.ndjson")) },
		"copied to come first":    func(s *filesSite) { s.write("people/0.ndjson", s.read("people/a.ndjson")) },
		"compressed with gzip":    func(s *filesSite) { s.write("people/a.ndjson.gz", gzipped(s.read("people/a.ndjson"))) },
		"compressed with zstd":    func(s *filesSite) { s.write("people/b.ndjson.zst", zstded(s.T, s.read("people/a.ndjson"))) },
		"compressed and rotated":  func(s *filesSite) { s.write("people/a.ndjson.gz.1", gzipped(s.read("people/a.ndjson"))) },
		"zstd and rotated":        func(s *filesSite) { s.write("people/a.ndjson.zst.2", zstded(s.T, s.read("people/a.ndjson"))) },
		"moved away, back later":  func(s *filesSite) { s.rename("people/a.ndjson", "elsewhere") },
		"renamed, and grown then": func(s *filesSite) { s.rename("people/a.ndjson", "people/b.ndjson") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFilesSite(t, "")
			count := func(want int) {
				t.Helper()
				if _, _, err := s.once(); err != nil {
					t.Fatal(err)
				}
				if got := s.profiles(); !strings.Contains(got, fmt.Sprintf(`"n":%d}`, want)) {
					t.Fatalf("want %d, and the profiles are %s", want, got)
				}
			}
			s.write("people/a.ndjson", add(1)+add(4))
			count(5)
			rotate(s)
			// Another file, which begins as the first did.
			s.write("people/a.ndjson", add(1))
			count(6)
			s.write("people/a.ndjson", add(1)+add(2))
			total := 8
			switch {
			case strings.HasPrefix(name, "moved away"):
				s.rename("elsewhere", "people/late.ndjson")
			case strings.HasSuffix(name, "grown then"):
				s.write("people/b.ndjson", s.read("people/b.ndjson")+add(100))
				total += 100
			case strings.Contains(name, "gzip"):
				// With another tool.
				s.write("people/c.zst", zstded(t, add(1)+add(4)))
				s.remove("people/a.ndjson.gz")
			}
			count(total)
			count(total)
		})
	}
}

// A chain of rotated files counts each operation once, also when the oldest comes
// back, and remembers each content once, however many names it had.
func TestChainsOfRotatedFiles(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	const depth, rounds = 3, 7
	total := 0
	run := func() {
		t.Helper()
		if _, _, err := s.once(); err != nil {
			t.Fatal(err)
		}
		if got := s.profiles(); !strings.Contains(got, fmt.Sprintf(`"n":%d}`, total)) {
			t.Fatalf("want %d, and the profiles are %s", total, got)
		}
	}
	name := func(i int) string { return fmt.Sprintf("people/a.ndjson.gz.%d", i) }
	for n := range rounds {
		for i := depth - 1; i >= 0; i-- {
			if _, err := os.Stat(s.path(name(i))); err == nil {
				s.rename(name(i), name(i+1))
			}
		}
		s.write(name(0), gzipped(add(1<<n)))
		total += 1 << n
		run()
	}
	s.write("people/back.ndjson", add(1))
	run()
	// The newest content has replaced the other six.
	if _, people := s.status(); people.Positions != depth+2 || people.Replaced != rounds-1 {
		t.Errorf("%+v", people)
	}
}

// A file that has the same size and time as before, or the same beginning and
// end, is read when its content is another.
func TestOtherContentIsRead(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	event := func(n int) string {
		return fmt.Sprintf(`{"event":"e%04d","properties":{"time":1780000000,"$insert_id":"%04d"}}`, n, n) + "\n"
	}
	lines := func(from, to int) string {
		var b strings.Builder
		for n := from; n < to; n++ {
			b.WriteString(event(n))
		}
		return b.String()
	}
	at := time.Now().Add(-time.Hour)
	write := func(name, data string, rows int64) {
		t.Helper()
		s.write("in/"+name, data)
		if err := os.Chtimes(s.path("in/"+name), at, at); err != nil {
			t.Fatal(err)
		}
		if events, _, err := s.once(); err != nil || events.Rows != rows {
			t.Errorf("%s: %+v, %v, want %d rows", name, events, err, rows)
		}
	}
	write("a.ndjson", lines(0, 10), 10)
	write("a.ndjson", lines(10, 20), 10)
	begin, end := lines(1000, 1100), lines(1100, 1200)
	write("b.ndjson", begin+lines(2000, 2010)+end, 210)
	write("b.ndjson", begin+lines(3000, 3010)+end, 10)
	write("b.ndjson", begin+lines(3000, 3010)+end, 0)
}

// The last line of a file waits for its rest; when the file is finished it is
// refused, whole and once. A last line that is a record is read.
func TestHalfALineWaits(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", "follow = true"} {
		s := newFilesSite(t, more)
		const a, b, c = `{"event":"a","properties":{"time":1780000000}}`, `{"event":"b","properties":{"time":1780000000}}`, `{"event":"c","properties":{"time":1780000000}}`
		run := func(what string, rows int64, waiting, refused int) {
			t.Helper()
			events, _, err := s.once()
			status, _ := s.status()
			if err != nil || events.Rows != rows || len(events.Waiting) != waiting || len(status.Waiting) != waiting || len(events.Quarantined) != refused {
				t.Errorf("%q, %s: %+v, %v; status %+v", more, what, events, err, status)
			}
		}
		s.write("in/a.ndjson", a+"\n"+b[:20])
		run("half a line", 1, 1, 0)
		run("again", 0, 1, 0)
		s.write("in/a.ndjson", a+"\n"+b)
		run("the rest", 1, 0, 0)
		run("again", 0, 0, 0)
		s.write("in/a.ndjson", a+"\n"+b+"\n"+c[:30])
		run("half of another", 0, 1, 0)
		old := time.Now().Add(-2 * finishedForTest)
		if err := os.Chtimes(s.path("in/a.ndjson"), old, old); err != nil {
			t.Fatal(err)
		}
		run("finished", 0, 0, 1)
		run("again", 0, 0, 0)
		s.write("in/b.json", "["+a+",\n"+c[:20])
		run("half an array", 0, 1, 0)
		s.write("in/b.json", "["+a+",\n"+c+"]")
		run("the whole array", 1, 0, 0)
	}
}

const finishedForTest = time.Hour

// age makes a file a finished one.
func (s *filesSite) age(name string) {
	s.Helper()
	old := time.Now().Add(-2 * finishedForTest)
	if err := os.Chtimes(s.path(name), old, old); err != nil {
		s.Fatal(err)
	}
}

// refused returns the records that are in quarantine.
func (s *filesSite) refused() []string {
	s.Helper()
	var all []string
	s.open(func(o *site) {
		for e, err := range o.quarantine.Matching(quarantine.Filter{}) {
			if err != nil {
				s.Fatal(err)
			}
			all = append(all, e.Reason+": "+string(e.Bytes))
		}
		counts, err := o.quarantine.Counts()
		if err != nil {
			s.Fatal(err)
		}
		total := 0
		for _, reasons := range counts {
			for _, n := range reasons {
				total += int(n.Total())
			}
		}
		if total != len(all) {
			s.Errorf("counts %+v of %q", counts, all)
		}
	})
	return all
}

// A last record without end is refused when its file is finished. When the file is
// completed all the same, under whatever name, the record is read once and leaves
// the quarantine, while others stay.
func TestLastRecordIsCompletedLater(t *testing.T) {
	t.Parallel()
	const (
		a, b, c = `{"$distinct_id":"u","$add":{"n":1}}`, `{"$distinct_id":"u","$add":{"n":10}}`, `{"$distinct_id":"u","$add":{"n":100}}`
		log     = "the line of a log\n"
	)
	for name, test := range map[string]struct {
		before, part, after string
		reason              string // of part
		kept                []string
		total               int
	}{
		"a line":                   {a + "\n", b[:20], b[20:] + "\n" + c + "\n", "truncated_file", nil, 111},
		"a line of text":           {a + "\n", "text", " goes on\n" + c + "\n", "invalid_json", []string{"invalid_json: text goes on"}, 101},
		"a line after bad ones":    {log + a + "\n", b[:20], b[20:] + "\n" + c, "truncated_file", []string{"invalid_json: " + strings.TrimSpace(log)}, 111},
		"an array":                 {"[" + a + ",\n", b[:20], b[20:] + "," + c + "]", "truncated_file", nil, 111},
		"an array but its end":     {"[" + a + ",\n" + b, "", "]", "truncated_file", nil, 11},
		"an array of a line":       {log + "[" + a + ",", b[:20], b[20:] + "]\n" + c + "\n", "truncated_file", []string{"invalid_json: " + strings.TrimSpace(log)}, 111},
		"a comma follows":          {a + "\n" + b + ",", "", "\n" + c, "", nil, 111},
		"a bracket follows":        {log + "[\n" + a + ",\n" + b + "]", "", "\n" + c, "", []string{"invalid_json: " + strings.TrimSpace(log)}, 111},
		"a second half is refused": {a + "\n", b[:20], "\n" + c, "truncated_file", []string{"invalid_json: " + b[:20]}, 101},
	} {
		for rotation, rotate := range map[string]func(s *filesSite, name string) string{
			"": func(_ *filesSite, name string) string { return name },
			"renamed": func(s *filesSite, name string) string {
				s.rename(name, name+".1")
				return name + ".1"
			},
			"copied and truncated": func(s *filesSite, name string) string {
				s.write(name+".1", s.read(name))
				s.write(name, "")
				return name + ".1"
			},
		} {
			t.Run(name+" "+rotation, func(t *testing.T) {
				t.Parallel()
				s := newFilesSite(t, "")
				run := func() {
					t.Helper()
					if _, people, err := s.once(); err != nil || len(people.Waiting) > 0 {
						t.Fatalf("%+v, %v", people, err)
					}
				}
				file := "people/a.json"
				s.write(file, test.before+test.part)
				s.age(file)
				want := test.kept
				if test.reason != "" {
					want = append([]string{test.reason + ": " + test.part}, test.kept...)
				}
				if test.kept != nil && !strings.HasPrefix(test.before, log) {
					want = want[:1]
				}
				slices.Sort(want)
				for range 2 {
					run()
					if diff := cmp.Diff(want, sorted(s.refused())); diff != "" {
						t.Errorf("finished (-want +got):\n%s", diff)
					}
					s.age(file)
				}
				file = rotate(s, file)
				s.age(file)
				run()
				if diff := cmp.Diff(want, sorted(s.refused())); diff != "" {
					t.Errorf("rotated (-want +got):\n%s", diff)
				}
				s.write(file, s.read(file)+test.after)
				s.age(file)
				for range 2 {
					run()
					if diff := cmp.Diff(test.kept, sorted(s.refused())); diff != "" {
						t.Errorf("completed (-want +got):\n%s", diff)
					}
					if got := s.profiles(); !strings.Contains(got, fmt.Sprintf(`"n":%d}`, test.total)) {
						t.Errorf("want %d, and the profiles are %s", test.total, got)
					}
				}
			})
		}
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// A copy of a file whose last record was refused waits for the rest, and takes the
// refused record over when it is finished.
func TestRefusedRecordMovesWithItsCopy(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	const a, b = `{"event":"a","properties":{"time":1780000000}}`, `{"event":"b","prop`
	s.write("in/a.ndjson", a+"\n"+b)
	s.age("in/a.ndjson")
	run := func(waiting, rows int, refused ...string) {
		t.Helper()
		events, _, err := s.once()
		if diff := cmp.Diff(refused, s.refused()); err != nil || len(events.Waiting) != waiting || int(events.Rows) != rows || diff != "" {
			t.Errorf("%+v, %v; refused (-want +got):\n%s", events, err, diff)
		}
	}
	run(0, 1, "truncated_file: "+b)
	// The file is written again: perhaps the rest comes.
	s.write("in/a.ndjson", a+"\n"+b)
	run(1, 0)
	s.age("in/a.ndjson")
	run(0, 0, "truncated_file: "+b)
	s.write("in/a.ndjson.1", s.read("in/a.ndjson"))
	s.remove("in/a.ndjson")
	run(1, 0, "truncated_file: "+b)
	s.age("in/a.ndjson.1")
	run(0, 0, "truncated_file: "+b)
	s.write("in/a.ndjson.1", s.read("in/a.ndjson.1")+`erties":{"time":1780000000}}`)
	run(0, 1)
}

// A log that is truncated while it is written begins with a hole.
func TestHoles(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	record := func(n int) string { return fmt.Sprintf(`{"event":"e%d","properties":{"time":1780000000}}`, n) }
	hole := strings.Repeat("\x00", 3<<20)
	s.write("in/a.ndjson", hole+record(1)+"\n"+record(2)+"\n")
	s.write("in/b.ndjson", record(3)+"\n"+`{"event":"torn`+hole+record(4)+"\n"+record(5)+"\n"+hole)
	s.write("in/c.json", "["+record(6)+",\n"+`{"event":"torn`+hole+record(7)+","+record(8)+"]\n")
	events, _, err := s.once()
	if err != nil || events.Rows != 8 || len(events.Quarantined) != 1 || events.Quarantined[0].Count != 2 {
		t.Errorf("%+v, %v", events, err)
	}
}

// Zero bytes behind a gzip member are padding.
func TestPaddedGzip(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	const record = `{"event":"e","properties":{"time":1780000000}}` + "\n"
	s.write("in/a.ndjson.gz", gzipped(record)+strings.Repeat("\x00", 10_000))
	events, _, err := s.once()
	if err != nil || events.Rows != 1 || len(events.Quarantined) != 0 {
		t.Errorf("%+v, %v", events, err)
	}
}
