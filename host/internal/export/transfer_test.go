package export

import (
	"errors"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// An error of the host names the partition that it read. An error of the plugin arrives while
// a later partition is sent, and names none.
func TestOnlyErrorsOfTheHostNameThePartition(t *testing.T) {
	t.Parallel()
	p := &part{Part: pipeline.Part{Date: "2026-11-27"}}
	full := fmt.Errorf("export: %w", &protocol.Error{Class: protocol.Retryable, Err: errors.New("write out/2026/11/25/a: no space left on device")})
	unreadable := errors.New("input/output error")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{p.failed(full), full.Error()},
		{p.failed(inSegment(full, 3)), full.Error()},
		{p.failed(unreadable), "partition 2026-11-27: input/output error"},
		{p.failed(inSegment(unreadable, 3)), "partition 2026-11-27: segment 3: input/output error"},
	} {
		if tt.err.Error() != tt.want {
			t.Errorf("%q, want %q", tt.err, tt.want)
		}
	}
	if !errors.Is(p.failed(inSegment(unreadable, 3)), unreadable) {
		t.Error("the cause is lost")
	}
}
