package identity

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions lets an index run its compactions, as many at a time as the store allows.
// Pebble's own scheduler looks ten times a second whether another one may begin, for as
// long as an index is open. This one looks when a compaction has ended, or when the store
// says that it allows more: an index that nothing is folded into costs nothing. It
// implements pebble.CompactionScheduler for one index, and pebble.CompactionGrantHandle
// for all of its compactions.
type compactions struct {
	db    pebble.DBForCompaction // set by Register, before any other call
	again chan struct{}          // of capacity 1: grant is to look
	stop  chan struct{}          // closed by Unregister
	done  sync.WaitGroup         // the goroutine that grants

	mu      sync.Mutex // guards the rest; the store's are locked before it
	running int
	denied  bool // since grant looked, a compaction was told to wait
	closed  bool // no further compaction begins
}

// openPebble opens a store whose compactions c lets run. A store whose Open fails after it
// has registered never unregisters: openPebble does it then, so that neither the goroutine
// that grants nor the store's memory stays.
func openPebble(dir string, o *pebble.Options, c *compactions) (*pebble.DB, error) {
	o.Experimental.CompactionScheduler = c
	db, err := pebble.Open(dir, o)
	if err != nil && c.db != nil {
		c.Unregister()
	}
	return db, err
}

func newCompactions() *compactions {
	return &compactions{again: make(chan struct{}, 1), stop: make(chan struct{})}
}

// Register implements pebble.CompactionScheduler. It begins the goroutine that grants,
// which Unregister ends.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.db = db
	c.done.Go(c.serve)
}

// Unregister implements pebble.CompactionScheduler.
func (c *compactions) Unregister() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	c.done.Wait()
}

// TrySchedule implements pebble.CompactionScheduler. The store holds its locks.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !c.reserve() {
		return false, nil
	}
	return true, c
}

// reserve reports whether another compaction may run, and counts it.
func (c *compactions) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.running >= c.db.GetAllowedWithoutPermission() {
		c.denied = true
		return false
	}
	c.running++
	return true
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. The store may
// hold its locks, so that another goroutine looks.
func (c *compactions) UpdateGetAllowedWithoutPermission() { c.wake() }

// Started implements pebble.CompactionGrantHandle.
func (c *compactions) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle.
func (c *compactions) Done() {
	c.release()
	c.wake()
}

// release counts a compaction that has ended, or did not begin. It reports whether another
// one was told to wait since grant looked.
func (c *compactions) release() (denied bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	return c.denied
}

func (c *compactions) wake() {
	select {
	case c.again <- struct{}{}:
	default: // it will look
	}
}

// serve grants compactions until Unregister.
func (c *compactions) serve() {
	for {
		select {
		case <-c.again:
			c.grant()
		case <-c.stop:
			return
		}
	}
}

// grant begins the compactions that wait, as far as they are allowed.
func (c *compactions) grant() {
	for {
		c.mu.Lock()
		c.denied = false
		c.mu.Unlock()
		if !c.reserve() {
			return
		}
		waits, _ := c.db.GetWaitingCompaction()
		if waits && c.db.Schedule(c) {
			continue
		}
		if !c.release() {
			return // nothing waits
		}
	}
}
