package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// draining is a collector's log with two projects, on a disk on which the segments of
// the second one cannot be written while it is broken.
type draining struct {
	*collecting
	projects *project.Set
	broken   atomic.Bool
	now      atomic.Int64 // seconds; the journals' clock
}

func openDraining(t *testing.T) *draining {
	t.Helper()
	d := &draining{}
	script := &disktest.Script{}
	script.Fail(func(_ int, step string) (disktest.Fault, error) {
		if d.broken.Load() && strings.Contains(step, "segments/2") {
			return disktest.Before, syscall.ENOSPC
		}
		return disktest.None, nil
	})
	store, err := disk.OpenOn(disktest.New(script), "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c, err := catalog.Open(t.Context(), filepath.Join(dir, "catalog.db"), "test")
	if err != nil {
		t.Fatal(err)
	}
	configured := []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}, {Name: "app", ID: 2, TimeZone: time.UTC}}
	for _, p := range configured {
		if err := c.RegisterProject(t.Context(), p.ID, p.Name, "UTC"); err != nil {
			t.Fatal(err)
		}
	}
	clock, log := func() time.Time { return time.Unix(1780315200+d.now.Load(), 0) }, slog.New(slog.DiscardHandler)
	d.projects = project.New(project.Options{Dir: datadir.Dir{Data: dir}, Store: store, Catalog: c, Now: clock, Log: log, Observer: progress.Discard{}}, configured)
	l := &logDir{dir: filepath.Join(dir, "collector", "web"), name: "web", o: &Options{
		Config: func() *config.Config { return &config.Config{Projects: configured} }, Projects: d.projects, Catalog: c, Log: log, Now: clock,
		Wait: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
	}}
	if d.collecting, err = l.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.projects.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// take acknowledges one row of each project.
