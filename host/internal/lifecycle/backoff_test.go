package lifecycle

import (
	"testing"
	"time"
)

func TestPausesGrowUpToALimit(t *testing.T) {
	t.Parallel()
	b := Backoff{First: time.Second, Limit: 10 * time.Second}
	for _, longest := range []time.Duration{1, 2, 4, 8, 10, 10} {
		longest *= time.Second
		if got := b.Pause(); got < longest/2 || got > longest {
			t.Errorf("a pause of %s, want %s to %s", got, longest/2, longest)
		}
	}
	b.Reset()
	if got := b.Pause(); got > time.Second {
		t.Errorf("%s after a success", got)
	}
}
