package runner

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// shared belongs to all pipelines of one name: one that a reload has removed or replaced,
// whose attempt may still run, and the one that comes next. An operation on the name
// reaches that attempt, and no two attempts of a name run at a time.
type shared struct {
	steps lifecycle.Gate                          // held by a step, and by an operation that excludes steps
	stop  atomic.Pointer[context.CancelCauseFunc] // of the step that is under way; nil: none is
	held  atomic.Bool                             // the step that is under way is to stop between two blocks: it was paused
	woken atomic.Bool                             // an operation may have moved the time at which the pipeline is due, since it was looked at
	tally tally                                   // of attempts
	suits atomic.Pointer[suitable]                // told by the latest plugin that was started for the name; nil: none was
}

// suitable is the pause between runs that suits a destination. A reload may give the name
// of a pipeline to one with another destination, to which the pause means nothing.
type suitable struct {
	destination string        // its reference
	pause       time.Duration // 0: any
}

// paced returns the schedule of a pipeline with the pause that suits its destination,
// unless the schedule has one of its own. Only a continuous pipeline runs so often that
// the pause counts. Until the destination's plugin was started the pause is
// pipeline.ContinuousPause.
func (s *shared) paced(of pipeline.Schedule, destination string) pipeline.Schedule {
	if of.Cadence != pipeline.Continuous || of.MinInterval > 0 {
		return of
	}
	of.MinInterval = pipeline.ContinuousPause
	if told := s.suits.Load(); told != nil && told.destination == destination {
		of.MinInterval = max(told.pause, pipeline.ContinuousPause)
	}
	return of
}

// sharedOf returns the part that the pipelines of a name share. It is added to a set that
// is being made.
func (s *pipelineSet) sharedOf(name string) *shared {
	if s.shared[name] == nil {
		s.shared[name] = &shared{steps: lifecycle.NewGate()}
	}
	return s.shared[name]
}

// schedule is the schedule of a stored pipeline as it is in this host.
func (s *pipelineSet) schedule(p *pipeline.Pipeline) pipeline.Schedule {
	if x := s.shared[p.Name]; x != nil {
		return x.paced(p.Schedule, p.Destination)
	}
	return p.Schedule
}

// sharedBy returns the shared parts of a set, for the next set.
func (s *pipelineSet) sharedBy() map[string]*shared {
	if s.shared == nil {
		return map[string]*shared{}
	}
	return maps.Clone(s.shared)
}

// Exclude waits until no step of a pipeline of a name is under way, also of one that a
// reload has removed, and keeps others from beginning until leave is called.
func Exclude(ctx context.Context, r *Runner, name string) (leave func(), err error) {
	s := r.set.Load().shared[name]
	if s == nil {
		return func() {}, nil // this host has had none
	}
	return s.steps.Enter(ctx)
}