func (d *draining) take(t *testing.T, key byte) {
	t.Helper()
	for id := range int64(2) {
		row := []byte("{}\n")
		rows := []journal.Row{{Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{key}}}
		if err := d.log.Append(t.Context(), []rowlog.Part{{Project: id + 1, Rows: rows}}, row, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// sealed returns how many rows the journal of a project has sealed.
func (d *draining) sealed(t *testing.T, id int64) (rows int64) {
	t.Helper()
	projects, err := d.o.Catalog.Projects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range projects {
		if p.ID == id {
			rows = p.Rows
		}
	}
	return rows
}

func until(done func() bool) {
	for !done() {
		runtime.Gosched()
	}
}

// The rows of a project whose disk is full wait in the log, those of another one do
// not, and when there is room again each row comes to its journal once.
func TestTheRowsOfAFullDiskWait(t *testing.T) {
	t.Parallel()
	d := openDraining(t)
	d.take(t, 1)
	drained := make(chan error, 1)
	go func() { drained <- d.drain(t.Context()) }()
	until(func() bool { return d.log.Handed(1, 2) && d.log.Handed(2, 2) })
	d.broken.Store(true)
	second := d.projects.ByID(2).Journal
	if err := second.Settle(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is full, and sealing says %v", err)
	}
	until(func() bool { return d.handed.isHeld(2) })
	d.take(t, 2)
	until(func() bool { return d.log.Handed(1, 4) })
	if err := d.projects.ByID(1).Journal.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := d.sealed(t, 1); n != 2 {
		t.Errorf("the other project has %d rows", n)
	}
	if d.log.Handed(2, 4) || d.sealed(t, 2) != 0 {
		t.Error("rows of the project whose disk is full were handed on")
	}

	d.broken.Store(false)
	d.now.Add(int64(project.ReopenLimit / time.Second))
	if _, err := second.Writer(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.handed.release(2)
	until(func() bool { return d.log.Handed(2, 4) })
	if err := errors.Join(second.Settle(t.Context()), d.log.Trim(t.Context())); err != nil {
		t.Fatal(err)
	}
	if d.sealed(t, 1) != 2 || d.sealed(t, 2) != 2 || d.log.Waiting() != 0 {
		t.Errorf("the journals have %d and %d rows, and %d entries wait", d.sealed(t, 1), d.sealed(t, 2), d.log.Waiting())
	}
	if err := d.wal.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Events that were compressed wrong are found when the journal has to inflate them. They are
// kept and noted, and hold up neither what comes after them nor other projects.
func TestEventsThatCannotBeReadHoldNothingUp(t *testing.T) {
	t.Parallel()
	d := openDraining(t)
	d.take(t, 1)
	row := []byte("{}\n")
	c := journal.Chunk{Data: slices.Concat(row, row)}
	for i := range 2 {
		c.Rows = append(c.Rows, journal.Row{Offset: i * len(row), Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{7}})
	}
	if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&c); err != nil {
		t.Fatal(err)
	}
	c.Fragments[0].RowsCRC32++
	if _, err := d.wal.Append(t.Context(), rowlog.Damaged{Project: 2, Fragment: c.Fragments[0]}.Entry()); err != nil {
		t.Fatal(err)
	}
	d.take(t, 9)
	drained := make(chan error, 1)
	go func() { drained <- d.drain(t.Context()) }()
	last := d.log.Last()
	until(func() bool { return d.log.Handed(1, last) && d.log.Handed(2, last) })
	second := d.projects.ByID(2).Journal
	var corrupt *journal.CorruptFragmentError
	if err := second.Settle(t.Context()); !errors.As(err, &corrupt) {
		t.Fatalf("sealing says %v", err)
	}
	until(func() bool { return d.handed.isHeld(2) })
	d.now.Add(int64(project.ReopenLimit / time.Second))
	if _, err := second.Writer(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.handed.release(2)
	until(func() bool { return d.log.Handed(2, last) })
	if err := errors.Join(second.Settle(t.Context()), d.projects.ByID(1).Journal.Settle(t.Context()), d.log.Trim(t.Context())); err != nil {
		t.Fatal(err)
	}
	if d.sealed(t, 1) != 2 || d.sealed(t, 2) != 2 || d.log.Waiting() != 0 {
		t.Errorf("the journals have %d and %d rows, and %d entries wait", d.sealed(t, 1), d.sealed(t, 2), d.log.Waiting())
	}
	losses, err := d.notedLosses()
	if err != nil || len(losses) != 1 || losses[0].First != 3 || losses[0].Last != 3 || !strings.HasPrefix(losses[0].Detail, "2 events of project app cannot be read: entry 3 ") {
		t.Errorf("%v: noted are %+v", err, losses)
	}
	found := map[string]bool{}
	if err := rowlog.VerifyIn(d.dir, func(index uint64, err error) { found[fmt.Sprint(index)] = true }); err != nil || !found["3"] {
		t.Errorf("%v: verify finds %v", err, found)
	}
	if kept := keptIn(t, d); len(kept) != 1 || !bytes.HasSuffix(kept["00000000000000000003-1"], c.Fragments[0].Payload) {
		t.Errorf("%d files are kept: %q", len(kept), kept)
	}
	if err := d.wal.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// keptIn returns the files of events that were set aside, without what follows the number of
// their fragment.
func keptIn(t *testing.T, d *draining) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "*.damaged"))
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".damaged")
		kept[name[:strings.LastIndexByte(name, '-')]] = data
	}
	return kept
}

// Events that are set aside are kept whole, whenever a host is killed, and next to those of an
// entry of the same number in a log that was lost.
func TestDamagedEventsAreKeptWhole(t *testing.T) {
	t.Parallel()
	d := openDraining(t)
	var files [][]byte
	for n := range 2 {
		row := fmt.Appendf(nil, `{"n":%d}`+"\n", n)
		c := journal.Chunk{Data: row, Rows: []journal.Row{{Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{7}}}}
		if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&c); err != nil {
			t.Fatal(err)
		}
		x := rowlog.Damaged{Index: 3, Number: 1 + n, Project: 2, Fragment: c.Fragments[0], Err: os.ErrInvalid}
		path := damagedPath(d.dir, x)
		if err := os.WriteFile(path+".part", []byte("half"), 0o600); err != nil { // of a host that was killed
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} {
			if kept, err := keepDamaged(d.logDir, x); kept != want || err != nil {
				t.Errorf("kept: %v, want %v; %v", kept, want, err)
			}
		}
		files = append(files, x.Entry())
		x.Fragment.RowsCRC32++ // another log had another fragment there
		if kept, err := keepDamaged(d.logDir, x); !kept || err != nil {
			t.Errorf("another fragment of that number is kept: %v, %v", kept, err)
		}
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, files[n]) {
			t.Errorf("%v: %d bytes are kept of %d", err, len(data), len(files[n]))
		}
	}
	if parts, err := filepath.Glob(filepath.Join(d.dir, "*.part")); err != nil || len(parts) > 0 {
		t.Errorf("%v: %q are left", err, parts)
	}
	if err := d.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

