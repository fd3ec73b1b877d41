package snowflake

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// open makes a destination in this process.
func openAt(t *testing.T, config map[string]any, change ...func(*destination)) *destination {
	t.Helper()
	complete := map[string]any{"clustering": true, "client_side_encryption": true, "spool_dir": t.TempDir()}
	maps.Copy(complete, config)
	data, err := json.Marshal(complete)
	if err != nil {
		t.Fatal(err)
	}
	made, err := Plugin().New(t.Context(), sdk.Config{Project: sdk.Project{ID: 7, TimeZone: "Europe/Zurich"}, JSON: data})
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*destination)
	// The storage's certificate is not one that the machine knows. The test of the suite
	// checks it.
	d.connector.transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	for _, f := range change {
		f(d)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// content are the rows of a run, by date, as they are sent.
type content map[string][]destinationtest.Row

func events(name string, dates ...string) content {
	c := content{}
	for _, date := range dates {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil {
			panic(err)
		}
		for i := range 5 {
			c[date] = append(c[date], destinationtest.Row{Line: fmt.Sprintf(
				`{"device_id":null,"distinct_id":"u%d","event_name":"View","insert_id":"%s-%s-%d","properties":{"n":%d},"time":%d,"user_id":null}`,
				i, name, date, i, i, day.Unix()+int64(i))})
		}
	}
	return c
}

func people(name string, n int) content {
	var rows []destinationtest.Row
	for i := range n {
		rows = append(rows, destinationtest.Row{Line: fmt.Sprintf(`{"distinct_id":"%s-%d","properties":{"$email":"%d@example.com"}}`, name, i, i)})
	}
	return content{"": rows}
}

// want are the rows in the form that the views have.
func (c content) want() map[string][]string {
	out := map[string][]string{}
	for date, rows := range c {
		for _, r := range rows {
			out[date] = append(out[date], stored(r.Line))
		}
	}
	return out
}

func readerOf(rows []destinationtest.Row, reject func(uint64, string, []byte) error) *batch.Reader {
	chunks := slices.Collect(slices.Chunk(rows, 2))
	return batch.NewReader(func() (*batch.Batch, error) {
		if len(chunks) == 0 {
			return nil, io.EOF
		}
		b := destinationtest.NewBatch(chunks[0]...)
		chunks = chunks[1:]
		return b, nil
	}, reject)
}

// export exports a run up to the commit, with the calls of the host.
func export(ctx context.Context, d *destination, run sdk.Run, c content) (sdk.Receipt, error) {
	var receipt sdk.Receipt
	last, err := d.Open(ctx, run)
	if err != nil || last.Number >= run.Number {
		return receipt, err
	}
	for i, date := range slices.Sorted(maps.Keys(c)) {
		rejected := uint64(0)
		p, err := d.Write(ctx, run, sdk.Partition{Index: i, Date: date}, readerOf(c[date], func(uint64, string, []byte) error { rejected++; return nil }))
		if err != nil {
			return receipt, err
		}
		p.Index, p.Date, p.Rejected = i, date, rejected
		receipt.Partitions = append(receipt.Partitions, p)
	}
	return receipt, d.Prepare(ctx, run, receipt)
}

// whole exports a run as the host does: after an error it asks for the state, and
// tries again with a greater fence. It returns the number of attempts.
func whole(ctx context.Context, open func() *destination, run sdk.Run, c content) (attempts int, err error) {
	for attempts = 1; attempts <= 4; attempts++ {
		d := open()
		var receipt sdk.Receipt
		if receipt, err = export(ctx, d, run, c); err == nil {
			err = d.Commit(ctx, run, receipt)
		}
		if err == nil {
			return attempts, nil
		}
		if class := protocol.ClassOf(err); class != protocol.Retryable && class != protocol.Fenced {
			return attempts, fmt.Errorf("class %v: %w", class, err)
		}
		_ = d.Abort(context.WithoutCancel(ctx), run, false)
		status, statusErr := open().Status(ctx, run)
		if statusErr == nil && status.State == sdk.InDoubt {
			return attempts, errors.New("in doubt with no commit running")
		}
		if done, holdsErr := status.Last.Holds(run); statusErr == nil && holdsErr == nil && done {
			return attempts, nil
		}
		run.Fence++
	}
	return attempts, err
}

func testRun(stream sdk.Stream, number, fence int64) sdk.Run {
	run := sdk.Run{
		ProjectID: 7, Pipeline: "events", PipelineID: "k7q2m9x4", Stream: stream, Mode: sdk.Append,
		Number: number, Fence: fence, Content: fmt.Sprintf("%032x", 1<<40+number),
	}
	if stream != sdk.Events {
		run.Mode, run.Pipeline = sdk.Replace, "people"
	}
	return run
}

func runOne(t *testing.T, config map[string]any, run sdk.Run, c content) {
	t.Helper()
	if n, err := whole(t.Context(), func() *destination { return openAt(t, config) }, run, c); err != nil || n != 1 {
		t.Fatalf("run %d: %d attempts, %v", run.Number, n, err)
	}
}

// expect compares the rows that a reader sees.
func (w *warehouse) expect(t *testing.T, config map[string]any, stream sdk.Stream, want map[string][]string) {
	t.Helper()
	got, err := w.committed(t.Context(), config["schema"].(string), stream)
	if err != nil {
		t.Fatal(err)
	}
	for date := range want {
		slices.Sort(want[date])
	}
	for date := range got {
		slices.Sort(got[date])
	}
	if !maps.EqualFunc(want, got, slices.Equal) {
		t.Errorf("the rows are\n%v\nwant\n%v", got, want)
	}
}

// Two runs of events with late data, and a set that is replaced: tables, views,
// clustering, tags, one session from BEGIN to COMMIT, and nothing that stays in the
// stage.
func TestRuns(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["views"] = []string{"resolved"}
	one, two := events("one", "2026-06-01", "2026-06-02"), events("two", "2026-06-01")
	runOne(t, config, testRun(sdk.Events, 1, 1), one)
	runOne(t, config, testRun(sdk.Events, 2, 2), two)
	want := one.want()
	want["2026-06-01"] = append(want["2026-06-01"], two.want()["2026-06-01"]...)
	w.expect(t, config, sdk.Events, want)
	runOne(t, config, testRun(sdk.People, 1, 1), people("a", 7))
	runOne(t, config, testRun(sdk.People, 2, 2), people("b", 3))
	w.expect(t, config, sdk.People, people("b", 3).want())
	mappings := content{"": {{Line: `{"distinct_id":"u1","resolved_distinct_id":"person"}`}}}
	runOne(t, config, testRun(sdk.Identity, 1, 1), mappings)
	w.expect(t, config, sdk.Identity, mappings.want())
	runOne(t, config, testRun(sdk.Identity, 2, 2), content{"": nil})
	w.expect(t, config, sdk.Identity, nil)
	runOne(t, config, testRun(sdk.Identity, 3, 3), mappings)
	runOne(t, config, testRun(sdk.Events, 3, 3), content{})
	rows, err := w.query(t.Context(), "SELECT COUNT(*), COUNT(DISTINCT RESOLVED_DISTINCT_ID), COUNT_IF(RESOLVED_DISTINCT_ID = 'person') FROM "+w.Database+"."+config["schema"].(string)+"."+resolvedTable)
	if err != nil || len(rows) != 1 || rows[0][0] != "15" || rows[0][1] != "5" || rows[0][2] != "3" {
		t.Errorf("the view %s has %v, %v", resolvedTable, rows, err)
	}
	w.checkStatements(t)
	if left := w.staged(t, config); len(left) > 0 {
		t.Errorf("the stage holds %v", left)
	}
}

// checkStatements compares the statements that the service has run with the rules of the
// package.
func (w *warehouse) checkStatements(t *testing.T) {
	t.Helper()
	statements, _ := w.Statements()
	open := make(map[int64]bool) // sessions in a transaction
	clustered, last := false, make(map[int64]string)
	for _, s := range statements {
		word, _, _ := strings.Cut(s.Text, " ")
		switch word {
		case "BEGIN":
			open[s.Session] = true
		case "COMMIT", "ROLLBACK":
			if word == "COMMIT" && !strings.HasPrefix(last[s.Session], "UPDATE") && !strings.HasPrefix(last[s.Session], "INSERT") {
				t.Errorf("COMMIT follows %s", last[s.Session])
			}
			open[s.Session] = false
		case "CREATE", "DROP", "ALTER":
			if open[s.Session] {
				t.Errorf("the open transaction is committed by %s", s.Text)
			}
			clustered = clustered || strings.Contains(s.Text, "CLUSTER BY (TO_DATE(CONVERT_TIMEZONE('UTC', 'Europe/Zurich', TO_TIMESTAMP_NTZ(\"DATA\":time::NUMBER))))")
		case "COPY":
			if strings.Contains(s.Text, "CONTINUE") || strings.Contains(s.Text, "SKIP_FILE") || !strings.Contains(s.Text, "FORCE = TRUE") || !strings.Contains(s.Text, "FILES = (") {
				t.Errorf("COPY loses rows: %s", s.Text)
			}
			if strings.Contains(s.Text, rawTable(sdk.Events)) && !open[s.Session] {
				t.Errorf("COPY outside of a transaction: %s", s.Text)
			}
		}
		if strings.HasPrefix(s.Text, "COPY") && !strings.HasPrefix(s.Tag, "penstock pipeline=") {
			t.Errorf("the tag is %q of %s", s.Tag, s.Text)
		}
		last[s.Session] = s.Text
	}
	if !clustered {
		t.Error("no table is clustered by the day in the project's time zone")
	}
}

// staged lists the files in the stage of a place.
func (w *warehouse) staged(t *testing.T, config map[string]any) []string {
	t.Helper()
	rows, err := w.query(t.Context(), "LIST @"+w.Database+"."+config["schema"].(string)+"."+internalStageName)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rows {
		names = append(names, r[0].(string))
	}
	return names
}
