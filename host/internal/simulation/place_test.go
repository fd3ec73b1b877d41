//go:build !race

package simulation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// place is a destination. It outlives hosts, and complains to its world about anything
// that a host must not do.
type place struct {
	w    *world
	name string
	zone bool // its days are those of the project's zone

	stream batch.Stream // that it takes

	mu      sync.Mutex
	set     map[string]string  // people or mappings, by id
	ledgers map[string]*ledger // by pipeline id
	rows    map[string]string  // event: id of the pipeline that brought it
}

// ledger is the record that a place keeps of a pipeline.
type ledger struct {
	last     protocol.LastRun
	fence    int64
	contents map[int64]string
	receipts map[int64]protocol.Receipt
	sent     map[int64]string // hash of the prepared content and bytes
	attempts map[int64]int
}

func newPlace(w *world, name string, stream batch.Stream, zone bool) *place {
	return &place{w: w, name: name, stream: stream, zone: zone, ledgers: map[string]*ledger{}, rows: map[string]string{}}
}

func (p *place) of(id string) *ledger {
	l := p.ledgers[id]
	if l == nil {
		l = &ledger{contents: map[int64]string{}, receipts: map[int64]protocol.Receipt{}, sent: map[int64]string{}, attempts: map[int64]int{}}
		p.ledgers[id] = l
	}
	return l
}

// plugin is a place as one host sees it.
type plugin struct {
	*place
	host *life
}

func (p plugin) Start(context.Context) error { return p.host.alive() }
func (p plugin) Stop(context.Context)        {}
func (p plugin) Partitioning() protocol.Partitioning {
	return p.Description().Capabilities.Partitioning
}

func (p plugin) Description() protocol.Description {
	by := protocol.ByUTCDate
	if p.zone != p.w.lies() {
		by = protocol.ByProjectDate
	}
	return protocol.Description{Name: "place", Version: "1", Capabilities: protocol.Capabilities{
		Streams: []batch.Stream{p.stream}, Modes: []protocol.Mode{protocol.Append, protocol.Replace}, Partitioning: by, Guarantee: protocol.Transaction, MaxDaysPerRun: 40,
	}}
}

func (p plugin) Configure(context.Context, protocol.Project, []byte) (protocol.Configured, error) {
	return protocol.Configured{Targets: []protocol.Target{{Stream: p.stream, URI: "place://" + p.name}}}, p.host.alive()
}

func (p plugin) Check(context.Context, int64) ([]protocol.CheckResult, error) { return nil, nil }

func (p plugin) Inventory(context.Context, protocol.InventoryQuery, func(protocol.InventoryItem) error) error {
	return errors.New("places have no inventory")
}

