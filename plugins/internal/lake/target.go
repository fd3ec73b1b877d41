package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// targetFormat names the format of a target's record.
const targetFormat = "penstock-target"

// Target is the record of the pipelines that may write to the directory of one
// stream. A pipeline enters itself with a conditional write before it writes any
// other object. If two pipelines start at the same time, one of them is first;
// the other is refused and has written nothing.
//
//	holders [a]                          pipeline a came first
//	holders [b]      former [a]          b has adopted; a is refused from now on
//	holders [b a]                        a has adopted in turn: both may write
type Target struct {
	Format    string `json:"format"`
	Version   int    `json:"version"`
	ProjectID int64  `json:"project_id"`
	Stream    string `json:"stream"`
	// Holders are the pipelines that may write.
	Holders []Holder `json:"holders"`
	// Former are the pipelines whose target a holder has adopted.
	Former []Holder `json:"former,omitempty"`
	// Adopting is the part of Former whose manifests may not record the adoption
	// yet.
	Adopting []Holder `json:"adopting,omitempty"`
	// Unasked reports whether Adopting are adopted without adopt = true, because their
	// runs were discarded. One that has committed a run since is not adopted.
	Unasked bool `json:"unasked,omitempty"`
}

// Holder names a pipeline that holds, or held, a target.
type Holder struct {
	Pipeline   string `json:"pipeline"`
	PipelineID string `json:"pipeline_id"`
}

func (h Holder) layout(of layout) layout {
	return layout{dir: of.dir, stem: h.Pipeline + "-" + h.PipelineID, ext: of.ext}
}

// index returns the position of the pipeline with an id, or -1.
func index(holders []Holder, id string) int {
	return slices.IndexFunc(holders, func(h Holder) bool { return h.PipelineID == id })
}

func without(holders []Holder, id string) []Holder {
	return slices.DeleteFunc(slices.Clone(holders), func(h Holder) bool { return h.PipelineID == id })
}

func newTarget(run sdk.Run) *Target {
	return &Target{Format: targetFormat, Version: manifestVersion, ProjectID: run.ProjectID, Stream: streamName(run.Stream)}
}

// readTarget reads the target's record. It returns nil and the empty version if
// the record does not exist.
func (l *Lake) readTarget(ctx context.Context, lay layout) (*Target, Version, error) {
	data, version, err := l.store.Read(ctx, lay.target(), manifestLimit)
	if errors.Is(err, ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", lay.target(), err)
	}
	t := new(Target)
	if err := json.Unmarshal(data, t); err != nil || t.Format != targetFormat {
		return nil, "", sdk.Permanent(fmt.Errorf("%s is damaged: %w; restore it from a copy or a version", lay.target(), err))
	}
	if t.Version > manifestVersion {
		return nil, "", sdk.Permanent(fmt.Errorf("read %s: its version is %d, this plugin knows up to %d: upgrade the plugin", lay.target(), t.Version, manifestVersion))
	}
	return t, version, nil
}

// hold makes the run's pipeline a holder of the target, or refuses it, and
// returns the record. It comes before every other write of a run.
func (l *Lake) hold(ctx context.Context, run sdk.Run, lay layout) (*Target, error) {
	for range conflictTries {
		t, version, err := l.readTarget(ctx, lay)
		if err != nil {
			return nil, err
		}
		next, err := l.enter(ctx, run, lay, t)
		if err != nil || next == nil {
			return t, err
		}
		if err := l.sameFormatAsOthers(ctx, lay, next, run); err != nil {
			return nil, err
		}
		if len(next.Adopting) > 0 && index(next.Holders, run.PipelineID) >= 0 && t != nil && index(t.Holders, run.PipelineID) >= 0 {
			if err := l.tellAdopted(ctx, run, lay, next); errors.Is(err, errBegun) {
				return nil, errors.Join(err, l.giveBack(ctx, lay, next, version))
			} else if err != nil {
				return nil, err
			}
			next.Adopting, next.Unasked = nil, false
		}
		data, err := encodeJSON(next)
		if err != nil {
			return nil, err
		}
		if _, err = l.store.WriteIf(ctx, lay.target(), data, version); err != nil && !errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("write %s: %w", lay.target(), err)
		}
		// The next turn reads the record again, whichever writer was first.
	}
	return nil, sdk.Retryable(fmt.Errorf("%s keeps changing: other writers were faster in every attempt", lay.target()), 0)
}

