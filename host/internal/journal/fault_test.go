package journal_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
)

// scripted is a catalog whose calls are steps of a script.
type scripted struct {
	journal.Catalog
	script *disktest.Script
}

func step[T any](s scripted, name string, effect func() (T, error)) (result T, err error) {
	err = s.script.Do("catalog: "+name, func() (err error) {
		result, err = effect()
		return err
	})
	if err != nil {
		result = *new(T)
	}
	return result, err
}

func (s scripted) Sequence(ctx context.Context, project int64) (int64, error) {
	return step(s, "sequence", func() (int64, error) { return s.Catalog.Sequence(ctx, project) })
}

func (s scripted) InsertPending(ctx context.Context, project int64, blob string, ttl time.Duration) error {
	return s.script.Do("catalog: announce "+blob, func() error { return s.Catalog.InsertPending(ctx, project, blob, ttl) })
}

func (s scripted) CommitSeal(ctx context.Context, seal journal.Seal) error {
	return s.script.Do(fmt.Sprintf("catalog: commit seal %d, %s", seal.Seq, seal.Blob), func() error { return s.Catalog.CommitSeal(ctx, seal) })
}

func (s scripted) Unrecorded(ctx context.Context, project int64) ([]journal.Seal, error) {
	return step(s, "unrecorded seals", func() ([]journal.Seal, error) { return s.Catalog.Unrecorded(ctx, project) })
}

func (s scripted) Unconfirmed(ctx context.Context, project int64) ([]journal.Rewrite, error) {
	return step(s, "unconfirmed rewrites", func() ([]journal.Rewrite, error) { return s.Catalog.Unconfirmed(ctx, project) })
}

func (s scripted) MarkRecorded(ctx context.Context, project, seq int64) error {
	return s.script.Do(fmt.Sprintf("catalog: seal %d is recorded", seq), func() error { return s.Catalog.MarkRecorded(ctx, project, seq) })
}

func (s scripted) ExpiredPending(ctx context.Context, project int64) ([]string, error) {
	return step(s, "expired announcements", func() ([]string, error) { return s.Catalog.ExpiredPending(ctx, project) })
}

func (s scripted) Pending(ctx context.Context, project int64) ([]string, error) {
	return step(s, "announcements", func() ([]string, error) { return s.Catalog.Pending(ctx, project) })
}

func (s scripted) DropPending(ctx context.Context, blob string) (bool, error) {
	return step(s, "drop "+blob, func() (bool, error) { return s.Catalog.DropPending(ctx, blob) })
}

func (s scripted) KeyRuns(ctx context.Context, project int64) ([]keys.Run, error) {
	return step(s, "runs of keys", func() ([]keys.Run, error) { return s.Catalog.KeyRuns(ctx, project) })
}

func (s scripted) ReplaceKeyRuns(ctx context.Context, project int64, old []keys.Run, merged keys.Run) error {
	return s.script.Do("catalog: replace runs by "+merged.Blob, func() error { return s.Catalog.ReplaceKeyRuns(ctx, project, old, merged) })
}

func (s scripted) Blobs(ctx context.Context, project int64) ([]string, error) {
	return step(s, "blobs of segments", func() ([]string, error) { return s.Catalog.Blobs(ctx, project) })
}

// machine is a data directory whose disk and catalog a script decides about.
// Its rows come from one source, from which they can be read again.
type machine struct {
	bench
	script *disktest.Script
	disk   *disktest.Disk
	ids    []string
	times  []int64

	sealTime time.Duration
}

const (
	machineRows  = 24
	machineChunk = 6 // rows of a chunk; each is sealed
)

// emptyCatalog makes a catalog that knows the project, once, to be copied.
func emptyCatalog(t *testing.T) string {
	t.Helper()
	b := newBench(t)
	if err := b.catalog.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(b.dir, "catalog.db")
}

