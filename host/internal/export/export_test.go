package export_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDamaged = errors.New("the payload is not as it was stored")

// place is a destination in memory with a ledger and a fence.
type place struct {
	mu      sync.Mutex
	fence   int64
	last    protocol.LastRun
	earlier map[int64]string // content by number, of runs before the last one
	receipt protocol.Receipt
	commits int
	mode    protocol.Mode
	// repaired is the request of the last repair that was committed.
	repaired *protocol.Repair
	objects  []string // in the receipt of each partition
	stored   uint64   // bytes in the receipt of each partition

	// Faults that a test plants, and calls that it observes.
	refuse     map[string]string // reason by payload
	loseRows   bool
	loseReply  bool
	noReceipt  bool // Status has none
	noContent  bool // neither Open nor Status has one
	atSend     func()
	atPrepare  func()
	statusFail error
	inDoubt    int      // the number of next Status calls that answer InDoubt
	log        []string // of the plugin

	// extents is the directory that payloads are read from; empty: they are sent.
	extents string
	// unread is the error of a plugin that cannot read an extent; nil: it can.
	unread error
	read   int // extents, over all sessions
}

func (p *place) Partitioning() protocol.Partitioning { return protocol.ByUTCDate }

func (p *place) Export(_ context.Context, rejected func([]protocol.RejectedRow) error) (export.Session, error) {
	return &session{place: p, rejected: rejected}, nil
}

func (p *place) Status(_ context.Context, run protocol.Run) (protocol.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.statusFail != nil {
		return protocol.Status{}, p.statusFail
	}
	if p.inDoubt > 0 {
		p.inDoubt--
		return protocol.Status{State: protocol.InDoubt}, nil
	}
	s := protocol.Status{State: protocol.Absent, Last: p.last, Content: p.earlier[run.Number], Fence: p.fence}
	if run.Number <= p.last.Number {
		s.State = protocol.Committed
	}
	if run.Number == p.last.Number {
		s.Content = p.last.Content
		if receipt := p.receipt; !p.noReceipt {
			s.Receipt = &receipt
		}
	}
	if p.noContent {
		s.Content, s.Last.Content = "", ""
	}
	return s, nil
}

type session struct {
	*place
	run      protocol.Run
	rejected func([]protocol.RejectedRow) error
	receipt  protocol.Receipt
}

func (s *session) fenced() error {
	if s.run.Fence < s.fence {
		return &protocol.Error{Class: protocol.Fenced, Err: fmt.Errorf("fence %d is older than %d", s.run.Fence, s.fence)}
	}
	return nil
}

func (s *session) Open(_ context.Context, run protocol.Run) (protocol.LastRun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = run
	if err := s.fenced(); err != nil {
		return protocol.LastRun{}, err
	}
	s.fence, s.mode = run.Fence, run.Mode
	if s.noContent {
		return protocol.LastRun{Number: s.last.Number}, nil
	}
	return s.last, nil
}

func (s *session) Extents() bool { return s.extents != "" && s.run.Extents == s.extents }

// SendExtent reads the payload as package sdk does.
func (s *session) SendExtent(ctx context.Context, b *batch.Batch, crc32c uint32, at protocol.Extent) error {
	payload := make([]byte, at.Length)
	f, err := os.Open(filepath.Join(s.extents, at.File))
	if err == nil {
		_, err = f.ReadAt(payload, at.Offset)
		err = errors.Join(err, f.Close())
	}
	if err == nil && protocol.PayloadCRC32C(payload) != crc32c {
		err = errors.New("other bytes")
	}
	s.read++
	if err = errors.Join(err, s.unread); err != nil {
		return &protocol.Error{Class: protocol.Retryable, Err: fmt.Errorf("%w: %w", protocol.ErrExtent, err)}
	}
	filled := *b
	filled.Payload = payload
	return s.SendWithChecksum(ctx, &filled, crc32c)
}

func (s *session) LastLog() []string { return s.log }

func (s *session) BeginPartition(_ context.Context, p protocol.Partition) error {
	s.receipt.Partitions = append(s.receipt.Partitions, protocol.PartitionReceipt{Index: p.Index, Date: p.Date, Objects: s.objects, StoredBytes: s.stored})
	return nil
}

