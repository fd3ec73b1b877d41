package host

import (
	"testing"
	"time"
)

func TestPausesGrowUpToALimit(t *testing.T) {
	t.Parallel()
	b := backoff{first: time.Second, limit: 10 * time.Second}
	for _, longest := range []time.Duration{1, 2, 4, 8, 10, 10} {
		longest *= time.Second
		if got := b.pause(); got < longest/2 || got > longest {
			t.Errorf("a pause of %s, want %s to %s", got, longest/2, longest)
		}
	}
	b.reset()
	if got := b.pause(); got > time.Second {
		t.Errorf("%s after a success", got)
	}
}
