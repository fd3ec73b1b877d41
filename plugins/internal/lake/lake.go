package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/sdk"
)

// Defaults of Options.
const (
	DefaultPartSize    = 256 << 20
	DefaultObjectLimit = 4_000_000_000
	DefaultFinishers   = 4
)

// conflictTries is how often a small object is read and written again when
// another writer was faster.
const conflictTries = 10

// Options of a Lake.
type Options struct {
	Store Store
	// Root is the prefix of all names, as CleanPrefix returns it. Empty: names
	// start with the project's id.
	Root string
	// PartSize is the approximate size of one object of a run, in compressed
	// bytes: the batch that would exceed it starts the next object. 0: 256 MiB.
	// Attempts with different sizes cut a run into different objects.
	PartSize int64
	// ObjectLimit is the largest size in bytes of a replaced set that is stored as
	// one object. 0: 4 GB, the limit of BigQuery and others for one gzip file.
	ObjectLimit int64
	// OneObject refuses a set that is larger than ObjectLimit, which is otherwise
	// stored in parts: readers of the store cannot be shown several objects at once.
	OneObject bool
	// Finishers is the number of objects that are finished in the background
	// while the next one is written. 0: 4.
	Finishers int
	// Format is that of data objects. nil: gzip-compressed NDJSON.
	Format Format
	// InventoryLimit is the largest number of recorded objects that one inventory
	// selects. 0: 250,000.
	InventoryLimit int
	// Logger receives warnings about files that could not be removed. nil: they
	// are dropped.
	Logger hclog.Logger
}

// Lake carries out runs over a Store. It implements sdk.Destination but for
// Targets, and Opener, Preparer, Aborter and Inventorier. It repairs committed
// runs: see sdk.Repair.
type Lake struct {
	store       Store
	root        string
	partSize    int64
	objectLimit int64
	oneObject   bool
	finishers   int
	format      Format
	log         hclog.Logger
	// inventoryLimit is Options.InventoryLimit.
	inventoryLimit int

	mu       sync.Mutex
	attempts map[attemptKey]*attempt
}

// attemptKey identifies a pipeline's attempt among those that are open at the
// same time.
type attemptKey struct {
	stream sdk.Stream
	id     string
}

// New returns a Lake over a Store. It makes no call of the store.
func New(o Options) *Lake {
	l := &Lake{
		store: o.Store, root: o.Root, partSize: o.PartSize, objectLimit: o.ObjectLimit, oneObject: o.OneObject,
		finishers: o.Finishers, format: o.Format, log: o.Logger, inventoryLimit: o.InventoryLimit,
		attempts: make(map[attemptKey]*attempt),
	}
	if l.partSize == 0 {
		l.partSize = DefaultPartSize
	}
	if l.objectLimit == 0 {
		l.objectLimit = defaultObjectLimit()
	}
	if l.format == nil {
		l.format = ndjson{}
	}
	if l.finishers == 0 {
		l.finishers = DefaultFinishers
	}
	if l.inventoryLimit == 0 {
		l.inventoryLimit = DefaultInventoryLimit
	}
	if l.log == nil {
		l.log = hclog.NewNullLogger()
	}
	return l
}

// Capabilities returns the capabilities that all destinations over a Lake have.
func Capabilities() sdk.Capabilities {
	return sdk.Capabilities{
		Streams:      []sdk.Stream{sdk.Events, sdk.People, sdk.Identity},
		Modes:        []sdk.Mode{sdk.Append, sdk.Replace},
		Partitioning: sdk.ByUTCDate,
		Guarantee:    sdk.Idempotent,
		GuaranteeText: "Objects of a run become visible one by one and a retry overwrites them with the same bytes; " +
			"only the manifest says that the run is committed. A replaced set of up to 4 GB is one object and changes in one instant.",
		Inventory: true,
		Repair:    true,
	}
}

// readManifest reads the manifest of a pipeline. It returns nil and the empty
// version if the manifest does not exist.
func (l *Lake) readManifest(ctx context.Context, lay layout) (*Manifest, Version, error) {
	name := lay.manifest()
	data, version, err := l.store.Read(ctx, name, manifestLimit)
	if errors.Is(err, ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read manifest %s: %w", name, err)
	}
	m, err := decodeManifest(name, data)
	if err == nil {
		err = m.check(lay)
	}
	if err != nil {
		return nil, "", err
	}
	return m, version, nil
}