func (s *session) SendWithChecksum(_ context.Context, b *batch.Batch, crc32c uint32) error {
	if crc32c != protocol.PayloadCRC32C(b.Payload) {
		return &protocol.Error{Class: protocol.Retryable, Err: errDamaged}
	}
	if s.atSend != nil {
		s.atSend()
	}
	p := &s.receipt.Partitions[len(s.receipt.Partitions)-1]
	if reason := s.refuse[string(b.Payload)]; reason != "" {
		p.Rejected += uint64(b.Rows)
		return s.rejected([]protocol.RejectedRow{{Partition: p.Index, Row: p.Rows, Reason: reason, Line: b.Payload}})
	}
	p.RowsCRC32 = batch.CombineCRC32(p.RowsCRC32, b.RowsCRC32, uint64(b.RowsBytes))
	p.Rows += uint64(b.Rows)
	p.RowsBytes += uint64(b.RowsBytes)
	return nil
}

func (s *session) EndPartition(context.Context, protocol.Totals) error { return nil }

func (s *session) Prepare(context.Context, protocol.Totals) (protocol.Receipt, error) {
	if s.atPrepare != nil {
		s.atPrepare()
	}
	if s.loseRows {
		s.receipt.Partitions[0].Rows--
	}
	return s.receipt, nil
}

func (s *session) Commit(context.Context) (protocol.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fenced(); err != nil {
		return protocol.Receipt{}, err
	}
	done, err := s.last.Holds(s.run)
	if done && s.run.Repair != nil {
		s.repaired = s.run.Repair
	}
	if done || err != nil {
		return s.receipt, err
	}
	s.last, s.place.receipt = s.run.Last(), s.receipt
	s.commits++
	if s.loseReply {
		return protocol.Receipt{}, &protocol.Error{Class: protocol.Retryable, Err: protocol.ErrUnknown}
	}
	return s.receipt, nil
}

func (s *session) Abort(context.Context, bool) error { return nil }
func (s *session) Close()                            {}

// refusals counts the rows that were added and committed.
type refusals struct{ added, committed int }

func (r *refusals) Add(string, protocol.RejectedRow) error { r.added++; return nil }
func (r *refusals) Commit() error                          { r.committed = r.added; return nil }
func (r *refusals) Discard() error                         { return nil }

// blocks is a journal of blocks whose payloads are their rows.
type blocks map[journal.ExtentRef][]string

func (b blocks) Extent(_ context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	for _, rows := range b[ref] {
		block := journal.Block{Rows: 1, RowsBytes: len(rows), RowsCRC32: crc32.ChecksumIEEE([]byte(rows)), Payload: []byte(rows)}
		block.Checksum = protocol.PayloadCRC32C(block.Payload)
		if err := fn(block); err != nil {
			return err
		}
	}
	return nil
}

// Generation implements export.Generations: blocks are those of one segment.
func (b blocks) Generation(ctx context.Context, stream batch.Stream, blob string, fn func(journal.Block) error) error {
	if stream != batch.People || blob != "people/1/a" {
		return fmt.Errorf("no generation %s of %s", blob, stream)
	}
	return b.Extent(ctx, journal.ExtentRef{Seq: 1, Index: 0}, fn)
}

// bench is a catalog with one pipeline and one planned run of two days.
type bench struct {
	pace     func(context.Context, int) error
	t        *testing.T
	catalog  *catalog.Catalog
	pipeline *pipeline.Pipeline
	run      *pipeline.Run
	place    *place
	refused  *refusals
	blocks   export.Blocks
	places   export.Places
	store    export.Store                                // nil: the catalog
	replan   func(content string) (*pipeline.Run, error) // nil: it is not asked for
	waited   []time.Duration
}

var journaled = blocks{
	{Seq: 1, Index: 0}: {"one\n", "two\n"},
	{Seq: 1, Index: 1}: {"three\n"},
	{Seq: 2, Index: 0}: {"four\n"},
}

func newBench(t *testing.T) *bench {
	t.Helper()
	c, err := catalog.Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, catalog: c, place: &place{}, refused: &refusals{}, blocks: journaled}
	if err := c.RegisterProject(t.Context(), 1, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	def := pipeline.Definition{Name: "p", ProjectID: 1, Stream: batch.Events, Destination: "x.y", To: pipeline.Forever}
	if b.pipeline, err = c.RegisterPipeline(t.Context(), def, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	extents := []pipeline.Extent{
		{Ref: journal.ExtentRef{Seq: 2, Index: 0}, UTCDate: 10, ZoneDate: 10, Rows: 1},
		{Ref: journal.ExtentRef{Seq: 1, Index: 1}, UTCDate: 11, ZoneDate: 11, Rows: 1},
		{Ref: journal.ExtentRef{Seq: 1, Index: 0}, UTCDate: 10, ZoneDate: 10, Rows: 2},
	}
	next := pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 2, Index: pipeline.EndOfSegment}}
	b.run = &pipeline.Run{Extents: extents, Next: next, Content: "content-1", PlannedAt: time.Now(), AsOf: time.Now()}
	if err := c.InsertRun(t.Context(), b.pipeline, b.run); err != nil {
		t.Fatal(err)
	}
	return b
}

