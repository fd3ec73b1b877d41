package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest/internal/store"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// wireLies are the lies that raw can tell; "raw" is the server without a lie.
var wireLies = []string{
	"raw",
	"ignores_totals", "ignores_run_totals", "ignores_payload_checksum", "takes_any_size", "cut_is_commit",
	"takes_any_configuration", "names_one_mistake", "retakes_committed_runs", "hides_the_class",
}

// raw is a server without the SDK's care. Each lie leaves out one thing.
type raw struct {
	pb.UnimplementedDestinationServiceServer
	lie   string
	store *store.Store
}

func serveRaw(lie string) {
	go func() { // the SDK's watch over the host
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(500 * time.Millisecond)
		}
		os.Exit(1)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.Plugins(&raw{lie: lie}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, protocol.ServerOptions()...)
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(64<<20))...)
		},
	})
}

func (r *raw) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	return &pb.DescribeResponse{
		Name: "liar", Version: "1.0.0",
		Schema: &pb.ConfigSchema{Attributes: []*pb.Attribute{{
			Name: "path", Type: pb.AttributeType_ATTRIBUTE_TYPE_PATH, Required: true, Description: "The directory.",
		}}},
		Capabilities: protocol.CapabilitiesToProto(protocol.Capabilities{
			Streams: []sdk.Stream{sdk.Events}, Modes: []sdk.Mode{sdk.Append},
			Partitioning: sdk.ByUTCDate, Guarantee: sdk.Transaction,
		}),
	}, nil
}

func (r *raw) Configure(_ context.Context, m *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	config := make(map[string]any)
	if err := json.Unmarshal(m.GetConfigJson(), &config); err != nil {
		return nil, protocol.ToStatus(err)
	}
	var found []protocol.Diagnostic
	path, ok := config["path"].(string)
	if !ok {
		found = append(found, protocol.Diagnostic{Severity: protocol.SeverityError, Attribute: "path", Summary: "Wrong type"})
	}
	for name := range config {
		if name != "path" && (r.lie != "names_one_mistake" || len(found) == 0) {
			found = append(found, protocol.Diagnostic{Severity: protocol.SeverityError, Attribute: name, Summary: "Unknown attribute"})
		}
	}
	if len(found) > 0 && r.lie != "takes_any_configuration" {
		return protocol.ConfiguredToProto(protocol.Configured{Diagnostics: found}), nil
	}
	r.store = &store.Store{Dir: path, ProjectID: m.GetProject().GetId()}
	return protocol.ConfiguredToProto(protocol.Configured{Targets: r.store.Targets()[:1]}), nil
}

func (r *raw) Check(context.Context, *pb.CheckRequest) (*pb.CheckResponse, error) {
	return &pb.CheckResponse{}, nil
}

func (r *raw) Status(ctx context.Context, m *pb.StatusRequest) (*pb.StatusResponse, error) {
	status, err := r.store.Status(ctx, protocol.RunFromProto(m.GetRun()))
	return protocol.StatusToProto(status), err
}

func (r *raw) Export(stream pb.DestinationService_ExportServer) error {
	err := r.export(stream)
	if r.lie == "hides_the_class" && err != nil {
		return errors.New(err.Error())
	}
	return protocol.ToStatus(err)
}

func (r *raw) export(stream pb.DestinationService_ExportServer) error {
	ctx := stream.Context()
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	run := protocol.OpenFromProto(m.GetOpen())
	last, err := r.store.Open(ctx, run)
	if err != nil {
		return err
	}
	err = stream.Send(&pb.ExportResponse{Message: &pb.ExportResponse_Opened{Opened: protocol.LastRunToProto(last)}})
	if err != nil {
		return err
	}
	if last.Number >= run.Number && r.lie != "retakes_committed_runs" {
		return sdk.Permanent(errors.New("the run is committed"))
	}
	var receipt sdk.Receipt
	err = r.partitions(stream, run, &receipt)
	if err != nil && r.lie == "cut_is_commit" && len(receipt.Partitions) > 0 {
		return r.store.Commit(ctx, run, receipt)
	}
	return err
}

