package lake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// Open claims the target: it writes the fence into the manifest, refuses an
// older one and a target that holds another pipeline's rows, and ends the
// uploads that earlier attempts have left. An attempt of this process that is
// still open is dropped.
func (l *Lake) Open(ctx context.Context, run sdk.Run) (int64, error) {
	lay, err := newLayout(l.root, run)
	if err != nil {
		return 0, err
	}
	if err := l.dropOpen(ctx, run); err != nil {
		return 0, err
	}
	if err := l.refuseFormerPlace(ctx, lay); err != nil {
		return 0, err
	}
	others, err := l.others(ctx, lay)
	if err != nil {
		return 0, err
	}
	a := &attempt{
		run: run, by: NewAttempt(run.Number, run.Fence), lay: lay,
		parts: make(map[string]int), tasks: newTasks(l.finishers),
	}
	a.manifest, a.version, err = l.update(ctx, lay, run, func(m *Manifest) error { return a.claim(m, others) })
	if err != nil {
		return 0, err
	}
	if err := l.endUploads(ctx, lay); err != nil {
		return 0, err
	}
	if run.Mode == sdk.Replace {
		if err := l.recover(ctx, a); err != nil {
			return 0, err
		}
	}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.mu.Lock()
	l.attempts[attemptKey{run.Stream, run.PipelineID}] = a
	l.mu.Unlock()
	return a.manifest.Run, nil
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

// claim edits the manifest for this attempt.
func (a *attempt) claim(m *Manifest, others []*Manifest) error {
	a.held = nil
	for _, o := range others {
		known := slices.Contains(m.Adopted, o.PipelineID)
		if !known && !a.run.Adopt {
			return sdk.Configuration(
				fmt.Errorf("%s holds rows of pipeline %s with id %s, up to its run %d", a.lay.dir, o.Pipeline, o.PipelineID, o.Run),
				"give this pipeline a destination or prefix of its own, or set adopt = true on it to add to what is there")
		}
		if !known {
			m.Adopted = append(m.Adopted, o.PipelineID)
		}
		a.held = append(a.held, layout{dir: a.lay.dir, stem: o.Pipeline + "-" + o.PipelineID})
	}
	m.Pipeline, m.Fence = a.run.Pipeline, a.run.Fence
	a.again = slices.Contains(m.Unfinished, a.run.Number)
	if a.run.Number > m.Run {
		m.Unfinished = addRun(m.Unfinished, a.run.Number)
	}
	return nil
}

// refuseFormerPlace refuses a target with manifests where versions before the
// first release kept them: what they committed would not be known.
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

// others reads the manifests of other pipelines that hold something here.
func (l *Lake) others(ctx context.Context, lay layout) ([]*Manifest, error) {
	var names []string
	err := l.store.List(ctx, lay.manifests(), false, func(o Object) error {
		if strings.HasSuffix(o.Name, ".json") && o.Name != lay.manifest() {
			names = append(names, o.Name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list manifests in %s: %w", lay.manifests(), err)
	}
	var found []*Manifest
	for _, name := range names {
		m, _, err := l.readManifest(ctx, name)
		if err != nil {
			return nil, err
		}
		if m != nil && m.holds() {
			found = append(found, m)
		}
	}
	return found, nil
}

// endUploads ends what earlier attempts of the pipeline have begun, where the
// service can list it: a writer with an older fence then finishes nothing.
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