// do makes an attempt. Leases are never renewed.
func (b *bench) do(owner string, ttl time.Duration) (*pipeline.Receipt, error) {
	var store export.Store = b.catalog
	if b.store != nil {
		store = b.store
	}
	x := &export.Exporter{
		Pace:  b.pace,
		Store: store, Blocks: b.blocks, Places: b.places, Generations: journaled, Owner: owner, LeaseTTL: ttl,
		Ticker: func(time.Duration) (<-chan time.Time, func()) { return nil, func() {} },
		Wait: func(ctx context.Context, d time.Duration) error {
			b.waited = append(b.waited, d)
			return ctx.Err()
		},
	}
	// A host reads the run from the catalog for each attempt.
	runs, err := b.catalog.Runs(b.t.Context(), b.pipeline.ID, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	job := export.Job{
		Pipeline: b.pipeline, Run: runs[0].Run, Destination: b.place,
		Totals:   func(context.Context) ([]protocol.Totals, error) { return b.totals(), nil },
		Refusals: func() (export.Refusals, error) { return b.refused, nil },
	}
	if b.replan != nil {
		job.Replan = func(_ context.Context, content string) (*pipeline.Run, error) { return b.replan(content) }
	}
	return x.Do(b.t.Context(), job)
}

// totals are those of the run's parts in the journal.
func (b *bench) totals() []protocol.Totals {
	parts := b.run.Parts(false)
	totals := make([]protocol.Totals, len(parts))
	for i, part := range parts {
		for _, e := range part.Extents {
			for _, rows := range journaled[e.Ref] {
				totals[i].Append(protocol.Totals{Rows: 1, RowsBytes: uint64(len(rows)), RowsCRC32: crc32.ChecksumIEEE([]byte(rows))})
			}
		}
	}
	return totals
}

// done checks that the run is recorded once, at the place and in the catalog.
func (b *bench) done(receipt *pipeline.Receipt, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	if receipt.Rows+receipt.Rejected != 4 || b.place.last.Number != 1 || b.place.commits != 1 {
		b.t.Errorf("receipt %+v, last %+v, %d commits", receipt, b.place.last, b.place.commits)
	}
	stored, err := b.catalog.Pipeline(b.t.Context(), "p")
	if err != nil {
		b.t.Fatal(err)
	}
	if !reflect.DeepEqual(stored.Cursor, b.run.Next) {
		b.t.Errorf("the cursor is at %+v", stored.Cursor)
	}
	if open, err := b.catalog.OpenRun(b.t.Context(), b.pipeline.ID); err != nil || open != nil {
		b.t.Errorf("the run is still open: %+v, %v", open, err)
	}
}

func TestARunIsSentComparedAndRecorded(t *testing.T) {
	b := newBench(t)
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	want := crc32.ChecksumIEEE([]byte("one\ntwo\nfour\n"))
	if got := b.place.receipt.Partitions[0]; got.Date != "1970-01-11" || got.RowsCRC32 != want {
		t.Errorf("the first partition is %+v, want rows in the order in which they were journaled", got)
	}
}

// A run whose pipeline is paused while it streams stops before the next block, is not
// failed, and is sent from its beginning when the pipeline is resumed.
func TestAPausedRunIsContinued(t *testing.T) {
	b := newBench(t)
	sent := 0
	b.pace = func(_ context.Context, bytes int) error {
		if sent == 2 {
			return pipeline.ErrPaused
		}
		sent++
		return nil
	}
	if _, err := b.do("host-1", time.Minute); !errors.Is(err, pipeline.ErrPaused) || !export.Retryable(err) {
		t.Fatalf("got %v", err)
	}
	runs, err := b.catalog.Runs(t.Context(), b.pipeline.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r := runs[0]; r.State != pipeline.RunRunning || r.Error != "" || r.ErrorClass != "" || r.Owner != "" || b.place.commits != 0 {
		t.Errorf("it is %s, with error %q of class %q, owned by %q, after %d commits", r.State, r.Error, r.ErrorClass, r.Owner, b.place.commits)
	}
	b.pace = nil
	b.done(b.do("host-1", time.Minute))
}

func TestALostReplyIsAskedAbout(t *testing.T) {
	b := newBench(t)
	b.place.loseReply = true
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
}

// A destination that still works on the commit is asked again, with longer and
// longer pauses, before anything is sent once more.
func TestARunInDoubtIsAskedAboutAgain(t *testing.T) {
	b := newBench(t)
	b.place.loseReply, b.place.inDoubt = true, 4
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	if len(b.waited) != 4 || !slices.IsSorted(b.waited) || b.waited[0] == b.waited[3] {
		t.Errorf("waited %v", b.waited)
	}
}

// A destination that stays in doubt is asked for about a minute. Then the
// attempt ends with a transient error, and the next attempt asks again.
func TestARunThatStaysInDoubtIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.place.loseReply, b.place.inDoubt = true, 1000
	if _, err := b.do("a", time.Minute); !export.Retryable(err) || !strings.Contains(err.Error(), "does not know yet") {
		t.Fatalf("got %v", err)
	}
	var total time.Duration
	for _, d := range b.waited {
		total += d
	}
	if total < 30*time.Second || total > 2*time.Minute {
		t.Errorf("asked for %s", total)
	}
	b.place.loseReply, b.place.inDoubt, b.waited = false, 2, nil
	b.place.atSend = func() { t.Error("rows are sent again") }
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	if len(b.waited) != 2 {
		t.Errorf("waited %v", b.waited)
	}
}

// A destination that cannot be reached is asked three times only, because each
// question may take a minute. Then the attempt ends, so that the error is
// reported, and the next attempt asks again.
func TestADestinationThatDoesNotAnswerIsLeftToTheNextAttempt(t *testing.T) {
	b := newBench(t)
	b.place.loseReply = true
	b.place.statusFail = &protocol.Error{Class: protocol.Retryable, Err: errors.New("connection refused")}
	if _, err := b.do("a", time.Minute); !export.Retryable(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("got %v", err)
	}
	if len(b.waited) != 2 {
		t.Errorf("waited %v", b.waited)
	}
	b.place.loseReply, b.place.statusFail = false, nil
	b.place.atSend = func() { t.Error("rows are sent again") }
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
}

// An answer that a retry would not change is not asked for again.
func TestAStatusThatIsRefusedIsNotAskedForAgain(t *testing.T) {
	b := newBench(t)
	b.place.loseReply = true
	b.place.statusFail = &protocol.Error{Class: protocol.Configuration, Err: errors.New("the credential has expired")}
	if _, err := b.do("a", time.Minute); !errors.Is(err, protocol.ErrUnknown) || len(b.waited) > 0 {
		t.Errorf("got %v, waited %v", err, b.waited)
	}
}

// rotten is a journal whose blocks change after their checksum was verified:
// the first byte of each payload.
type rotten struct{ blocks }

func (r rotten) Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	return r.blocks.Extent(ctx, ref, func(b journal.Block) error {
		b.Payload[0]++
		return fn(b)
	})
}

