package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Export is one run on its way through a plugin: Open, then for each partition
// BeginPartition, Send …, EndPartition, then Prepare and Commit, or Abort. It
// is for one goroutine.
//
// Each step has its deadline. A plugin that does not keep it is killed, so that its
// work on the run is over when the run is tried again. Any error ends the export, as
// do Commit and Abort; Close is then not needed. An export that is given up at any
// other point is ended by Close.
type Export struct {
	p     *process
	x     *protocol.Exporter
	red   *redactor
	turns *turns
	leave func() // ends the project's turn; nil: Open has not taken it
}

// turns lets one export of a project go on at a time: plugins take no more. A plugin would
// let a second one wait for its Open as well, but a plugin that does not answer in time is
// killed, and with it the export that goes on. It is safe for concurrent use.
type turns struct {
	mu sync.Mutex
	of map[int64]chan struct{} // by project; full while an export goes on
}

// enter waits for the turn of a project's export. The caller calls leave at its end.
func (t *turns) enter(ctx context.Context, project int64) (leave func(), err error) {
	t.mu.Lock()
	turn := t.of[project]
	if turn == nil {
		turn = make(chan struct{}, 1)
		t.of[project] = turn
	}
	t.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the end of another export of the project: %w", context.Cause(ctx))
	}
}

// Export opens a stream. ctx is that of the whole export. rejected is called,
// from one other goroutine, with the rows that the destination refuses; all
// calls are over when Prepare returns.
func (d *Destination) Export(ctx context.Context, rejected func([]protocol.RejectedRow) error) (*Export, error) {
	p, err := d.running(ctx)
	if err != nil {
		return nil, err
	}
	x, err := p.rpc.Export(noDeadline{ctx}, func(rows []protocol.RejectedRow) error {
		for i := range rows {
			rows[i].Reason = d.red.clean(rows[i].Reason)
		}
		return rejected(rows)
	})
	if err != nil {
		return nil, p.explain(ctx, "export", err)
	}
	return &Export{p: p, x: x, red: &d.red, turns: &d.turns}, nil
}

// LastLog returns the last log lines of the process that has the run, at most 100, oldest
// first, without the values of sensitive attributes. It may be called after the export has
// ended.
func (e *Export) LastLog() []string {
	e.p.logs.settle(settleTime)
	return e.p.logs.last()
}

// settleTime is how long LastLog waits for lines that were written already.
const settleTime = time.Second

// Open claims the target for a run and returns the pipeline's last committed
// one; 0: none. It waits until no other export of the project goes on; the limit of the
// call begins then. Run.Extents is offered only to a plugin that runs as the host's
// user: a file holds more rows than those of the run.
func (e *Export) Open(ctx context.Context, run protocol.Run) (_ protocol.LastRun, err error) {
	if e.x != nil && e.leave == nil {
		if e.leave, err = e.turns.enter(ctx, run.ProjectID); err != nil {
			e.Close()
			return protocol.LastRun{}, err
		}
	}
	if e.p.apart || payloadsOnly {
		run.Extents = ""
	}
	return step(ctx, e, "open", e.p.timeouts.Open, func(ctx context.Context) (protocol.LastRun, error) { return e.x.Open(ctx, run) })
}

// BeginPartition begins the next partition.
func (e *Export) BeginPartition(ctx context.Context, p protocol.Partition) error {
	return e.send(ctx, "begin partition", func(ctx context.Context) error { return e.x.BeginPartition(ctx, p) })
}

// SendWithChecksum sends a batch of the open partition, with the CRC-32C of its
// payload as it was stored: the plugin detects corruption since then. It blocks while
// the plugin does not keep up. The batch may be used again after the call.
func (e *Export) SendWithChecksum(ctx context.Context, b *batch.Batch, crc32c uint32) error {
	return e.send(ctx, "send", func(ctx context.Context) error { return e.x.SendWithChecksum(ctx, b, crc32c) })
}

// Extents reports whether the plugin takes SendExtent. It is known after Open.
func (e *Export) Extents() bool { return e.x != nil && e.x.Extents() }

// SendExtent sends the place of a payload instead of the payload.
func (e *Export) SendExtent(ctx context.Context, b *batch.Batch, crc32c uint32, at protocol.Extent) error {
	return e.send(ctx, "send", func(ctx context.Context) error { return e.x.SendExtent(ctx, b, crc32c, at) })
}

// EndPartition ends the open partition. t is the totals of the batches sent in it.
func (e *Export) EndPartition(ctx context.Context, t protocol.Totals) error {
	return e.send(ctx, "end partition", func(ctx context.Context) error { return e.x.EndPartition(ctx, t) })
}

// Prepare tells the plugin that the run was sent completely. It returns the receipt
// that the run has once it is committed.
func (e *Export) Prepare(ctx context.Context, t protocol.Totals) (protocol.Receipt, error) {
	receipt, err := step(ctx, e, "prepare", e.p.timeouts.Prepare, func(ctx context.Context) (protocol.Receipt, error) { return e.x.Prepare(ctx, t) })
	e.red.cleanReceipt(&receipt)
	return receipt, err
}

// Commit makes the run the last committed one. After an error that is
// protocol.ErrUnknown only Status knows whether it is.
func (e *Export) Commit(ctx context.Context) (protocol.Receipt, error) {
	defer e.Close()
	receipt, err := step(ctx, e, "commit", e.p.timeouts.Commit, func(ctx context.Context) (protocol.Receipt, error) { return e.x.Commit(ctx) })
	e.red.cleanReceipt(&receipt)
	return receipt, err
}

// Abort ends the export without commit and waits until the plugin has done so.
// With discard the plugin removes the objects that the run has written. After an
// error, and after the end, the export is over: Abort returns nil.
func (e *Export) Abort(ctx context.Context, discard bool) error {
	if e.x == nil {
		return nil
	}
	defer e.Close()
	_, err := step(ctx, e, "abort", e.p.timeouts.Progress, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, e.x.Abort(ctx, discard)
	})
	return err
}

// Close cuts the stream, unless the export is over, and waits until nothing of
// it runs on this side. It may be called more than once.
func (e *Export) Close() {
	if e.x != nil {
		e.x.Close()
		e.x = nil
	}
	if e.leave != nil {
		e.leave()
		e.leave = nil
	}
}

func (e *Export) send(ctx context.Context, name string, fn func(context.Context) error) error {
	_, err := step(ctx, e, name, e.p.timeouts.Progress, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// step makes one call of an export. An error ends the export.
func step[T any](ctx context.Context, e *Export, name string, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	if e.x == nil {
		var zero T
		return zero, errEnded
	}
	v, err := call(ctx, e.p, callSpec{name, limit, true}, fn)
	if errors.Is(err, protocol.ErrExtent) {
		e.p.logger.Warn("the plugin could not read a payload from its file; the run is sent again, with its payloads", "error", err)
	}
	if err != nil {
		e.Close()
	}
	return v, err
}