// partitions takes messages to the end of the run.
func (r *raw) partitions(stream pb.DestinationService_ExportServer, run sdk.Run, receipt *sdk.Receipt) error {
	ctx := stream.Context()
	var totals protocol.Totals
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.GetMessage().(type) {
		case *pb.ExportRequest_BeginPartition:
			p, err := protocol.PartitionFromProto(m.BeginPartition)
			if err != nil {
				return err
			}
			reader := batch.NewReader(nil, nil)
			reader = batch.NewReader(func() (*batch.Batch, error) { return r.next(stream, reader) }, nil)
			pr, err := r.store.Write(ctx, run, p, reader)
			if err != nil {
				return err
			}
			pr.Index, pr.Date = p.Index, p.Date
			receipt.Partitions = append(receipt.Partitions, pr)
			totals.Rows += reader.Totals().Rows
			totals.RowsBytes += reader.Totals().RowsBytes
			totals.PayloadBytes += reader.Totals().PayloadBytes
		case *pb.ExportRequest_Prepare:
			if want := protocol.TotalsFromProto(m.Prepare.GetTotals()); want != totals && !r.ignores("ignores_run_totals") {
				return sdk.Permanent(errors.New("totals of the run differ"))
			}
			err = stream.Send(&pb.ExportResponse{Message: &pb.ExportResponse_Prepared{
				Prepared: &pb.Prepared{Receipt: protocol.ReceiptToProto(*receipt)},
			}})
			if err != nil {
				return err
			}
		case *pb.ExportRequest_Commit:
			if err := r.store.Commit(ctx, run, *receipt); err != nil {
				return err
			}
			return stream.Send(&pb.ExportResponse{Message: &pb.ExportResponse_Committed{
				Committed: &pb.Committed{Receipt: protocol.ReceiptToProto(*receipt)},
			}})
		case *pb.ExportRequest_Abort:
			return r.store.Abort(ctx, run, m.Abort.GetDiscard())
		default:
			return sdk.Permanent(fmt.Errorf("%T is out of turn", m))
		}
	}
}

// ignores reports whether the lie is to ignore these totals. A server that takes
// batches of any size ignores totals too: it does not store the batches that are
// too large, so that its own totals differ.
func (r *raw) ignores(totals string) bool {
	return r.lie == totals || r.lie == "ignores_totals" || r.lie == "takes_any_size"
}

func (r *raw) next(stream pb.DestinationService_ExportServer, reader *batch.Reader) (*batch.Batch, error) {
	m, err := stream.Recv()
	if err != nil {
		return nil, errors.New("cut")
	}
	switch m := m.GetMessage().(type) {
	case *pb.ExportRequest_Batch:
		return r.batch(m.Batch)
	case *pb.ExportRequest_EndPartition:
		if want := protocol.TotalsFromProto(m.EndPartition.GetTotals()); want != reader.Totals() && !r.ignores("ignores_totals") {
			return nil, sdk.Permanent(errors.New("totals of the partition differ"))
		}
		return nil, io.EOF
	default:
		return nil, errors.New("aborted")
	}
}

func (r *raw) batch(m *pb.Batch) (*batch.Batch, error) {
	if protocol.PayloadCRC32C(m.GetPayload()) != m.GetPayloadCrc32C() && r.lie != "ignores_payload_checksum" {
		return nil, sdk.Permanent(errors.New("payload is damaged"))
	}
	b := &batch.Batch{
		Rows: int(m.GetRows()), Payload: m.GetPayload(), RowsBytes: int(m.GetRowsBytes()), RowsCRC32: m.GetRowsCrc32(),
	}
	if r.lie == "takes_any_size" && b.Check() != nil {
		b.Payload, b.RowsBytes, b.RowsCRC32, b.Rows = nil, 0, 0, 0
	}
	return b, nil
}