func TestTheChecksumIsThatOfWhatWasStored(t *testing.T) {
	b := newBench(t)
	b.blocks = rotten{journaled}
	if _, err := b.do("a", time.Minute); !errors.Is(err, errDamaged) || b.place.commits > 0 {
		t.Errorf("got %v, %d commits", err, b.place.commits)
	}
}

// The reply to the commit is lost and Status fails: the next attempt finds the
// run committed and sends nothing.
func TestARunThatWasCommittedBeforeIsRecorded(t *testing.T) {
	b := newBench(t)
	b.place.loseReply, b.place.statusFail = true, errors.New("no answer")
	if _, err := b.do("a", time.Minute); !errors.Is(err, protocol.ErrUnknown) || !export.Retryable(err) {
		t.Fatalf("got %v", err)
	}
	b.place.loseReply, b.place.statusFail = false, nil
	b.place.atSend = func() { t.Error("rows are sent again") }
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
}

func TestAReceiptThatDiffersIsNeverCommitted(t *testing.T) {
	b := newBench(t)
	b.place.loseRows = true
	if _, err := b.do("a", time.Minute); err == nil || export.Retryable(err) || !strings.Contains(err.Error(), "2 rows") {
		t.Errorf("got %v", err)
	}
	if b.place.commits > 0 {
		t.Error("it was committed")
	}
	open, err := b.catalog.OpenRun(t.Context(), b.pipeline.ID)
	if err != nil || open.State != pipeline.RunFailed || open.Error == "" {
		t.Errorf("the run is %+v, %v", open, err)
	}
}

func TestRefusedRowsAreKeptBeforeTheCommit(t *testing.T) {
	b := newBench(t)
	b.place.refuse = map[string]string{"two\n": "odd"}
	b.place.atPrepare = func() {
		if b.refused.committed > 0 {
			t.Error("refused rows are kept before all are known")
		}
	}
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	if receipt.Rejected != 1 || b.refused.committed != 1 {
		t.Errorf("%d rejected, %d kept", receipt.Rejected, b.refused.committed)
	}
}

