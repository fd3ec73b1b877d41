package bigquery

import (
	"context"
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
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// open makes a destination in this process, without pauses between tries.
func (reader) open(t *testing.T, config map[string]any, change ...func(*destination)) *destination {
	t.Helper()
	complete := map[string]any{"keep_generations": 2}
	maps.Copy(complete, config)
	data, err := json.Marshal(complete)
	if err != nil {
		t.Fatal(err)
	}
	made, err := Plugin().New(t.Context(), sdk.Config{Project: sdk.Project{ID: 7, TimeZone: "UTC"}, JSON: data})
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*destination)
	d.sleep = func(ctx context.Context, _ time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
			return nil
		}
	}
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

// want are the rows in the form that the tables have.
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
func (d *destination) export(ctx context.Context, run sdk.Run, c content) (sdk.Receipt, error) {
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
		if receipt, err = d.export(ctx, run, c); err == nil {
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
			return attempts, errors.New("in doubt with no job running")
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

// expect compares the rows that a reader sees, and the rows of the export log.
func (r reader) expect(t *testing.T, dataset string, stream sdk.Stream, want map[string][]string, runs int) {
	t.Helper()
	got, err := r.committed(t.Context(), dataset, stream)
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
	log, err := r.query(t.Context(), dataset, "SELECT export_id FROM "+exportLog+" WHERE data_source = '"+stream.String()+"' ORDER BY export_id")
	if err != nil || len(log) != runs || len(slices.CompactFunc(log, func(a, b []any) bool { return a[0] == b[0] })) != runs {
		t.Errorf("the export log has %v, %v; want %d runs, each once", log, err, runs)
	}
}

// Each request of a run meets a connection that is cut before it arrives, and one
// whose answer is lost. The run is there once, whichever it was.
func TestEveryRequestMayBeLost(t *testing.T) {
	w := startWarehouse(t)
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People} {
		first, second := events("one", "2026-06-01", "2026-06-02"), events("two", "2026-06-02")
		want := func() map[string][]string {
			all := first.want()
			for date, rows := range second.want() {
				all[date] = append(all[date], rows...)
			}
			return all
		}
		if stream == sdk.People {
			first, second = people("one", 7), people("two", 3)
			want = second.want
		}
		for name, fault := range losses() {
			lost := w.loseEach(t, fault, func(proxy *faultproxy.Proxy, nth int) {
				config := w.config()
				runOne(t, w, config, testRun(stream, 1, 1), first)
				proxied := maps.Clone(config)
				proxied["endpoint"] = proxy.URL
				if _, err := whole(t.Context(), func() *destination { return w.open(t, proxied) }, testRun(stream, 2, 2), second); err != nil {
					t.Fatalf("%s, request %d, %s: %v", stream, nth, name, err)
				}
				w.expect(t, config["dataset"].(string), stream, want(), 2)
				if t.Failed() {
					t.Fatalf("%s, request %d, %s", stream, nth, name)
				}
			})
			t.Logf("%s, %s: each of %d requests", stream, name, lost)
		}
	}
}

// losses are the ways in which a request is lost.
func losses() map[string]faultproxy.Fault {
	return map[string]faultproxy.Fault{"cut before": faultproxy.CutBefore(), "lost answer": faultproxy.LoseAnswer()}
}

// loseEach has export make its requests through a proxy that loses the first of them, then
// the second, and so on until there are no more, and returns how many it lost. Their number
// is not the same each time: jobs are asked about for as long as they take.
func (w *warehouse) loseEach(t *testing.T, fault faultproxy.Fault, export func(proxy *faultproxy.Proxy, nth int)) int {
	t.Helper()
	for nth := 1; ; nth++ {
		proxy := faultproxy.Start(t, w.URL)
		proxy.Add(faultproxy.Rule{Nth: nth, Fault: fault, Optional: true})
		export(proxy, nth)
		if len(proxy.Requests()) >= nth {
			continue
		}
		if nth <= 8 {
			t.Fatalf("an export makes %d requests", nth-1)
		}
		return nth - 1
	}
}

func runOne(t *testing.T, w *warehouse, config map[string]any, run sdk.Run, c content) {
	t.Helper()
	if n, err := whole(t.Context(), func() *destination { return w.open(t, config) }, run, c); err != nil || n != 1 {
		t.Fatalf("run %d: %d attempts, %v", run.Number, n, err)
	}
}

// B1: the answer to a load job is lost. The plugin asks for the job with the
// dataset's location, and there is one load.
func TestALostAnswerIsAskedAboutWithItsLocation(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	proxy := faultproxy.Start(t, w.URL)
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPost, Path: "/upload/", Body: "mp_master|staging"}, Fault: faultproxy.LoseAnswer()})
	config["endpoint"] = proxy.URL
	c := events("one", "2026-06-01")
	runOne(t, w, config, testRun(sdk.Events, 1, 1), c)
	w.expect(t, config["dataset"].(string), sdk.Events, c.want(), 1)
	loads := 0
	for _, r := range proxy.Requests() {
		if r.Method == http.MethodGet && strings.Contains(r.Path, "/jobs/") && r.Query.Get("location") != region {
			t.Errorf("%s has no location", r)
		}
		if r.Method == http.MethodPost && strings.Contains(r.Path, "/upload/") {
			loads++
		}
	}
	if loads != 2 { // the ledger's row, and the run's
		t.Errorf("%d loads were begun", loads)
	}
}
