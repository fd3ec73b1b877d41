package intake

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

func TestFullness(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_700_000_000, 0)
	full := fmt.Errorf("begin a file: %w: %w", wal.ErrFull, syscall.ENOSPC)
	room := t.TempDir()
	if disk, err := syscallFree(room); err != nil || disk < logFile {
		t.Skipf("SKIPPED: the disk of the test has %d bytes free: %v", disk, err)
	}
	none := "/proc" // a file system without a free byte
	tests := map[string]struct {
		outcomes []error
		dir      string
		after    time.Duration
		want     error
	}{
		"no append yet":               {nil, none, 0, nil},
		"an append that worked":       {[]error{nil}, none, 0, nil},
		"a full disk":                 {[]error{full}, room, 0, full},
		"a full disk, a second later": {[]error{full}, room, time.Second, full},
		"room again":                  {[]error{full}, room, fullPause, nil},
		"no room again":               {[]error{full}, none, math.MaxInt64, full},
		"an append that worked since": {[]error{full, nil}, none, 0, nil},
		"another error since":         {[]error{full, wal.ErrTooLarge}, none, time.Hour, full},
	}
	for name, tt := range tests {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			var f fullness
			for _, err := range tt.outcomes {
				f.note(err, began)
			}
			if got := f.lasts(tt.dir, began.Add(tt.after)); !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func syscallFree(dir string) (int64, error) {
	var fs syscall.Statfs_t
	err := syscall.Statfs(dir, &fs)
	return int64(fs.Bavail) * int64(fs.Bsize), err
}

func TestNeedRoom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("open: %w", syscall.ENOSPC), "open: no space left on device: a new file of the write-ahead log needs 16 MiB"},
		{syscall.EDQUOT, "disk quota exceeded: a new file of the write-ahead log needs 16 MiB"},
		{wal.ErrClosed, wal.ErrClosed.Error()},
	} {
		if got := needRoom(tt.err).Error(); got != tt.want || !errors.Is(needRoom(tt.err), tt.err) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if needRoom(nil) != nil {
		t.Error("an error without a cause")
	}
}

// The status shows why a collector does not listen while its log cannot be opened.
func TestTheStatusOfACollectorWithoutALog(t *testing.T) {
	t.Parallel()
	s := openSite(t, twoProjects+collectorOfTwo("127.0.0.1:0"))
	c := s.set.now.Load().collectors[0]
	c.unopened.set(needRoom(fmt.Errorf("open write-ahead log: %w", syscall.ENOSPC)))
	status := &operation.Status{}
	if err := DescribeCollectors(t.Context(), s.set, status); err != nil || len(status.Collectors) != 1 {
		t.Fatal(status.Collectors, err)
	}
	want := filepath.Base(s.stores.Dir.Data) + " has "
	if got := status.Collectors[0].Failing; !strings.Contains(got, "needs 16 MiB") || !strings.Contains(got, want) || strings.Contains(got, "again") {
		t.Errorf("failing: %q", got)
	}
}
