package host

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// A host goes on behind a disk that is full, but not behind a write-ahead log
// that takes nothing any more.
func TestWhatPasses(t *testing.T) {
	t.Parallel()
	h := &Host{config: &Config{Collectors: []*config.Collector{{}}}}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("damaged"), false},
		{fmt.Errorf("seal: %w", syscall.ENOSPC), true},
		{errReopened, true},
		{fmt.Errorf("drain: %w: %w", wal.ErrBroken, syscall.ENOSPC), false},
	} {
		if got := h.isTransient(tt.err); got != tt.want {
			t.Errorf("isTransient(%v) is %v", tt.err, got)
		}
	}
}