// Status implements export.Destination.
func (p plugin) Status(_ context.Context, run protocol.Run) (protocol.Status, error) {
	if err := p.host.alive(); err != nil {
		return protocol.Status{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.of(run.PipelineID)
	s := protocol.Status{State: protocol.Absent, Last: l.last, Fence: l.fence, Content: l.contents[run.Number]}
	if run.Number <= l.last.Number {
		s.State = protocol.Committed
	}
	if r, ok := l.receipts[run.Number]; ok {
		s.Receipt = &r
	}
	return s, nil
}

// Export implements export.Destination.
func (p plugin) Export(context.Context, func([]protocol.RejectedRow) error) (export.Session, error) {
	return &session{plugin: p}, p.host.alive()
}

// The ways in which a session fails.
const (
	works = iota
	failsAtOpen
	failsWhileSending
	failsAtPrepare
	failsBeforeCommit
	losesTheAnswer
	refuses
	ways
)

// session is one attempt at a run.
type session struct {
	plugin
	run    protocol.Run
	way    int
	blocks int // until it fails
	parts  []protocol.PartitionReceipt
	events []string // ids
	lines  [][]byte // of a set
	seq    int64    // that a set stands for
	floor  int64    // sequence of the journal before the set's run was planned
	totals protocol.Totals
	hash   hash.Hash
	ended  bool
}

func transient(text string) error {
	return &protocol.Error{Class: protocol.Retryable, Err: errors.New(text)}
}

// Open implements export.Session.
func (s *session) Open(_ context.Context, run protocol.Run) (protocol.LastRun, error) {
	if err := s.host.point(run.Pipeline, "open"); err != nil {
		return protocol.LastRun{}, err
	}
	s.w.mayWork(run, "opens")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run, s.hash = run, sha256.New()
	l := s.of(run.PipelineID)
	l.attempts[run.Number]++
	s.choose(l.attempts[run.Number])
	if s.w.mixes() {
		fmt.Fprintln(s.hash, l.attempts[run.Number])
	}
	if run.Fence <= l.fence {
		s.w.errorf("an attempt at run %d of %s has fence %d, and %d was used already", run.Number, run.Pipeline, run.Fence, l.fence)
	}
	l.fence = max(l.fence, run.Fence)
	if err := s.claim(); err != nil {
		return protocol.LastRun{}, err
	}
	s.w.note(run.Pipeline, "open %d fence %d way %d", run.Number, run.Fence, s.way)
	switch s.way {
	case failsAtOpen:
		return protocol.LastRun{}, transient("the place cannot be opened")
	case refuses:
		return protocol.LastRun{}, &protocol.Error{Class: protocol.Permanent, Err: errors.New("the place must not be written")}
	}
	return l.last, nil
}

// claim notes which changes a run of a set says that it stands for.
func (s *session) claim() error {
	if s.stream == batch.Events {
		return nil
	}
	open, err := s.host.catalog.OpenRun(s.w.ctx, s.run.PipelineID)
	if err != nil || open == nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.seq = open.Next.Live.Seq
	if l := s.w.byName[s.run.Pipeline]; !open.PlannedAt.Before(l.floorAt) {
		s.floor = l.floor
	}
	return nil
}

// choose decides how the attempt fails. It depends on nothing but the seed, the run and
// the number of the attempt.
func (s *session) choose(attempt int) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d %d", s.w.seed, s.run.Pipeline, s.run.Number, attempt))
	rng := rand.New(rand.NewChaCha8(sum))
	s.blocks = 1 + rng.IntN(4)
	if attempt < 5 && rng.IntN(4) == 0 && !s.w.calm.Load() {
		if s.way = rng.IntN(ways); s.way == refuses && rng.IntN(3) > 0 {
			s.way = works
		}
	}
}

// BeginPartition implements export.Session.
func (s *session) BeginPartition(_ context.Context, p protocol.Partition) error {
	fmt.Fprintf(s.hash, "%d %s\n", p.Index, p.Date)
	s.parts = append(s.parts, protocol.PartitionReceipt{Index: p.Index, Date: p.Date})
	return s.host.alive()
}

// Extents implements export.Session.
func (s *session) Extents() bool { return false }

// SendExtent implements export.Session.
func (s *session) SendExtent(context.Context, *batch.Batch, uint32, protocol.Extent) error {
	return errors.New("the place takes payloads only")
}

// SendWithChecksum implements export.Session.
func (s *session) SendWithChecksum(_ context.Context, b *batch.Batch, _ uint32) error {
	if err := s.host.point(s.run.Pipeline, "send"); err != nil {
		return err
	}
	s.w.mayWork(s.run, "sends rows of")
	if s.blocks--; s.way == failsWhileSending && s.blocks == 0 {
		return transient("the connection was cut")
	}
	rows, err := segment.Decode(nil, segment.Block{Rows: b.Rows, Payload: b.Payload, RowsBytes: b.RowsBytes, RowsCRC32: b.RowsCRC32, Flags: b.Flags})
	if err != nil {
		return err
	}
	s.hash.Write(b.Payload)
	s.totals.Add(b)
	last := &s.parts[len(s.parts)-1]
	last.Rows += uint64(b.Rows)
	for l := range bytes.Lines(rows) {
		if s.stream != batch.Events {
			s.lines = append(s.lines, l)
			continue
		}
		id := idOf(l)
		s.events = append(s.events, id)
		s.w.arrives(s.place, s.run, last.Date, id)
	}
	return nil
}

func idOf(line []byte) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(string(line), `{"id":"`), `"`)
	return id
}

