package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Journal lists the calls that an index makes to a project's journal.
type Journal interface {
	// Links visits the extents of links of the segments with after < seq ≤ to:
	// see pipeline.Segments.
	Links(ctx context.Context, after, to int64, fn func(seq int64, extents []pipeline.Extent) error) error
	// Extent calls fn with each block of an extent, in order.
	Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error
	// Segment names the segment of a sequence; "" when there is none.
	Segment(ctx context.Context, seq int64) (string, error)
}

// Options configure an Index. Zero is the default, given behind each.
type Options struct {
	Dir      string // of the index, which nothing else writes to; made when missing
	Rules    schema.Identity
	Journal  Journal
	Limit    int          // ids that one person has at most; 500
	Failures int64        // refused links that are listed, the latest; 10,000
	Batch    int          // links that are folded at a time; 49,152
	Cache    *Cache       // shared with other indexes; one of its own
	Memory   int64        // bytes of a cache of its own, and four times the bytes of the latest writes in memory; 48 MiB
	Reserve  int64        // bytes that must be free on the disk, or nothing is folded; 32 MiB
	FS       vfs.FS       // that Dir is in; the operating system's, with files for their user alone
	Log      *slog.Logger // nil: nothing is said
	// Scratch is a directory that takes everything that the index would write to
	// Dir, which then stays as it is and may be read-only; "": there is none.
	Scratch string
}

