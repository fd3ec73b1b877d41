package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// attemptLife is how long the tables of an attempt that was not committed live. It is
// longer than any attempt.
const attemptLife = 48 * time.Hour

// attempt is the state of one open run. Open creates it; Write, Prepare and Commit,
// which never run concurrently, change it; end releases it.
type attempt struct {
	run     sdk.Run
	started time.Time
	table   string               // that the rows are loaded into; empty: not created yet
	view    *cloud.TableMetadata // of a replaced set, as this attempt has fenced it
	all     bool                 // every batch is decoded: an earlier attempt has met a row that BigQuery refuses

	// ctx is the context of all loads. end cancels it.
	ctx    context.Context
	cancel context.CancelFunc
	loads  sync.WaitGroup
	asking turn // for the jobs of parts that hold no block

	mu     sync.Mutex
	err    error // the first of a load
	loaded loaded

	parts int // load jobs so far
	// changesBefore are the changes of partitions before the attempt on the day it began,
	// with mode = "load".
	changesBefore int
	begun         []time.Time // when the latest loadsPerWindow of them were begun
	rows          uint64
	committing    bool
}

// loaded counts the finished loads of an attempt.
type loaded struct {
	jobs  int
	rows  uint64 // as the service counts them
	bytes uint64 // as they were sent
}

// attemptKey identifies a pipeline's attempt among those that are open at the same
// time.
type attemptKey struct {
	stream sdk.Stream
	id     string
}

func (d *destination) begin(run sdk.Run) *attempt {
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{run: run, started: d.now(), ctx: ctx, cancel: cancel, asking: newTurn(), all: d.suspicious(run)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.attempts[attemptKey{run.Stream, run.PipelineID}]; old != nil {
		old.cancel()
	}
	d.attempts[attemptKey{run.Stream, run.PipelineID}] = a
	return a
}

func (d *destination) attempt(run sdk.Run) (*attempt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attempts[attemptKey{run.Stream, run.PipelineID}]
	if a == nil || a.run.Last() != run.Last() || a.run.Fence != run.Fence {
		return nil, sdk.Permanent(fmt.Errorf("run %d of pipeline %s is not open", run.Number, run.Pipeline))
	}
	return a, nil
}

// end removes the attempt from the open ones and stops its loads.
func (d *destination) end(a *attempt) {
	d.mu.Lock()
	key := attemptKey{a.run.Stream, a.run.PipelineID}
	if d.attempts[key] == a {
		delete(d.attempts, key)
	}
	d.mu.Unlock()
	a.cancel()
	a.loads.Wait()
}

func (a *attempt) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
	a.cancel()
}

func (a *attempt) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Write implements sdk.Destination: it loads one partition into the attempt's table.
// The last loads may still run when it returns; Prepare waits for them.
func (d *destination) Write(ctx context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	a, err := d.attempt(run)
	if err != nil {
		return sdk.PartitionReceipt{}, err
	}
	defer context.AfterFunc(ctx, a.cancel)()
	if reason := beyondDML(p.Date); reason != "" && !d.config.appends(run) {
		return rejectAll(r, reason)
	}
	w := &partitionWriter{d: d, a: a, index: p.Index, part: 1, date: p.Date, filter: unusual.NewFilter(d.rules, a.all)}
	err = w.copy(r)
	if closeErr := w.close(err); err == nil {
		err = closeErr
	}
	if err != nil {
		if failed := a.failed(); failed != nil {
			err = failed
		}
		return sdk.PartitionReceipt{}, fmt.Errorf("write partition %d: %w", p.Index, err)
	}
	a.rows += w.rows
	receipt := sdk.PartitionReceipt{Rows: w.rows, StoredBytes: uint64(w.stored), Objects: w.jobs, Changed: w.filter.Changed()}
	if t := r.Totals(); receipt.Changed == nil && r.Rejected() == 0 {
		receipt.RowsBytes, receipt.RowsCRC32 = t.RowsBytes, t.RowsCRC32
	}
	return receipt, nil
}

// The days that statements can write.
const (
	firstDay = "1970-01-01"
	lastDay  = "2159-12-31"
)

// beyondDML returns why a day cannot be written, or "". Dates have four digits for
// the year, and compare as text.
func beyondDML(date string) string {
	if date == "" || date >= firstDay && date <= lastDay {
		return ""
	}
	return "BigQuery's statements write days from " + firstDay + " to " + lastDay
}

