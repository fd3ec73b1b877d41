package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/internal/crashpoint"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// abortTimeout bounds an Abort after a cut stream, for which no host waits.
const abortTimeout = 30 * time.Second

var (
	errCut     = errors.New("the stream was cut: the export is aborted")
	errAborted = errors.New("the host aborted the export")
)

// Export carries out one run: the states are those of the attempt below.
func (s *server) Export(stream pb.DestinationService_ExportServer) error {
	done, err := s.begin()
	if err != nil {
		return protocol.ToStatus(err)
	}
	defer done()
	return protocol.ToStatus(s.export(stream))
}

func (s *server) export(stream pb.DestinationService_ExportServer) error {
	ctx := stream.Context()
	requests := protocol.NewRequests(stream)
	first, err := requests.Recv()
	if err != nil {
		return errCut
	}
	if first.GetOpen() == nil {
		return outOfTurn(first, "Open is due")
	}
	run := protocol.OpenFromProto(first.GetOpen())
	if err := s.plugin.takes(run); err != nil {
		return Permanent(err)
	}
	p, release, last, err := s.openRun(ctx, run, openTime)
	if err != nil {
		return err
	}
	defer release()
	crashpoint.Here("plugin.open")
	a := &attempt{
		project: p, run: run, stream: stream, requests: requests, last: last, maxDays: s.plugin.Capabilities.MaxDaysPerRun,
		dates: make(map[string]bool),
	}
	defer p.enter(a)()
	if a.extents, err = openExtents(run.Extents); err != nil {
		s.log.Debug("payloads are sent, since the directory of the host cannot be opened", "error", err)
	}
	defer a.extents.close()
	opened := protocol.LastRunToProto(last)
	opened.Extents = a.extents != nil
	err = a.answer(&pb.ExportResponse{Message: &pb.ExportResponse_Opened{Opened: opened}})
	if err == nil {
		err = a.carryOut(ctx)
	}
	if err != nil {
		a.abandon(ctx, err)
	}
	return err
}

// openRun takes the destination of the run's project for an attempt, and returns the
// pipeline's last committed run. limit bounds the wait for the destination and its Open
// together. The caller calls release when the attempt has ended.
func (s *server) openRun(ctx context.Context, run Run, limit time.Duration) (p *project, release func(), last LastRun, err error) {
	last, err = openWithin(ctx, limit, func(ctx context.Context) (LastRun, error) {
		var err error
		if p, release, err = s.hold(ctx, run.ProjectID); err != nil {
			return LastRun{}, err
		}
		last, err := p.claimTarget(ctx, run)
		if err != nil {
			release()
		}
		return last, err
	})
	return p, release, last, err
}

// takes refuses a run that the plugin has not said it can do.
func (p Plugin) takes(run Run) error {
	switch {
	case !slices.Contains(p.Capabilities.Streams, run.Stream):
		return fmt.Errorf("destination %s does not take %s", p.Name, run.Stream)
	case !slices.Contains(p.Capabilities.Modes, run.Mode):
		return fmt.Errorf("destination %s does not have mode %s", p.Name, run.Mode)
	case run.Repair != nil && !p.Capabilities.Repair:
		return fmt.Errorf("destination %s cannot repair committed runs", p.Name)
	case run.Repair != nil && len(run.Repair.Remove) > protocol.MaxRemove:
		return fmt.Errorf("a repair removes %d objects, at most %d", len(run.Repair.Remove), protocol.MaxRemove)
	case run.Number < 1 || run.Fence < 1 || run.PipelineID == "" || run.Pipeline == "":
		return errors.New("a run needs a number and a fence above 0, a pipeline and its id")
	}
	return nil
}

// attempt is one open export. It moves from open through partitions to
// prepared; carryOut is its only goroutine, but rejections may come from the
// destination's own.
type attempt struct {
	project  *project
	run      Run
	stream   pb.DestinationService_ExportServer
	requests *protocol.Requests
	last     LastRun // committed before
	maxDays  int
	extents  *extents // nil: payloads are sent

	sending  sync.Mutex
	dates    map[string]bool
	due      int          // the smallest index that the next partition may have
	totals   batch.Totals // over all partitions, without CRC
	receipt  Receipt
	prepared bool
	ended    bool // the destination knows that the attempt is over

	committing atomic.Bool
}

// cutOff reports whether the host has closed the stream.
func (a *attempt) cutOff() bool { return a.stream.Context().Err() != nil }

