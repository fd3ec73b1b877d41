package files

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
)

// ledger counts rows, and notes where records were refused.
type ledger struct {
	rows    int
	refused []string
}

func (l *ledger) Append(_ context.Context, c journal.Chunk) error {
	l.rows += len(c.Rows)
	return nil
}

func (l *ledger) Put(_ string, _ int, _, _ int64, refused []ingest.Refusal) error {
	for _, r := range refused {
		l.refused = append(l.refused, fmt.Sprintf("%s at %d: %s", r.Reason, r.At, r.Bytes))
	}
	return nil
}

// record is an event of about 120 bytes.
func record(n int) string {
	return fmt.Sprintf(`{"event":"e","properties":{"time":1780000000,"$insert_id":"%d","items":[{"name":"a"},{"name":"b"}],"text":"]}{,[\""}}`, n)
}

// A torn record costs itself: all others of the file arrive, and it is refused
// where it stands.
func TestTornRecordsCostThemselves(t *testing.T) {
	array := func(from, to int, separator string) string {
		var all []string
		for n := from; n < to; n++ {
			all = append(all, record(n))
		}
		return "[" + strings.Join(all, separator) + "]"
	}
	var lines []string
	for n := range 200 {
		lines = append(lines, array(10*n, 10*n+10, ","))
	}
	lines[77] = lines[77][:strings.Index(lines[77], record(773))+len(record(773))-5]
	missing := strings.Replace(record(9_000), `"text":"`, `"text":`, 1) // a quote
	text := missing[:strings.Index(missing, `{,`)]
	rest := missing[len(text):]
	short := record(9_000)[:len(record(0))+2] // without its last brace
	log := `[2026-11-28 12:00:00] INFO export of "events started, {batch`
	for name, test := range map[string]struct {
		data string
		torn []string // the parts that are refused, in order
		rows int
	}{
		"a line of 200 arrays of 10 is cut":                {strings.Join(lines, "\n") + "\n", []string{record(773)[:len(record(773))-5]}, 1993},
		"a brace is missing in a line of 20,000":           {strings.Replace(array(0, 20_000, ","), record(9_000), short, 1), []string{short}, 19_999},
		"a brace is missing in an array of 20,000 lines":   {strings.Replace(array(0, 20_000, ",\n"), record(9_000), short, 1), []string{short}, 19_999},
		"a quote is missing in a line of 20,000":           {strings.Replace(array(0, 20_000, ", "), record(9_000), missing, 1), []string{text, rest}, 19_999},
		"the line of a log comes before 20,000 lines":      {log + "\n" + strings.Trim(array(0, 20_000, "\n"), "[]") + "\n", []string{log}, 20_000},
		"the line of a log comes before an array of lines": {log + "\n" + array(0, 20_000, ",\n") + "\n", []string{log}, 20_000},
		"an array of many lines follows one of one line":   {array(0, 10, ",") + "\nnonsense\n" + array(10, 20_000, ",\n") + "\n", []string{"nonsense"}, 20_000},
		"a line of arrays is long":                         {record(0) + "\nnonsense\n" + array(1, 20_000, ",") + "\n", []string{"nonsense"}, 20_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "a.json", test.data)
			s := open(t, Options{Pattern: dir + "/*"}, pieceSize)
			l := &ledger{}
			err := ingest.Run(t.Context(), ingest.Options{Source: s, Appender: l, Rejects: l, Now: time.Now, Counters: &ingest.Counters{}})
			var want []string
			from := 0
			for _, torn := range test.torn {
				from += strings.Index(test.data[from:], torn)
				want = append(want, fmt.Sprintf("invalid_json at %d: %s", from, torn))
			}
			if diff := cmp.Diff(want, l.refused); diff != "" || err != nil || l.rows != test.rows {
				t.Errorf("%d rows, want %d, %v; refused (-want +got):\n%.600s", l.rows, test.rows, err, diff)
			}
		})
	}
}
