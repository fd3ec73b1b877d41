package localfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func eventsRun(number, fence int64) sdk.Run {
	return sdk.Run{
		ProjectID: 7, Pipeline: "events_to_out", PipelineID: "c0ffee", Stream: sdk.Events, Mode: sdk.Append,
		Number: number, Fence: fence,
	}
}

// begin does a run of one day up to Prepare.
func begin(ctx context.Context, l *lake.Lake, run sdk.Run, batches int) (receipt sdk.Receipt, err error) {
	if _, err := l.Open(ctx, run); err != nil {
		return receipt, err
	}
	partition := sdk.Partition{Date: "2026-06-01"}
	if run.Mode == sdk.Replace {
		partition.Date = ""
	}
	p, err := l.Write(ctx, run, partition, laketest.Reader("r", batches, 1000))
	if err != nil {
		return receipt, err
	}
	receipt.Partitions = []sdk.PartitionReceipt{p}
	return receipt, l.Prepare(ctx, run, receipt)
}

func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	root := filepath.Join(t.TempDir(), "out", "deep")
	l := lake.New(lake.Options{Store: newStore(root)})
	receipt, err := begin(t.Context(), l, eventsRun(1, 1), 2)
	if err == nil {
		err = l.Commit(t.Context(), eventsRun(1, 1), receipt)
	}
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(filepath.Dir(root), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(fileMode)
		if d.IsDir() {
			want = dirMode
		} else {
			files++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestOpenRemovesWhatACrashHasLeft(t *testing.T) {
	s := newStore(t.TempDir())
	l := lake.New(lake.Options{Store: s})
	if _, err := begin(t.Context(), l, eventsRun(1, 1), 1); err != nil {
		t.Fatal(err)
	}
	uploads := func() (n int) {
		err := s.walk(t.Context(), "7/", true, func(name string, _ fs.DirEntry) error {
			if strings.HasSuffix(name, uploadSuffix) {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, name := range []string{"7/mp_master_event/2026/06/01/events_to_out-c0ffee-00000001-0002.json.gz", "7/mp_master_event/2026/06/01/other-decaf-00000001-0001.json.gz"} {
		if _, err := s.Create(t.Context(), name, lake.NewAttempt(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := uploads(); n != 2 {
		t.Fatalf("%d uploads were left", n)
	}
	if _, err := lake.New(lake.Options{Store: s}).Open(t.Context(), eventsRun(1, 2)); err != nil {
		t.Fatal(err)
	}
	if n := uploads(); n != 1 {
		t.Errorf("%d uploads are left, want the other pipeline's one", n)
	}
}

// A process that dies while it writes a manifest, a target's record or a receipt
// leaves a temporary file. The next run must remove it.
func TestTemporaryFilesOfManifestsDoNotStay(t *testing.T) {
	dir := t.TempDir()
	s := newStore(dir)
	export := func(number int64) {
		t.Helper()
		l := lake.New(lake.Options{Store: s})
		receipt, err := begin(t.Context(), l, eventsRun(number, number), 1)
		if err == nil {
			err = l.Commit(t.Context(), eventsRun(number, number), receipt)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	export(1)
	for _, name := range []string{
		"7/_penstock/" + uploadSuffix,
		"7/_penstock/mp_master_event/" + uploadSuffix,
		"7/_penstock/mp_master_event/runs/events_to_out-c0ffee/.00000002.json.abcdefgh23456" + uploadSuffix,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "7/_penstock/mp_master_event.target.json")); err != nil {
		t.Fatal(err) // so that it is written again
	}
	export(2)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, uploadSuffix) {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Writers that race through WriteIf count exactly.
func TestConditionalWritesDoNotLoseUpdates(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 4, 25
	increment := func(s *store) error {
		for {
			data, v, err := s.Read(t.Context(), "a/counter", 100)
			if err != nil && !errors.Is(err, lake.ErrNotFound) {
				return err
			}
			n, _ := strconv.Atoi(string(data))
			_, err = s.WriteIf(t.Context(), "a/counter", []byte(strconv.Itoa(n+1)), v)
			if !errors.Is(err, lake.ErrConflict) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			s := newStore(dir)
			for range each {
				if err := increment(s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	data, _, err := (newStore(dir)).Read(t.Context(), "a/counter", 100)
	if err != nil || string(data) != strconv.Itoa(writers*each) {
		t.Errorf("the counter is %s, %v", data, err)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIPPED: a full disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	l := lake.New(lake.Options{Store: newStore(dir)})
	_, err := begin(t.Context(), l, eventsRun(1, 1), 100)
	if protocol.ClassOf(err) != protocol.Retryable || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := l.Abort(t.Context(), eventsRun(1, 1), true); err != nil {
		t.Error(err)
	}
	receipt, err := begin(t.Context(), l, eventsRun(1, 2), 2)
	if err == nil {
		err = l.Commit(t.Context(), eventsRun(1, 2), receipt)
	}
	if err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want protocol.Class
	}{
		{syscall.ENOSPC, protocol.Retryable},
		{syscall.EDQUOT, protocol.Retryable},
		{syscall.EIO, protocol.Retryable},
		{syscall.EACCES, protocol.Retryable},
		{syscall.EROFS, protocol.Retryable},
		{syscall.EMFILE, protocol.Retryable},
		{syscall.ENOTDIR, protocol.Configuration},
	} {
		err := classify(&fs.PathError{Op: "write", Path: "/out/x", Err: c.err})
		if got := protocol.ClassOf(err); got != c.want || !errors.Is(err, c.err) || !strings.Contains(err.Error(), "/out/x") {
			t.Errorf("%v is of class %v, want %v", err, got, c.want)
		}
		if strings.Contains(err.Error(), "retried") {
			t.Errorf("%v: the plugin does not know whether the host will retry", err)
		}
	}
}

func TestPathThatIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{path, filepath.Join(path, "below")} {
		_, err := begin(t.Context(), lake.New(lake.Options{Store: newStore(root)}), eventsRun(1, 1), 1)
		if protocol.ClassOf(err) != protocol.Configuration {
			t.Errorf("%s: %v", root, err)
		}
	}
}

func TestTargetsAndCheck(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	make := func(path, prefix string) sdk.Destination {
		d, err := open(t.Context(), sdk.Config{
			Project: sdk.Project{ID: 7}, JSON: fmt.Appendf(nil, `{"path":%q,"prefix":%q,"format":"json"}`, path, prefix),
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	direct, linked := make(filepath.Join(dir, "out"), "/a/"), make(filepath.Join(link, "out"), "a")
	if diff := cmp.Diff(direct.Targets(), linked.Targets()); diff != "" {
		t.Errorf("one place, two names:\n%s", diff)
	}
	if uri := direct.Targets()[0].URI; !strings.HasPrefix(uri, "file:///") || !strings.HasSuffix(uri, "/out/a/7/mp_master_event/") {
		t.Errorf("the target is %s", uri)
	}
	for _, r := range direct.(sdk.Checker).Check(t.Context()) {
		if !r.OK {
			t.Errorf("%s: %s", r.Action, r.Detail)
		}
	}
}

func TestMistakes(t *testing.T) {
	_, err := open(t.Context(), sdk.Config{JSON: []byte(`{"path":"out","prefix":"a//b"}`)})
	var found sdk.Diagnostics
	if !errors.As(err, &found) || len(found) != 2 || found[0].Attribute != "path" || found[1].Attribute != "prefix" {
		t.Errorf("mistakes are %v", err)
	}
}
