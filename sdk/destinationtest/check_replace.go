package destinationtest

import (
	"github.com/penstock-io/penstock/sdk"
)

// replaceRun names a run that replaces a set.
func (b *bench) replaceRun(stream sdk.Stream, number, fence int64) sdk.Run {
	run := b.run(number, fence)
	run.Stream, run.Mode = stream, sdk.Replace
	return run
}

func replacedSet(b *bench) {
	b.launch().needs(sdk.People, sdk.Replace)
	for _, stream := range []sdk.Stream{sdk.People, sdk.Identity} {
		b := b.elsewhere()
		p := b.start()
		first, second := set(stream, "first", 10), set(stream, "second", 4)
		p.mustExport(b.replaceRun(stream, 1, 1), first)
		b.expectRows(b.replaceRun(stream, 1, 1), first.lines(), "after the first set")

		run := b.replaceRun(stream, 2, 2)
		s, err := p.open(run)
		if err == nil {
			err = s.send(second)
		}
		if err == nil {
			_, err = s.prepare()
		}
		if err != nil {
			b.Fatalf("second set: %v", err)
		}
		b.expectRows(run, first.lines(), "while the second set is prepared")
		if _, err := s.commit(); err != nil {
			b.Fatalf("commit the second set: %v", err)
		}
		b.expectRows(run, second.lines(), "after the second set")

		empty := set(stream, "empty", 0)
		p.mustExport(b.replaceRun(stream, 3, 3), empty)
		b.expectRows(run, nil, "after an empty set")
	}
}

func replacedSetKill(b *bench) {
	b.launch().needs(sdk.People, sdk.Replace)
	for _, at := range phases {
		b := b.elsewhere()
		first, second := set(sdk.People, "first", 10), set(sdk.People, "second", 4)
		b.start().mustExport(b.replaceRun(sdk.People, 1, 1), first)

		run := b.replaceRun(sdk.People, 2, 2)
		b.exportAndDie(run, second, at)
		p := b.start()
		if p.state(run).State == sdk.Committed {
			b.mayBeCommitted(at)
			b.expectRows(run, second.lines(), "after a kill at "+at.name+", committed by Status")
			continue
		}
		b.mayBeAbsent(at)
		b.expectRows(run, first.lines(), "after a kill at "+at.name+", absent by Status")
		run.Fence++
		p.mustExport(run, second)
		b.expectRows(run, second.lines(), "after a kill at "+at.name+" and a retry")
	}
}
