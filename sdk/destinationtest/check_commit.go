package destinationtest

import (
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// upToCommit sends a run and prepares it.
func (p *process) upToCommit(run sdk.Run, d data) *session {
	b := p.bench
	b.Helper()
	s, err := p.open(run)
	if err == nil {
		err = s.send(d)
	}
	if err == nil {
		_, err = s.prepare()
	}
	if err != nil {
		b.Fatalf("export of run %d up to the commit: %v", run.Number, err)
	}
	return s
}

func notBeforeCommit(b *bench) {
	p, run, d := b.start(), b.run(1, 1), days("early", 2, 5)
	s := p.upToCommit(run, d)
	b.expectNothing(run, nil, "when the run is prepared")
	p.expectState(run, sdk.Absent, 0)
	b.start().expectState(run, sdk.Absent, 0)
	if _, err := s.commit(); err != nil {
		b.Fatalf("commit: %v", err)
	}
	b.expectRows(run, d.lines(), "after the commit")
	b.start().expectState(run, sdk.Committed, 1)
}

func unknownRun(b *bench) {
	p := b.start()
	p.expectState(b.run(1, 0), sdk.Absent, 0)
	p.expectState(b.run(7, 0), sdk.Absent, 0)
	p.mustExport(b.run(1, 1), days("known", 1, 2))
	p.expectState(b.run(2, 0), sdk.Absent, 1)
	other := b.run(1, 0)
	other.Pipeline, other.PipelineID = "other", "z9y8x7w6"
	p.expectState(other, sdk.Absent, 0)
}

func committedRun(b *bench) {
	p, run, d := b.start(), b.run(1, 1), days("again", 2, 5)
	p.mustExport(run, d)
	for _, p := range []*process{p, b.start()} {
		run.Fence++
		s, err := p.open(run)
		if err != nil {
			b.Fatalf("open a committed run: %v", err)
		}
		if s.last.Number != run.Number {
			b.Errorf("opened again, the last committed run is %d, want %d", s.last.Number, run.Number)
		}
		// A host that asks Status does not get here.
		if err = s.send(d); err == nil {
			_, err = s.prepare()
		}
		if err == nil {
			_, err = s.commit()
		}
		s.Close()
		if err == nil {
			b.Errorf("a committed run was taken again")
		}
		b.expectRows(run, d.lines(), "after a committed run was sent again")
		p.expectState(run, sdk.Committed, 1)
	}
}

func committedOutlives(b *bench) {
	run, d := b.run(1, 1), days("outlives", 2, 5)
	p := b.start()
	p.mustExport(run, d)
	p.kill()
	p = b.start()
	p.expectState(run, sdk.Committed, 1)
	b.expectRows(run, d.lines(), "after the process was killed")
	second := days("second", 1, 2)
	p.mustExport(b.run(2, 2), second)
	b.expectRows(run, union(d, second), "after a second run by a new process")
}

// cutStream hangs up at each step before the commit.
func cutStream(b *bench) {
	d := days("cut", 2, 5)
	for _, step := range []struct {
		name string
		do   func(s *session) error
	}{
		{"open", func(*session) error { return nil }},
		{"a batch", func(s *session) error { return s.sendOne(d) }},
		{"a partition", func(s *session) error { return s.send(d[:1]) }},
		{"all partitions", func(s *session) error { return s.send(d) }},
		{"prepare", func(s *session) error {
			err := s.send(d)
			if err == nil {
				_, err = s.prepare()
			}
			return err
		}},
	} {
		b := b.elsewhere()
		p, run := b.start(), b.run(1, 1)
		s, err := p.open(run)
		if err == nil {
			err = step.do(s)
		}
		if err != nil {
			b.Fatalf("export up to %s: %v", step.name, err)
		}
		s.Close()
		p.expectState(run, sdk.Absent, 0)
		b.expectNothing(run, nil, "after a stream was cut behind "+step.name)
		run.Fence++
		p.mustExport(run, d)
		b.expectRows(run, d.lines(), "after a stream was cut behind "+step.name+" and a retry")
		p.expectState(run, sdk.Committed, 1)
	}
}

func abortedRun(b *bench) {
	d := days("aborted", 2, 5)
	for _, discard := range []bool{false, true} {
		for _, whole := range []bool{false, true} {
			b := b.elsewhere()
			p, run := b.start(), b.run(1, 1)
			empty := b.objects(run)
			var s *session
			if whole {
				s = p.upToCommit(run, d)
			} else {
				var err error
				if s, err = p.open(run); err == nil {
					err = s.sendOne(d)
				}
				if err != nil {
					b.Fatalf("export up to the first batch: %v", err)
				}
			}
			ctx, cancel := b.call()
			if err := s.Abort(ctx, discard); err != nil {
				b.Errorf("abort: %v", err)
			}
			cancel()
			p.expectState(run, sdk.Absent, 0)
			b.expectNothing(run, nil, "after an abort")
			if discard && !b.h.KeepsAborted {
				b.expectSameObjects(run, empty, "after an abort with discard")
			}
			run.Fence++
			p.mustExport(run, d)
			b.expectRows(run, d.lines(), "after an abort and a retry")
		}
	}
}

// wrongTotals sends totals that differ from the rows sent, as if a message had
// been lost.
func wrongTotals(b *bench) {
	d := days("totals", 2, 5)
	for _, change := range []func(*batch.Totals){
		func(t *batch.Totals) { t.Rows++ },
		func(t *batch.Totals) { t.RowsBytes-- },
		func(t *batch.Totals) { t.PayloadBytes++ },
		func(t *batch.Totals) { t.RowsCRC32 ^= 1 },
	} {
		b.refuses("a partition with wrong totals", d, func(s *session) error {
			ctx, cancel := b.call()
			defer cancel()
			if err := s.sendOne(d); err != nil {
				return err
			}
			var totals batch.Totals
			totals.Add(NewBatch(d[0].batches[0]...))
			change(&totals)
			if err := s.EndPartition(ctx, totals); err != nil {
				return err
			}
			totals.RowsCRC32 = 0
			_, err := s.Prepare(ctx, totals)
			return err
		})
	}
	b.refuses("a run with wrong totals", d, func(s *session) error {
		if err := s.send(d[:1]); err != nil {
			return err
		}
		s.totals.Rows++
		_, err := s.prepare()
		return err
	})
}

// refuses asserts that an export that goes wrong is refused and leaves
// nothing, and that a retry, which sends the run's rows d, is taken.
func (b *bench) refuses(what string, d data, export func(*session) error, classes ...protocol.Class) {
	b.Helper()
	if len(classes) == 0 {
		classes = []protocol.Class{protocol.Permanent, protocol.Retryable}
	}
	b = b.elsewhere()
	p, run := b.start(), b.run(1, 1)
	s, err := p.open(run)
	if err != nil {
		b.Fatalf("open: %v", err)
	}
	err = export(s)
	s.Close()
	b.expectClass(err, what, classes...)
	p.expectState(run, sdk.Absent, 0)
	b.expectNothing(run, nil, "after "+what)
	run.Fence++
	p.mustExport(run, d)
	b.expectRows(run, d.lines(), "after "+what+" and a retry")
}

func damagedPayload(b *bench) {
	d := days("damaged", 1, 3)
	good := NewBatch(d[0].rows()...)
	b.refuses("a payload that differs from its checksum", d, func(s *session) error {
		if err := s.beginRaw(d[0].date); err != nil {
			return err
		}
		if err := s.sendRaw(good, protocol.PayloadCRC32C(good.Payload)^1); err != nil {
			return err
		}
		return s.finish(good)
	})
	b.refuses("a payload without its sync flush", d, func(s *session) error {
		bad := *good
		bad.Payload = bad.Payload[:len(bad.Payload)-1]
		if err := s.beginRaw(d[0].date); err != nil {
			return err
		}
		if err := s.sendRaw(&bad, protocol.PayloadCRC32C(bad.Payload)); err != nil {
			return err
		}
		return s.finish(&bad)
	})
}

func oversizePayload(b *bench) {
	d := days("oversize", 1, 2)
	date := d[0].date
	big := NewBatch(Row{Line: `{}`})
	stored := []byte{0, 0, 0, 0xff, 0xff} // an empty stored block
	for len(big.Payload) <= batch.MaxPayload {
		big.Payload = append(big.Payload, stored...)
	}
	b.refuses("a payload over the limit", d, func(s *session) error {
		if err := s.beginRaw(date); err != nil {
			return err
		}
		if err := s.sendRaw(big, protocol.PayloadCRC32C(big.Payload)); err != nil {
			return err
		}
		return s.finish(big)
	})
	b.refuses("a batch that claims more rows than any may have", d, func(s *session) error {
		bomb := NewBatch(Row{Line: `{}`})
		bomb.RowsBytes = batch.MaxRowsBytes + 1
		if err := s.beginRaw(date); err != nil {
			return err
		}
		if err := s.sendRaw(bomb, protocol.PayloadCRC32C(bomb.Payload)); err != nil {
			return err
		}
		return s.finish(bomb)
	})
}

func olderFence(b *bench) {
	p, d := b.start(), days("fence", 1, 3)
	p.mustExport(b.run(1, 5), d)
	b.expectClass(p.tryOpen(b.run(2, 4)), "an older fence in the same process", protocol.Fenced)
	if !b.h.FenceInProcess {
		b.expectClass(b.start().tryOpen(b.run(2, 4)), "an older fence in another process", protocol.Fenced)
		if got := p.state(b.run(1, 0)).Fence; got != 5 {
			b.Errorf("the recorded fence is %d, want 5", got)
		}
	}
	p.mustExport(b.run(2, 6), days("newer", 1, 2))
	b.expectRows(b.run(2, 6), union(d, days("newer", 1, 2)), "after an older fence was refused")
}

// zombie lets a host with an older fence go on after a newer one has opened
// the same run.
func zombie(b *bench) {
	if b.h.FenceInProcess {
		b.Skipf("the destination keeps no fence")
	}
	for _, newerCommits := range []bool{false, true} {
		b := b.elsewhere()
		d := days("zombie", 2, 5)
		old, newer := b.start(), b.start()
		s := old.upToCommit(b.run(1, 1), d)
		t, err := newer.open(b.run(1, 2))
		if err != nil {
			b.Fatalf("open with a newer fence: %v", err)
		}
		commit := func() {
			if err := t.send(d); err != nil {
				b.Fatalf("send with the newer fence: %v", err)
			}
			if _, err := t.prepare(); err != nil {
				b.Fatalf("prepare with the newer fence: %v", err)
			}
			if _, err := t.commit(); err != nil {
				b.Fatalf("commit with the newer fence: %v", err)
			}
		}
		if newerCommits {
			commit()
		}
		_, err = s.commit()
		b.expectClass(err, "a commit with an older fence", protocol.Fenced)
		if !newerCommits {
			newer.expectState(b.run(1, 0), sdk.Absent, 0)
			b.expectNothing(b.run(1, 0), nil, "after a zombie's commit")
			commit()
		}
		newer.expectState(b.run(1, 0), sdk.Committed, 1)
		b.expectRows(b.run(1, 0), d.lines(), "after two attempts, one of them a zombie")
	}
}

func otherPipeline(b *bench) {
	if b.h.SharedTarget {
		b.Skipf("the destination does not know which pipeline holds a target")
	}
	p, first, second := b.start(), days("first", 2, 3), days("second", 2, 3)
	p.mustExport(b.run(1, 1), first)
	other := b.run(1, 2)
	other.Pipeline, other.PipelineID = "other", "z9y8x7w6"
	for _, p := range []*process{p, b.start()} {
		b.expectClass(p.tryOpen(other), "a target that another pipeline holds", protocol.Configuration)
	}
	b.expectRows(b.run(1, 1), first.lines(), "after another pipeline was refused")
	other.Adopt = true
	p.mustExport(other, second)
	p.expectState(other, sdk.Committed, 1)
	const adopted = "after another pipeline has adopted the target"
	if compare(b.stored(union(first, second)), b.read(other, adopted)) == "" {
		return
	}
	// The harness may read the rows of one pipeline at a time.
	b.expectRows(b.run(1, 1), first.lines(), adopted)
	b.expectRows(other, second.lines(), adopted)
}
