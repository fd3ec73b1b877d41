package destinationtest

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// phase is an instant of a run at which the plugin is killed.
type phase struct {
	name  string
	point string // of a plugin that was built with crash points
	// step is the last step that a plugin without them does before it is killed.
	step step
	// The outcomes that are allowed after the kill.
	mayCommit, mayBeAbsent bool
}

type step int

const (
	opened step = iota
	oneBatchSent
	prepared
	commitSent
	committed
)

var phases = []phase{
	{"open", "plugin.open", opened, false, true},
	{"write", "plugin.write:2", oneBatchSent, false, true},
	{"prepare", "plugin.prepare", prepared, false, true},
	{"commit, before", "plugin.commit.before", commitSent, false, true},
	{"commit, after", "plugin.commit.after", committed, true, false},
}

// exportAndDie exports a run with a process that is killed on the way.
func (b *bench) exportAndDie(run sdk.Run, d data, at phase) {
	b.Helper()
	if b.h.Package == "" {
		b.exportAndKill(run, d, at)
		return
	}
	p := b.start("PENSTOCK_CRASH_AT=" + at.point)
	_, _, err := p.export(run, d)
	if err == nil {
		b.Fatalf("the process was to be killed at %s, and the run committed", at.name)
	}
	if !errors.Is(err, protocol.ErrLost) {
		b.Fatalf("the process was to be killed at %s; the run ended with: %v", at.name, err)
	}
	p.kill()
}

// exportAndKill is for plugins that have no crash points. Whether the commit
// was before the kill is then open.
func (b *bench) exportAndKill(run sdk.Run, d data, at phase) {
	b.Helper()
	p := b.start()
	defer p.kill()
	s, err := p.open(run)
	defer func() {
		if err != nil {
			b.Fatalf("export up to %s: %v", at.name, err)
		}
	}()
	if err != nil || at.step == opened {
		return
	}
	if at.step == oneBatchSent {
		err = s.sendOne(d)
		return
	}
	if err = s.send(d); err == nil {
		_, err = s.prepare()
	}
	switch {
	case err != nil || at.step == prepared:
	case at.step == commitSent:
		ctx, cancel := b.call()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = s.Commit(ctx) // the answer is dropped
		}()
		p.kill()
		cancel()
		<-done
	default:
		_, err = s.commit()
	}
}

// sendOne sends the first batch of a run and leaves the partition open.
func (s *session) sendOne(d data) error {
	ctx, cancel := s.b.call()
	defer cancel()
	if err := s.BeginPartition(ctx, sdk.Partition{Date: d[0].date}); err != nil {
		return err
	}
	return s.Send(ctx, NewBatch(d[0].batches[0]...))
}

func (b *bench) mayBeCommitted(at phase) {
	b.Helper()
	if !at.mayCommit && (b.h.Package != "" || at.step < commitSent) {
		b.Errorf("killed at %s, the run is committed", at.name)
	}
}

func (b *bench) mayBeAbsent(at phase) {
	b.Helper()
	if !at.mayBeAbsent {
		b.Errorf("killed at %s, the run is absent", at.name)
	}
}

func killAndRetry(b *bench) {
	before, d := days("before", 2, 4), days("killed", 3, 7)
	calm := b.elsewhere()
	p := calm.start()
	p.mustExport(calm.run(1, 1), before)
	p.mustExport(calm.run(2, 2), d)
	undisturbed := calm.objects(calm.run(2, 2))

	for _, at := range phases {
		b := b.elsewhere()
		b.start().mustExport(b.run(1, 1), before)
		run := b.run(2, 2)
		b.exportAndDie(run, d, at)
		p := b.start()
		if p.state(run).State == sdk.Committed {
			b.mayBeCommitted(at)
		} else {
			b.mayBeAbsent(at)
			b.expectNothing(run, before.lines(), "after a kill at "+at.name)
			run.Fence++
			p.mustExport(run, d)
		}
		b.expectRows(run, union(before, d), "after a kill at "+at.name+" and the step that Status asked for")
		b.expectSameObjects(run, undisturbed, "after a kill at "+at.name)
		p.expectState(run, sdk.Committed, 2)
	}
}

// lostReply commits and loses the answer: the process dies after the commit, or
// the host closes the stream.
func lostReply(b *bench) {
	d := days("lost", 2, 5)
	run := b.run(1, 1)
	b.exportAndDie(run, d, phases[len(phases)-1])
	p := b.start()
	p.expectState(run, sdk.Committed, 1)
	if r := p.state(run).Receipt; r != nil {
		b.checkReceipt(*r, d)
	}
	b.expectRows(run, d.lines(), "after the lost reply of a killed process")

	b = b.elsewhere()
	p = b.start()
	s, err := p.open(run)
	if err == nil {
		err = s.send(d)
	}
	if err == nil {
		_, err = s.prepare()
	}
	if err != nil {
		b.Fatalf("export up to the commit: %v", err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	go func() {
		// Anything from before the message has left to after the answer.
		time.Sleep(time.Millisecond)
		cancel()
	}()
	_, err = s.Commit(ctx)
	s.Close()
	if state := p.state(run).State; state == sdk.Absent {
		if err == nil {
			b.Errorf("Committed was answered, and Status says absent")
		}
		b.expectNothing(run, nil, "after hanging up, absent by Status")
		run.Fence++
		p.mustExport(run, d)
	}
	b.expectRows(run, d.lines(), "after hanging up during the commit")
}

// frozen stops the process in the middle of a write.
func frozen(b *bench) {
	d := days("frozen", 2, 7)
	run := b.run(1, 1)
	s := b.freeze(run, d)
	ctx, cancel := context.WithTimeout(b.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Prepare(ctx, s.totals); !errors.Is(err, context.DeadlineExceeded) {
		b.Errorf("a call to a frozen process ended with %v, want its deadline", err)
	}
	s.p.kill()
	p := b.start()
	p.expectState(run, sdk.Absent, 0)
	run.Fence++
	p.mustExport(run, d)
	b.expectRows(run, d.lines(), "after a frozen process and a retry")
}

// freeze begins an export with a process that stops: at its third batch when
// it has crash points, else from outside after the first.
func (b *bench) freeze(run sdk.Run, d data) *session {
	b.Helper()
	var env []string
	if b.h.Package != "" {
		env = append(env, "PENSTOCK_STOP_AT=plugin.write:3")
	}
	s, err := b.start(env...).open(run)
	switch {
	case err != nil:
	case b.h.Package != "":
		err = s.send(d)
	default:
		err = s.sendOne(d)
		s.p.signal(syscall.SIGSTOP)
		s.p.waitStopped()
	}
	if err != nil {
		b.Fatalf("export up to where the process freezes: %v", err)
	}
	return s
}
