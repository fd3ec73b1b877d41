package plugin

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// sdkDestination is the plugin that is made with the SDK, configured.
func sdkDestination(t *testing.T) *Destination {
	t.Helper()
	d := started(t, "sdk", nil)
	copyFile(t, sdkPlugin, filepath.Join(d.m.Dir().Path(), Prefix+"sdk"), 0o700)
	if _, err := d.m.Dir().Trust(context.Background(), "sdk"); err != nil {
		t.Fatal(err)
	}
	answer, err := d.Configure(context.Background(), shop, []byte(`{}`))
	if err != nil || len(answer.Targets) != 1 {
		t.Fatalf("configure = %+v, %v", answer, err)
	}
	return d
}

func sdkExport(t *testing.T, d *Destination) *Export {
	t.Helper()
	ctx := context.Background()
	x, err := d.Export(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	run := protocol.Run{
		ProjectID: shop.ID, Pipeline: "p", PipelineID: "x1", Stream: protocol.Stream(1), Mode: protocol.Append, Number: 1, Fence: 1,
		AsOf: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
	}
	if _, err := x.Open(ctx, run); err != nil {
		t.Fatal(err)
	}
	return x
}

func finish(t *testing.T, x *Export) {
	t.Helper()
	ctx := context.Background()
	if _, err := x.Prepare(ctx, protocol.Totals{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestWholeExport(t *testing.T) {
	ctx := context.Background()
	d := sdkDestination(t)
	if d.Partitioning() != protocol.ByUTCDate || d.Description().Name != "sdk" {
		t.Errorf("description = %+v", d.Description())
	}
	x := sdkExport(t, d)
	var total protocol.Totals
	for i, date := range []string{"2026-06-01", "2026-06-02"} {
		if err := x.BeginPartition(ctx, protocol.Partition{Index: i, Date: date}); err != nil {
			t.Fatal(err)
		}
		var sum protocol.Totals
		for range 3 {
			b := block(t, "{}\n{}\n")
			if err := send(ctx, x, b); err != nil {
				t.Fatal(err)
			}
			sum.Add(b)
		}
		if err := x.EndPartition(ctx, sum); err != nil {
			t.Fatal(err)
		}
		total.Rows += sum.Rows
		total.RowsBytes += sum.RowsBytes
		total.PayloadBytes += sum.PayloadBytes
	}
	receipt, err := x.Prepare(ctx, total)
	if err != nil || len(receipt.Partitions) != 2 || receipt.Partitions[1].Rows != 6 {
		t.Fatalf("prepare = %+v, %v", receipt, err)
	}
	if _, err := x.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Abort(ctx, true), send(ctx, x, &batch.Batch{})); !errors.Is(err, errEnded) {
		t.Errorf("after the end: %v", err)
	}
	if err := sdkExport(t, d).Abort(ctx, true); err != nil {
		t.Errorf("abort: %v", err)
	}
}

// An export of another pipeline of the project waits for the end of the one that goes on,
// for longer than a plugin may take to open it, and costs that one nothing.
func TestASecondExportOfAProject(t *testing.T) {
	d := sdkDestination(t)
	first, p := sdkExport(t, d), d.cur
	limit := p.timeouts.Open
	p.timeouts.Open = time.Nanosecond
	waiting, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	second, err := d.Export(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Open(waiting, protocol.Run{ProjectID: shop.ID}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second export: %v", err)
	}
	p.timeouts.Open = limit
	finish(t, first)
	if err := sdkExport(t, d).Abort(context.Background(), false); err != nil {
		t.Error(err)
	}
	if x := sdkExport(t, d); d.cur != p {
		t.Errorf("the plugin was started again for %+v", x)
	}
}

// block makes a batch of the rows in text.
func block(t *testing.T, text string) *batch.Batch {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return &batch.Batch{
		Rows: strings.Count(text, "\n"), Payload: out.Bytes(), RowsBytes: len(text), RowsCRC32: crc32.ChecksumIEEE([]byte(text)),
	}
}

func logged(p *process, text string) bool {
	return strings.Contains(strings.Join(p.logs.last(), "\n"), text)
}

// Stop waits for open exports.
func TestStopDrains(t *testing.T) {
	d := sdkDestination(t)
	p := d.cur
	x := sdkExport(t, d)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		d.Stop(context.Background())
	}()
	eventually(t, "no further export is taken", func() bool {
		late, err := p.rpc.Export(context.Background(), nil)
		if err != nil {
			return true
		}
		defer late.Close()
		_, err = late.Open(context.Background(), protocol.Run{}) // refused for another reason before
		return err != nil && strings.Contains(err.Error(), "stopping")
	})
	select {
	case <-stopped:
		t.Fatal("stopped while an export was open")
	default:
	}
	finish(t, x)
	<-stopped
	if !logged(p, "committed") || !logged(p, "closed") {
		t.Errorf("its log: %v", p.logs.last())
	}
}

// SIGTERM from elsewhere drains too; the plugin's end is then a crash like any
// other, and the next call starts it again.
func TestTermDrains(t *testing.T) {
	ctx := context.Background()
	d := sdkDestination(t)
	p := d.cur
	x := sdkExport(t, d)
	if err := syscall.Kill(pidOf(t, p), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the plugin has taken notice", func() bool { return logged(p, "SIGTERM") })
	if _, err := x.Prepare(ctx, protocol.Totals{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the plugin ends", func() bool { return !p.alive() })
	if p.run.status != "exit status 0" || !logged(p, "committed") {
		t.Errorf("%s: %v", p.run.status, p.logs.last())
	}
	if _, err := d.Check(ctx, shop.ID); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// SIGINT, which a terminal sends, is not for plugins.
func TestInterruptIsIgnored(t *testing.T) {
	d := sdkDestination(t)
	if err := syscall.Kill(pidOf(t, d.cur), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Status(context.Background(), protocol.Run{ProjectID: shop.ID, Number: 1}); err != nil {
		t.Error(err)
	}
}

func TestChattySDKPluginDoesNotBlock(t *testing.T) {
	d := sdkDestination(t)
	for range 3 {
		if _, err := d.Check(context.Background(), shop.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// A call for a project that was not configured is the plugin's answer, with its
// class, and no crash.
func TestAnswersKeepTheirClass(t *testing.T) {
	d := sdkDestination(t)
	_, err := d.Status(context.Background(), protocol.Run{ProjectID: 99, Number: 1})
	var e *protocol.Error
	if !errors.As(err, &e) || errors.Is(err, protocol.ErrLost) || !d.cur.alive() {
		t.Errorf("error = %v", err)
	}
}

// Damage to a payload since it was stored is found by the plugin.
func TestSendWithChecksumOfSomethingElse(t *testing.T) {
	ctx := context.Background()
	x := sdkExport(t, sdkDestination(t))
	if err := x.BeginPartition(ctx, protocol.Partition{Date: "2026-06-01"}); err != nil {
		t.Fatal(err)
	}
	b := block(t, "{}\n")
	var sum protocol.Totals
	for _, crc := range []uint32{protocol.PayloadCRC32C(b.Payload), protocol.PayloadCRC32C(b.Payload) + 1} {
		sum.Add(b)
		// The second one may be refused while it is sent.
		if err := x.SendWithChecksum(ctx, b, crc); err != nil {
			expectDamage(t, err)
			return
		}
	}
	err := x.EndPartition(ctx, sum)
	if err == nil {
		_, err = x.Prepare(ctx, sum)
	}
	expectDamage(t, err)
}

func expectDamage(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "damaged on its way") || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("error = %v", err)
	}
}

// A plugin of the host's user is offered the directory of extents, reads them, and says
// which one it cannot read. A plugin of another user is not offered it, since a file
// holds more than the rows of the run.
func TestExtentsReachAPluginOfTheSameUser(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	b := block(t, "{}\n")
	if err := os.WriteFile(filepath.Join(dir, "x.seg"), b.Payload, 0o600); err != nil {
		t.Fatal(err)
	}
	d := sdkDestination(t)
	open := func() *Export {
		x, err := d.Export(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Close)
		run := protocol.Run{
			ProjectID: shop.ID, Pipeline: "p", PipelineID: "x1", Stream: protocol.Stream(1), Mode: protocol.Append, Number: 1, Fence: 1, Extents: dir,
		}
		if _, err := x.Open(ctx, run); err != nil {
			t.Fatal(err)
		}
		if err := x.BeginPartition(ctx, protocol.Partition{Date: "2026-06-01"}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	export := func(x *Export, file string) error {
		bare := *b
		bare.Payload = nil
		var sum protocol.Totals
		sum.Add(b)
		err := x.SendExtent(ctx, &bare, protocol.PayloadCRC32C(b.Payload), protocol.Extent{File: file, Length: len(b.Payload)})
		if err == nil {
			err = x.EndPartition(ctx, sum)
		}
		sum.RowsCRC32 = 0
		if err == nil {
			_, err = x.Prepare(ctx, sum)
		}
		if err == nil {
			err = x.Abort(ctx, true)
		}
		return err
	}
	x := open()
	if !x.Extents() {
		t.Fatal("the plugin does not take extents")
	}
	if err := export(x, "x.seg"); err != nil {
		t.Error(err)
	}
	if err := export(open(), "gone.seg"); !errors.Is(err, protocol.ErrExtent) || !strings.Contains(err.Error(), "gone.seg") {
		t.Errorf("error = %v, want ErrExtent", err)
	}
	d.cur.apart = true
	x = open()
	if x.Extents() {
		t.Error("a plugin of another user is offered the directory")
	}
	if err := x.Abort(ctx, true); err != nil {
		t.Error(err)
	}
}
