package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// OnceOptions say how patient RunOnce is.
type OnceOptions struct {
	// RetryFor is how long transient errors are retried, for each pipeline.
	RetryFor time.Duration
}

// Summary lists the work of RunOnce.
type Summary struct {
	Sources   []SourceSummary   `json:"sources"`
	Pipelines []PipelineSummary `json:"pipelines"`
	// Missing are segments that the catalog lists and that are not on the disk.
	Missing []MissingSegments `json:"missing,omitempty"`
}

// SourceSummary counts the records of one source.
type SourceSummary struct {
	Name        string            `json:"name"`
	Records     int64             `json:"records"`
	Rows        int64             `json:"rows"` // new in the journal
	Duplicates  int64             `json:"duplicates"`
	Repaired    int64             `json:"repaired"` // records in which U+FFFD replaces half characters
	Bytes       int64             `json:"bytes"`
	Warning     string            `json:"warning,omitempty"`    // how the data contradicts the configuration
	Matched     int               `json:"matched"`              // files that the path names
	NoFile      string            `json:"no_file,omitempty"`    // "… matches no file (yet)", with a hint
	Recognised  int               `json:"recognised,omitempty"` // files that hold records that were read under another name
	Waiting     []string          `json:"waiting,omitempty"`    // files whose last record is not complete
	Skipped     []string          `json:"skipped,omitempty"`    // paths that match and were not read, and why
	Quarantined []QuarantineCount `json:"quarantined,omitempty"`
	Days        int               `json:"days,omitempty"`     // that were pulled
	Queries     int               `json:"queries,omitempty"`  // for them
	Profiles    *int64            `json:"profiles,omitempty"` // that were read; nil: none were
	Error       string            `json:"error,omitempty"`

	lost error // entries that are missing in a collector's log; the other work is done all the same
}

// PipelineSummary counts the exported rows of one pipeline.
type PipelineSummary struct {
	Name        string   `json:"name"`
	Destination string   `json:"destination"`
	Runs        int      `json:"runs"`
	Rows        int64    `json:"rows"`
	Rejected    int64    `json:"rejected"`
	Objects     int      `json:"objects"`
	StoredBytes int64    `json:"stored_bytes"`
	Places      []string `json:"places,omitempty"` // the first few objects
	Error       string   `json:"error,omitempty"`
}

// shownPlaces is how many objects a summary names.
const shownPlaces = 5

func (s *PipelineSummary) add(r *pipeline.Receipt) {
	s.Runs++
	s.Rows += r.Rows
	s.Rejected += r.Rejected
	s.StoredBytes += r.StoredBytes
	for _, p := range r.Partitions {
		s.Objects += len(p.Objects)
		for _, object := range p.Objects {
			if len(s.Places) < shownPlaces {
				s.Places = append(s.Places, object)
			}
		}
	}
}

// RunOnce registers pipelines, brings acknowledged records of collectors into
// journals, reads every source to its present end, seals, and runs every
// pipeline until nothing is left to export. A source or pipeline that fails does
// not keep the others from their work. The summary comes with an error, unless
// nothing could begin.
func (h *Host) RunOnce(ctx context.Context, o OnceOptions) (*Summary, error) {
	summary, err := h.runOnce(ctx, o)
	return summary, explain(h.config, err)
}

func (h *Host) runOnce(ctx context.Context, o OnceOptions) (*Summary, error) {
	if err := h.plugins.Start(ctx); err != nil {
		return nil, err
	}
	summary := &Summary{}
	failed := h.noteMissing(ctx, summary)
	if err := h.recover(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := h.register(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := h.retryFailed(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	failed = errors.Join(failed, h.drainCollectors(ctx, summary))
	for i := range summary.Sources {
		if s := &summary.Sources[i]; s.lost != nil {
			failed = errors.Join(failed, s.lost)
			s.Error = strings.TrimPrefix(s.Error+"; "+s.lost.Error(), "; ")
		}
	}
	failed = errors.Join(failed, h.readAll(ctx, summary), h.pullAll(ctx, o.RetryFor, summary))
	for _, p := range h.config.Pipelines {
		done := PipelineSummary{Name: p.Name, Destination: p.Destination.Reference()}
		if err := h.catchUp(ctx, p, o.RetryFor, &done); err != nil {
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Pipelines = append(summary.Pipelines, done)
		if ctx.Err() != nil {
			return summary, fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
	}
	return summary, failed
}

// recover opens the journals of all projects, which finishes the work that a
// crash interrupted. A host that serves leaves a journal for later that cannot be
// opened, and goes on with the others; it returns an error if there are none, and
// this one needs a person.
func (h *Host) recover(ctx context.Context) error {
	var failed error
	works := false
	for _, p := range h.config.Projects {
		_, err := h.journal(ctx, p)
		switch {
		case err == nil:
			works = true
			h.sweepStates(ctx, p)
			continue
		case !h.serving:
			return err
		case isTransient(err):
			works = true
		default:
			failed = errors.Join(failed, err)
		}
		h.log.Error("could not open the journal; will retry", "project", p.Name, "error", explain(h.config, err))
	}
	if works {
		return nil
	}
	return failed
}

// noteMissing adds the missing segments of all projects to a summary. The error
// says the same.
func (h *Host) noteMissing(ctx context.Context, summary *Summary) error {
	var failed error
	for _, p := range h.config.Projects {
		m, err := h.missingSegments(ctx, p.ID, p.Name)
		if m != nil {
			summary.Missing = append(summary.Missing, *m)
			err = m
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// checkBlobs refuses a directory without segments where the catalog knows
// some: it is not the one that they are in.
func (h *Host) checkBlobs(ctx context.Context, p *config.Project) error {
	known, err := h.catalog.Blobs(ctx, p.ID)
	if err != nil || len(known) == 0 {
		return err
	}
	found, err := h.store.List(ctx, fmt.Sprintf("segments/%d", p.ID))
	if err != nil || len(found) > 0 {
		return err
	}
	return fmt.Errorf("the catalog in %s knows %d segments of project %s, and in %s there is none: was blobs changed, or is a disk not mounted?",
		h.config.Host.DataDir, len(known), p.Name, h.config.Host.Blobs)
}

// skippedError says that paths were not read; the summary names them.
type skippedError int

func (e skippedError) Error() string {
	if e == 1 {
		return "a path was not read"
	}
	return fmt.Sprintf("%d paths were not read", int(e))
}

// readAll reads every source to its end and seals.
func (h *Host) readAll(ctx context.Context, summary *Summary) error {
	var failed error
	for _, s := range h.config.Sources {
		done, err := h.read(ctx, s, false)
		if n := len(done.Skipped); n > 0 {
			err = errors.Join(err, skippedError(n))
		}
		if err != nil {
			err = fmt.Errorf("source %s: %w", s.Reference(), err)
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Sources = append(summary.Sources, done)
	}
	return failed
}
