package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/files"
	"github.com/penstock-io/penstock/sdk/batch"
)

// followEvery is how often a followed source is looked at.
const followEvery = 2 * time.Second

// Files supervises a source block of type files.
type Files struct {
	*retirement
	o       *Options
	config  *config.Source
	project *project.Project
	tally   tally
	ended   atomic.Bool // the serving host has read it to its end, and reads no more of it
}

func newFiles(o *Options, c *config.Source, p *project.Project) *Files {
	return &Files{retirement: newRetirement(), o: o, config: c, project: p}
}

// retryPause is the longest pause after a source failed.
const retryPause = time.Minute

// Name implements Source.
func (f *Files) Name() string { return f.config.Reference() }

// Close implements Source.
func (f *Files) Close() {}

// Serve implements Source. The end of a source that does not grow is not an error.
// After an error the source is read again, from where the journal is. A source that is
// retired ends within a file: the one that comes back goes on there.
func (f *Files) Serve(ctx context.Context) error {
	ctx, end := f.until(ctx)
	defer end()
	pauses := lifecycle.Backoff{First: project.ReopenFirst, Limit: retryPause}
	if text, err := files.Unmatched(ctx, f.config.Pattern); err == nil && text != "" {
		f.o.Log.Warn(text, "source", f.Name())
	}
	for {
		began := f.o.Now()
		_, err := f.read(ctx, true)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			f.ended.Store(true)
			f.o.Log.Info("source was read to its end", "source", f.Name())
			return nil
		}
		if f.o.Now().Sub(began) > retryPause {
			pauses.Reset()
		}
		pause := pauses.Pause()
		f.o.Log.Error("could not read a source; will retry", "source", f.Name(), "error", err, "pause", pause.Round(time.Millisecond))
		if f.o.Wait(ctx, pause) != nil {
			return nil
		}
	}
}

// ReadAll implements Source.
func (f *Files) ReadAll(ctx context.Context, _ time.Duration) (operation.SourceSummary, error) {
	done, err := f.read(ctx, false)
	if n := len(done.Skipped); n > 0 {
		err = errors.Join(err, skippedError(n))
	}
	if err != nil {
		err = fmt.Errorf("source %s: %w", f.Name(), err)
	}
	return done, err
}

// skippedError says that paths were not read; the summary names them.
type skippedError int

func (e skippedError) Error() string {
	if e == 1 {
		return "a path was not read"
	}
	return fmt.Sprintf("%d paths were not read", int(e))
}

// Replay implements Source.
func (f *Files) Replay(ctx context.Context, some []quarantine.Entry, _ bool) (map[string]bool, int64, error) {
	return replayRead(ctx, f.o, f.project, ingest.Options{Records: recordsOf(f.config.Records), Times: times(f.config.Project, f.config.Local)}, some)
}

// Describe implements Source.
func (f *Files) Describe(ctx context.Context, status *operation.Status, counts map[string]quarantine.Count) error {
	cursors, err := f.o.Catalog.Cursors(ctx, f.config.Project.ID, f.Name())
	if err != nil {
		return err
	}
	told, err := files.Describe(cursors)
	if err != nil {
		return err
	}
	noFile, err := files.Unmatched(ctx, f.config.Pattern)
	if err != nil {
		return err
	}
	status.Sources = append(status.Sources, operation.SourceStatus{
		Unread: f.unread(ctx), Name: f.Name(), NoFile: noFile, Positions: told.Files, Replaced: told.Replaced,
		Warning: crowded(told), Repaired: told.Repaired, Waiting: told.Waiting, Quarantined: totals(counts),
	})
	return nil
}

// Unread implements Source.
func (f *Files) Unread(ctx context.Context, p *config.Pipeline) (*operation.Unread, error) {
	if f.config.Project != p.Project || f.config.Records != p.Stream {
		return nil, nil
	}
	return f.unread(ctx), nil
}