func (a *attempt) answer(m *pb.ExportResponse) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	if err := a.stream.Send(m); err != nil {
		return errCut
	}
	return nil
}

// carryOut takes messages until the run is committed or aborted.
func (a *attempt) carryOut(ctx context.Context) error {
	for {
		m, err := a.requests.Recv()
		if err != nil {
			return errCut
		}
		switch m := m.GetMessage().(type) {
		case *pb.ExportRequest_BeginPartition:
			err = a.write(ctx, m.BeginPartition)
		case *pb.ExportRequest_Prepare:
			err = a.prepare(ctx, m.Prepare)
		case *pb.ExportRequest_Commit:
			return a.commit(ctx)
		case *pb.ExportRequest_Abort:
			return a.abort(ctx, m.Abort.GetDiscard())
		default:
			err = Permanent(fmt.Errorf("%T is out of turn: no partition is open", m))
		}
		if err != nil {
			return a.unlessAborted(ctx, err)
		}
	}
}

// unlessAborted turns the error that an abort inside of a partition has made
// of Write into the abort itself.
func (a *attempt) unlessAborted(ctx context.Context, err error) error {
	var asked *abortError
	if errors.As(err, &asked) {
		return a.abort(ctx, asked.discard)
	}
	return err
}

// abortError is the error of a partition's reader when the host aborts.
type abortError struct{ discard bool }

func (*abortError) Error() string { return errAborted.Error() }

func outOfTurn(m *pb.ExportRequest, why string) error {
	return Permanent(fmt.Errorf("%T is out of turn: %s", m.GetMessage(), why))
}

// ready refuses partitions, Prepare and Commit of a run that is committed
// already, and of a repair of one that is not.
func (a *attempt) ready() error {
	if a.run.Repair != nil {
		if a.last.Number < a.run.Number {
			return Permanent(fmt.Errorf("run %d cannot be repaired: it is not committed, the last one is %d", a.run.Number, a.last.Number))
		}
		return nil
	}
	if a.last.Number >= a.run.Number {
		return Permanent(fmt.Errorf("run %d is committed already: the last one is %d", a.run.Number, a.last.Number))
	}
	return nil
}

func (a *attempt) prepare(ctx context.Context, m *pb.Prepare) error {
	if err := a.ready(); err != nil {
		return err
	}
	if a.prepared {
		return Permanent(errors.New("the run was prepared before"))
	}
	if want := protocol.TotalsFromProto(m.GetTotals()); want != a.totals {
		return Permanent(fmt.Errorf("prepare: the host has sent %s, here are %s", describe(want), describe(a.totals)))
	}
	if p, ok := a.project.destination.(Preparer); ok {
		if err := p.Prepare(ctx, a.run, a.receipt); err != nil {
			return err
		}
	}
	a.prepared = true
	crashpoint.Here("plugin.prepare")
	return a.answer(&pb.ExportResponse{Message: &pb.ExportResponse_Prepared{
		Prepared: &pb.Prepared{Receipt: protocol.ReceiptToProto(a.receipt)},
	}})
}

func (a *attempt) commit(ctx context.Context) error {
	if !a.prepared {
		return Permanent(errors.New("commit is out of turn: the run is not prepared"))
	}
	crashpoint.Here("plugin.commit.before")
	a.committing.Store(true)
	if a.cutOff() {
		return errCut
	}
	if err := a.project.destination.Commit(ctx, a.run, a.receipt); err != nil {
		return err
	}
	a.ended = true
	crashpoint.Here("plugin.commit.after")
	return a.answer(&pb.ExportResponse{Message: &pb.ExportResponse_Committed{
		Committed: &pb.Committed{Receipt: protocol.ReceiptToProto(a.receipt)},
	}})
}

func (a *attempt) abort(ctx context.Context, discard bool) error {
	a.ended = true
	if d, ok := a.project.destination.(Aborter); ok {
		return d.Abort(ctx, a.run, discard && a.run.Repair == nil)
	}
	return nil
}

// abandon tells the destination that an attempt has failed. The stream is
// gone, so the destination gets time of its own.
func (a *attempt) abandon(ctx context.Context, cause error) {
	if a.ended {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := a.abort(ctx, false); err != nil {
		a.project.log.Warn("abort failed; the next attempt cleans up",
			"pipeline", a.run.Pipeline, "run", a.run.Number, "aborted because", cause, "error", err)
	}
}