// writeManifest writes a manifest on condition that it is at prev, and returns
// ErrConflict if it is not. After a conflict it reads the manifest back: a write
// of this attempt whose answer was lost counts as done.
func (l *Lake) writeManifest(ctx context.Context, name string, m *Manifest, prev Version) (Version, error) {
	data, err := encodeJSON(m)
	if err != nil {
		return "", err
	}
	version, err := l.store.WriteIf(ctx, name, data, prev)
	if !errors.Is(err, ErrConflict) {
		if err != nil {
			err = fmt.Errorf("write manifest %s: %w", name, err)
		}
		return version, err
	}
	found, version, readErr := l.store.Read(ctx, name, manifestLimit)
	switch {
	case readErr == nil && string(found) == string(data):
		return version, nil
	case readErr != nil && !errors.Is(readErr, ErrNotFound):
		return "", fmt.Errorf("read manifest %s: %w", name, readErr)
	}
	return "", fmt.Errorf("write manifest %s: %w", name, err)
}

// update reads the manifest, calls change to edit it, and writes it; it starts
// over when another writer was faster. It returns an error of class Fenced if
// the manifest holds a newer fence.
func (l *Lake) update(ctx context.Context, lay layout, run sdk.Run, change func(*Manifest) error) (*Manifest, Version, error) {
	for try := 1; ; try++ {
		m, version, err := l.readManifest(ctx, lay)
		if err != nil {
			return nil, "", err
		}
		if m == nil {
			m = l.newManifest(run)
		}
		if m.Fence > run.Fence {
			return nil, "", fenced(m.Fence, run.Fence)
		}
		if err := change(m); err != nil {
			return nil, "", err
		}
		version, err = l.writeManifest(ctx, lay.manifest(), m, version)
		if errors.Is(err, ErrConflict) && try < conflictTries {
			continue
		}
		if errors.Is(err, ErrConflict) {
			err = sdk.Retryable(err, 0)
		}
		return m, version, err
	}
}

func fenced(theirs, ours int64) error {
	return sdk.Fenced(fmt.Errorf("%w: fence %d, this one has %d", errNewerFence, theirs, ours))
}

// attempt is the state of one open run. Open creates it; Write, Prepare and
// Commit, which never run concurrently, change it; end releases it.
type attempt struct {
	run      sdk.Run
	by       Attempt
	lay      layout
	target   *Target
	manifest *Manifest
	version  Version
	again    bool    // whether an earlier attempt at the run may have left objects
	current  Version // of the fixed object, as this attempt's Fence returned it

	// ctx is the context of all uploads. end cancels it.
	ctx    context.Context
	cancel context.CancelFunc
	tasks  *tasks

	parts    map[string]int // by date: the number of the last part
	receipts []PartitionReceipt
	changed  map[string]uint64 // rows of the open partition, by reason
	pending  Replacement       // of the fixed object; nil until Write starts it
	repair   *repair           // nil: the attempt carries out its run
}

func (l *Lake) attempt(run sdk.Run) (*attempt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.attempts[attemptKey{run.Stream, run.PipelineID}]
	if a == nil || a.run.Last() != run.Last() || a.run.Fence != run.Fence {
		return nil, sdk.Permanent(fmt.Errorf("run %d of pipeline %s is not open", run.Number, run.Pipeline))
	}
	return a, nil
}

// end removes the attempt from the open ones and stops its uploads.
func (l *Lake) end(ctx context.Context, a *attempt) error {
	l.mu.Lock()
	key := attemptKey{a.run.Stream, a.run.PipelineID}
	if l.attempts[key] == a {
		delete(l.attempts, key)
	}
	l.mu.Unlock()
	a.cancel()
	a.tasks.wait()
	if a.repair != nil {
		return a.repair.abort(ctx)
	}
	if a.pending == nil {
		return nil
	}
	return a.pending.Abort(ctx)
}

func (a *attempt) runReceipt() *RunReceipt {
	return &RunReceipt{
		Format: receiptFormat, Version: manifestVersion,
		Run: a.run.Number, Content: a.run.Content, Fence: a.run.Fence, CompleteAsOf: timestamp(a.run.AsOf), Partitions: a.receipts,
	}
}

// inner returns the id of a fixed object, which NDJSON has as the file name in its
// gzip header. It holds
// the run, fence and content of the attempt that wrote the object; two copies of
// a catalog use the same fences and differ in content. The header's comment field
// cannot hold them: some readers, such as DuckDB, refuse comments.
func (l layout) inner(run, fence int64, content string) string {
	name := fmt.Sprintf("%s-%08d-%08d", l.stem, run, fence)
	if content != "" {
		name += "-" + content
	}
	return name + ".json"
}

// inner is that of the attempt that committed the set, in a repair.
func (a *attempt) inner() string {
	if a.repair != nil {
		r := a.repair.receipt
		return a.lay.inner(r.Run, r.Fence, r.Content)
	}
	return a.lay.inner(a.run.Number, a.run.Fence, a.run.Content)
}

func addRun(runs []int64, run int64) []int64 {
	if slices.Contains(runs, run) {
		return runs
	}
	return append(runs, run)
}