// rejectAll rejects all rows of a partition.
func rejectAll(r *batch.Reader, reason string) (sdk.PartitionReceipt, error) {
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return sdk.PartitionReceipt{}, nil
		}
		if err != nil {
			return sdk.PartitionReceipt{}, err
		}
		row := b.First
		for line, err := range b.Lines() {
			if err == nil {
				err = r.Reject(row, reason, line)
			}
			if err != nil {
				return sdk.PartitionReceipt{}, err
			}
			row++
		}
	}
}

// partitionWriter cuts a partition into load jobs.
type partitionWriter struct {
	d      *destination
	a      *attempt
	index  int // of the partition
	date   string
	filter *unusual.Filter

	open   *loading // nil: none
	gzip   *batch.GzipWriter
	jobs   []string // stems of their ids
	rows   uint64
	stored int64
	part   int   // number of the part in the partition, from 1
	sent   int64 // bytes of its batches as the host has sent them
}

// copy loads the batches of r.
func (w *partitionWriter) copy(r *batch.Reader) error {
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = w.a.failed()
		}
		if err == nil {
			err = w.cut(int64(len(b.Payload)))
		}
		if err == nil {
			err = w.filter.Batch(b, r.Reject, w.add)
		}
		if err != nil {
			return err
		}
	}
}

// cut begins the next part before a batch of size bytes that has no room in this one. Every attempt
// cuts in the same places, whatever becomes of the batches' rows.
func (w *partitionWriter) cut(size int64) error {
	if w.sent += size; w.sent <= w.d.partSize || w.sent == size {
		return nil
	}
	w.sent = size
	w.part++
	return w.close(nil)
}

// add appends a batch to the open part.
func (w *partitionWriter) add(b *batch.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	if w.open == nil {
		if err := w.start(); err != nil {
			return err
		}
	}
	w.rows += uint64(b.Rows)
	return w.gzip.WriteBatch(b)
}

// A partitioned table takes 50 changes in 10 s, and each load is one. An attempt begins
// no more than loadsPerWindow loads in any loadWindow.
const (
	loadsPerWindow = 45
	loadWindow     = 10 * time.Second
)

// pace waits until the attempt may begin another load.
func (d *destination) pace(a *attempt) error {
	if len(a.begun) == loadsPerWindow {
		if wait := loadWindow - d.now().Sub(a.begun[0]); wait > 0 {
			if err := d.sleep(a.ctx, wait); err != nil {
				return err
			}
		}
		a.begun = a.begun[1:]
	}
	a.begun = append(a.begun, d.now())
	return nil
}

// start opens the next part.
func (w *partitionWriter) start() error {
	if err := w.d.createTarget(w.a.ctx, w.a); err != nil {
		return err
	}
	if err := w.d.watchChanges(w.a); err != nil {
		return err
	}
	if err := w.d.pace(w.a); err != nil {
		return err
	}
	w.a.parts++
	l := &loading{first: 1, stem: fmt.Sprintf("load_%s_%s_p%05d", w.a.run.Stream, attemptName(w.a.run), w.a.parts)}
	table := w.a.table
	if w.d.config.appends(w.a.run) {
		l.stem, table = appendStem(w.a.run, w.index, w.part), eventsTable
	}
	l.config = w.d.service.load(decorated(table, w.date), runLabels(w.a.run, "load"))
	l.part = newPart(w.a.ctx, w.d.blocks, func() {
		w.a.loads.Go(func() { w.a.loadWhole(w.d.service, l, false) })
	})
	w.open, w.gzip = l, batch.NewGzipWriter(l.part)
	return nil
}

// decorated names the partition of a table that a load writes.
func decorated(table, date string) string {
	if date == "" {
		return table
	}
	return table + "$" + strings.ReplaceAll(date, "-", "")
}

// close ends the open part and loads it in the background. With an error the part
// is dropped.
func (w *partitionWriter) close(cause error) error {
	l := w.open
	if l == nil {
		return nil
	}
	w.open = nil
	err := cause
	if err == nil {
		err = w.gzip.Close()
	}
	l.rows = w.gzip.Totals().Rows
	if closeErr := l.part.close(err); err == nil {
		err = closeErr
	}
	if err != nil {
		l.part.release()
		return err
	}
	if !l.part.large {
		w.a.loads.Go(func() { w.a.loadWhole(w.d.service, l, true) })
	}
	w.stored += l.part.size
	w.jobs = append(w.jobs, l.stem)
	return nil
}

