package intake

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// faultyLogs is a directory whose files fail some syncs.
type faultyLogs struct {
	wal.Dir
	faults *atomic.Int64 // syncs that still fail
}

func (d faultyLogs) Create(name string) (wal.File, error) {
	f, err := d.Dir.Create(name)
	return faultyLog{f, d.faults}, err
}

func (d faultyLogs) Open(name string) (wal.File, error) {
	f, err := d.Dir.Open(name)
	return faultyLog{f, d.faults}, err
}

type faultyLog struct {
	wal.File
	faults *atomic.Int64
}

func (f faultyLog) Sync() error {
	if f.faults.Load() > 0 {
		f.faults.Add(-1)
		return syscall.EIO
	}
	return f.File.Sync()
}

// said is a log handler that passes on the messages that it is given.
type said struct{ messages chan string }

func (s said) Enabled(context.Context, slog.Level) bool { return true }
func (s said) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s said) WithGroup(string) slog.Handler            { return s }
func (s said) Handle(_ context.Context, r slog.Record) error {
	s.messages <- r.Message
	return nil
}

// A sync of a collector's log that fails is reported and mended without a restart,
// also when the first repair fails: until then rows are refused.
func TestABrokenWriteAheadLogIsRepaired(t *testing.T) {
	dir, err := wal.OpenDir(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	var faults atomic.Int64
	log, _, err := wal.Open(wal.Options{FileSystem: faultyLogs{dir, &faults}})
	if err != nil {
		t.Fatal(err)
	}
	heard := said{make(chan string, 16)}
	d := &logDir{o: &Options{Log: slog.New(heard), Wait: lifecycle.Wait}, name: "web"}
	l := &collecting{logDir: d, wal: log, log: rowlog.New(log, "collector.web", nil)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.repair(t.Context())
	}()

	faults.Store(2) // the batch's and the repair's
	if _, err := log.Append(t.Context(), []byte("refused")); !errors.Is(err, wal.ErrBroken) {
		t.Fatal(err)
	}
	for _, want := range []string{"takes nothing", "could not repair", "works again"} {
		if got := <-heard.messages; !strings.Contains(got, want) {
			t.Errorf("it says %q, and should say that it %s", got, want)
		}
	}
	if _, err := log.Append(t.Context(), []byte("stored")); err != nil || l.log.Err() != nil {
		t.Fatal(err, l.log.Err())
	}
	r := log.Read(1)
	defer r.Close()
	if index, payload, err := r.Next(t.Context()); err != nil || index != 1 || string(payload) != "stored" {
		t.Errorf("%d %q %v", index, payload, err)
	}
	if err := log.Close(); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	<-ended
}
