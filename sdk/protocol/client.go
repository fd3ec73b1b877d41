package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

// Client calls one plugin. Its methods may be called concurrently; each ends
// when its context does. It does not own the connection.
type Client struct {
	rpc pb.DestinationServiceClient
}

// NewClient makes a client of a connection that was made with DialOptions.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{rpc: pb.NewDestinationServiceClient(conn)}
}

// Describe returns the plugin's description. A description that breaks the
// protocol's rules is a permanent error.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	answer, err := c.rpc.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return Description{}, fmt.Errorf("describe: %w", fromStatus(ctx, err))
	}
	s, err := schemaFromProto(answer.GetSchema())
	if err != nil {
		return Description{}, fmt.Errorf("describe: %w", &Error{
			Class: Permanent, Err: fmt.Errorf("the plugin's schema is wrong: %w", err),
		})
	}
	for _, entry := range answer.GetEnvironment() {
		if !ValidEnvironment(entry) {
			return Description{}, fmt.Errorf("describe: %w", &Error{
				Class: Permanent, Err: fmt.Errorf("the plugin reads the environment variable %q, which is neither a name nor a beginning of at least three characters and a \"*\"", entry),
			})
		}
	}
	return Description{
		Name: answer.GetName(), Version: answer.GetVersion(), Schema: s,
		Capabilities: capabilitiesFromProto(answer.GetCapabilities()), Environment: answer.GetEnvironment(),
	}, nil
}

// Configure hands over the configuration for one project: the attributes as a
// JSON object with defaults applied. destination is its name in the
// configuration. Mistakes are no error: they are in the answer.
func (c *Client) Configure(ctx context.Context, p Project, destination string, config []byte) (Configured, error) {
	answer, err := c.rpc.Configure(ctx, &pb.ConfigureRequest{
		Project: projectToProto(p), ConfigJson: config, Destination: destination,
	})
	if err != nil {
		return Configured{}, fmt.Errorf("configure: %w", fromStatus(ctx, err))
	}
	return Configured{
		Diagnostics: each(answer.GetDiagnostics(), diagnosticFromProto),
		Targets:     each(answer.GetTargets(), targetFromProto),
	}, nil
}

// Check makes the plugin try the operations that an export of this project
// needs.
func (c *Client) Check(ctx context.Context, projectID int64) ([]CheckResult, error) {
	answer, err := c.rpc.Check(ctx, &pb.CheckRequest{ProjectId: projectID})
	if err != nil {
		return nil, fmt.Errorf("check: %w", fromStatus(ctx, err))
	}
	return each(answer.GetResults(), checkResultFromProto), nil
}

// Setup returns the steps that prepare the service for a destination. The error
// for a plugin without setup text is ErrNoSetup.
func (c *Client) Setup(ctx context.Context, r SetupRequest) (SetupSteps, error) {
	answer, err := c.rpc.Setup(ctx, setupRequestToProto(r))
	if status.Code(err) == codes.Unimplemented {
		return SetupSteps{}, ErrNoSetup
	}
	if err != nil {
		return SetupSteps{}, fmt.Errorf("setup: %w", fromStatus(ctx, err))
	}
	return setupStepsFromProto(answer), nil
}

// Status returns the state of a run at the destination.
func (c *Client) Status(ctx context.Context, run Run) (Status, error) {
	answer, err := c.rpc.Status(ctx, &pb.StatusRequest{Run: runToProto(run)})
	if err != nil {
		return Status{}, fmt.Errorf("status of run %d: %w", run.Number, fromStatus(ctx, err))
	}
	return statusFromProto(answer), nil
}

// Inventory lists what the destination of a pipeline has recorded and what it
// has. An error of yield ends the listing and is returned.
func (c *Client) Inventory(ctx context.Context, q InventoryQuery, yield func(InventoryItem) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Inventory(ctx, &pb.InventoryRequest{
		ProjectId: q.Run.ProjectID, Pipeline: q.Run.Pipeline, PipelineId: q.Run.PipelineID, Stream: pb.Stream(q.Run.Stream),
		From: q.From, To: q.To, Deep: q.Deep,
	})
	for err == nil {
		var item *pb.InventoryResponse
		if item, err = stream.Recv(); err == nil {
			if err := yield(inventoryItemFromProto(item)); err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("inventory: %w", fromStatus(ctx, err))
}

// maxIDs is how many distinct ids one message of Erase holds.
const maxIDs = 10_000

// Erase removes the rows of the given distinct ids from all committed runs of
// run's pipeline and stream. It calls ids until ids returns io.EOF. Another
// error of ids ends the call; part of the rows may be removed then.
func (c *Client) Erase(ctx context.Context, run Run, ids func() ([]string, error)) (EraseResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Erase(ctx)
	if err != nil {
		return EraseResult{}, fmt.Errorf("erase: %w", fromStatus(ctx, err))
	}
	err = stream.Send(&pb.EraseRequest{
		ProjectId: run.ProjectID, Pipeline: run.Pipeline, PipelineId: run.PipelineID,
		Stream: pb.Stream(run.Stream), Fence: run.Fence,
	})
	for err == nil {
		some, idsErr := ids()
		for len(some) > 0 && err == nil {
			n := min(len(some), maxIDs)
			err = stream.Send(&pb.EraseRequest{DistinctIds: some[:n]})
			some = some[n:]
		}
		if errors.Is(idsErr, io.EOF) {
			break
		}
		if idsErr != nil {
			return EraseResult{}, idsErr
		}
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return EraseResult{}, fmt.Errorf("erase: %w", fromStatus(ctx, err))
	}
	return EraseResult{Rows: answer.GetRows(), Objects: answer.GetObjects()}, nil
}

// Drain makes the plugin finish open exports and refuse new ones. It returns
// when no export is open.
func (c *Client) Drain(ctx context.Context) error {
	if _, err := c.rpc.Drain(ctx, &pb.DrainRequest{}); err != nil {
		return fmt.Errorf("drain: %w", fromStatus(ctx, err))
	}
	return nil
}