// sameFormatAsOthers refuses a target where another pipeline has committed objects
// of another format: adopted objects stay, and readers of one directory expect one
// format.
func (l *Lake) sameFormatAsOthers(ctx context.Context, lay layout, t *Target, run sdk.Run) error {
	for _, h := range slices.Concat(t.Holders, t.Former) {
		if h.PipelineID == run.PipelineID {
			continue
		}
		m, _, err := l.readManifest(ctx, h.layout(lay))
		if err == nil && m != nil {
			err = l.sameFormat(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enter returns the record with the run's pipeline as a holder, or nil if the
// record needs no change. It refuses a target that other pipelines hold, unless
// the run adopts it, or they were cancelled before they had committed anything.
func (l *Lake) enter(ctx context.Context, run sdk.Run, lay layout, t *Target) (*Target, error) {
	me := Holder{Pipeline: run.Pipeline, PipelineID: run.PipelineID}
	if t == nil {
		return l.first(ctx, run, lay, me)
	}
	next := *t
	next.Holders = slices.Clone(t.Holders)
	at, former := index(t.Holders, me.PipelineID), index(t.Former, me.PipelineID) >= 0
	free := false
	if !run.Adopt && at < 0 {
		var err error
		if free, err = l.discarded(ctx, lay, t.Holders); err != nil {
			return nil, err
		}
	}
	switch {
	case at >= 0 && t.Holders[at] == me && len(t.Adopting) == 0:
		return nil, nil
	case at >= 0: // renamed, or an adoption was cut
		next.Holders[at] = me
	case !run.Adopt && !free:
		return nil, l.held(ctx, lay, t.Holders[0])
	case former && run.Adopt:
		next.Former = without(t.Former, me.PipelineID)
		next.Adopting = without(t.Adopting, me.PipelineID)
		next.Holders = append(next.Holders, me)
	default:
		next.Former = append(without(t.Former, me.PipelineID), t.Holders...)
		next.Adopting = append(without(t.Adopting, me.PipelineID), t.Holders...)
		next.Holders, next.Unasked = []Holder{me}, free
	}
	return &next, nil
}

// discarded reports whether the runs of all holders were discarded before any of them was
// committed, as they are when a pipeline is cancelled: there is nothing to take over. An
// attempt that is still open cannot commit once the manifest says who has adopted it.
func (l *Lake) discarded(ctx context.Context, lay layout, holders []Holder) (bool, error) {
	for _, h := range holders {
		m, _, err := l.readManifest(ctx, h.layout(lay))
		if err != nil || m == nil || m.Run > 0 || m.holds() || len(m.Unfinished) > 0 || len(m.Void) == 0 {
			return false, err
		}
	}
	return true, nil
}

// first returns the first record of a target. Manifests of other pipelines that
// exist without a record count as holders: their record was lost.
func (l *Lake) first(ctx context.Context, run sdk.Run, lay layout, me Holder) (*Target, error) {
	t := newTarget(run)
	t.Holders = []Holder{me}
	if err := l.refuseFormerPlace(ctx, lay); err != nil {
		return nil, err
	}
	others, err := l.others(ctx, lay)
	if err != nil {
		return nil, err
	}
	for _, m := range others {
		h := Holder{Pipeline: m.Pipeline, PipelineID: m.PipelineID}
		if !run.Adopt && m.AdoptedBy != me.PipelineID {
			return nil, l.held(ctx, lay, h)
		}
		t.Former = append(t.Former, h)
	}
	t.Adopting = t.Former
	return t, nil
}

// held returns the error for a target that another pipeline holds.
func (l *Lake) held(ctx context.Context, lay layout, by Holder) error {
	what := "has claimed " + lay.dir + " and committed nothing there yet"
	m, _, err := l.readManifest(ctx, by.layout(lay))
	if err != nil {
		return err
	}
	if m != nil && m.Run > 0 {
		what = fmt.Sprintf("writes to %s and has committed its runs there up to %d", lay.dir, m.Run)
	}
	return sdk.Configuration(fmt.Errorf("pipeline %s with id %s %s", by.Pipeline, by.PipelineID, what),
		"give this pipeline a destination or prefix of its own; if another host has the same configuration, stop one of the two; "+
			"if that pipeline is gone, remove its rows, or set adopt = true with a from_date after its last day: "+
			"rows of days that both export are there twice then")
}

// errBegun refuses an unasked adoption: a pipeline whose only run had been discarded has
// committed one before its manifest recorded the adoption.
var errBegun = errors.New("it was resumed in the same moment")

// giveBack undoes an adoption that errBegun has refused, so that the pipelines that were
// to be adopted may go on. A record that was written since stays.
func (l *Lake) giveBack(ctx context.Context, lay layout, t *Target, version Version) error {
	before := *t
	before.Holders, before.Adopting, before.Unasked = t.Adopting, nil, false
	for _, h := range t.Adopting {
		before.Former = without(before.Former, h.PipelineID)
	}
	data, err := encodeJSON(&before)
	if err != nil {
		return err
	}
	if _, err := l.store.WriteIf(ctx, lay.target(), data, version); err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("write %s: %w", lay.target(), err)
	}
	return nil
}

// tellAdopted records the adoption in the manifests of the adopted pipelines, so
// that an attempt of theirs that is still open cannot commit.
func (l *Lake) tellAdopted(ctx context.Context, run sdk.Run, lay layout, t *Target) error {
	for _, h := range t.Adopting {
		if err := l.markAdopted(ctx, run, h, h.layout(lay), t.Unasked); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lake) markAdopted(ctx context.Context, run sdk.Run, of Holder, lay layout, unasked bool) error {
	for range conflictTries {
		m, version, err := l.readManifest(ctx, lay)
		if err != nil {
			return err
		}
		if m == nil {
			theirs := run
			theirs.Pipeline, theirs.PipelineID = of.Pipeline, of.PipelineID
			m = newManifest(theirs)
		}
		if unasked && m.Run > 0 {
			return errors.Join(l.held(ctx, lay, of), errBegun)
		}
		m.AdoptedBy = run.PipelineID
		if _, err := l.writeManifest(ctx, lay.manifest(), m, version); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return sdk.Retryable(fmt.Errorf("%s keeps changing: other writers were faster in every attempt", lay.manifest()), 0)
}

// others reads the manifests of the other pipelines that have committed objects
// to the target or have an unfinished run there.
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
		stem := strings.TrimSuffix(strings.TrimPrefix(name, lay.manifests()), ".json")
		m, _, err := l.readManifest(ctx, layout{dir: lay.dir, stem: stem, ext: lay.ext})
		if err != nil {
			return nil, err
		}
		if m != nil && (m.holds() || len(m.Unfinished) > 0) {
			found = append(found, m)
		}
	}
	return found, nil
}
