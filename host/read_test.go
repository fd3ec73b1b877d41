package host

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

type sealer struct{ err error }

func (s sealer) Seal(context.Context) error { return s.err }

// A journal that fails behind the last row fails the source: it had looked like
// one that was read to its end.
func TestAFailedJournalFailsTheSource(t *testing.T) {
	t.Parallel()
	full, gone := errors.New("the disk is full"), errors.New("the file is gone")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		ctx          context.Context
		source, seal error
		want         string
	}{
		{t.Context(), nil, nil, "<nil>"},
		{t.Context(), nil, full, "the disk is full"},
		{t.Context(), gone, nil, "the file is gone"},
		{t.Context(), gone, full, "the file is gone\nthe disk is full"},
		{t.Context(), fmt.Errorf("append: %w", full), full, "append: the disk is full"},
		{stopped, gone, full, "the file is gone"},
	} {
		if got := fmt.Sprint(sealed(tt.ctx, sealer{tt.seal}, tt.source)); got != tt.want {
			t.Errorf("sealed(%v, %v) = %q, want %q", tt.source, tt.seal, got, tt.want)
		}
	}
}
