package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// started makes a manager of one mode, and its destination.
func started(t *testing.T, mode string, change func(*Options)) *Destination {
	t.Helper()
	opts := Options{
		Dir: install(t, mode).Path(), CacheDir: filepath.Join(t.TempDir(), "cache"), RunDir: shortTemp(t),
		Logger: testLogger(t), Timeouts: testTimeouts(), Restart: Restart{Initial: time.Millisecond, Max: 2 * time.Millisecond},
	}
	if change != nil {
		change(&opts)
	}
	m := NewManager(opts)
	t.Cleanup(func() {
		m.Stop(context.Background())
		empty(t, opts.RunDir)
	})
	return m.Destination(mode, "out")
}

var shop = protocol.Project{ID: 7, Name: "shop", TimeZone: "UTC"}

func facts(t *testing.T, d *Destination) map[string]string {
	t.Helper()
	results, err := d.Check(context.Background(), shop.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range results {
		if r.Action == "env" {
			name, value, _ := strings.Cut(r.Detail, "=")
			got["env "+name] = value
			continue
		}
		got[r.Action] = r.Detail
	}
	return got
}

func TestProcessIsAlone(t *testing.T) {
	t.Setenv("SHOP_TOKEN", "very secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "of another destination")
	t.Setenv("AWS_PROFILE", "export")
	t.Setenv("TESTED_REGION", "somewhere")
	d := started(t, "good", nil)
	got := facts(t, d)
	if got["env AWS_PROFILE"] != "export" || got["env TESTED_REGION"] != "somewhere" {
		t.Errorf("environment: %v", got)
	}
	if got["stdin"] != "0" || got["pgid"] != got["pid"] || got["env TMPDIR"] != got["wd"] {
		t.Errorf("process: %v", got)
	}
	for name := range got {
		if n, is := strings.CutPrefix(name, "env "); is && !common(n) && !isDeclared(n, []string{"AWS_PROFILE", "TESTED_*"}) && !strings.HasPrefix(n, "PLUGIN_") && !strings.HasPrefix(n, "PENSTOCK_") && n != "TMPDIR" {
			t.Errorf("the plugin sees %s", n)
		}
	}
}

func TestDescribeIsCached(t *testing.T) {
	ctx := context.Background()
	d := started(t, "good", nil)
	if _, err := d.m.Described("good"); !errors.Is(err, ErrNotDescribed) {
		t.Errorf("before: %v", err)
	}
	first, err := d.m.Describe(ctx, "good")
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Schema.Attributes) != 3 || first.Schema.Attributes[2].Default != int64(3) {
		t.Errorf("described %+v", first)
	}
	second, err := d.m.Described("good")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	// A changed binary is another plugin, also offline: the pin decides.
	path := filepath.Join(d.m.Dir().Path(), Prefix+"good")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := d.m.Describe(ctx, "good"); !errors.As(err, &refused) || refused.State != Changed {
		t.Errorf("describe a changed binary: %v", err)
	}
	if _, err := NewDir(d.m.Dir().Path(), nil).Trust(ctx, "good"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.m.Described("good"); !errors.Is(err, ErrNotDescribed) {
		t.Errorf("after a change: %v", err)
	}
}

func TestProbePinsVersion(t *testing.T) {
	d := started(t, "good", nil)
	entry, err := d.m.Dir().Trust(context.Background(), "good")
	if err != nil || entry.Version != "1.2.3" || !cmp.Equal(entry.Protocols, []int{1}) {
		t.Errorf("trust = %+v, %v", entry, err)
	}
	copyFile(t, testPlugin, filepath.Join(d.m.Dir().Path(), Prefix+"renamed"), 0o700)
	if _, err := d.m.Dir().Trust(context.Background(), "renamed"); err != nil {
		t.Errorf("trust what is named after its file: %v", err)
	}
	copyFile(t, testPlugin, filepath.Join(d.m.Dir().Path(), Prefix+"misnamed"), 0o700)
	if _, err := d.m.Dir().Trust(context.Background(), "misnamed"); err == nil || !strings.Contains(err.Error(), `of type "other"`) {
		t.Errorf("trust what has another's name: %v", err)
	}
}

// The crash's error has the last lines; the next call finds the plugin started
// and configured again.
func TestCrashAndRestart(t *testing.T) {
	ctx := context.Background()
	d := started(t, "crash", nil)
	if _, err := d.Configure(ctx, shop, []byte(`{"bucket":"b"}`)); err != nil {
		t.Fatal(err)
	}
	_, err := d.Check(ctx, shop.ID)
	var crash *CrashError
	if !errors.As(err, &crash) {
		t.Fatalf("check: %v", err)
	}
	if crash.During != "check" || crash.Status != "exit status 2" || len(crash.Log) != 100 || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("crash = %+v", crash)
	}
	if all := strings.Join(crash.Log, "\n"); !strings.Contains(all, "ERROR panic: lost my way") || !strings.Contains(all, "line 149") || strings.Contains(all, "line 1\n") {
		t.Errorf("log of the crash: %s", all)
	}
	if protocol.ClassOf(err) != protocol.Retryable || !errors.Is(err, protocol.ErrLost) {
		t.Errorf("class %s, chain %v", protocol.ClassOf(err), err)
	}
	x, err := d.Export(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if last, err := x.Open(ctx, protocol.Run{ProjectID: shop.ID, Number: 1}); err != nil || last.Number != 41 {
		t.Errorf("open after the restart = %+v, %v: was it configured again?", last, err)
	}
}

func TestCrashBudget(t *testing.T) {
	ctx := context.Background()
	clock := &fakeClock{now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	d := started(t, "crash", func(o *Options) {
		o.Clock, o.Restart = clock, Restart{Initial: time.Second, Budget: 2, Window: time.Minute}
	})
	var crash *CrashError
	for i := range 3 {
		if _, err := d.Check(ctx, 1); !errors.As(err, &crash) {
			t.Fatalf("crash %d: %v", i, err)
		}
	}
	if diff := cmp.Diff([]time.Duration{time.Second, 2 * time.Second}, clock.waits()); diff != "" {
		t.Errorf("pauses: %s", diff)
	}
	_, err := d.Check(ctx, 1)
	var spent *BudgetError
	if !errors.As(err, &spent) || spent.Crashes != 3 || !errors.As(spent.Last, &crash) {
		t.Fatalf("after the budget: %v", err)
	}
	clock.advance(spent.Until.Sub(clock.Now()))
	if _, err := d.Check(ctx, 1); !errors.As(err, &crash) {
		t.Errorf("when a crash has left the window: %v", err)
	}
}

// fakeClock moves when a caller waits.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	waited []time.Duration
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	c.waited = append(c.waited, d)
	c.mu.Unlock()
	c.advance(d)
	ch := make(chan time.Time, 1)
	ch <- c.Now()
	return ch
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) waits() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waited
}

func TestDeadlines(t *testing.T) {
	ctx := context.Background()
	// Only the call under test has a short deadline: on a busy machine the others
	// may take longer.
	const limit = 300 * time.Millisecond
	describe := func(o *Options) { o.Timeouts.Describe = limit }
	check := func(o *Options) { o.Timeouts.Check = limit }
	commit := func(o *Options) { o.Timeouts.Commit = limit }
	progress := func(o *Options) { o.Timeouts.Progress = 3 * time.Second }
	frozen := func(t *testing.T, err error, during string) {
		t.Helper()
		var f *FrozenError
		if !errors.As(err, &f) || f.During != during || protocol.ClassOf(err) != protocol.Retryable {
			t.Errorf("error = %v, want it frozen during %s", err, during)
		}
	}
	t.Run("frozen in describe", func(t *testing.T) {
		frozen(t, started(t, "frozen", describe).Start(ctx), "describe")
	})
	t.Run("slow to describe", func(t *testing.T) {
		frozen(t, started(t, "slow", describe).Start(ctx), "describe")
	})
	t.Run("check hangs", func(t *testing.T) {
		d := started(t, "hangs", check)
		_, err := d.Check(ctx, 1)
		var late *DeadlineError
		if !errors.As(err, &late) || late.During != "check" {
			t.Errorf("error = %v", err)
		}
		if !d.cur.alive() {
			t.Error("a slow check has killed the plugin")
		}
	})
	t.Run("send to a wedged plugin", func(t *testing.T) {
		d := started(t, "wedged", progress)
		x := open(t, d)
		var err error
		for range 100 {
			if err = send(ctx, x, &batch.Batch{Rows: 1, Payload: make([]byte, 1<<20)}); err != nil {
				break
			}
		}
		frozen(t, err, "send")
		if err := x.Abort(ctx, false); err != nil {
			t.Errorf("abort after the end: %v", err)
		}
	})
	t.Run("commit unanswered", func(t *testing.T) {
		x := open(t, started(t, "quiet", commit))
		_, err := x.Commit(ctx)
		frozen(t, err, "commit")
		if !errors.Is(err, protocol.ErrUnknown) {
			t.Errorf("the outcome is not said to be unknown: %v", err)
		}
	})
	t.Run("plugin dies in commit", func(t *testing.T) {
		x := open(t, started(t, "dies", nil))
		_, err := x.Commit(ctx)
		var crash *CrashError
		if !errors.As(err, &crash) || crash.Status != "exit status 4" || !errors.Is(err, protocol.ErrUnknown) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("caller gives up", func(t *testing.T) {
		d := started(t, "hangs", nil)
		if err := d.Start(ctx); err != nil {
			t.Fatal(err)
		}
		given, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if _, err := d.Check(given, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v", err)
		}
		if !d.cur.alive() {
			t.Error("a caller that gives up has killed the plugin")
		}
	})
}

func open(t *testing.T, d *Destination) *Export {
	t.Helper()
	x, err := d.Export(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	if _, err := x.Open(context.Background(), protocol.Run{ProjectID: 1, Number: 1}); err != nil {
		t.Fatal(err)
	}
	return x
}

// A frozen plugin is noticed while a call waits that has a long deadline.
func TestHeartbeatEndsACall(t *testing.T) {
	t.Parallel()
	d := started(t, "quiet", nil)
	x := open(t, d)
	if err := syscall.Kill(pidOf(t, d.cur), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := x.Commit(context.Background())
	var f *FrozenError
	if !errors.As(err, &f) || f.During != "heartbeat" || !errors.Is(err, protocol.ErrUnknown) {
		t.Errorf("error = %v", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("took %s", took)
	}
}

func TestChattyPluginDoesNotBlock(t *testing.T) {
	d := started(t, "chatty", nil)
	for range 3 {
		if _, err := d.Check(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLargeMessages(t *testing.T) {
	ctx := context.Background()
	x := open(t, started(t, "good", nil))
	for _, size := range []int{1 << 20, batch.MaxPayload, 5 << 20, 8<<20 - 1024} {
		if err := send(ctx, x, &batch.Batch{Rows: size, Payload: make([]byte, size)}); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	receipt, err := x.Prepare(ctx, protocol.Totals{})
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(1<<20 + batch.MaxPayload + 5<<20 + 8<<20 - 1024); receipt.Partitions[0].Rows != want {
		t.Errorf("the plugin counted %d, want %d", receipt.Partitions[0].Rows, want)
	}
	if _, err := x.Commit(ctx); err != nil {
		t.Error(err)
	}
}

func TestInventoryAndErase(t *testing.T) {
	ctx := context.Background()
	run := protocol.Run{ProjectID: shop.ID, Pipeline: "p", PipelineID: "x"}
	count := func(d *Destination) (n int, err error) {
		err = d.Inventory(ctx, protocol.InventoryQuery{Run: run}, func(protocol.InventoryItem) error { n++; return nil })
		return n, err
	}
	erase := func(d *Destination) (protocol.EraseResult, error) {
		lists := [][]string{make([]string, 25_000), {"a", "b"}}
		return d.Erase(ctx, run, func() ([]string, error) {
			if len(lists) == 0 {
				return nil, io.EOF
			}
			some := lists[0]
			lists = lists[1:]
			return some, nil
		})
	}
	d := started(t, "good", nil)
	if n, err := count(d); n != 2 || err != nil {
		t.Errorf("inventory = %d items, %v", n, err)
	}
	if got, err := erase(d); got.Rows != 25_002 || err != nil {
		t.Errorf("erase = %+v, %v", got, err)
	}
	boom := errors.New("disk full")
	if err := d.Inventory(ctx, protocol.InventoryQuery{Run: run}, func(protocol.InventoryItem) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("inventory that is broken off: %v", err)
	}
	stalls := started(t, "stalls", func(o *Options) { o.Timeouts.Progress, o.Timeouts.Erase = 200*time.Millisecond, 200*time.Millisecond })
	var late *DeadlineError
	if n, err := count(stalls); n != 1 || !errors.As(err, &late) || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("inventory that stalls = %d items, %v", n, err)
	}
	if _, err := erase(stalls); !errors.As(err, &late) {
		t.Errorf("erase that stalls: %v", err)
	}
}

func TestSecretsStayOut(t *testing.T) {
	ctx := context.Background()
	var out lockedBuffer
	d := started(t, "telltale", func(o *Options) { o.Logger = slog.New(slog.NewJSONHandler(&out, nil)) })
	answer, err := d.Configure(ctx, shop, []byte(`{"bucket":"b","password":"open \"sesame\""}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Check(ctx, shop.ID)
	if err == nil {
		t.Fatal("check passed")
	}
	if protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("class %s of %v", protocol.ClassOf(err), err)
	}
	said := fmt.Sprintf("%v %+v %s %v", err, answer, out.String(), d.cur.logs.last())
	var e *protocol.Error
	if errors.As(err, &e) {
		said += e.Hint + e.Err.Error()
	}
	if strings.Contains(said, "sesame") || strings.Count(said, redacted) < 5 {
		t.Errorf("said: %s", said)
	}
}

// Reasons of rejected rows and names of objects go to the quarantine, to
// summaries and to the catalog: they have no secrets either.
func TestSecretsStayOutOfReceipts(t *testing.T) {
	ctx := t.Context()
	t.Setenv("TESTED_TOKEN", "of the environment")
	d := started(t, "telltale", nil)
	if _, err := d.Configure(ctx, shop, []byte(`{"bucket":"of the environment","password":"sesame"}`)); err != nil {
		t.Fatal(err)
	}
	var said []string
	x, err := d.Export(ctx, func(rows []protocol.RejectedRow) error {
		for _, r := range rows {
			said = append(said, r.Reason)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Open(ctx, protocol.Run{ProjectID: shop.ID, Pipeline: "p", PipelineID: "x"})
	if err == nil {
		err = send(ctx, x, &batch.Batch{Rows: 1, Payload: []byte("row")})
	}
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := x.Prepare(ctx, protocol.Totals{})
	if err != nil {
		t.Fatal(err)
	}
	committed, err := x.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	said = append(append(said, prepared.Partitions[0].Objects...), committed.Partitions[0].Objects...)
	for _, text := range said {
		if strings.Contains(text, "sesame") || strings.Contains(text, "of the environment") || strings.Count(text, redacted) != 2 {
			t.Errorf("said: %s", text)
		}
	}
	if len(said) != 3 {
		t.Errorf("said: %q", said)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestStopFromManyGoroutines(t *testing.T) {
	ctx := context.Background()
	d := started(t, "good", nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if i%2 == 0 {
				if err := d.Start(ctx); err != nil && !errors.Is(err, ErrStopped) {
					t.Errorf("start: %v", err)
				}
				return
			}
			d.Stop(ctx)
		})
	}
	wg.Wait()
	d.Stop(ctx)
	if _, err := d.Status(ctx, protocol.Run{}); !errors.Is(err, ErrStopped) {
		t.Errorf("status after stop: %v", err)
	}
	d.m.Stop(ctx)
	if err := d.m.Destination("good", "late").Start(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("start after the manager's stop: %v", err)
	}
}

func TestStopEndsAStart(t *testing.T) {
	d := started(t, "silent", func(o *Options) { o.Timeouts.Start = time.Minute })
	result := make(chan error)
	go func() { result <- d.Start(context.Background()) }()
	eventually(t, "a process starts", func() bool {
		entries, err := os.ReadDir(d.m.opts.RunDir)
		return err == nil && len(entries) > 0
	})
	d.Stop(context.Background())
	if err := <-result; !errors.Is(err, ErrStopped) {
		t.Errorf("start: %v", err)
	}
}

// A refused plugin is not a crash: no pause, no budget.
func TestRefusedIsNoCrash(t *testing.T) {
	d := started(t, "good", nil)
	if err := os.Remove(filepath.Join(d.m.Dir().Path(), LockFile)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var refused *RefusedError
		err := d.Start(context.Background())
		if !errors.As(err, &refused) || protocol.ClassOf(err) != protocol.Configuration {
			t.Fatalf("start: %v", err)
		}
	}
}

func TestTwoDestinationsOfOneType(t *testing.T) {
	d := started(t, "good", nil)
	other := d.m.Destination("good", "second")
	one, two := facts(t, d)["pid"], facts(t, other)["pid"]
	if one == two {
		t.Errorf("both run in process %s", one)
	}
	d.Stop(context.Background())
	pid, err := strconv.Atoi(two)
	if err != nil || !runs(pid) {
		t.Errorf("stopping one has stopped the other: %v", err)
	}
}
