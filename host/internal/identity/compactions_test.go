package identity

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// backlog is a store with compactions that wait.
type backlog struct {
	waiting, granted, allowed int
	asked                     func() // while grant looks; nil: nothing happens
}

func (b *backlog) GetAllowedWithoutPermission() int { return b.allowed }

func (b *backlog) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	waits := b.waiting > 0
	if b.asked != nil {
		b.asked()
		b.asked = nil
	}
	return waits, pebble.WaitingCompaction{}
}

func (b *backlog) Schedule(pebble.CompactionGrantHandle) bool {
	b.waiting--
	b.granted++
	return true
}

// A compaction that was told to wait begins when another one ends, or when more are
// allowed, and also when it was told so while the scheduler looked. Nothing happens
// otherwise, for years.
func TestCompactionsThatWaitBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := &backlog{allowed: 1}, newCompactions()
		c.Register(2, b)
		want := func(what string, waiting, granted int) {
			t.Helper()
			synctest.Wait()
			if b.waiting != waiting || b.granted != granted {
				t.Errorf("%s: %d wait and %d were granted, want %d and %d", what, b.waiting, b.granted, waiting, granted)
			}
		}
		try := func(want bool) {
			t.Helper()
			ok, handle := c.TrySchedule()
			if ok != want || ok != (handle != nil) {
				t.Errorf("scheduled %v, want %v", ok, want)
			}
			if !ok {
				b.waiting++
			}
		}
		try(true)
		try(false)
		time.Sleep(10 * 365 * 24 * time.Hour)
		want("after years", 1, 0)
		c.Done()
		want("after the first has ended", 0, 1)
		try(false)
		b.allowed = 2
		c.UpdateGetAllowedWithoutPermission()
		want("with two at a time", 0, 2)
		c.Done()
		c.Done()
		want("after all", 0, 2)
		b.allowed, b.asked = 1, func() { try(false) }
		c.UpdateGetAllowedWithoutPermission()
		want("of one that came while it was looked", 0, 3)
		b.waiting = 1
		c.Unregister()
		c.Done()
		want("after the end", 1, 3)
		b.waiting = 0
		try(false)
	})
}

// listless is a file system in which one list of a directory fails.
type listless struct {
	vfs.FS
	at, count int // the list that fails, and those so far
}

func (l *listless) List(dir string) ([]string, error) {
	if l.count++; l.count == l.at {
		return nil, errors.New("the disk failed")
	}
	return l.FS.List(dir)
}

// A store that fails to open leaves no goroutine that grants compactions, whether it has
// registered before the failure or not.
func TestAStoreThatFailsToOpenGrantsNoCompactions(t *testing.T) {
	registered := 0
	for at := 1; ; at++ {
		c, disk := newCompactions(), &listless{FS: vfs.NewMem(), at: at}
		db, err := openPebble("identity", &pebble.Options{FS: disk, Logger: logger{}}, c)
		if err == nil {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			break
		}
		if c.db == nil {
			continue
		}
		registered++
		select {
		case <-c.stop:
		default:
			t.Errorf("list %d fails, and the scheduler goes on", at)
		}
	}
	if registered == 0 {
		t.Error("no list fails after the store has registered")
	}
}