// A host freezes while it sends. Its lease expires, another takes the run over
// and commits it. Then the first wakes up: it may neither commit nor record.
func TestAHostThatWakesAfterItsLeaseChangesNothing(t *testing.T) {
	for name, wake := range map[string]func(*place, func()){
		"while sending":      func(p *place, fn func()) { p.atSend = fn },
		"prepared to commit": func(p *place, fn func()) { p.atPrepare = fn },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			var receipt *pipeline.Receipt
			var takeover error
			frozen := false
			wake(b.place, func() {
				if frozen {
					return // the other host's export
				}
				frozen = true
				for takeover = pipeline.ErrLeased; errors.Is(takeover, pipeline.ErrLeased); {
					receipt, takeover = b.do("b", time.Minute)
				}
			})
			_, err := b.do("a", time.Millisecond)
			// The destination refuses its fence, and then the catalog.
			if !errors.Is(err, pipeline.ErrLeaseLost) {
				t.Errorf("the frozen host ended with %v", err)
			}
			b.done(receipt, takeover)
		})
	}
}

// next plans another run over the same extents.
func (b *bench) next(content string) {
	b.t.Helper()
	var err error
	if b.pipeline, err = b.catalog.Pipeline(b.t.Context(), b.pipeline.Name); err != nil {
		b.t.Fatal(err)
	}
	b.run = &pipeline.Run{Extents: b.run.Extents, Next: b.run.Next, Content: content, PlannedAt: time.Now(), AsOf: time.Now()}
	if err := b.catalog.InsertRun(b.t.Context(), b.pipeline, b.run); err != nil {
		b.t.Fatal(err)
	}
}

// stops checks that an attempt is given up with a word about it, and that
// nothing was sent or recorded.
func (b *bench) stops(words ...string) {
	b.t.Helper()
	before, commits := b.place.last, b.place.commits
	b.place.atSend = func() { b.t.Error("rows are sent") }
	_, err := b.do("a", time.Minute)
	if err == nil || export.Retryable(err) {
		b.t.Fatalf("got %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			b.t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if b.place.last != before || b.place.commits != commits {
		b.t.Errorf("the destination went from %+v to %+v", before, b.place.last)
	}
	open, err := b.catalog.OpenRun(b.t.Context(), b.pipeline.ID)
	if err != nil || open == nil || open.State != pipeline.RunFailed {
		b.t.Errorf("the run is %+v, %v", open, err)
	}
}

func TestADestinationThatLostItsHistoryIsNotWrittenTo(t *testing.T) {
	b := newBench(t)
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	b.next("content-2")
	b.place.last = protocol.LastRun{}
	b.stops("last committed run is run 0", "up to run 1", "emptied", "pipelines recover p --resend' send the missing runs again")
}

// The number of the run is taken by another content: of a host that the backup
// was made of, or of a copy.
func TestAnotherRunOfTheSameNumberIsNotTakenForOnesOwn(t *testing.T) {
	b := newBench(t)
	if _, err := b.do("a", time.Minute); err != nil {
		t.Fatal(err)
	}
	b.next("content-2")
	// Same rows, partitions and receipt: only the content tells.
	b.place.last = protocol.LastRun{Number: 2, Content: "theirs"}
	b.stops("run 2", "theirs", "content-2", "'penstock pipelines recover p' compares the runs and changes nothing; with --resend it continues after the destination's run 2")
}

func TestADestinationThatIsAheadStopsThePipeline(t *testing.T) {
	for name, earlier := range map[string]string{"another content": "theirs", "unknown content": ""} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.place.last, b.place.earlier = protocol.LastRun{Number: 5, Content: "theirs-5"}, map[int64]string{1: earlier}
			b.stops("run 1", "pipelines recover p", "run 5")
		})
	}
}

// The destination's last run has the number of this catalog's last run, and is
// another.
func TestARunAfterAnotherHistoryIsNotSent(t *testing.T) {
	b := newBench(t)
	if _, err := b.do("a", time.Minute); err != nil {
		t.Fatal(err)
	}
	b.next("content-2")
	b.place.last.Content = "theirs"
	b.stops("run 1 with content theirs", "run 1 with content content-1")
}