// A loss is told that was noted behind half a line, of a host that was killed or whose disk was
// full.
func TestALossBehindHalfALineIsTold(t *testing.T) {
	t.Parallel()
	d := openDraining(t)
	if err := os.WriteFile(d.lossPath(), []byte(`{"source":"collector.web","first":`), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(2) {
		if err := noteLine(d.logDir, operation.LogLoss{Source: d.Name(), First: 5 + n, Last: 9, Detail: "lost"}); err != nil {
			t.Fatal(err)
		}
	}
	losses, err := d.notedLosses()
	if err != nil || len(losses) != 2 || losses[0].First != 5 || losses[1].First != 6 {
		t.Errorf("%v: told are %+v", err, losses)
	}
	if data, err := os.ReadFile(d.lossPath()); err != nil || bytes.Count(data, []byte("\n")) != 3 {
		t.Errorf("%v: %q", err, data)
	}
	if err := d.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

// Aliases are not known while rows that the log held at the start are lost with a
// journal that has failed, and were not handed to the next one yet.
func TestAliasesWaitForRowsThatAJournalHasLost(t *testing.T) {
	t.Parallel()
	d := openDraining(t)
	second := d.projects.ByID(2)
	second.Config.Identity = schema.Legacy
	d.take(t, 1)
	d.begun = d.log.Last()
	c := &Collector{logDir: d.logDir}
	c.now = d.collecting
	a := newAliases(d.o, func() []*Collector { return []*Collector{c} })
	drained := make(chan error, 1)
	go func() { drained <- d.drainOnce(t.Context()) }()
	until(func() bool { return d.log.Handed(2, d.begun) })
	d.broken.Store(true)
	if err := second.Journal.Settle(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is full, and sealing says %v", err)
	}
	if err := <-drained; !errors.Is(err, rowlog.ErrEnded) {
		t.Fatal(err)
	}

	// There is room again before the log is drained again.
	d.broken.Store(false)
	d.now.Add(int64(project.ReopenLimit / time.Second))
	ctx, stop := context.WithCancel(t.Context())
	d.o.Wait = func(context.Context, time.Duration) error {
		stop()
		return ctx.Err()
	}
	a.serve(ctx, second)
	if second.Links.Aliases() != nil {
		t.Fatal("aliases are said to be known, and a row is in the log only")
	}
	go func() { drained <- d.drainOnce(t.Context()) }()
	until(func() bool { return d.log.Handed(2, d.begun) })
	a.serve(t.Context(), second)
	if second.Links.Aliases() == nil || d.sealed(t, 2) != 1 {
		t.Errorf("aliases are not known, and %d rows are in the journal", d.sealed(t, 2))
	}
	if err := d.wal.Close(); err != nil {
		t.Fatal(err)
	}
	<-drained
}