func newMachine(t *testing.T, catalogFile string, d *disktest.Disk, script *disktest.Script, owner string) *machine {
	t.Helper()
	m := &machine{bench: bench{t: t, dir: t.TempDir()}, script: script, disk: d}
	m.ids, m.times = random(rand.New(rand.NewPCG(1, 7)), machineRows, 3)
	copyFile(t, catalogFile, filepath.Join(m.dir, "catalog.db"))
	var err error
	if m.catalog, err = catalog.Open(t.Context(), filepath.Join(m.dir, "catalog.db"), owner); err != nil {
		t.Fatal(err)
	}
	return m
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// stop closes the catalog and returns its file.
func (m *machine) stop() string {
	m.t.Helper()
	if err := m.catalog.Close(); err != nil {
		m.t.Fatal(err)
	}
	return filepath.Join(m.dir, "catalog.db")
}

// start opens and sweeps the store and expires the announcements of other
// processes, as a host does before it opens a journal.
func (m *machine) start() error {
	store, err := disk.OpenOn(m.disk, "/blobs")
	if err != nil {
		return err
	}
	m.store = store
	return errors.Join(store.Sweep(), m.catalog.ExpirePending(m.t.Context()))
}

func (m *machine) faultyOptions() journal.Options {
	o := m.options()
	o.Catalog = scripted{m.catalog, m.script}
	o.Workers = 1
	o.SealTime = m.sealTime
	return o
}

// cursor is how many rows of the source are in the journal.
func (m *machine) cursor() int {
	m.t.Helper()
	cursors, err := m.catalog.Cursors(m.t.Context(), project, "files.a")
	if err != nil {
		m.t.Fatal(err)
	}
	n, err := strconv.Atoi("0" + string(cursors["file"]))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// feed reads the source on to its end, and returns how many rows were
// acknowledged.
func (m *machine) feed() (acknowledged int, err error) {
	open := m.disk.OpenFiles()
	defer func() {
		if now := m.disk.OpenFiles(); now > open {
			m.t.Errorf("%d files are left open", now-open)
		}
	}()
	w, err := journal.Open(m.t.Context(), m.faultyOptions())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for at := m.cursor(); at < machineRows; at += machineChunk {
		end := at + machineChunk
		if err := w.Append(m.t.Context(), chunk("files.a", m.ids[at:end], m.times[at:end], at)); err != nil {
			return acknowledged, err
		}
		if err := w.Seal(m.t.Context()); err != nil {
			if later := w.Append(m.t.Context(), journal.Chunk{}); later == nil {
				m.t.Errorf("a writer whose seal failed (%v) takes more", err)
			}
			return acknowledged, err
		}
		acknowledged = end
	}
	return acknowledged, nil
}

// holdsOnce checks that the first n rows are in the journal, and none twice.
func (m *machine) holdsOnce(n int) {
	m.t.Helper()
	lines := m.lines()
	if unique := slices.Compact(slices.Clone(lines)); len(unique) != len(lines) {
		m.t.Errorf("%d rows are there more than once", len(lines)-len(unique))
	}
	for _, line := range expected(m.ids[:n], m.times[:n]) {
		if _, found := slices.BinarySearch(lines, line); !found {
			m.t.Errorf("acknowledged and lost: %s", line)
		}
	}
}

// clean checks that, once the source was read to its end and the store was swept,
// each row is there once and no file is left over.
func (m *machine) clean() {
	m.t.Helper()
	same(m.t, m.lines(), expected(m.ids, m.times))
	if report := m.verify(); len(report.Damages) > 0 {
		m.t.Errorf("damaged: %+v", report.Damages)
	}
	m.tidy()
}

// tidy checks that there is nothing on the disk that nothing names, and nothing
// announced.
func (m *machine) tidy() {
	m.t.Helper()
	m.noOrphans()
	for _, file := range m.disk.Files() {
		if strings.Contains(file, "/.tmp-") {
			m.t.Errorf("%s is left", file)
		}
	}
	pending, err := m.catalog.Pending(m.t.Context(), project)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, blob := range pending {
		m.t.Errorf("%s is still announced", blob)
	}
}

// recovered checks that a machine that was stopped and started again holds the
// acknowledged rows, reads the rest, and is clean.
func (m *machine) recovered(acknowledged int) {
	m.t.Helper()
	m.script.Fail(nil)
	if err := m.start(); err != nil {
		m.t.Fatal(err)
	}
	if err := journal.Recover(m.t.Context(), m.catalog, m.store, project); err != nil {
		m.t.Fatal(err)
	}
	m.holdsOnce(acknowledged)
	if _, err := m.feed(); err != nil {
		m.t.Fatal(err)
	}
	m.clean()
}

// rebuiltHolds checks that the commit records on the disk cover the acknowledged
// rows.
func (m *machine) rebuiltHolds(acknowledged int) {
	m.t.Helper()
	rebuilt := 0
	err := journal.Rebuild(m.t.Context(), m.store, project, func(s journal.Seal) error {
		for _, move := range s.Cursors {
			n, err := strconv.Atoi(string(move.To))
			if err != nil {
				return err
			}
			rebuilt = n
		}
		return nil
	}, noRewrite)
	if err != nil {
		m.t.Fatal(err)
	}
	if rebuilt < acknowledged {
		m.t.Errorf("%d rows were acknowledged, commit records tell of %d", acknowledged, rebuilt)
	}
}

// steps are those of an undisturbed run.
func steps(t *testing.T, empty string) []string {
	t.Helper()
	script := &disktest.Script{}
	m := newMachine(t, empty, disktest.New(script), script, "host-1")
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.feed(); err != nil {
		t.Fatal(err)
	}
	all := script.Steps()
	m.clean()
	m.stop()
	return all
}

var faultNames = map[disktest.Fault]string{disktest.Before: "before", disktest.After: "after"}

// eachStep runs a test for every step of an undisturbed run, and both faults.
func eachStep(t *testing.T, test func(t *testing.T, empty string, n int, fault disktest.Fault)) {
	empty := emptyCatalog(t)
	for n, name := range steps(t, empty) {
		faults := []disktest.Fault{disktest.Before, disktest.After}
		if without := regexp.MustCompile(`^(read|open|list) |^catalog: (sequence|runs|unrecorded|announcements|expired|blobs)`); without.MatchString(name) {
			faults = faults[:1] // there is no effect that it could be before
		}
		for _, fault := range faults {
			t.Run(fmt.Sprintf("%s step %d, %s", faultNames[fault], n+1, strings.ReplaceAll(name, "/", "∕")), func(t *testing.T) {
				t.Parallel()
				test(t, empty, n+1, fault)
			})
		}
	}
}

// One step fails, and the next does not. The process goes on: it opens the
// journal again and reads on from where the cursor stands.
func TestAnyStepMayFailOnce(t *testing.T) {
	eachStep(t, func(t *testing.T, empty string, n int, fault disktest.Fault) {
		script := &disktest.Script{}
		script.FailAt(n, fault, false)
		m := newMachine(t, empty, disktest.New(script), script, "host-1")
		if err := m.start(); err != nil {
			if err := m.start(); err != nil {
				t.Fatal(err)
			}
		}
		acknowledged, err := m.feed()
		if err != nil && !errors.Is(err, disktest.ErrInjected) {
			t.Fatalf("the cause is not told: %v", err)
		}
		m.holdsOnce(acknowledged)
		if _, err := m.feed(); err != nil {
			t.Fatalf("a second attempt: %v", err)
		}
		m.holdsOnce(machineRows)
		again := newMachine(t, m.stop(), m.disk, script, "host-2")
		again.recovered(machineRows)
		again.stop()
	})
}

// All steps from some step on fail, as in a loss of power. The next start finds
// the durable files, and perhaps some that were not synced.
func TestThePowerMayFailAtAnyStep(t *testing.T) {
	eachStep(t, func(t *testing.T, empty string, n int, fault disktest.Fault) {
		script := &disktest.Script{}
		script.FailAt(n, fault, true)
		m := newMachine(t, empty, disktest.New(script), script, "host-1")
		acknowledged := 0
		if err := m.start(); err == nil {
			acknowledged, _ = m.feed()
		}
		catalogFile := m.stop()
		r := rand.New(rand.NewPCG(uint64(n), 8))
		for what, keep := range map[string]func(disktest.Unsynced) bool{
			"all that was not synced is lost": func(disktest.Unsynced) bool { return false },
			"all is kept":                     func(disktest.Unsynced) bool { return true },
			"some is kept":                    func(disktest.Unsynced) bool { return r.IntN(2) == 0 },
		} {
			t.Run(what, func(t *testing.T) {
				after := &disktest.Script{}
				again := newMachine(t, catalogFile, m.disk.PowerLoss(after, keep), after, "host-2")
				if err := again.start(); err != nil {
					t.Fatal(err)
				}
				again.rebuiltHolds(acknowledged)
				again.recovered(acknowledged)
				again.stop()
			})
		}
	})
}

// A second fault comes while the effects of the first are cleaned up: a step
// fails, and a few steps later the power. The same happens while the next start
// recovers.
func TestThePowerMayFailWhileAFaultIsHandled(t *testing.T) {
	eachStep(t, func(t *testing.T, empty string, n int, fault disktest.Fault) {
		r := rand.New(rand.NewPCG(uint64(n), 9))
		keep := func(disktest.Unsynced) bool { return r.IntN(2) == 0 }
		acknowledged := 0
		catalogFile, d := empty, disktest.New(nil)
		for life, dies := range []func(i int) disktest.Fault{
			twoFaults(n, fault, n+1+r.IntN(4)),
			twoFaults(r.IntN(8), disktest.After, 3+r.IntN(25)),
			twoFaults(r.IntN(8), disktest.Before, 3+r.IntN(25)),
		} {
			script := &disktest.Script{}
			script.Fail(func(i int, _ string) (disktest.Fault, error) { return dies(i), disktest.ErrInjected })
			m := newMachine(t, catalogFile, d.PowerLoss(script, keep), script, fmt.Sprint("host-", life))
			if err := m.start(); err == nil {
				now, _ := m.feed()
				acknowledged = max(acknowledged, now)
			}
			catalogFile, d = m.stop(), m.disk
		}
		script := &disktest.Script{}
		m := newMachine(t, catalogFile, d.PowerLoss(script, keep), script, "host-last")
		m.recovered(acknowledged)
		m.stop()
	})
}

// twoFaults lets step n fail, and all from the later one on.
func twoFaults(n int, fault disktest.Fault, later int) func(int) disktest.Fault {
	return func(i int) disktest.Fault {
		switch {
		case i >= later:
			return disktest.Before
		case i == n:
			return fault
		default:
			return disktest.None
		}
	}
}

// The disk is full from some step on: files cannot be made or written, only read
// and removed. The writer returns the cause, takes no more rows and leaves no
// files over; once there is space, the same process continues.
func TestAFullDisk(t *testing.T) {
	empty := emptyCatalog(t)
	for n, name := range steps(t, empty) {
		if !needsSpace(name) {
			continue
		}
		t.Run(fmt.Sprintf("at step %d, %s", n+1, strings.ReplaceAll(name, "/", "∕")), func(t *testing.T) {
			t.Parallel()
			script := &disktest.Script{}
			full := &fs.PathError{Op: "write", Path: "/blobs", Err: syscall.ENOSPC}
			script.Fail(func(i int, step string) (disktest.Fault, error) {
				if i > n && needsSpace(step) {
					return disktest.Before, full
				}
				return disktest.None, nil
			})
			m := newMachine(t, empty, disktest.New(script), script, "host-1")
			if err := m.start(); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				script.Fail(nil)
				m.recovered(0)
				m.stop()
				return
			}
			acknowledged, err := m.feed()
			// A merge after the last seal reports to no caller: its error may
			// be missing here.
			if acknowledged < machineRows && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("the cause is not told: %v", err)
			}
			m.holdsOnce(acknowledged)
			m.tidy()
			if _, err := m.feed(); !errors.Is(err, syscall.ENOSPC) && m.cursor() < machineRows {
				t.Errorf("the disk is still full: %v", err)
			}
			m.tidy()
			script.Fail(nil)
			if _, err := m.feed(); err != nil {
				t.Fatal(err)
			}
			m.clean()
			m.stop()
		})
	}
}

