package destinationtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

const (
	pipeline   = "conformance"
	pipelineID = "k7q2m9x4"
)

// pollInterval is the pause between two Status calls for a run in doubt.
const pollInterval = 20 * time.Millisecond

// bench is the environment of one check: a place at the destination and the
// plugin processes that write to it.
type bench struct {
	T
	h      Harness
	config map[string]any
	log    logBuffer

	skipped string // the reason; empty: the check was not skipped
}

// Skipf keeps the reason.
func (b *bench) Skipf(format string, args ...any) {
	b.skipped = fmt.Sprintf(format, args...)
	b.T.Skipf(format, args...)
}

func newBench(t T, h Harness) *bench {
	b := &bench{T: t, h: h}
	t.Cleanup(func() {
		if out := b.log.String(); b.Failed() && out != "" {
			b.Logf("the plugin's output:\n%s", out)
		}
	})
	b.config = h.Config(t)
	return b
}

// elsewhere is the same bench at another place.
func (b *bench) elsewhere() *bench { return newBench(b.T, b.h) }

// run names a run of the check's pipeline.
func (b *bench) run(number, fence int64) sdk.Run {
	return sdk.Run{
		ProjectID: b.h.Project.ID, Pipeline: pipeline, PipelineID: pipelineID, Stream: sdk.Events, Mode: sdk.Append,
		Number: number, Content: fmt.Sprintf("%032x", number), Fence: fence, AsOf: firstDay.AddDate(0, 0, 7),
	}
}

// copied returns the run that a host with a copied data directory plans: it has
// the same number and fence as run, and another content.
func copied(run sdk.Run) sdk.Run {
	run.Content = fmt.Sprintf("c%031x", run.Number)
	return run
}

func (b *bench) place(run sdk.Run) Place {
	return Place{Config: b.config, Project: b.h.Project, Pipeline: run.Pipeline, PipelineID: run.PipelineID, Stream: run.Stream}
}

// session is one export as a check drives it, step by step.
type session struct {
	*protocol.Exporter
	b        *bench
	p        *process
	last     sdk.LastRun // committed when the run was opened
	rejected []protocol.RejectedRow
	totals   batch.Totals
	parts    int
	shelf    *shelf // with Harness.Extents
	cut      context.CancelFunc
}

// open begins an export. The session is closed with the check, at the latest.
func (p *process) open(run sdk.Run) (*session, error) {
	s := &session{b: p.bench, p: p}
	ctx, cut := context.WithCancel(p.bench.Context())
	s.cut = cut
	var err error
	s.Exporter, err = p.Export(ctx, func(rows []protocol.RejectedRow) error {
		s.rejected = append(s.rejected, rows...)
		return nil
	})
	if err != nil {
		cut()
		return nil, err
	}
	p.bench.Cleanup(s.Close)
	call, cancel := p.bench.call()
	defer cancel()
	if p.bench.h.Extents {
		s.shelf = &shelf{dir: p.bench.TempDir()}
		run.Extents = s.shelf.dir
	}
	if s.last, err = s.Open(call, run); err != nil {
		s.Close()
	} else if s.shelf != nil && !s.Extents() {
		p.bench.Fatalf("the plugin does not take extents out of a directory of its own user")
	}
	return s, err
}

// tryOpen opens a run that the destination should refuse.
func (p *process) tryOpen(run sdk.Run) error {
	s, err := p.open(run)
	if err == nil {
		s.Close()
	}
	return err
}

// Close cuts the stream.
func (s *session) Close() {
	s.cut()
	s.Exporter.Close()
}

// send sends partitions, each to its end.
func (s *session) send(d data) error {
	ctx, cancel := s.b.call()
	defer cancel()
	for _, p := range d {
		if err := s.BeginPartition(ctx, sdk.Partition{Index: s.parts, Date: p.date}); err != nil {
			return err
		}
		var totals batch.Totals
		for _, rows := range p.batches {
			b := NewBatch(rows...)
			if err := s.Send(ctx, b); err != nil {
				return err
			}
			totals.Add(b)
		}
		if err := s.EndPartition(ctx, totals); err != nil {
			return err
		}
		s.parts++
		s.add(totals)
	}
	return nil
}

