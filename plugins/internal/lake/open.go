package lake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// Open claims the target for a run. It refuses a target that another pipeline
// holds, and a fence older than the manifest's; then it writes the fence and ends
// the uploads and replacements of earlier attempts. An attempt of this process
// that is still open is dropped. For a repair the run must be committed; the
// fence and the ended attempts are the same.
func (l *Lake) Open(ctx context.Context, run sdk.Run) (sdk.LastRun, error) {
	lay, err := l.layout(run)
	if err != nil {
		return sdk.LastRun{}, err
	}
	if err := l.dropOpen(ctx, run); err != nil {
		return sdk.LastRun{}, err
	}
	target, err := l.hold(ctx, run, lay)
	if err != nil {
		return sdk.LastRun{}, err
	}
	if run.Repair != nil {
		return l.openRepair(ctx, run, lay, target)
	}
	a := &attempt{
		run: run, by: NewAttempt(run.Number, run.Fence), lay: lay, target: target,
		parts: make(map[string]int), tasks: newTasks(l.finishers),
	}
	a.manifest, a.version, err = l.update(ctx, lay, run, func(m *Manifest) error { return l.claim(ctx, a, m) })
	if err != nil {
		return sdk.LastRun{}, err
	}
	if err := l.endUploads(ctx, lay); err != nil {
		return sdk.LastRun{}, err
	}
	if run.Mode == sdk.Replace {
		if err := l.recover(ctx, a); err != nil {
			return sdk.LastRun{}, err
		}
	}
	l.begin(ctx, a)
	return a.manifest.last(), nil
}

// begin makes an attempt the open one of its pipeline.
func (l *Lake) begin(ctx context.Context, a *attempt) {
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts[attemptKey{a.run.Stream, a.run.PipelineID}] = a
}

func (l *Lake) dropOpen(ctx context.Context, run sdk.Run) error {
	l.mu.Lock()
	a := l.attempts[attemptKey{run.Stream, run.PipelineID}]
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	return l.end(ctx, a)
}

// claim enters the attempt and its fence in the manifest.
func (l *Lake) claim(ctx context.Context, a *attempt, m *Manifest) error {
	if m.AdoptedBy != "" {
		// Either this pipeline has adopted the target in turn, or another one has
		// adopted it since the record was read. The record, read again, decides.
		t, _, err := l.readTarget(ctx, a.lay)
		if err != nil {
			return err
		}
		if t == nil || index(t.Holders, a.run.PipelineID) < 0 {
			return adopted(m, a.run)
		}
		m.AdoptedBy = ""
	}
	for _, h := range a.target.Former {
		if !slices.Contains(m.Adopted, h.PipelineID) {
			m.Adopted = append(m.Adopted, h.PipelineID)
		}
	}
	if err := l.sameFormat(m); err != nil {
		return err
	}
	m.ObjectFormat = l.objectFormat()
	m.Pipeline, m.Fence = a.run.Pipeline, a.run.Fence
	m.Attempt = a.by.String()
	a.again = slices.Contains(m.Unfinished, a.run.Number)
	if a.run.Number > m.Run {
		m.Unfinished = addRun(m.Unfinished, a.run.Number)
	}
	return nil
}

// adopted returns the error for a pipeline whose target another one has adopted.
func adopted(m *Manifest, run sdk.Run) error {
	err := fmt.Errorf("pipeline with id %s has adopted the target of pipeline %s", m.AdoptedBy, run.Pipeline)
	if run.Adopt {
		return sdk.Retryable(err, 0)
	}
	return sdk.Configuration(err, "remove this pipeline, give it a destination or prefix of its own, or set adopt = true on it so that both pipelines write there")
}

// refuseFormerPlace refuses a target that has manifests in the directory where
// unreleased versions kept them: the runs that they commit would be unknown.
func (l *Lake) refuseFormerPlace(ctx context.Context, lay layout) error {
	return l.store.List(ctx, lay.dir+manifestDir+"/", false, func(o Object) error {
		if !strings.HasSuffix(o.Name, ".json") {
			return nil
		}
		return sdk.Configuration(
			fmt.Errorf("%s is a manifest in the place of an unreleased version, and this one would not see what it says is committed", o.Name),
			fmt.Sprintf("move what is below %s%s/ to %s, or give the pipeline a prefix of its own", lay.dir, manifestDir, lay.manifests()))
	})
}

// endUploads ends the unfinished uploads of the pipeline's earlier attempts, if
// the service can list them. A writer with an older fence then cannot finish
// them.
func (l *Lake) endUploads(ctx context.Context, lay layout) error {
	s, ok := l.store.(UploadEnder)
	if !ok {
		return nil
	}
	err := s.EndUploads(ctx, lay.dir, func(name string) bool {
		_, _, ok := lay.owned(name)
		return ok
	})
	if err == nil {
		err = s.EndUploads(ctx, lay.receipts(), func(string) bool { return true })
	}
	if err != nil {
		return fmt.Errorf("end unfinished uploads in %s: %w", lay.dir, err)
	}
	return nil
}