// A restored host plans the runs that were exported since its backup again. It
// finds each of them committed, and sends nothing.
func TestRunsThatAreCommittedWithTheSameContentAreAdopted(t *testing.T) {
	b := newBench(t)
	b.place.earlier = map[int64]string{1: "content-1"}
	b.place.last = protocol.LastRun{Number: 2, Content: "content-2"}
	b.place.atSend = func() { t.Error("rows are sent") }
	receipt, err := b.do("a", time.Minute)
	if err != nil || receipt.Rows != 4 || !receipt.Planned {
		t.Fatalf("%+v, %v", receipt, err)
	}
	b.next("content-2")
	b.place.noReceipt = true
	if receipt, err = b.do("a", time.Minute); err != nil || receipt.Rows != 4 {
		t.Fatalf("%+v, %v", receipt, err)
	}
	b.next("content-3")
	b.place.atSend = nil
	if _, err = b.do("a", time.Minute); err != nil || b.place.last.Number != 3 || b.place.commits != 1 {
		t.Errorf("%+v after %d commits, %v", b.place.last, b.place.commits, err)
	}
}

// theirs is a plan of the bench's rows of one day alone.
func (b *bench) theirs() *pipeline.Run {
	next := pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 1, Index: 1}}
	return &pipeline.Run{Extents: b.run.Extents[1:2], Next: next, Content: "theirs"}
}

// A run that the destination has committed with another content is recorded if the journal
// has a plan of that content, also when the destination's fence is above the catalog's.
// The run that follows is sent.
func TestARunThatAnotherPlanHasIsAdopted(t *testing.T) {
	for _, fence := range []int64{0, 40} {
		for _, last := range []int64{1, 3} {
			b := newBench(t)
			b.place.fence, b.place.last, b.place.noReceipt = fence, protocol.LastRun{Number: last, Content: "theirs"}, true
			b.place.earlier = map[int64]string{1: "theirs"}
			b.place.atSend = func() { t.Error("rows are sent") }
			b.replan = func(content string) (*pipeline.Run, error) {
				if content != "theirs" {
					t.Errorf("the content %q is looked for", content)
				}
				return b.theirs(), nil
			}
			receipt, err := b.do("a", time.Minute)
			if err != nil || receipt.Rows != 1 || len(receipt.Partitions) != 1 || receipt.Partitions[0].Date != "1970-01-12" {
				t.Fatalf("fence %d, last run %d: %+v, %v", fence, last, receipt, err)
			}
			stored, err := b.catalog.Pipeline(t.Context(), "p")
			if err != nil || !reflect.DeepEqual(stored.Cursor, b.theirs().Next) || stored.Committed != (pipeline.Committed{Number: 1, Content: "theirs"}) {
				t.Errorf("fence %d, last run %d: the pipeline is %+v, %v", fence, last, stored, err)
			}
			if run, err := b.catalog.Run(t.Context(), b.pipeline.ID, 1); err != nil || run.State != pipeline.RunSucceeded || !reflect.DeepEqual(run.Extents, b.theirs().Extents) {
				t.Errorf("fence %d, last run %d: the run is %+v, %v", fence, last, run, err)
			}
			if b.place.commits != 0 {
				t.Errorf("fence %d, last run %d: %d commits", fence, last, b.place.commits)
			}
		}
	}
}

// No plan is taken that has another content than the destination's run, or none, or whose
// run this host has prepared already.
func TestARunThatNoPlanHasStops(t *testing.T) {
	for name, found := range map[string]*pipeline.Run{"no plan": nil, "another content": {Content: "others"}, "no content": {}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.place.last = protocol.LastRun{Number: 1, Content: "theirs"}
			asked := false
			b.replan = func(string) (*pipeline.Run, error) {
				asked = true
				return found, nil
			}
			b.stops("run 1", "theirs", "content-1", "pipelines recover p")
			if !asked {
				t.Error("no plan is looked for")
			}
		})
	}
	unasked := func(b *bench) {
		b.replan = func(content string) (*pipeline.Run, error) {
			b.t.Errorf("a plan with content %q is looked for", content)
			return b.theirs(), nil
		}
	}
	t.Run("prepared", func(t *testing.T) {
		b := newBench(t)
		b.place.loseReply, b.place.statusFail = true, errors.New("no answer")
		if _, err := b.do("a", time.Minute); !export.Retryable(err) {
			t.Fatalf("got %v", err)
		}
		b.place.loseReply, b.place.statusFail, b.place.last.Content = false, nil, "theirs"
		unasked(b)
		b.stops("run 1", "theirs", "content-1", "pipelines recover p")
	})
	t.Run("the destination does not know the content", func(t *testing.T) {
		b := newBench(t)
		b.place.last = protocol.LastRun{Number: 5, Content: "theirs"}
		unasked(b)
		b.stops("run 1", "run 5", "pipelines recover p")
	})
}