func (s *session) add(t batch.Totals) {
	s.totals.Rows += t.Rows
	s.totals.RowsBytes += t.RowsBytes
	s.totals.PayloadBytes += t.PayloadBytes
}

func (s *session) prepare() (sdk.Receipt, error) {
	ctx, cancel := s.b.call()
	defer cancel()
	return s.Prepare(ctx, s.totals)
}

func (s *session) commit() (sdk.Receipt, error) {
	ctx, cancel := s.b.call()
	defer cancel()
	return s.Commit(ctx)
}

// export carries out a whole run.
func (p *process) export(run sdk.Run, d data) (*session, sdk.Receipt, error) {
	s, err := p.open(run)
	if err != nil {
		return s, sdk.Receipt{}, err
	}
	defer s.Close()
	if s.last.Number >= run.Number {
		return s, sdk.Receipt{}, fmt.Errorf("Open says that run %d is committed, before it was sent", s.last.Number)
	}
	if err := s.send(d); err != nil {
		return s, sdk.Receipt{}, err
	}
	prepared, err := s.prepare()
	if err != nil {
		return s, sdk.Receipt{}, err
	}
	committed, err := s.commit()
	if err != nil {
		return s, sdk.Receipt{}, err
	}
	if len(prepared.Partitions) != len(committed.Partitions) {
		return s, committed, fmt.Errorf("%d partitions were prepared and %d committed", len(prepared.Partitions), len(committed.Partitions))
	}
	return s, committed, nil
}

// mustExport exports a run that has to succeed, and checks its receipt.
func (p *process) mustExport(run sdk.Run, d data) {
	b := p.bench
	b.Helper()
	s, receipt, err := p.export(run, d)
	if err != nil {
		b.Fatalf("export of run %d, fence %d: %v", run.Number, run.Fence, err)
	}
	if len(s.rejected) > 0 {
		b.Fatalf("rows were rejected that every destination takes: %d, the first because %q", len(s.rejected), s.rejected[0].Reason)
	}
	b.checkReceipt(receipt, d)
}

// checkReceipt compares a receipt with the rows that were sent, if none were
// rejected.
func (b *bench) checkReceipt(receipt sdk.Receipt, d data) {
	b.Helper()
	if len(receipt.Partitions) != len(d) {
		b.Errorf("the receipt has %d partitions, %d were sent", len(receipt.Partitions), len(d))
		return
	}
	for i, p := range receipt.Partitions {
		sent := NewBatch(d[i].rows()...)
		switch {
		case p.Index != i || p.Rows != uint64(sent.Rows) || p.Rejected != 0:
			b.Errorf("receipt of partition %d is %+v, %d rows were sent", i, p, sent.Rows)
		case p.RowsBytes != 0 && p.RowsBytes != uint64(sent.RowsBytes):
			b.Errorf("receipt of partition %d has %d bytes of rows, %d were sent", i, p.RowsBytes, sent.RowsBytes)
		case p.RowsCRC32 != 0 && p.RowsCRC32 != sent.RowsCRC32:
			b.Errorf("receipt of partition %d has CRC-32 %08x, of the rows sent it is %08x", i, p.RowsCRC32, sent.RowsCRC32)
		}
	}
}

// state asks for the status of a run until it is not in doubt.
func (p *process) state(run sdk.Run) sdk.Status {
	b := p.bench
	b.Helper()
	ctx, cancel := b.call()
	defer cancel()
	for {
		status, err := p.Status(ctx, run)
		if err != nil {
			b.Fatalf("status of run %d: %v", run.Number, err)
		}
		if status.State != sdk.InDoubt {
			return status
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			b.Fatalf("run %d is in doubt for ever", run.Number)
		}
	}
}

