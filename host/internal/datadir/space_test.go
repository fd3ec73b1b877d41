package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
)

func TestIsTransient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("damaged"), false},
		{&journal.BehindError{}, false},
		{fmt.Errorf("seal: %w", syscall.ENOSPC), true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}, true},
		{&fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}, true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, false},
	} {
		if got := IsTransient(tt.err); got != tt.want {
			t.Errorf("IsTransient(%v) is %v", tt.err, got)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	d := Dir{Data: t.TempDir()}
	d.Blobs = d.Path("blobs")
	other := errors.New("damaged")
	if d.Explain(other) != other || d.ExplainRetried(other) != other || d.Explain(nil) != nil || d.ExplainRetried(nil) != nil {
		t.Error("an error of another kind was changed")
	}
	full := fmt.Errorf("seal: %w", syscall.ENOSPC)
	for name, tt := range map[string]struct {
		got               error
		says, saysNothing string
	}{
		"a command that ends": {d.Explain(full), "run the command again", "by itself"},
		"a host that retries": {d.ExplainRetried(full), "by itself", "again"},
	} {
		said := tt.got.Error()
		if !errors.Is(tt.got, full) || !strings.Contains(said, d.Data+" has ") || !strings.Contains(said, tt.says) || strings.Contains(said, tt.saysNothing) {
			t.Errorf("%s: %q", name, said)
		}
	}
}