// A journal that cannot be read does not make the run fail for good.
func TestASearchForAPlanIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.place.last, b.place.noReceipt = protocol.LastRun{Number: 1, Content: "theirs"}, true
	b.replan = func(string) (*pipeline.Run, error) { return nil, errors.New("the disk is away") }
	if _, err := b.do("a", time.Minute); !export.Retryable(err) || !strings.Contains(err.Error(), "the disk is away") || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("got %v", err)
	}
	b.replan = func(string) (*pipeline.Run, error) { return b.theirs(), nil }
	if _, err := b.do("a", time.Minute); err != nil {
		t.Error(err)
	}
}

// A destination need not keep receipts. The catalog then records the prepared
// receipt, with the rows that the destination rejected.
func TestACommitWithoutAReceiptIsTakenByItsContent(t *testing.T) {
	for _, when := range []string{"asked at once", "asked by the next attempt"} {
		t.Run(when, func(t *testing.T) {
			b := newBench(t)
			b.place.loseReply, b.place.noReceipt = true, true
			b.place.refuse = map[string]string{"two\n": "odd"}
			if when != "asked at once" {
				b.place.statusFail = errors.New("no answer")
				if _, err := b.do("a", time.Minute); !export.Retryable(err) {
					t.Fatalf("got %v", err)
				}
				b.place.statusFail = nil
				b.place.atSend = func() { t.Error("rows are sent again") }
			}
			receipt, err := b.do("a", time.Minute)
			b.done(receipt, err)
			if receipt.Rejected != 1 || receipt.Planned {
				t.Errorf("the receipt is %+v", receipt)
			}
		})
	}
}

// A failed attempt keeps the plugin's last log lines, bounded, until the next attempt.
func TestAFailedAttemptKeepsTheLog(t *testing.T) {
	b := newBench(t)
	for n := range 100 {
		b.place.log = append(b.place.log, fmt.Sprintf("line %d %s", n, strings.Repeat("é", n*10)))
	}
	b.place.loseReply, b.place.statusFail = true, errors.New("no answer")
	if _, err := b.do("a", time.Minute); err == nil {
		t.Fatal("the attempt succeeded")
	}
	kept := func() []string {
		t.Helper()
		r, err := b.catalog.Run(t.Context(), b.pipeline.ID, b.run.Number)
		if err != nil {
			t.Fatal(err)
		}
		return r.PluginLog
	}
	lines := kept()
	if len(lines) != 20 || !strings.HasPrefix(lines[0], "line 80 é") || !strings.HasPrefix(lines[19], "line 99 é") {
		t.Errorf("%d lines are kept: %q", len(lines), lines)
	}
	for _, line := range lines {
		if len(line) > 512+len("…") || !utf8.ValidString(line) || !strings.HasSuffix(line, "é…") {
			t.Errorf("a line of %d bytes ends in %q", len(line), line[len(line)-8:])
		}
	}
	b.place.loseReply, b.place.statusFail = false, nil
	if _, err := b.do("a", time.Minute); err != nil {
		t.Fatal(err)
	}
	if lines := kept(); lines != nil {
		t.Errorf("after the next attempt: %q", lines)
	}
}

// logless is a catalog that cannot keep a log.
type logless struct{ *catalog.Catalog }

func (logless) RecordLog(context.Context, pipeline.Lease, []string) error {
	return errors.New("no room")
}

// An attempt is recorded as failed, and its lease given back, also if its log cannot be kept.
func TestAFailureIsRecordedWithoutItsLog(t *testing.T) {
	b := newBench(t)
	b.store, b.place.log = logless{b.catalog}, []string{"a line"}
	b.place.loseReply, b.place.statusFail = true, errors.New("no answer")
	if _, err := b.do("a", time.Minute); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("the attempt ended with %v", err)
	}
	r, err := b.catalog.Run(t.Context(), b.pipeline.ID, b.run.Number)
	if err != nil {
		t.Fatal(err)
	}
	if r.Owner != "" || !strings.Contains(r.Error, "no answer") {
		t.Errorf("recorded for %q with error %q", r.Owner, r.Error)
	}
}

// A destination that does not know the content of a run, because it was
// committed by an older version, is believed if its receipt has the checksums
// of this run.
func TestAnUnknownContentIsComparedByTheReceipt(t *testing.T) {
	b := newBench(t)
	b.place.loseReply, b.place.statusFail = true, errors.New("no answer")
	if _, err := b.do("a", time.Minute); !export.Retryable(err) {
		t.Fatalf("got %v", err)
	}
	b.place.loseReply, b.place.statusFail, b.place.noContent = false, nil, true
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
}

func TestAnUnknownContentWithOtherRowsIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*place)
		word  string
	}{
		"another checksum": {func(p *place) { p.receipt.Partitions[0].RowsCRC32++ }, "other rows"},
		"other bytes":      {func(p *place) { p.receipt.Partitions[1].RowsBytes++ }, "other rows"},
		"other rows":       {func(p *place) { p.receipt.Partitions[1].Rows++ }, "is not that of this catalog"},
		"no checksum":      {func(p *place) { p.receipt.Partitions[0].RowsBytes = 0 }, "cannot be told"},
		"rejected rows":    {func(p *place) { p.receipt.Partitions[0].Rows--; p.receipt.Partitions[0].Rejected++ }, "cannot be told"},
		"no receipt":       {func(p *place) { p.noReceipt = true }, "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.place.loseReply, b.place.statusFail = true, errors.New("no answer")
			if _, err := b.do("a", time.Minute); !export.Retryable(err) {
				t.Fatalf("got %v", err)
			}
			b.place.loseReply, b.place.statusFail, b.place.noContent = false, nil, true
			tt.spoil(b.place)
			b.stops(tt.word)
		})
	}
}

// The fences of a restored catalog may be lower than the one that its
// destination has recorded. If the runs are the same it goes on above it.
func TestAFenceThatTheCatalogNeverGave(t *testing.T) {
	b := newBench(t)
	if _, err := b.do("a", time.Minute); err != nil {
		t.Fatal(err)
	}
	b.next("content-2")
	b.place.fence = 40
	if _, err := b.do("a", time.Minute); err != nil {
		t.Fatal(err)
	}
	if b.place.fence != 41 || b.place.last.Number != 2 {
		t.Errorf("fence %d, last run %+v", b.place.fence, b.place.last)
	}
}

func TestAFenceOfAnotherHistoryIsNotRaised(t *testing.T) {
	for name, last := range map[string]protocol.LastRun{
		"its last run is another": {Number: 1, Content: "theirs"},
		"its next run is another": {Number: 2, Content: "theirs"},
		"it is ahead":             {Number: 7, Content: "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if _, err := b.do("a", time.Minute); err != nil {
				t.Fatal(err)
			}
			b.next("content-2")
			b.place.fence, b.place.last = 40, last
			b.stops("pipelines recover p")
			if b.place.fence != 40 {
				t.Errorf("the fence is %d", b.place.fence)
			}
		})
	}
}

// A run of people sends the whole generation, in one partition without a date,
// and says that it replaces what is there.
func TestASetIsReplaced(t *testing.T) {
	b := newBench(t)
	def := pipeline.Definition{Name: "people", ProjectID: 1, Stream: batch.People, Destination: "x.y", To: pipeline.Forever}
	p, err := b.catalog.RegisterPipeline(t.Context(), def, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := &pipeline.Generation{Blob: "people/1/a", Seq: 2, Rows: 2}
	next, err := pipeline.Replacement(p, g, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	b.pipeline, b.run = p, &pipeline.Run{Generation: g, Next: next, Content: "content-1", PlannedAt: time.Now(), AsOf: time.Now()}
	if err := b.catalog.InsertRun(t.Context(), p, b.run); err != nil {
		t.Fatal(err)
	}
	receipt, err := b.do("host", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Rows != 2 || len(receipt.Partitions) != 1 || receipt.Partitions[0].Date != "" {
		t.Errorf("receipt %+v", receipt)
	}
	if b.place.mode != protocol.Replace {
		t.Errorf("the run's mode is %v", b.place.mode)
	}
	stored, err := b.catalog.Pipeline(t.Context(), "people")
	if err != nil || !reflect.DeepEqual(stored.Cursor, next) {
		t.Errorf("the cursor is at %+v, %v", stored.Cursor, err)
	}
}

// A generation that does not hold the rows that it was planned with is not
// committed.
func TestASetThatIsNotWhole(t *testing.T) {
	b := newBench(t)
	def := pipeline.Definition{Name: "people", ProjectID: 1, Stream: batch.People, Destination: "x.y", To: pipeline.Forever}
	p, err := b.catalog.RegisterPipeline(t.Context(), def, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := &pipeline.Generation{Blob: "people/1/a", Seq: 2, Rows: 3}
	b.pipeline, b.run = p, &pipeline.Run{Generation: g, Next: p.Cursor, Content: "content-1", PlannedAt: time.Now(), AsOf: time.Now()}
	if err := b.catalog.InsertRun(t.Context(), p, b.run); err != nil {
		t.Fatal(err)
	}
	if _, err := b.do("host", time.Minute); err == nil || b.place.commits != 0 {
		t.Errorf("%d commits, %v", b.place.commits, err)
	}
}