// expectState asserts the state and the last committed run that Status returns.
func (p *process) expectState(run sdk.Run, want sdk.RunState, lastCommitted int64) {
	b := p.bench
	b.Helper()
	got := p.state(run)
	if got.State != want || got.Last.Number != lastCommitted {
		b.Errorf("run %d is %s and the last committed one is %d; want %s and %d",
			run.Number, got.State, got.Last.Number, want, lastCommitted)
	}
}

// read returns the rows that a consumer sees, by date.
func (b *bench) read(run sdk.Run, when string) map[string][]string {
	b.Helper()
	ctx, cancel := b.call()
	defer cancel()
	got, err := b.h.Read(ctx, b.place(run))
	if err != nil {
		b.Fatalf("read back %s: %v", when, err)
	}
	return got
}

// expectRows asserts the rows that a consumer sees.
func (b *bench) expectRows(run sdk.Run, want map[string][]string, when string) {
	b.Helper()
	if diff := compare(b.stored(want), b.read(run, when)); diff != "" {
		b.Errorf("rows at the destination %s:%s", when, diff)
	}
}

// stored returns rows in the text in which Read returns them.
func (b *bench) stored(rows map[string][]string) map[string][]string {
	if b.h.Stored == nil {
		return rows
	}
	out := make(map[string][]string, len(rows))
	for date, lines := range rows {
		for _, line := range lines {
			out[date] = append(out[date], b.h.Stored(line))
		}
	}
	return out
}

// expectNothing asserts that a consumer sees no row of a run that is not
// committed, unless the harness has VisibleEarly.
func (b *bench) expectNothing(run sdk.Run, before map[string][]string, when string) {
	b.Helper()
	if !b.h.VisibleEarly {
		b.expectRows(run, before, when)
	}
}

// objects returns fingerprints of the stored objects; nil if the harness has no
// Objects.
func (b *bench) objects(run sdk.Run) map[string]string {
	b.Helper()
	if b.h.Objects == nil {
		return nil
	}
	ctx, cancel := b.call()
	defer cancel()
	found, err := b.h.Objects(ctx, b.place(run))
	if err != nil {
		b.Fatalf("fingerprint objects: %v", err)
	}
	return found
}

// expectSameObjects asserts that exactly these objects are stored, with these
// bytes.
func (b *bench) expectSameObjects(run sdk.Run, want map[string]string, when string) {
	b.Helper()
	got := b.objects(run)
	names := slices.Sorted(maps.Keys(want))
	for name := range got {
		if _, ok := want[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if got[name] != want[name] {
			b.Errorf("%s, object %s has fingerprint %q, want %q (empty: it is not there)", when, name, got[name], want[name])
		}
	}
}

// expectClass asserts that a call was refused with a class.
func (b *bench) expectClass(err error, what string, classes ...protocol.Class) {
	b.Helper()
	var typed *protocol.Error
	switch {
	case err == nil:
		b.Errorf("%s was not refused", what)
	case errors.Is(err, protocol.ErrLost):
		b.Errorf("%s ended the plugin or the stream instead of being refused: %v", what, err)
	case !errors.As(err, &typed):
		b.Errorf("%s ended with %v, not with a refusal", what, err)
	case !slices.Contains(classes, typed.Class):
		b.Errorf("%s was refused as %s (%v), want %v", what, typed.Class, err, classes)
	}
}

// describe asks the plugin for its description.
func (p *process) describe() protocol.Description {
	b := p.bench
	b.Helper()
	ctx, cancel := b.call()
	defer cancel()
	d, err := p.Describe(ctx)
	if err != nil {
		b.Fatalf("describe: %v", err)
	}
	return d
}

// needs skips the check when the plugin does not take a stream in a mode.
func (p *process) needs(stream sdk.Stream, mode sdk.Mode) {
	b := p.bench
	b.Helper()
	c := p.describe().Capabilities
	if !slices.Contains(c.Streams, stream) || !slices.Contains(c.Modes, mode) {
		b.Skipf("the destination does not take %s in mode %s", stream, mode)
	}
}
