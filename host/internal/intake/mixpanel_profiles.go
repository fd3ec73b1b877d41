package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/profile"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
	"github.com/penstock-io/penstock/sdk/batch"
)

// How often all profiles are read.
const (
	onceProfiles   = time.Hour      // by a host that runs once, at most
	dailyProfiles  = 24 * time.Hour // by a host that serves
	hourlyProfiles = time.Hour      // by a host that serves and exports them more often
	profilesLook   = time.Minute    // the longest until it is looked at whether they are due
)

// profiles reads the profiles of a source.
type profiles struct{ *Mixpanel }

// every returns how often a host that serves reads all profiles: as often as
// the project's pipelines export them, and once an hour at most.
func (p profiles) every() time.Duration {
	every := dailyProfiles
	for _, x := range p.o.Config().Pipelines {
		if x.Project == p.block().Project && x.Stream == batch.People {
			every = min(every, max(hourlyProfiles, x.Schedule.Period()))
		}
	}
	return every
}

// serve reads all profiles whenever they are due, if the source is to read them, until
// ctx is done or the source is retired.
func (p profiles) serve(ctx context.Context) {
	ctx, end := p.until(ctx)
	defer end()
	pauses := lifecycle.Backoff{First: time.Minute, Limit: time.Hour}
	for ctx.Err() == nil {
		var err error
		if p.block().People {
			_, err = p.refresh(ctx, p.every())
		}
		pause := profilesLook
		switch {
		case err == nil:
			pauses.Reset()
		case mixpanel.NeedsPerson(err):
			pause = pullPerson
		default:
			pause = pauses.Pause()
		}
		if err != nil && ctx.Err() == nil {
			p.o.Log.Error("could not read profiles; will retry", "source", p.Name(), "error", err, "pause", pause.Round(time.Millisecond))
		}
		if p.o.Wait(ctx, pause) != nil {
			return
		}
	}
}

// refresh reads all profiles if they are due, and returns how many there
// are; nil if they are not due.
func (p profiles) refresh(ctx context.Context, every time.Duration) (read *int64, err error) {
	g, err := p.o.Catalog.Generation(ctx, p.block().Project.ID, batch.People)
	if err != nil {
		return nil, err
	}
	// A catalog that was rebuilt has no generation.
	if g != nil && p.o.Now().Before(p.source.ProfilesDue(every)) {
		return nil, nil
	}
	name := p.Name() + ", profiles"
	err = p.source.ReadProfiles(ctx, func(n, total int64) {
		p.o.Observer.Report(progress.Report{Stage: "pull", Name: name, Rows: n})
	}, func(ctx context.Context, set *mixpanel.ProfileSet, move journal.CursorMove) error {
		rows, err := p.replace(ctx, set, move)
		if err == nil {
			read = &rows
			p.o.Observer.Report(progress.Report{Stage: "pull", Name: name, Rows: rows, Done: true})
		}
		return err
	})
	return read, err
}

// replace makes a whole set of profiles the project's latest generation, and
// then moves the cursor. Without the cursor, after a crash, the profiles are read
// again.
func (p profiles) replace(ctx context.Context, set *mixpanel.ProfileSet, move journal.CursorMove) (rows int64, err error) {
	next, err := p.project.People.Replace(ctx, p.project.Journal, move, func(ctx context.Context, fold *profile.Fold, seq int64) (*pipeline.Generation, error) {
		return p.fold(ctx, fold, set, seq)
	})
	if next == nil {
		return 0, err
	}
	return next.Rows, err
}

// fold makes a generation of a whole set. Profiles that are refused go to
// quarantine; apart from them, the set must have as many profiles as it says.
func (p profiles) fold(ctx context.Context, fold *profile.Fold, set *mixpanel.ProfileSet, seq int64) (*pipeline.Generation, error) {
	parser := schema.NewProfiles()
	rejects := pulledRejects{p.o.Quarantine, p.Name()}
	refused := int64(0)
	next, notApplied, err := fold.Replace(ctx, seq, func(add func([]byte) error) error {
		var row []byte
		return set.Each(func(line []byte) error {
			operations, err := parser.Operations(line, set.Began)
			var rejection *schema.Rejection
			if errors.As(err, &rejection) {
				refused++
				return rejects.Put("profiles", 0, 0, 0, []ingest.Refusal{{Reason: rejection.Reason, Detail: rejection.Detail, Bytes: line}})
			}
			if err != nil {
				return err
			}
			for _, o := range operations {
				row = schema.AppendOperation(row[:0], o)
				if err := add(row); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for reason, n := range notApplied {
		p.o.Log.Warn("properties of profiles were not stored", "project", p.block().Project.Name, "reason", reason, "properties", n)
	}
	if next.Rows != set.Total-refused {
		return nil, &mixpanel.Error{Kind: mixpanel.Truncated, Detail: fmt.Sprintf(
			"the answer has %d profiles, and only %d different ones: another page may be missing, and the profiles that are known stay", set.Total-refused, next.Rows)}
	}
	return next, nil
}
