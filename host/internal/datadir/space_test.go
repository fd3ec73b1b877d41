package datadir

import (
	"errors"
	"fmt"
	"io/fs"
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
