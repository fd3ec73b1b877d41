package snowflake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// partSize is the approximate size of a file, compressed: COPY works best with files of
// 100 to 250 MB.
const partSize = 128 << 20

// attempt is the state of one open run. Open creates it; Write, Prepare and Commit,
// which never run concurrently, change it; end releases it.
type attempt struct {
	run     sdk.Run
	started time.Time
	all     bool            // every batch is decoded: an earlier attempt has met a row that COPY refuses
	dir     string          // of the attempt's files, below the spool; empty: not made yet
	earlier ledgers.Earlier // contents of the runs before, for the receipt

	// ctx is the context of all uploads. end cancels it.
	ctx     context.Context
	cancel  context.CancelFunc
	uploads sync.WaitGroup
	turn    chan struct{} // held by the upload that is going on

	mu  sync.Mutex
	err error // the first of an upload

	part       *part  // that is being filled; nil: none
	files      []file // uploaded, or being uploaded
	rows       uint64
	bytes      int64 // of rows, uncompressed
	committing bool
}

// part is a file in the spool that is being filled.
type part struct {
	file spoolFile
	gzip *batch.GzipWriter
}

// attemptKey identifies a pipeline's attempt among those that are open at the same
// time.
type attemptKey struct {
	stream sdk.Stream
	id     string
}

func keyOf(run sdk.Run) attemptKey { return attemptKey{run.Stream, run.PipelineID} }

// begin opens an attempt that has claimed the target. before is the pipeline's entry in the
// ledger, which no other attempt changes without overtaking this one.
func (d *destination) begin(run sdk.Run, before ledgers.Entry) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{run: run, started: d.now(), earlier: before.Earlier(), ctx: ctx, cancel: cancel, turn: make(chan struct{}, 1)}
	d.mu.Lock()
	old := d.attempts[keyOf(run)]
	d.attempts[keyOf(run)] = a
	last, refused := d.refused[keyOf(run)]
	a.all = refused && last == run.Last()
	d.mu.Unlock()
	if old != nil {
		old.cancel()
		d.retired.Go(old.release) // an upload that is ending has files of its own, and holds no run
	}
}

func (d *destination) attempt(run sdk.Run) (*attempt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attempts[keyOf(run)]
	if a == nil || a.run.Last() != run.Last() || a.run.Fence != run.Fence {
		return nil, sdk.Permanent(fmt.Errorf("run %d of pipeline %s is not open", run.Number, run.Pipeline))
	}
	return a, nil
}

// end removes the attempt from the open ones and releases it.
func (d *destination) end(a *attempt) {
	d.mu.Lock()
	if d.attempts[keyOf(a.run)] == a {
		delete(d.attempts, keyOf(a.run))
	}
	d.mu.Unlock()
	a.release()
}

// suspect notes that COPY has refused a row of the run: the next attempt of this
// process decodes every batch.
func (d *destination) suspect(a *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[keyOf(a.run)] = a.run.Last()
}

// release stops the uploads and removes the spooled files.
func (a *attempt) release() {
	a.cancel()
	a.uploads.Wait()
	if a.part != nil {
		_ = a.part.file.Close()
		a.part = nil
	}
	if a.dir != "" {
		_ = os.RemoveAll(a.dir)
	}
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

// Write implements sdk.Destination: it adds one partition to the attempt's files. The
// last uploads may still run when it returns; Prepare waits for them.
func (d *destination) Write(ctx context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	a, err := d.attempt(run)
	if err != nil {
		return sdk.PartitionReceipt{}, err
	}
	defer context.AfterFunc(ctx, a.cancel)()
	w := &partitionWriter{d: d, a: a, filter: unusual.NewFilter(d.rules, a.all)}
	if err := w.copy(r); err != nil {
		if failed := a.failed(); failed != nil {
			err = failed
		}
		return sdk.PartitionReceipt{}, fmt.Errorf("write partition %d: %w", p.Index, err)
	}
	receipt := sdk.PartitionReceipt{Rows: w.rows, StoredBytes: uint64(w.stored), Objects: w.names, Changed: w.filter.Changed()}
	if t := r.Totals(); receipt.Changed == nil && r.Rejected() == 0 {
		receipt.RowsBytes, receipt.RowsCRC32 = t.RowsBytes, t.RowsCRC32
	}
	return receipt, nil
}

// partitionWriter adds one partition to an attempt's files.
type partitionWriter struct {
	d      *destination
	a      *attempt
	filter *unusual.Filter

	names  []string // of the files that hold rows of the partition
	rows   uint64
	stored int64
}

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
			err = w.filter.Batch(b, r.Reject, w.add)
		}
		if err != nil {
			return err
		}
	}
}

// add appends a batch to the open part.
func (w *partitionWriter) add(b *batch.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	if p := w.a.part; p != nil && p.gzip.Size()+int64(len(b.Payload)) > w.d.partSize {
		if err := w.d.finish(w.a); err != nil {
			return err
		}
	}
	if w.a.part == nil {
		if err := w.d.start(w.a); err != nil {
			return err
		}
	}
	if name := partName(len(w.a.files) + 1); len(w.names) == 0 || w.names[len(w.names)-1] != name {
		w.names = append(w.names, name)
	}
	w.rows += uint64(b.Rows)
	w.stored += int64(len(b.Payload))
	w.a.rows += uint64(b.Rows)
	w.a.bytes += int64(b.RowsBytes)
	return spoolError(w.a.part.gzip.WriteBatch(b))
}

// start opens the next part.
func (d *destination) start(a *attempt) error {
	if a.dir == "" {
		base, err := d.spool.path()
		if err != nil {
			return err
		}
		if a.dir, err = os.MkdirTemp(base, "attempt-"); err != nil {
			return spoolError(fmt.Errorf("make the attempt's directory: %w", err))
		}
	}
	f, err := d.create(filepath.Join(a.dir, partName(len(a.files)+1)))
	if err != nil {
		return spoolError(fmt.Errorf("open a spool file: %w", err))
	}
	a.part = &part{file: f, gzip: batch.NewGzipWriter(f)}
	return nil
}

// finish ends the open part and uploads it in the background, when the upload before
// it has ended: the spool holds two files of an attempt at most.
func (d *destination) finish(a *attempt) error {
	p := a.part
	if p == nil {
		return nil
	}
	a.part = nil
	err := p.gzip.Close()
	if closeErr := p.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return spoolError(fmt.Errorf("write a spool file: %w", err))
	}
	a.files = append(a.files, file{partName(len(a.files) + 1), p.gzip.Totals().Rows, p.gzip.Size()})
	select {
	case a.turn <- struct{}{}:
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
	a.uploads.Go(func() {
		defer func() { <-a.turn }()
		if err := d.upload(a, p.file.Name()); err != nil {
			a.fail(err)
		}
	})
	return nil
}

// upload uploads a file and removes it from the spool.
func (d *destination) upload(a *attempt, name string) error {
	err := d.inStage(a.ctx, a.run, func(x *session) error {
		return d.stage.put(a.ctx, x, name, d.stage.name(), attemptDir(a.run))
	})
	if isFull(err) {
		return spoolError(fmt.Errorf("upload %s: %w", filepath.Base(name), err))
	}
	if err != nil {
		return d.classify("upload "+filepath.Base(name), d.stage.grants(d.stage.name()), err)
	}
	return spoolError(os.Remove(name))
}
