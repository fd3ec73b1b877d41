package sdk

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/go-hclog"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// server turns the wire's calls into calls of destinations, one per project.
type server struct {
	pb.UnimplementedDestinationServiceServer
	plugin Plugin
	schema *pb.ConfigSchema
	log    hclog.Logger

	mu       sync.Mutex
	projects map[int64]*project
	draining bool
	open     int           // exports and erasures
	idle     chan struct{} // closed while draining and open is 0
}

// newServer fails on the author's mistakes.
func newServer(p Plugin, log hclog.Logger) (*server, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	s, err := protocol.SchemaToProto(p.Schema)
	if err != nil {
		return nil, err
	}
	return &server{
		plugin: p, schema: s, log: log, projects: make(map[int64]*project), idle: make(chan struct{}),
	}, nil
}

func (s *server) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	return &pb.DescribeResponse{
		Name: s.plugin.Name, Version: s.plugin.Version, Schema: s.schema,
		Capabilities: protocol.CapabilitiesToProto(s.plugin.Capabilities), Environment: s.plugin.Environment,
	}, nil
}

func (s *server) Check(ctx context.Context, r *pb.CheckRequest) (*pb.CheckResponse, error) {
	p, release, err := s.use(r.GetProjectId())
	if err != nil {
		return nil, protocol.ToStatus(err)
	}
	defer release()
	answer := &pb.CheckResponse{}
	if c, ok := p.destination.(Checker); ok {
		for _, result := range c.Check(ctx) {
			answer.Results = append(answer.Results, protocol.CheckResultToProto(result))
		}
	}
	return answer, nil
}

func (s *server) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	run := protocol.RunFromProto(r.GetRun())
	p, release, err := s.use(run.ProjectID)
	if err != nil {
		return nil, protocol.ToStatus(err)
	}
	defer release()
	status, err := p.status(ctx, run)
	if err != nil {
		return nil, protocol.ToStatus(err)
	}
	return protocol.StatusToProto(status), nil
}

func (s *server) Inventory(r *pb.InventoryRequest, stream pb.DestinationService_InventoryServer) error {
	p, release, err := s.use(r.GetProjectId())
	if err != nil {
		return protocol.ToStatus(err)
	}
	defer release()
	lister, ok := p.destination.(Inventorier)
	if !ok {
		return protocol.ToStatus(Permanent(errors.New("this destination has no inventory")))
	}
	q := InventoryQuery{From: r.GetFrom(), To: r.GetTo(), Deep: r.GetDeep(), Run: Run{
		ProjectID: r.GetProjectId(), Pipeline: r.GetPipeline(), PipelineID: r.GetPipelineId(), Stream: Stream(r.GetStream()),
	}}
	return protocol.ToStatus(lister.Inventory(stream.Context(), q, func(i InventoryItem) error {
		return stream.Send(protocol.InventoryItemToProto(i))
	}))
}

func (s *server) Erase(stream pb.DestinationService_EraseServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	result, err := s.erase(stream, first)
	if err != nil {
		return protocol.ToStatus(err)
	}
	return stream.SendAndClose(&pb.EraseResponse{Rows: result.Rows, Objects: result.Objects})
}

func (s *server) erase(stream pb.DestinationService_EraseServer, first *pb.EraseRequest) (EraseResult, error) {
	done, err := s.begin()
	if err != nil {
		return EraseResult{}, err
	}
	defer done()
	p, release, err := s.hold(stream.Context(), first.GetProjectId())
	if err != nil {
		return EraseResult{}, err
	}
	defer release()
	eraser, ok := p.destination.(Eraser)
	if !ok {
		return EraseResult{}, Permanent(errors.New("this destination cannot erase"))
	}
	run := Run{
		ProjectID: first.GetProjectId(), Pipeline: first.GetPipeline(), PipelineID: first.GetPipelineId(),
		Stream: Stream(first.GetStream()), Fence: first.GetFence(),
	}
	ids := first.GetDistinctIds()
	return eraser.Erase(stream.Context(), run, func() ([]string, error) {
		for len(ids) == 0 {
			next, err := stream.Recv()
			if err != nil {
				return nil, err // io.EOF is the end of the list
			}
			ids = next.GetDistinctIds()
		}
		some := ids
		ids = nil
		return some, nil
	})
}

func (s *server) Drain(ctx context.Context, _ *pb.DrainRequest) (*pb.DrainResponse, error) {
	select {
	case <-s.drain():
		return &pb.DrainResponse{}, nil
	case <-ctx.Done():
		return nil, protocol.ToStatus(context.Cause(ctx))
	}
}

// drain refuses new work; the channel is closed when nothing is open.
func (s *server) drain() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.draining = true
		s.settle()
	}
	return s.idle
}

// settle is called with mu held.
func (s *server) settle() {
	if s.draining && s.open == 0 {
		close(s.idle)
	}
}

// begin counts an export or an erasure until done is called.
func (s *server) begin() (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, Retryable(errors.New("the plugin is stopping"), 0)
	}
	s.open++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		s.settle()
	}, nil
}

// close frees the destinations. Nothing else may be running.
func (s *server) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for id, p := range s.projects {
		errs = append(errs, p.close())
		delete(s.projects, id)
	}
	return errors.Join(errs...)
}
