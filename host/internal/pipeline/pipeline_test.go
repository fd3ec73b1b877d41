package pipeline

import (
	"testing"
	"time"
)

func TestDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		last time.Time
		want bool
	}{
		"never":                         {time.Time{}, true},
		"just now":                      {now, false},
		"almost a day ago":              {now.Add(time.Second - 24*time.Hour), false},
		"a day ago":                     {now.Add(-24 * time.Hour), true},
		"by a clock that is a bit fast": {now.Add(time.Minute), false},
		"by a clock that was wrong":     {now.AddDate(4, 0, 0), true},
	} {
		if got := Due(now, tt.last, 24*time.Hour); got != tt.want {
			t.Errorf("last planned %s: due is %v", name, got)
		}
	}
}
