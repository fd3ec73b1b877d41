package destinationtest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Row is one row without its newline, with the flags of its unusual properties.
type Row struct {
	Line  string
	Flags batch.Flags
}

// NewBatch makes a batch of rows as the host's journal does. Tests of
// destinations may feed it to a batch.Reader.
func NewBatch(rows ...Row) *batch.Batch {
	var data, payload bytes.Buffer
	b := &batch.Batch{Rows: len(rows)}
	for _, r := range rows {
		data.WriteString(r.Line)
		data.WriteByte('\n')
		b.Flags |= r.Flags
		if len(r.Line) > 256<<10 {
			b.Flags |= batch.LongRow
		}
	}
	w, err := flate.NewWriter(&payload, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(data.Bytes())
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic("destinationtest: compress: " + err.Error()) // into memory: it cannot fail
	}
	b.Payload, b.RowsBytes, b.RowsCRC32 = payload.Bytes(), data.Len(), crc32.ChecksumIEEE(data.Bytes())
	return b
}

// part is one partition of a run as a check sends it.
type part struct {
	date    string
	batches [][]Row
}

func (p part) rows() []Row { return slices.Concat(p.batches...) }

// data is the partitions that a run sends.
type data []part

// lines returns the rows that a consumer must see after the commit, by date.
func (d data) lines() map[string][]string {
	out := make(map[string][]string)
	for _, p := range d {
		for _, r := range p.rows() {
			out[p.date] = append(out[p.date], r.Line)
		}
	}
	return out
}

// event renders an event row. properties is a JSON object.
func event(day time.Time, insertID, properties string) Row {
	return Row{Line: fmt.Sprintf(
		`{"device_id":null,"distinct_id":"u1","event_name":"View","insert_id":%q,"properties":%s,"time":%d,"user_id":null}`,
		insertID, properties, day.Unix())}
}

var firstDay = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// days makes a run of n days with some events each, in batches of three; name
// tells the rows of one run from those of another.
func days(name string, n, events int) data {
	d := make(data, n)
	for i := range d {
		day := firstDay.AddDate(0, 0, i)
		d[i].date = day.Format(time.DateOnly)
		rows := make([]Row, events)
		for j := range rows {
			rows[j] = event(day, fmt.Sprintf("%s-%d-%d", name, i, j), fmt.Sprintf(`{"n":%d,"pad":%q}`, j, strings.Repeat("x", j%50)))
		}
		d[i].batches = slices.Collect(slices.Chunk(rows, 3))
	}
	return d
}

// set makes a run of people or identity.
func set(stream batch.Stream, name string, n int) data {
	rows := make([]Row, n)
	for i := range rows {
		rows[i].Line = fmt.Sprintf(`{"distinct_id":"%s-%d","properties":{"$email":"%d@example.com"}}`, name, i, i)
		if stream == batch.Identity {
			rows[i].Line = fmt.Sprintf(`{"distinct_id":"%s-%d","resolved_distinct_id":"%d"}`, name, i, i)
		}
	}
	return data{{batches: slices.Collect(slices.Chunk(rows, 3))}}
}

// union returns the rows that a consumer must see after several runs, by date.
func union(all ...data) map[string][]string {
	out := make(map[string][]string)
	for _, d := range all {
		for date, lines := range d.lines() {
			out[date] = append(out[date], lines...)
		}
	}
	return out
}

// compare describes the difference between the wanted and the found rows, by
// date; "" if there is none. The order of rows is free.
func compare(want, got map[string][]string) string {
	var b strings.Builder
	dates := slices.Sorted(maps.Keys(want))
	for date := range got {
		if _, ok := want[date]; !ok {
			dates = append(dates, date)
		}
	}
	for _, date := range dates {
		count := make(map[string]int)
		for _, line := range want[date] {
			count[line]++
		}
		for _, line := range got[date] {
			count[line]--
		}
		for _, line := range slices.Sorted(maps.Keys(count)) {
			switch n := count[line]; {
			case n > 0:
				fmt.Fprintf(&b, "\n  date %q: missing %d time(s): %s", date, n, shorten(line))
			case n < 0:
				fmt.Fprintf(&b, "\n  date %q: too often by %d: %s", date, -n, shorten(line))
			}
			if b.Len() > 4<<10 {
				b.WriteString("\n  …")
				return b.String()
			}
		}
	}
	return b.String()
}

func shorten(line string) string {
	if len(line) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", line[:200], len(line))
	}
	return line
}
