package destinationtest

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// sameDateTwice sends two partitions of one date.
func sameDateTwice(b *bench) {
	d := append(days("morning", 1, 4), days("evening", 1, 3)...)
	b.arrives(d)
}

// answerTime is how long Status may take while a partition is being written.
const answerTime = 10 * time.Second

// statusWhileWriting asks in the middle of a partition, whose next batch comes
// only after the answer.
func statusWhileWriting(b *bench) {
	p, run, d := b.start(), b.run(2, 2), days("busy", 1, 7)
	p.mustExport(b.run(1, 1), days("before", 1, 2))
	s, err := p.open(run)
	if err == nil {
		err = s.sendOne(d)
	}
	if err != nil {
		b.Fatalf("export up to the first batch: %v", err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), answerTime)
	defer cancel()
	for number, want := range map[int64]sdk.RunState{1: sdk.Committed, 2: sdk.Absent} {
		status, err := p.Status(ctx, b.run(number, 0))
		if err != nil || status.State != want {
			b.Errorf("while a partition is written, run %d is %s, %v; want %s within %s", number, status.State, err, want, answerTime)
		}
	}
}

// twoProjects exports runs of one number to two projects of one destination, or
// asserts that the second project is refused.
func twoProjects(b *bench) {
	p, first, second := b.start(), days("one", 2, 3), days("two", 2, 3)
	other := &bench{T: b.T, h: b.h, config: b.config}
	other.h.Project.ID, other.h.Project.Name = b.h.Project.ID+1, "other"
	configured, err := p.configureProject(other.h.Project, b.config)
	if err != nil || len(configured.Targets) == 0 {
		b.Fatalf("configure a second project: %+v, %v", configured.Diagnostics, err)
	}
	theirs := other.run(1, 1)
	theirs.PipelineID = "z9y8x7w6"
	if b.h.OneProject {
		p.mustExport(b.run(1, 1), first)
		for _, adopt := range []bool{false, true} {
			theirs.Adopt = adopt
			b.expectClass(p.tryOpen(theirs), "a second project at the place of the first", protocol.Configuration)
		}
		b.expectRows(b.run(1, 0), first.lines(), "after a second project was refused")
		return
	}
	p.mustExport(b.run(1, 1), first)
	p.mustExport(theirs, second)
	b.expectRows(b.run(1, 0), first.lines(), "of the first project, after both have exported")
	other.expectRows(theirs, second.lines(), "of the second project, after both have exported")
	p.expectState(b.run(1, 0), sdk.Committed, 1)
	p.expectState(theirs, sdk.Committed, 1)
}

// contentIsKept asks for the content of a committed run: the process that has
// committed it, and another process after a crash that follows the commit. The
// receipt may be lost in the crash, the content may not.
func contentIsKept(b *bench) {
	first, second := b.run(1, 1), b.run(2, 2)
	p, d := b.start(), days("second", 1, 2)
	p.mustExport(first, days("first", 1, 2))
	p.expectContent(first, first)
	b.exportAndDie(second, d, phases[len(phases)-1])
	p = b.start()
	p.expectContent(second, second)
	p.expectContent(copied(second), second)
	s, err := p.open(b.run(3, 3))
	if err != nil {
		b.Fatalf("open the next run: %v", err)
	}
	if s.last != second.Last() {
		b.Errorf("opened after a crash behind the commit, the last run is %+v, want %+v", s.last, second.Last())
	}
}

// expectContent asserts that the number of asked is committed by want.
func (p *process) expectContent(asked, want sdk.Run) {
	b := p.bench
	b.Helper()
	got := p.state(asked)
	if got.State != sdk.Committed || got.Last != want.Last() || got.Content != want.Content {
		b.Errorf("run %d is %s with content %q, the last run is %+v; want it committed with content %q",
			asked.Number, got.State, got.Content, got.Last, want.Content)
	}
}

// copiesOfAHost lets two hosts that do not know of each other export one
// number with different rows.
func copiesOfAHost(b *bench) {
	if b.h.FenceInProcess {
		b.Skipf("the destination keeps no fence")
	}
	ours, theirs := days("ours", 2, 4), days("theirs", 2, 4)
	b.copyComesLate(ours)
	for _, fence := range []int64{1, 2} {
		b := b.elsewhere()
		run := b.run(1, 1)
		other := copied(run)
		other.Fence = fence
		s := b.start().upToCommit(run, ours)
		t, openErr := b.start().open(other)
		if openErr == nil {
			t = t.mustPrepare(theirs)
		}
		_, err := s.commit()
		winner, rows := run, ours
		if err != nil {
			b.expectClass(err, "the commit of a host that was overtaken by a copy", protocol.Fenced, protocol.Retryable, protocol.Permanent)
			if openErr != nil {
				b.Errorf("both copies were refused: %v, %v", err, openErr)
				continue
			}
			winner, rows = other, theirs
		}
		if openErr == nil {
			_, err := t.commit()
			if refused := err != nil; refused == (winner.Content == other.Content) {
				b.Errorf("the commits of two copies: winner has content %s, the copy's commit ended with %v", winner.Content, err)
			}
		}
		p := b.start()
		b.expectRows(run, rows.lines(), "after two copies of a host have exported one number")
		p.expectContent(winner, winner)
		p.expectContent(run, winner)
	}
}

// copyComesLate opens a number that is committed with another content.
func (b *bench) copyComesLate(rows data) {
	b.Helper()
	b = b.elsewhere()
	run := b.run(1, 1)
	b.start().mustExport(run, rows)
	late := copied(run)
	late.Fence++
	p := b.start()
	s, err := p.open(late)
	if err == nil && s.last != run.Last() {
		b.Errorf("opened by a copy, the last run is %+v, want %+v", s.last, run.Last())
	}
	if err == nil {
		if err = s.send(days("late", 1, 2)); err == nil {
			if _, err = s.prepare(); err == nil {
				_, err = s.commit()
			}
		}
		s.Close()
	}
	if err == nil {
		b.Errorf("a number was committed twice, with different contents")
	}
	b.expectRows(run, rows.lines(), "after a copy came late")
	p.expectContent(late, run)
}

// mustPrepare sends a run and prepares it.
func (s *session) mustPrepare(d data) *session {
	s.b.Helper()
	err := s.send(d)
	if err == nil {
		_, err = s.prepare()
	}
	if err != nil {
		s.b.Fatalf("export up to the commit: %v", err)
	}
	return s
}
