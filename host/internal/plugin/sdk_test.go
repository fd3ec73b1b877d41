package plugin

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

func logged(p *process, text string) bool {
	return strings.Contains(strings.Join(p.logs.last(), "\n"), text)
}

// Stop waits for what is open.
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
	// The answer may be lost with the connection, the commit may not.
	if _, err := x.Commit(ctx); err != nil && !errors.Is(err, protocol.ErrUnknown) {
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
