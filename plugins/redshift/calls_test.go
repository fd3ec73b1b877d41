package redshift

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata"
	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

const peopleDir = "7/mp_people_data/"

// process stands for one process of the plugin: it reaches the services through
// proxies of its own, so that it can be killed or frozen at a call.
type process struct {
	*destination
	glue, data *faultproxy.Proxy
}

// start starts a process that stores objects in a bucket in memory. The clock is
// the one of its sets.
func (s *services) start(t *testing.T, bucket lake.Store, now func() time.Time) *process {
	t.Helper()
	c := s.config
	p := &process{glue: faultproxy.Start(t, s.glue.URL), data: faultproxy.Start(t, s.redshift.URL)}
	c.GlueEndpoint, c.RedshiftEndpoint = p.glue.URL, p.data.URL
	c.firstPause = time.Millisecond
	impatient := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 3, time.Millisecond, ratelimit.None
	})
	catalog, err := newCatalog(t.Context(), c, project)
	if err != nil {
		t.Fatal(err)
	}
	catalog.client = glue.New(catalog.client.Options(), func(o *glue.Options) { o.Retryer = impatient })
	warehouse, err := newWarehouse(t.Context(), c, project)
	if err != nil {
		t.Fatal(err)
	}
	warehouse.client = redshiftdata.New(warehouse.client.Options(), func(o *redshiftdata.Options) { o.Retryer = impatient })
	streams, err := setsOf("", project.ID)
	if err != nil {
		t.Fatal(err)
	}
	store := &sets{Store: bucket, catalog: catalog, streams: streams, now: now, log: hclog.NewNullLogger()}
	p.destination = &destination{
		Lake:  lake.New(lake.Options{Store: store, Format: parquet.Format{}, OneObject: true}),
		store: store, catalog: catalog, warehouse: warehouse, project: project, base: "s3://lake/",
	}
	return p
}

// export carries out a run up to its commit. An attempt that fails is left as it is.
func (p *process) export(ctx context.Context, run sdk.Run) error {
	receipt, err := p.prepare(ctx, run)
	if err != nil {
		return err
	}
	return p.Commit(ctx, run, receipt)
}

func (p *process) prepare(ctx context.Context, run sdk.Run) (sdk.Receipt, error) {
	var receipt sdk.Receipt
	last, err := p.Open(ctx, run)
	if err != nil || last.Number >= run.Number && run.Repair == nil {
		return receipt, err
	}
	for i, date := range datesOf(run) {
		part, err := p.Write(ctx, run, sdk.Partition{Index: i, Date: date}, rowsOf(run, date))
		if err != nil {
			return receipt, err
		}
		receipt.Partitions = append(receipt.Partitions, part)
	}
	return receipt, p.Prepare(ctx, run, receipt)
}

// datesOf returns the dates of a run's partitions: of events its own day, and one
// that all runs have.
func datesOf(run sdk.Run) []string {
	if run.Mode == sdk.Replace {
		return []string{""}
	}
	return []string{"2026-05-01", fmt.Sprintf("2026-06-%02d", run.Number)}
}

func tagOf(run sdk.Run, date string) string { return fmt.Sprintf("%d%s", run.Number, date) }

// rowsOf returns a partition's rows: two batches of three.
func rowsOf(run sdk.Run, date string) *batch.Reader {
	line := map[sdk.Stream]string{
		sdk.Events:   `{"device_id":null,"distinct_id":"%s","event_name":"View","insert_id":null,"properties":{"n":1},"time":1780272000,"user_id":null}`,
		sdk.People:   `{"distinct_id":"%s","properties":{"n":1}}`,
		sdk.Identity: `{"distinct_id":"%s","resolved_distinct_id":"u"}`,
	}[run.Stream]
	next := 0
	return batch.NewReader(func() (*batch.Batch, error) {
		if next++; next > 2 {
			return nil, io.EOF
		}
		var rows []byte
		for i := range 3 {
			rows = fmt.Appendf(rows, line+"\n", fmt.Sprintf("%s-%d-%06d", tagOf(run, date), next, i))
		}
		return laketest.Batch(rows)
	}, nil)
}

// runOf returns a run of a stream.
func runOf(stream sdk.Stream, number, fence int64) sdk.Run {
	run := sdk.Run{
		ProjectID: project.ID, Pipeline: "p", PipelineID: "c0ffee", Stream: stream, Mode: sdk.Append,
		Number: number, Fence: fence, Content: fmt.Sprint("content-", number),
	}
	if stream != sdk.Events {
		run.Mode = sdk.Replace
	}
	return run
}