func needsSpace(step string) bool {
	return strings.HasPrefix(step, "write ") || strings.HasPrefix(step, "create ") || strings.HasPrefix(step, "mkdir ")
}

var update = flag.Bool("update", false, "overwrite testdata")

// The promises depend on the order of the steps, so a change of it must fail this
// test. Consecutive writes to one file are one line; reads are left out.
func TestTheOrderOfSteps(t *testing.T) {
	names := map[string]string{}
	random := regexp.MustCompile(`\.tmp-([0-9a-f]{16}\.\w+)-\d+|[0-9a-f]{16}\.seg`)
	var lines []string
	for _, step := range steps(t, emptyCatalog(t)) {
		if strings.HasPrefix(step, "read ") {
			continue
		}
		line := random.ReplaceAllStringFunc(step, func(name string) string {
			final := cmp.Or(random.FindStringSubmatch(name)[1], name)
			if names[final] == "" && strings.HasSuffix(final, ".seg") {
				names[final] = fmt.Sprintf("%c.seg", 'A'+len(names))
			}
			if final != name {
				return ".tmp-" + cmp.Or(names[final], final)
			}
			return names[final]
		})
		line = strings.ReplaceAll(line, " /blobs/", " ")
		if len(lines) == 0 || lines[len(lines)-1] != line {
			lines = append(lines, line)
		}
	}
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", "steps.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the steps of %d seals are not those of %s; got\n%s", machineRows/machineChunk, path, got)
	}
}
