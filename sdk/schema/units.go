package schema

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	// Longer suffixes first: each ends with "B".
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads a size as people write it: "64MiB", "10MB", "512B",
// "1.5 GiB". The result is in bytes and not negative.
func ParseSize(s string) (int64, error) {
	for _, u := range sizeUnits {
		text, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := parseNumber(strings.TrimSpace(text))
		if err != nil || n*u.bytes >= math.MaxInt64 {
			break
		}
		return int64(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size: write a number and B, kB, MB, GB, KiB, MiB or GiB, such as \"64MiB\"", s)
}

// ParseDuration reads a duration as people write it: Go's notation, and days:
// "90s", "1h30m", "10d", "1d12h". The result is not negative.
func ParseDuration(s string) (time.Duration, error) {
	rest, total := s, time.Duration(0)
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := parseNumber(days)
		if err != nil || n > 36500 {
			return 0, durationError(s)
		}
		total, rest = time.Duration(n*float64(24*time.Hour)), after
	}
	if rest != "" || rest == s {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || total+d < 0 {
			return 0, durationError(s)
		}
		total += d
	}
	return total, nil
}

func durationError(s string) error {
	return fmt.Errorf("%q is not a duration: write a number and ms, s, m, h or d, such as \"90s\" or \"10d\"", s)
}

// parseNumber reads digits with at most one point: no sign, no exponent.
func parseNumber(s string) (float64, error) {
	if strings.Trim(s, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}
