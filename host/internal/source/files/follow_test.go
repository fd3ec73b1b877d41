package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob/memblob"
)

// follower follows files, and looks when told.
type follower struct {
	*testing.T
	idle   chan struct{} // it has read all that it has seen, and waits
	again  chan struct{} // it is time to look again
	dir    string
	events chan string
}

func follow(t *testing.T) *follower {
	f := &follower{T: t, idle: make(chan struct{}), again: make(chan struct{}), dir: t.TempDir(), events: make(chan string, 10000)}
	ctx, cancel := context.WithCancel(t.Context())
	s := open(t, Options{Pattern: f.dir + "/*", Follow: true, Wait: f.wait}, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r := &reading{}
		for {
			p, err := s.Next(ctx)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return
			}
			r.take(t, p)
			for _, x := range append(r.records, r.refused...) {
				f.events <- x
			}
			r.records, r.refused = nil, nil
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-f.idle
	return f
}

// wait is the source's wait between two looks.
func (f *follower) wait(ctx context.Context) error {
	select {
	case f.idle <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-f.again:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// look lets it look twice, and returns the records that it found. It does not look
// while the test changes files.
func (f *follower) look() []string {
	for range 2 {
		f.again <- struct{}{}
		<-f.idle
	}
	var found []string
	for len(f.events) > 0 {
		found = append(found, <-f.events)
	}
	return found
}

func (f *follower) expect(step string, want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, f.look()); diff != "" {
		f.Errorf("%s (-want +got):\n%s", step, diff)
	}
}

func (f *follower) append(name, data string) {
	f.Helper()
	file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		f.Fatal(err)
	}
	_, err = file.WriteString(data)
	if err := errors.Join(err, file.Close()); err != nil {
		f.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	f := follow(t)
	f.expect("nothing there")
	f.append("a.ndjson", "{\"a\":1}\n{\"b\"")
	f.expect("a new file", `{"a":1}@0`)
	f.expect("a line that is not complete")
	f.append("a.ndjson", ":2}")
	f.expect("more of the line")
	f.append("a.ndjson", "\n")
	f.expect("the end of the line", `{"b":2}@8`)
	f.append("b.ndjson", "{\"c\":3}\n")
	f.append("a.ndjson", "{\"d\":4}\n")
	f.expect("two files", `{"d":4}@16`, `{"c":3}@0`)

	if err := os.Rename(filepath.Join(f.dir, "a.ndjson"), filepath.Join(f.dir, ".old")); err != nil {
		t.Fatal(err)
	}
	f.expect("gone")
	f.append("a.ndjson", "{\"new\":1}\n")
	f.expect("rotated", `{"new":1}@0`)
	write(t, f.dir, "a.ndjson", "{\"cut\":1}\n{\"and\":\"longer than before\"}\n")
	f.expect("truncated and written again", `{"cut":1}@0`, `{"and":"longer than before"}@10`)
	write(t, f.dir, "a.ndjson", "{}\n")
	f.expect("truncated", `{}@0`)
}

func TestFollowLongLine(t *testing.T) {
	f := follow(t)
	f.append("a.ndjson", `{"x":"`+strings.Repeat("x", 3<<20))
	f.expect("a long line begins", "too_long@0 1048576 bytes")
	f.append("a.ndjson", "x\"}\n{\"a\":1}\n")
	f.expect("and ends", `{"a":1}@3145738`)
}

// A compressed file that is being written is not reported as cut; one that
// stays as it is, is.
func TestFollowCompressed(t *testing.T) {
	f := follow(t)
	var b strings.Builder
	for range 100 {
		b.WriteString("{\"a\":1}\n")
	}
	whole := gz(b.String())
	f.append("a.ndjson.gz", whole[:len(whole)-8])
	f.again <- struct{}{}
	for i := range 100 {
		if found := <-f.events; !strings.HasPrefix(found, `{"a":1}@`) {
			t.Fatalf("record %d is %s", i, found)
		}
	}
	<-f.idle
	f.append("a.ndjson.gz", whole[len(whole)-8:])
	f.expect("the trailer")
	whole = gz(strings.ReplaceAll(b.String(), "1", "2"))
	f.append("b.ndjson.gz", whole[:len(whole)-8])
	found := f.look()
	if len(found) != 101 || found[100] != "truncated_file@800 0 bytes" {
		t.Errorf("%d found, the last is %v", len(found), found[len(found)-1:])
	}
	f.expect("reported once")
}

func TestFollowIsTakenUpWithoutFollow(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.ndjson", "{\"a\":1}\n{\"b\":2}")
	s := open(t, Options{Pattern: dir + "/*", Follow: true}, 1000)
	r := &reading{}
	p, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.take(t, p)
	rest := readAll(t, dir+"/*", r.last(), 1000)
	if diff := cmp.Diff([]string{`{"b":2}@8`}, rest.records); diff != "" {
		t.Errorf("the last line (-want +got):\n%s", diff)
	}
}

func TestBucket(t *testing.T) {
	b := memblob.OpenBucket(nil)
	put := func(key, data string) {
		t.Helper()
		if err := b.WriteAll(t.Context(), key, []byte(data), nil); err != nil {
			t.Fatal(err)
		}
	}
	put("in/2026/b.ndjson.gz", gz("{\"b\":1}\n"))
	put("in/2026/a.json", "[{\"a\":1}]")
	put("in/2026/x.txt", "{\"x\":1}")
	put("inner/2026/c.json", "{\"c\":1}")
	list := func(cursors map[string][]byte) *reading {
		t.Helper()
		s := newSource(Options{Name: "files.test"}, &bucket{b: b, base: "s3://lake/", pattern: "in/**/*.{json,ndjson.gz}"})
		if err := s.load(cursors); err != nil {
			t.Fatal(err)
		}
		if err := s.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := &reading{}
		if cursors != nil {
			r.cursors = append(r.cursors, cursors)
		}
		for {
			p, err := s.Next(t.Context())
			if err != nil {
				return r
			}
			r.take(t, p)
		}
	}
	first := list(nil)
	if diff := cmp.Diff([]string{`{"a":1}@1`, `{"b":1}@0`}, first.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if first.last()["s3://lake/in/2026/a.json"] == nil {
		t.Errorf("cursors %v", first.last())
	}
	put("in/2026/c.json", "{\"c\":1}\n")
	second := list(first.last())
	if diff := cmp.Diff([]string{`{"c":1}@0`}, second.records); diff != "" {
		t.Errorf("records of the new object (-want +got):\n%s", diff)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A log that is renamed while a new one takes its name, between two looks, is not
// read again.
func TestFollowRotation(t *testing.T) {
	f := follow(t)
	f.append("a.ndjson", "{\"a\":1}\n{\"b\":2}\n")
	f.expect("a new file", `{"a":1}@0`, `{"b":2}@8`)
	if err := os.Rename(filepath.Join(f.dir, "a.ndjson"), filepath.Join(f.dir, "a.ndjson.1")); err != nil {
		t.Fatal(err)
	}
	f.append("a.ndjson", "{\"new\":\"and longer than the one before\"}\n")
	f.expect("rotated", `{"new":"and longer than the one before"}@0`)
	f.append("a.ndjson.1", "{\"late\":1}\n")
	f.expect("a last line of the old log", `{"late":1}@16`)
}

// A record without end is waited for from its beginning. The state for reading on
// there has nothing of the record: the file may be written again with other ones.
func TestFollowOtherRecordsBehindTheSameBeginning(t *testing.T) {
	f := follow(t)
	f.append("a.json", `[{"x":"`+strings.Repeat("x", 1<<20))
	if found := f.look(); len(found) == 0 || found[0] != "too_long@1 1048576 bytes" {
		t.Fatalf("found %v", found)
	}
	again := "[" + strings.Repeat(record(1)+",", 100)
	write(t, f.dir, "a.json", again)
	if found := f.look(); len(found) != 100 {
		t.Errorf("%d records of the file that was written again", len(found))
	}
	write(t, f.dir, "copy.json", again)
	f.expect("a copy of it")
}