// EndPartition implements export.Session.
func (s *session) EndPartition(context.Context, protocol.Totals) error { return s.host.alive() }

// Prepare implements export.Session.
func (s *session) Prepare(_ context.Context, t protocol.Totals) (protocol.Receipt, error) {
	if err := s.host.point(s.run.Pipeline, "prepare"); err != nil {
		return protocol.Receipt{}, err
	}
	if s.way == failsAtPrepare {
		return protocol.Receipt{}, transient("the place is busy")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Rows != s.totals.Rows || t.RowsBytes != s.totals.RowsBytes {
		s.w.errorf("run %d of %s: %d rows were sent, and %d announced", s.run.Number, s.run.Pipeline, s.totals.Rows, t.Rows)
	}
	l, sum := s.of(s.run.PipelineID), s.run.Content+hex.EncodeToString(s.hash.Sum(nil))
	if before := l.sent[s.run.Number]; before != "" && before != sum {
		s.w.errorf("run %d of %s sends other bytes than in an earlier attempt", s.run.Number, s.run.Pipeline)
	}
	l.sent[s.run.Number] = sum
	return protocol.Receipt{Partitions: s.parts}, nil
}

// Commit implements export.Session.
func (s *session) Commit(context.Context) (protocol.Receipt, error) {
	if err := s.host.point(s.run.Pipeline, "commit"); err != nil {
		return protocol.Receipt{}, err
	}
	if s.way == failsBeforeCommit {
		return protocol.Receipt{}, transient("the commit was not received")
	}
	if err := s.commit(); err != nil {
		return protocol.Receipt{}, err
	}
	if err := s.host.point(s.run.Pipeline, "committed"); err != nil {
		return protocol.Receipt{}, err
	}
	if s.way == losesTheAnswer {
		return protocol.Receipt{}, transient("the answer was lost")
	}
	return protocol.Receipt{Partitions: s.parts}, nil
}

func (s *session) commit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(s.run.PipelineID)
	switch {
	case s.ended:
		return errors.New("the session is over")
	case s.run.Fence < l.fence:
		return &protocol.Error{Class: protocol.Fenced, Err: fmt.Errorf("fence %d was used since", l.fence)}
	case s.run.Number <= l.last.Number:
		s.w.errorf("run %d of %s is committed after run %d", s.run.Number, s.run.Pipeline, l.last.Number)
		return nil
	}
	for _, id := range s.events {
		if other, twice := s.rows[id]; twice {
			s.w.errorf("%s: event %s of run %d of %s is there already, from pipeline %s", s.name, id, s.run.Number, s.run.Pipeline, other)
		}
		s.rows[id] = s.run.PipelineID
	}
	if s.stream != batch.Events {
		if err := s.replace(); err != nil {
			return err
		}
	}
	s.ended = true
	l.last = s.run.Last()
	l.contents[s.run.Number], l.receipts[s.run.Number] = s.run.Content, protocol.Receipt{Partitions: s.parts}
	s.w.done.runs.Add(1)
	s.w.note(s.run.Pipeline, "commit %d with %d rows", s.run.Number, len(s.events)+len(s.lines))
	return nil
}

// replace puts the session's set in the place of the one that is there.
func (s *session) replace() error {
	rows, err := rowsOf(s.stream, s.lines)
	if err != nil {
		s.w.errorf("run %d of %s: %v", s.run.Number, s.run.Pipeline, err)
		return err
	}
	s.set = rows
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.folk.sets = append(s.w.folk.sets, &set{s.w.byName[s.run.Pipeline], s.run.Number, s.seq, s.floor, rows})
	return nil
}

// Abort implements export.Session.
func (s *session) Abort(context.Context, bool) error {
	s.ended = true
	return s.host.alive()
}

// Close implements export.Session.
func (s *session) Close() { s.ended = true }