// loading is one part and the jobs that load it.
type loading struct {
	stem   string
	first  int // try, from 1: ids of earlier ones are used
	config *bigquery.JobConfiguration
	part   *part
	rows   uint64 // set before the end of part can be read
}

// loadWhole loads a part to the end of its job. A part that is held can be loaded
// again; one that is read while it is written has one try.
func (a *attempt) loadWhole(s *service, l *loading, held bool) {
	j, err := a.load(s, l, held)
	if err != nil {
		a.fail(a.refusedRow(s.classify("load "+l.stem, err)))
		return
	}
	loaded, ok := statistics[*cloud.LoadStatistics](j)
	if !ok {
		a.fail(sdk.Retryable(fmt.Errorf("load %s: the service gives no statistics", l.stem), 0))
		return
	}
	if n := uint64(loaded.OutputRows); n != l.rows {
		a.fail(a.miscounted(s, fmt.Errorf("load %s: %d rows were loaded of %d", l.stem, n, l.rows)))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loaded.jobs++
	a.loaded.rows += l.rows
	a.loaded.bytes += uint64(l.part.size)
}

// miscounted gives an error its class. Another attempt loads the rows again, unless they
// are in the table of events itself.
func (a *attempt) miscounted(s *service, err error) error {
	if !s.config.appends(a.run) {
		return sdk.Retryable(err, 0)
	}
	return sdk.Configuration(err, `an earlier attempt has loaded this part with other rows, and no part is loaded twice: set unusual to what it was then, or to "repair", which rejects the fewest rows`)
}

// refusedRow makes the error of a row that BigQuery refuses retryable: the next attempt
// decodes every batch. It returns other errors, and that of an attempt which has decoded
// every batch, as they are.
func (a *attempt) refusedRow(err error) error {
	var f *jobFailure
	if errors.As(err, &f) && f.reason == "invalid" && !a.all {
		return sdk.Retryable(fmt.Errorf("BigQuery refused a row of a batch without flags; the next attempt decodes every batch: %w", f), 0)
	}
	return err
}

func (a *attempt) load(s *service, l *loading, held bool) (*cloud.JobStatus, error) {
	if s.config.appends(a.run) {
		return a.loadAppended(s, l, held)
	}
	return a.loadRows(s, l, held)
}

// loadRows loads a part through the staging bucket if there is one, or else from
// its blocks.
func (a *attempt) loadRows(s *service, l *loading, held bool) (*cloud.JobStatus, error) {
	if s.config.stages() {
		return a.loadStaged(s, l, held)
	}
	var j *cloud.JobStatus
	var err error
	if held {
		defer l.part.release()
		j, err = s.loadJob(a.ctx, loadRequest{stem: l.stem, first: l.first, config: l.config, size: l.part.size, open: l.part.reader})
	} else {
		j, err = a.loadOnce(s, l)
		if f := failureOfBoth(l.stem, j, err); f != nil {
			err = f
		}
	}
	return j, err
}

// statistics returns those of a job's kind.
func statistics[T cloud.Statistics](j *cloud.JobStatus) (T, bool) {
	var none T
	if j == nil || j.Statistics == nil {
		return none, false
	}
	found, ok := j.Statistics.Details.(T)
	return found, ok
}

// loadOnce loads a part that is read while it is written.
func (a *attempt) loadOnce(s *service, l *loading) (*cloud.JobStatus, error) {
	defer l.part.stopReading()
	stem, err := s.inScope(a.ctx, l.stem)
	if err != nil {
		return nil, err
	}
	id := jobID(stem, l.first)
	err = s.start(a.ctx, id, l.config, l.part, chunkSize)
	if err == nil {
		// Another attempt may have started the job before all bytes were sent: the rows
		// are counted when the part has been written.
		_, err = io.Copy(io.Discard, l.part)
	}
	l.part.stopReading()
	if err != nil {
		return nil, err
	}
	return s.endInTurn(a.ctx, a.asking, id)
}
