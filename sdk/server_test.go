package sdk

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

// double is a destination of functions; nil does nothing.
type double struct {
	write  func(context.Context, Run, Partition, *batch.Reader) (PartitionReceipt, error)
	commit func(context.Context, Run, Receipt) error
	status func(context.Context, Run) (Status, error)
	abort  func(context.Context, Run, bool) error
	closed func()
}

func (d *double) Targets() []Target { return []Target{{Stream: Events, URI: "double:"}} }

func (d *double) Write(ctx context.Context, run Run, p Partition, r *batch.Reader) (PartitionReceipt, error) {
	if d.write != nil {
		return d.write(ctx, run, p, r)
	}
	return drainReader(r)
}

// drainReader reads a partition and returns a receipt as if it were stored.
func drainReader(r *batch.Reader) (PartitionReceipt, error) {
	for {
		if _, err := r.Next(); err != nil {
			t := r.Totals()
			if r.Done() {
				return PartitionReceipt{Rows: t.Rows, RowsBytes: t.RowsBytes, RowsCRC32: t.RowsCRC32}, nil
			}
			return PartitionReceipt{}, err
		}
	}
}

func (d *double) Commit(ctx context.Context, run Run, r Receipt) error {
	if d.commit != nil {
		return d.commit(ctx, run, r)
	}
	return nil
}

func (d *double) Status(ctx context.Context, run Run) (Status, error) {
	if d.status != nil {
		return d.status(ctx, run)
	}
	return Status{State: Absent}, nil
}

func (d *double) Abort(ctx context.Context, run Run, discard bool) error {
	if d.abort != nil {
		return d.abort(ctx, run, discard)
	}
	return nil
}

func (d *double) Close() error {
	if d.closed != nil {
		d.closed()
	}
	return nil
}

var testSchema = schema.Schema{Attributes: []schema.Attribute{
	{Name: "path", Type: schema.Path, Required: true, Description: "A path."},
	{Name: "format", Type: schema.String, Default: "json", Allowed: []string{"json", "csv"}, Description: "A format."},
	{Name: "part_size", Type: schema.Size, Default: "1MiB", Description: "A size."},
	{Name: "wait", Type: schema.Duration, Default: "1d", Description: "A duration."},
	{Name: "ratio", Type: schema.Number, Description: "A number."},
	{Name: "tries", Type: schema.Integer, Description: "An integer."},
	{Name: "names", Type: schema.ListOfString, Description: "Names."},
	{Name: "tags", Type: schema.MapOfString, Description: "Tags."},
	{Name: "loud", Type: schema.Bool, Description: "A flag."},
}}

func testPlugin(d Destination) Plugin {
	return Plugin{
		Name: "double", Version: "1.2.3", Schema: testSchema,
		Capabilities: Capabilities{
			Streams: []Stream{Events}, Modes: []Mode{Append}, Partitioning: ByUTCDate, Guarantee: Idempotent,
		},
		New: func(context.Context, Config) (Destination, error) { return d, nil },
	}
}

// serveTest serves a plugin over a unix socket and connects to it.
func serveTest(t testing.TB, p Plugin) (*server, *protocol.Client) {
	t.Helper()
	s, err := newServer(p, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer(protocol.ServerOptions()...)
	pb.RegisterDestinationServiceServer(rpc, s)
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+listener.Addr().String(),
		append(protocol.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		rpc.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, protocol.NewClient(conn)
}

// configured is serveTest with project 1 configured.
func configured(t testing.TB, d Destination) (*server, *protocol.Client) {
	t.Helper()
	s, c := serveTest(t, testPlugin(d))
	answer, err := c.Configure(t.Context(), Project{ID: 1}, "test", []byte(`{"path":"/"}`))
	if err != nil || len(answer.Targets) != 1 {
		t.Fatalf("Configure = %+v, %v", answer, err)
	}
	return s, c
}

func testRun(number, fence int64) Run {
	return Run{ProjectID: 1, Pipeline: "p", PipelineID: "id", Stream: Events, Mode: Append, Number: number, Fence: fence}
}

// opened opens an export that fails on a rejected row.
func opened(t testing.TB, c *protocol.Client, run Run) *protocol.Exporter {
	t.Helper()
	e, err := c.Export(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if _, err := e.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	return e
}

// empty is a batch without rows: a sync flush.
func emptyBatch() *batch.Batch { return &batch.Batch{Payload: []byte{0, 0, 0, 0xff, 0xff}} }

func sendPartition(t testing.TB, e *protocol.Exporter, index, batches int) {
	t.Helper()
	if err := e.BeginPartition(t.Context(), Partition{Index: index, Date: "2026-06-01"}); err != nil {
		t.Fatal(err)
	}
	var totals batch.Totals
	for range batches {
		b := emptyBatch()
		totals.Add(b)
		if err := e.Send(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.EndPartition(t.Context(), totals); err != nil {
		t.Fatal(err)
	}
}

func expectClass(t testing.TB, err error, want protocol.Class) {
	t.Helper()
	var e *protocol.Error
	if !errors.As(err, &e) || e.Class != want {
		t.Errorf("error = %v, want one of class %s", err, want)
	}
}