// shownIDs returns the ids of the rows below a directory, sorted.
func shownIDs(t *testing.T, bucket *laketest.Memory, dir string, stream sdk.Stream) []string {
	t.Helper()
	var ids []string
	for name, data := range bucket.Objects() {
		if !strings.HasPrefix(name, dir) {
			continue
		}
		at := slices.IndexFunc(columns.Of(stream), func(c columns.Column) bool { return c.Name == "distinct_id" })
		err := parquet.Read(bytes.NewReader([]byte(data)), int64(len(data)), stream, func(row *columns.Row) error {
			ids = append(ids, string(row.Values[at].Text))
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	slices.Sort(ids)
	return ids
}

// wantIDs returns the ids of the rows of runs.
func wantIDs(date string, runs ...sdk.Run) []string {
	var ids []string
	for _, run := range runs {
		for b := range 2 {
			for i := range 3 {
				ids = append(ids, fmt.Sprintf("%s-%d-%06d", tagOf(run, date), b+1, i))
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// tableOf returns the parameters of a table and the directory that it shows.
func (s *services) tableOf(stream sdk.Stream) (parameters map[string]any, dir string) {
	in, _, _ := s.glue.Table("mp", tables[stream])
	parameters, _ = in["Parameters"].(map[string]any)
	storage, _ := in["StorageDescriptor"].(map[string]any)
	location, _ := storage["Location"].(string)
	return parameters, strings.TrimPrefix(location, "s3://lake/")
}

// expectSet compares the set that a reader of the catalog sees with that of a run.
func (s *services) expectSet(t *testing.T, bucket *laketest.Memory, run sdk.Run) {
	t.Helper()
	parameters, dir := s.tableOf(run.Stream)
	if got, want := shownIDs(t, bucket, dir, run.Stream), wantIDs("", run); !slices.Equal(got, want) {
		t.Errorf("the table shows %v at %s, want %v", got, dir, want)
	}
	// An attempt that was killed after its switch counts as committed, with its fence.
	fences := []any{strconv.FormatInt(run.Fence, 10), strconv.FormatInt(run.Fence-1, 10)}
	if parameters[runKey] != strconv.FormatInt(run.Number, 10) || !slices.Contains(fences, parameters[fenceKey]) {
		t.Errorf("the table's parameters are %v, want those of run %d and fence %d", parameters, run.Number, run.Fence)
	}
}

// expectEvents compares the events that a reader of the catalog sees, by partition,
// with those of runs.
func (s *services) expectEvents(t *testing.T, bucket *laketest.Memory, runs ...sdk.Run) {
	t.Helper()
	want := make(map[string][]sdk.Run)
	for _, run := range runs {
		for _, date := range datesOf(run) {
			want[date] = append(want[date], run)
		}
	}
	partitions := s.glue.Partitions("mp", tables[sdk.Events])
	if !slices.Equal(slices.Sorted(maps.Keys(partitions)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("partitions are %v", partitions)
	}
	for date, of := range want {
		dir := strings.TrimPrefix(partitions[date], "s3://lake/")
		if got, want := shownIDs(t, bucket, dir, sdk.Events), wantIDs(date, of...); !slices.Equal(got, want) {
			t.Errorf("partition %s shows %v at %s, want %v", date, got, dir, want)
		}
	}
	files := make(fstest.MapFS)
	for name, data := range bucket.Objects() {
		files[name] = &fstest.MapFile{Data: []byte(data)}
	}
	committed, err := laketest.Target{Files: files, ProjectID: project.ID, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.Events}.Committed()
	if err != nil {
		t.Error(err)
	}
	for date, of := range want {
		if n := len(committed[date]); n != len(wantIDs(date, of...)) {
			t.Errorf("the manifest commits %d rows of %s", n, date)
		}
	}
}

// expect compares the rows that a reader of the catalog sees with all runs of a stream.
func (s *services) expect(t *testing.T, bucket *laketest.Memory, runs ...sdk.Run) {
	t.Helper()
	if runs[0].Stream == sdk.Events {
		s.expectEvents(t, bucket, runs...)
		return
	}
	s.expectSet(t, bucket, runs[len(runs)-1])
}

// exported returns services and a bucket with the first n runs of a stream.
func exported(t *testing.T, stream sdk.Stream, n int64) (s *services, bucket *laketest.Memory, runs []sdk.Run) {
	t.Helper()
	s, bucket = newServices(t), laketest.NewMemory()
	for i := range n {
		runs = append(runs, runOf(stream, i+1, i+1))
		if err := s.start(t, bucket, time.Now).export(t.Context(), runs[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s, bucket, runs
}

// disturbance is a fault that a process meets at one of its calls.
type disturbance struct {
	name  string
	fault faultproxy.Fault
	times int
}

// Each call of Glue and of the Data API may be dropped, or lose its answer, once or
// for good. A run whose process does not get through is carried out by the next one.
func TestEveryCallMayFail(t *testing.T) {
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People} {
		for _, d := range []disturbance{
			{"dropped once", faultproxy.CutBefore(), 1}, {"an answer is lost", faultproxy.LoseAnswer(), 1},
			{"killed before", faultproxy.CutBefore(), -1}, {"killed after", faultproxy.LoseAnswer(), -1},
		} {
			for before := range int64(2) {
				t.Run(path.Join(tables[stream], d.name, fmt.Sprint("run ", before+1)), func(t *testing.T) { eachCall(t, stream, d, before) })
			}
		}
	}
}

// eachCall disturbs the run that follows n others of a stream at one call after the
// other.
func eachCall(t *testing.T, stream sdk.Stream, d disturbance, n int64) {
	disturbed := 0
	for _, service := range []func(*process) *faultproxy.Proxy{
		func(p *process) *faultproxy.Proxy { return p.glue }, func(p *process) *faultproxy.Proxy { return p.data },
	} {
		for nth := 1; ; nth++ {
			s, bucket, runs := exported(t, stream, n)
			run := runOf(stream, n+1, n+1)
			p := s.start(t, bucket, time.Now)
			proxy := service(p)
			proxy.Add(faultproxy.Rule{Nth: nth, Times: d.times, Fault: d.fault, Optional: true})
			err := p.export(t.Context(), run)
			met := proxy.Applied() > 0
			if err != nil && protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("call %d: %v of class %v, want a retryable error", nth, err, protocol.ClassOf(err))
			}
			if err != nil && d.times == 1 {
				t.Errorf("call %d: one fault is not overcome: %v", nth, err)
			}
			if err != nil {
				run.Fence++
				if err := s.start(t, bucket, time.Now).export(t.Context(), run); err != nil {
					t.Errorf("after call %d: %v", nth, err)
				}
			}
			if status, err := s.start(t, bucket, time.Now).Status(t.Context(), run); err != nil || status.State != sdk.Committed {
				t.Errorf("after call %d: status %v, %v", nth, status.State, err)
			}
			s.expect(t, bucket, append(runs, run)...)
			if t.Failed() {
				t.Fatalf("after a fault at call %d", nth)
			}
			if !met {
				break
			}
			disturbed++
		}
	}
	if disturbed < 8 {
		t.Errorf("only %d calls were disturbed", disturbed)
	}
	t.Logf("%d calls were disturbed", disturbed)
}

// A process may freeze at each call of Glue and of the Data API, and go on when another
// one has carried out the run: it changes nothing that a reader sees.
func TestAFrozenProcessChangesNothing(t *testing.T) {
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People} {
		for name, service := range map[string]func(*process) *faultproxy.Proxy{
			"Glue": func(p *process) *faultproxy.Proxy { return p.glue }, "Data API": func(p *process) *faultproxy.Proxy { return p.data },
		} {
			t.Run(path.Join(tables[stream], name), func(t *testing.T) {
				calls := 0
				for frozenAt(t, stream, service, calls+1) {
					if calls++; t.Failed() {
						t.Fatalf("after a freeze at call %d", calls)
					}
				}
				if calls < 3 {
					t.Errorf("it was frozen at %d calls", calls)
				}
				t.Logf("frozen at %d calls", calls)
			})
		}
	}
}

// frozenAt freezes a process at one of its calls in the second run of a stream; false:
// it makes fewer calls.
func frozenAt(t *testing.T, stream sdk.Stream, service func(*process) *faultproxy.Proxy, nth int) bool {
	s, bucket, runs := exported(t, stream, 1)
	second := runOf(stream, 2, 2)
	frozen, held, thaw := s.start(t, bucket, time.Now), make(chan struct{}, 1), make(chan struct{})
	service(frozen).Add(faultproxy.Rule{Nth: nth, Fault: faultproxy.HoldOne(held, thaw), Optional: true})
	ended := make(chan error, 1)
	go func() { ended <- frozen.export(t.Context(), second) }()
	select {
	case <-held:
	case err := <-ended: // no call is left to freeze at
		if err != nil {
			t.Errorf("before call %d: %v", nth, err)
		}
		return false
	}
	next := second
	next.Fence++
	if err := s.start(t, bucket, time.Now).export(t.Context(), next); err != nil {
		t.Errorf("call %d: the next process: %v", nth, err)
	}
	// A set that was shown before the freeze is committed by the next process, and
	// events are by their manifest alone.
	was, dir := s.tableOf(stream)
	shown := was[fenceKey] == "2"
	close(thaw)
	if err := <-ended; err == nil && !shown {
		t.Errorf("call %d: the frozen process commits", nth)
	}
	if is, at := s.tableOf(stream); at != dir || is[fenceKey] != was[fenceKey] {
		t.Errorf("call %d: the table shows %s with %v, before %s with %v", nth, at, is, dir, was)
	}
	s.expect(t, bucket, append(runs, next)...)
	return true
}