// unread returns the part of the source that was not read yet; nil if everything was
// read.
func (f *Files) unread(ctx context.Context) *operation.Unread {
	pending, err := f.pending(ctx)
	switch {
	case err != nil:
		return &operation.Unread{Source: f.Name(), Error: err.Error()}
	case pending.Files+len(pending.Skipped) == 0:
		return nil
	}
	return &operation.Unread{
		Source: f.Name(), Files: pending.Files, Bytes: pending.Bytes, NextStart: pending.Files > 0 && f.ended.Load(),
		Skipped: pending.Skipped[:min(len(pending.Skipped), shownSkipped)], SkippedPaths: len(pending.Skipped),
	}
}

// shownSkipped is how many paths that are not read status and plan name.
const shownSkipped = 20

// errNotListed says that status and plan do not look into a bucket.
var errNotListed = errors.New("its files are in a bucket, which is only listed to read them")

// pending looks for the files of the source that are not read yet. It reads their first
// bytes.
func (f *Files) pending(ctx context.Context) (files.Pending, error) {
	if strings.Contains(f.config.Pattern, "://") {
		return files.Pending{}, errNotListed
	}
	cursors, err := f.o.Catalog.Cursors(ctx, f.config.Project.ID, f.Name())
	if err != nil {
		return files.Pending{}, err
	}
	source, err := files.Open(ctx, files.Options{Name: f.Name(), Pattern: f.config.Pattern, Follow: f.config.Follow, Cursors: cursors})
	if err != nil {
		return files.Pending{}, err
	}
	return source.Pending(ctx), source.Close()
}

// manyFiles is how many files a source remembers before status and the log say so.
const manyFiles = 10_000

// crowded returns a warning if a source remembers many files, or "". None is ever
// forgotten: its content could come back under another name, and operations on
// profiles would count twice.
func crowded(d files.Description) string {
	n := d.Files + d.Replaced
	if n < manyFiles {
		return ""
	}
	return fmt.Sprintf("it remembers %d files, with about 1 KiB of memory each, and forgets none, so that no record is read twice: "+
		"move the files that were read out of its path, and give the source another name to begin again", n)
}

// times returns the meaning of the times of events of a project; local is whether
// they are the wall clock of its zone.
func times(p *config.Project, local bool) schema.Times {
	if p.TimeZone == time.UTC {
		return schema.Times{}
	}
	return schema.Times{Zone: p.TimeZone, Local: local}
}

// recordsOf returns the parser's kind of the records that become rows of a stream.
func recordsOf(stream batch.Stream) ingest.Records {
	if stream == batch.People {
		return ingest.People
	}
	return ingest.Events
}

// sealed seals the journal after a source has ended with err, so that the rows
// read before a failure become durable. The journal may have failed after the
// last row, and no other call would report it.
func sealed(ctx context.Context, w interface{ Seal(context.Context) error }, err error) error {
	if ctx.Err() != nil {
		return err
	}
	sealErr := w.Seal(ctx)
	if sealErr == nil || errors.Is(err, sealErr) {
		return err
	}
	return errors.Join(err, sealErr)
}

// rejects puts a source's refused records into quarantine.
type rejects struct {
	store  *quarantine.Store
	source string
}

// Put implements ingest.Rejects. Records that were refused in an earlier file of
// the same name stay.
func (r rejects) Put(file string, edition int, from, to int64, refused []ingest.Refusal) error {
	entries := make([]quarantine.Entry, 0, len(refused))
	for _, x := range refused {
		entries = append(entries, quarantine.Entry{
			Position: fmt.Sprintf("%s at byte %d", file, x.At), Reason: string(x.Reason), Detail: x.Detail, Bytes: x.Bytes, Truncated: x.Truncated,
		})
	}
	position := file
	if edition > 0 {
		position = fmt.Sprintf("%s\x00%d", file, edition)
	}
	return r.store.Put(r.source, quarantine.Span{Position: position, From: from, To: to}, entries)
}