func (o Options) withDefaults() Options {
	if o.Limit == 0 {
		o.Limit = 500
	}
	if o.Failures == 0 {
		o.Failures = 10_000
	}
	if o.Batch == 0 {
		o.Batch = 49_152
	}
	if o.Memory == 0 {
		o.Memory = 48 << 20
	}
	if o.Reserve == 0 {
		o.Reserve = 32 << 20
	}
	if o.FS == nil {
		o.FS = private{vfs.Default}
	}
	if o.Scratch != "" {
		o.FS = newOverlay(o.FS, o.Dir, o.Scratch)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Cache is memory that indexes share, for blocks that were read and for the latest
// writes. The caller of NewCache closes it, after the indexes.
type Cache struct{ blocks *pebble.Cache }

// NewCache returns a cache of some bytes.
func NewCache(bytes int64) *Cache { return &Cache{pebble.NewCache(bytes)} }

// Close gives the cache's memory back.
func (c *Cache) Close() { c.blocks.Unref() }

// Index is a project's links, folded. It may be used concurrently; one process
// at a time has its directory. The caller closes it.
type Index struct {
	o       Options
	rules   rules
	closers sync.WaitGroup // of goroutines that close a store whose fuse is blown

	mu     sync.Mutex // held by folds
	state  state
	closed bool
	fuse   *fuse // of db

	look  sync.RWMutex // of the fields below, which calls may read during a fold; held to change them
	db    *pebble.DB   // nil: it could not be opened, or was closed; changed under mu, too
	whole bool         // all was folded that the first fold since it was opened should fold
	stats Stats
}

// stateVersion is that of everything that is in an index.
const stateVersion = 1

// state describes the contents of the index. It is written with them, in one step.
type state struct {
	Version  int             `json:"version"`
	Rules    schema.Identity `json:"rules"`
	Limit    int             `json:"limit"`
	Position position        `json:"position"`
	Segment  string          `json:"segment"` // that of Position.Seq, by which a journal is known
	Base     string          `json:"base"`    // the generation to which changes are relative; "": there is none
	Next     string          `json:"next"`    // the generation made last, of which it is not known whether it became the latest
	Epoch    uint64          `json:"epoch"`   // of changes; those of earlier epochs are in Next
	Later    bool            `json:"later"`   // there may be changes of this epoch
	Counts   counts          `json:"counts"`
}

// position is how far the journal is folded: all segments before Seq, of that
// one all extents before Extent, of that one some Rows.
type position struct {
	Seq    int64 `json:"seq"`
	Extent int   `json:"extent"`
	Rows   int64 `json:"rows"`
}

// counts are those of folded links and ids, and the next numbers.
type counts struct {
	IDs      int64            `json:"ids"`
	Mappings int64            `json:"mappings"`
	Failures int64            `json:"failures"`
	Refused  map[Reason]int64 `json:"refused,omitempty"`
	Clusters uint64           `json:"clusters"`
	Since    uint64           `json:"since"`
}

// damageError says that the index is not as it was written.
type damageError struct{ detail string }

func (e *damageError) Error() string { return e.detail }

func damaged(format string, args ...any) error {
	return &damageError{fmt.Sprintf(format, args...)}
}

func isDamage(err error) bool {
	var d *damageError
	return errors.As(err, &d) || pebble.IsCorruptionError(err)
}

// errClosed says that the index was closed.
var errClosed = errors.New("the identity index is closed")

// Open opens an index. One that is not as it was written, of another version or
// of other rules, is rebuilt; one that the disk does not let it read or write
// now is an error, and is left as it is.
func Open(o Options) (*Index, error) {
	o = o.withDefaults()
	x := &Index{o: o, rules: rulesOf(o.Rules, o.Limit)}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.openOrReset(); err != nil {
		return nil, err
	}
	return x, nil
}

// openOrReset opens the index in the directory, or begins an empty one if the
// stored index cannot be used. x.mu is held.
func (x *Index) openOrReset() error {
	err := x.open()
	if err == nil || x.fuse.Fault() != nil {
		return err
	}
	x.o.Log.Warn("the identity index cannot be used and is rebuilt", "directory", x.o.Dir, "error", err)
	return x.reset()
}

// open opens the index in the directory.
func (x *Index) open() error {
	x.fuse = &fuse{FS: x.o.FS}
	x.fuse.blown = x.closeLater(x.fuse)
	err := x.openStore()
	if fault := x.fuse.Fault(); fault != nil {
		err = fault // it may have caused the other error
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open identity index %s: %w", x.o.Dir, err), x.close())
	}
	return nil
}

func (x *Index) openStore() error {
	if err := x.fuse.MkdirAll(x.o.Dir, 0o700); err != nil {
		return err
	}
	db, err := openPebble(x.o.Dir, x.pebbleOptions(), newCompactions())
	if err != nil {
		return err
	}
	x.look.Lock()
	x.db, x.whole = db, false
	x.look.Unlock()
	x.is(state{Version: stateVersion, Rules: x.o.Rules, Limit: x.o.Limit})
	t := newTable(db, nil, false)
	var stored state
	found, err := t.load(stateKey, func(value []byte) error { return json.Unmarshal(value, &stored) })
	switch {
	case err != nil:
		return err
	case !found:
		return nil
	case stored.Version != stateVersion || stored.Rules != x.o.Rules || stored.Limit != x.o.Limit:
		return errors.New("it was made by another version or for other rules")
	}
	x.is(stored)
	return nil
}

// closeLater returns the function that a blown fuse calls, from any goroutine. It
// closes the store behind the fuse as soon as no fold uses it, because the store
// would retry without end.
func (x *Index) closeLater(f *fuse) func(error) {
	return func(fault error) {
		x.o.Log.Error("could not read or write the identity index; will open it again", "directory", x.o.Dir, "error", fault)
		x.closers.Go(func() {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.fuse == f {
				_ = x.close()
			}
		})
	}
}

// pebbleOptions returns the options of the store. It writes no log, because links
// that a crash takes are folded again; after a crash the store always has the state
// after some batch. Keys are hashes, so that a compaction to a lower level rewrites
// that whole level. Compactions are therefore rare, and filters spare look-ups most
// of the tables that wait for one.
func (x *Index) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          x.fuse,
		DisableWAL:                  true,
		CacheSize:                   x.o.Memory,
		MemTableSize:                uint64(x.o.Memory / 4),
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       16,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               512 << 20,
		MaxOpenFiles:                256,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      logger{x.o.Log, x.fuse},
		// Reads return damage as an error, and the index is rebuilt.
		EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	}
	if x.o.Cache != nil {
		o.Cache = x.o.Cache.blocks
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// logger passes on the messages of the key-value store.
type logger struct {
	log  *slog.Logger
	fuse *fuse
}

// Infof implements pebble.Logger.
func (l logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger. Behind a blown fuse errors only repeat the
// fault.
func (l logger) Errorf(format string, args ...any) {
	if l.fuse.Fault() == nil {
		l.log.Warn("identity index", "error", fmt.Sprintf(format, args...))
	}
}

// Fatalf implements pebble.Logger. It blows the fuse and returns: until the store
// is closed, its writes do not reach the disk.
func (l logger) Fatalf(format string, args ...any) {
	l.fuse.blow(fmt.Errorf(format, args...))
}

// reset begins an empty index.
func (x *Index) reset() error {
	if err := errors.Join(x.close(), x.o.FS.RemoveAll(x.o.Dir)); err != nil {
		return fmt.Errorf("rebuild identity index %s: %w", x.o.Dir, err)
	}
	return x.open()
}

// close closes the store, if it is open. Behind a blown fuse that cannot fail:
// nothing is left to lose. x.mu is held.
func (x *Index) close() error {
	if x.db == nil {
		return nil
	}
	x.look.Lock()
	defer x.look.Unlock()
	err := x.db.Close()
	x.db, x.whole = nil, false
	if x.fuse.Fault() != nil {
		return nil
	}
	return err
}

// Close closes the index and keeps all folded links.
func (x *Index) Close() error {
	err := x.shut()
	x.closers.Wait()
	return err
}

func (x *Index) shut() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.db == nil {
		return nil
	}
	err := x.db.Flush()
	closeErr := x.close()
	if x.fuse.Fault() != nil {
		return nil // it was logged, and lost links are folded again
	}
	return errors.Join(err, closeErr)
}

// room refuses to write to a disk that is nearly full: the disk has more to
// keep than a cache.
func (x *Index) room() error {
	usage, err := x.o.FS.GetDiskUsage(x.o.Dir)
	if err != nil {
		return fmt.Errorf("%s: %w", x.o.Dir, err)
	}
	if usage.AvailBytes < uint64(x.o.Reserve) {
		return fmt.Errorf("%s: %w: %d MiB must be free, and %d are", x.o.Dir, syscall.ENOSPC, x.o.Reserve>>20, usage.AvailBytes>>20)
	}
	return nil
}

// retryRebuilt runs fn on the open index. If the index turns out to be damaged,
// it is rebuilt and fn runs once more. A fault of the disk takes the place of fn's
// error, also of nil: the next call opens the index again. x.mu is held.
func (x *Index) retryRebuilt(fn func() error) error {
	if x.closed {
		return errClosed
	}
	if x.db == nil || x.fuse.Fault() != nil {
		if err := errors.Join(x.close(), x.openOrReset()); err != nil {
			return err
		}
	}
	err := fn()
	if x.fuse.Fault() == nil && isDamage(err) {
		x.o.Log.Warn("the identity index is damaged; will rebuild it", "directory", x.o.Dir, "error", err)
		if err := x.reset(); err != nil {
			return err
		}
		err = fn()
	}
	if fault := x.fuse.Fault(); fault != nil {
		return fmt.Errorf("identity index %s: %w", x.o.Dir, fault)
	}
	return err
}

// Stats are the counts of folded links.
type Stats struct {
	Sequence int64            // of the journal, up to which it is folded
	IDs      int64            // that were linked
	Mappings int64            // ids that stand for another
	Refused  map[Reason]int64 // links, by reason
}

// Stats returns the counts of the links that are folded so far. It does not wait
// for a fold that is under way.
func (x *Index) Stats() Stats {
	x.look.RLock()
	defer x.look.RUnlock()
	s := x.stats
	s.Refused = maps.Clone(s.Refused)
	return s
}

// is sets the state in memory to the stored one.
func (x *Index) is(s state) {
	x.state = s
	x.look.Lock()
	defer x.look.Unlock()
	x.stats = Stats{Sequence: s.Position.Seq, IDs: s.Counts.IDs, Mappings: s.Counts.Mappings, Refused: s.Counts.Refused}
}
