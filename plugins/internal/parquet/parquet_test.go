package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

// encode writes lines as a file, in batches of the given number of rows.
func encode(t testing.TB, stream batch.Stream, id string, size int, lines ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, stream, id)
	if err != nil {
		t.Fatal(err)
	}
	d := columns.NewDecoder(columns.Options{Stream: stream})
	for from := 0; from < len(lines); from += size {
		var rows []destinationtest.Row
		for _, line := range lines[from:min(from+size, len(lines))] {
			rows = append(rows, destinationtest.Row{Line: line})
		}
		err := d.Batch(destinationtest.NewBatch(rows...), nil, func(r *columns.Row) error { w.Add(r); return nil })
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(data []byte, stream batch.Stream) (lines []string, err error) {
	err = Read(bytes.NewReader(data), int64(len(data)), stream, func(r *columns.Row) error {
		lines = append(lines, string(columns.AppendLine(nil, stream, r, false)))
		return nil
	})
	return lines, err
}

func eventLine(i int, properties string) string {
	user := fmt.Sprintf(`"u%d"`, i%7)
	if i%3 == 0 {
		user = "null"
	}
	return fmt.Sprintf(`{"device_id":"d%d","distinct_id":"é%d\n","event_name":"View","insert_id":"i%d","properties":%s,"time":%d,"user_id":%s}`, i, i, i, properties, i-5, user)
}

func TestRowsAreReadBack(t *testing.T) {
	var events []string
	for i := range 3000 {
		events = append(events, eventLine(i, fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", i%4000))))
	}
	people := []string{`{"distinct_id":"a","properties":{}}`, `{"distinct_id":"b","properties":{"$email":"x"}}`}
	links := []string{`{"distinct_id":"a","resolved_distinct_id":"b"}`}
	for _, tt := range []struct {
		stream batch.Stream
		lines  []string
	}{{batch.Events, events}, {batch.Events, nil}, {batch.People, people}, {batch.Identity, links}} {
		for _, size := range []int{1, 100, 5000} {
			got, err := read(encode(t, tt.stream, "", size, tt.lines...), tt.stream)
			if err != nil || strings.Join(got, "\n") != strings.Join(tt.lines, "\n") {
				t.Errorf("%s in batches of %d: %v, %d rows of %d", tt.stream, size, err, len(got), len(tt.lines))
			}
		}
	}
}

func TestTheSameBatchesMakeTheSameBytes(t *testing.T) {
	lines := []string{eventLine(1, `{}`), eventLine(2, `{"a":1}`), eventLine(3, `{}`)}
	if !bytes.Equal(encode(t, batch.Events, "id", 2, lines...), encode(t, batch.Events, "id", 2, lines...)) {
		t.Error("two files of the same batches differ")
	}
}

func TestTheIDIsKept(t *testing.T) {
	for _, id := range []string{"", "shop-x-00000001-00000002"} {
		data := encode(t, batch.Events, id, 10, eventLine(1, `{}`))
		if got, err := ID(bytes.NewReader(data), int64(len(data))); err != nil || got != id {
			t.Errorf("%q, %v, want %q", got, err, id)
		}
	}
}

// A large file has several row groups, each of which is written before the next
// one begins: the writer never holds the whole file.
func TestRowGroupsAreBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const long = 60 << 10
	noise := make([]byte, 16<<20)
	for i := range noise {
		noise[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[random.IntN(64)]
	}
	sink := new(counting)
	w, err := NewWriter(sink, batch.Events, "")
	if err != nil {
		t.Fatal(err)
	}
	d := columns.NewDecoder(columns.Options{Stream: batch.Events})
	written, at, most := 0, 0, int64(0)
	for i := range 40 {
		var rows []destinationtest.Row
		for range 60 {
			at = (at + long) % (len(noise) - long)
			rows = append(rows, destinationtest.Row{Line: eventLine(i, `{"a":"`+string(noise[at:at+long])+`"}`)})
		}
		b := destinationtest.NewBatch(rows...)
		if err := d.Batch(b, nil, func(r *columns.Row) error { w.Add(r); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		written += b.RowsBytes
		// Text of 64 letters compresses to three quarters.
		most = max(most, int64(written)*3/4-sink.n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if most > groupBytes {
		t.Errorf("the writer held %d bytes", most)
	}
	if written < 2*groupBytes {
		t.Errorf("the test wrote only %d bytes", written)
	}
}

type broken struct {
	after int
	err   error
}

func (b *broken) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, b.err
	}
	return len(p), nil
}

// An error of the store reaches the caller as it is, wherever it occurs.
func TestErrorsOfTheWriterBelow(t *testing.T) {
	failure := errors.New("disk is full")
	b := destinationtest.NewBatch(destinationtest.Row{Line: eventLine(1, `{"a":1}`)})
	whole := len(encode(t, batch.Events, "", 1, eventLine(1, `{"a":1}`)))
	for after := range whole {
		w, err := NewWriter(&broken{after: after, err: failure}, batch.Events, "")
		if err == nil {
			d := columns.NewDecoder(columns.Options{Stream: batch.Events})
			if err = d.Batch(b, nil, func(r *columns.Row) error { w.Add(r); return nil }); err != nil {
				t.Fatal(err)
			}
			err = w.Close()
		}
		if !errors.Is(err, failure) {
			t.Fatalf("%v after %d bytes of %d", err, after, whole)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	data := encode(t, batch.Events, "id", 10, eventLine(1, `{"a":1}`), eventLine(2, `{"a":2}`))
	for _, bad := range [][]byte{nil, []byte("PAR1"), data[:len(data)/2], data[10:], encode(t, batch.People, "", 1, `{"distinct_id":"a","properties":{}}`)} {
		if _, err := read(bad, batch.Events); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	failure := errors.New("no connection")
	r := readerAt(func([]byte, int64) (int, error) { return 0, failure })
	if err := Read(r, 1000, batch.Events, nil); !errors.Is(err, failure) {
		t.Errorf("%v, want the error of the reader", err)
	}
}

type readerAt func(p []byte, at int64) (int, error)

func (f readerAt) ReadAt(p []byte, at int64) (int, error) { return f(p, at) }

// No bytes make the reader panic, or loop.
func FuzzRead(f *testing.F) {
	f.Add(encode(f, batch.People, "id", 1, `{"distinct_id":"a","properties":{"b":1}}`, `{"distinct_id":"b","properties":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Read(bytes.NewReader(data), int64(len(data)), batch.People, func(*columns.Row) error { return nil })
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%v", err)
		}
	})
}

// Ids that hardly repeat within a row group have no dictionary: it would be larger than
// they are. Few rows tell nothing.
func TestDictionariesOfIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		rows, people int
		visitors     int    // rows without user_id for each row that has one
		want         string // columns with a dictionary
	}{
		"each its own":          {2000, 1 << 30, 0, "event_name"},
		"many people":           {2000, 400_000, 0, "event_name"},
		"few people":            {2000, 500, 0, "device_id distinct_id event_name user_id"},
		"too few to tell":       {100, 1 << 30, 0, "device_id distinct_id event_name user_id"},
		"too few are logged in": {2000, 1 << 30, 999, "event_name user_id"},
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(5, 6))
			var lines []string
			for n := range tt.rows {
				person := random.IntN(tt.people)
				user := fmt.Sprintf(`"u-%d"`, person)
				if n%(tt.visitors+1) != 0 {
					user = "null"
				}
				lines = append(lines, fmt.Sprintf(`{"device_id":"d-%[1]d","distinct_id":"u-%[1]d","event_name":"View","insert_id":"%d","properties":{"pad":"%s"},"time":1,"user_id":%s}`,
					person, random.Uint64(), strings.Repeat("x", 600), user))
			}
			f, err := file.NewParquetReader(bytes.NewReader(encode(t, batch.Events, "", tt.rows, lines...)))
			if err != nil {
				t.Fatal(err)
			}
			var with []string
			for i, c := range columns.Of(batch.Events) {
				chunk, err := f.RowGroup(0).MetaData().ColumnChunk(i)
				if err != nil {
					t.Fatal(err)
				}
				if chunk.HasDictionaryPage() {
					with = append(with, c.Name)
				}
			}
			if got := strings.Join(with, " "); got != tt.want {
				t.Errorf("columns with a dictionary are %s, want %s", got, tt.want)
			}
		})
	}
}
