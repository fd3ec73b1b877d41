package runner

import (
	"time"

	"github.com/penstock-io/penstock/host/internal/project"
)

// firstLook is a look for the first rows of a pipeline that found none. It holds until
// something is sealed or an operation concerns the pipeline: until then a look reads
// nothing from the catalog, so that a thousand pipelines without rows cost nothing.
// The zero value holds never.
type firstLook struct {
	mark    project.Mark // of the journal, before the look
	at      time.Time
	created time.Time // the pipeline's registration
}

// longestFirst is the longest time for which a look holds, whatever has not happened.
const longestFirst = 5 * time.Minute

// holds reports whether another look would find nothing.
func (l *firstLook) holds(p *Pipeline) bool {
	age := p.o.Now().Sub(l.at)
	return age >= 0 && age < longestFirst && !p.woken.Load() && l.mark.Same(p.project.Journal.Mark())
}

// nextLook returns when a pipeline without a run looks for its first rows, after a look
// at a time. The first run is due as soon as there are rows, whatever the schedule.
func nextLook(looked, created, now time.Time) time.Time {
	if looked.After(now) {
		looked = now // the clock was set back
	}
	return looked.Add(firstPause(now.Sub(created)))
}

// firstPause returns the time between two looks for the first rows of a pipeline that is
// as old as age.
func firstPause(age time.Duration) time.Duration {
	return min(max(age/8, 10*time.Second), longestFirst)
}
