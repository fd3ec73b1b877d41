package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 2.834: "2.83", 21.46: "21.5", 183.2: "183", 1971834.7: "1,971,835", 1000: "1,000"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) is %q, want %q", v, got, want)
		}
	}
	if got := number(math.NaN()); got != "" {
		t.Errorf("number(NaN) is %q", got)
	}
}

// A sample is compared with its own limit, and with the sample of the same round
// of another build: a machine that slows down in the second round changes nothing.
func TestRatiosOfASlowRound(t *testing.T) {
	round := func(slow, cpu float64) sample {
		return sample{
			usage: usage{cpu: time.Duration(slow * cpu * float64(time.Second)), wall: time.Duration(slow * float64(time.Second))},
			rows:  1_000_000, limit: perEvent{cpu: slow, wall: slow / 2},
		}
	}
	base := []sample{round(1, 3), round(4, 3), round(1, 3)}
	last := []sample{round(1, 1.5), round(4, 1.5), round(1, 1.5)}
	if got := medianOf(last, sample.cpuRatio); got != 1.5 {
		t.Errorf("CPU is %v times the limit, want 1.5", got)
	}
	if got := medianOf(last, sample.wallRatio); got != 2 {
		t.Errorf("time is %v times the limit, want 2", got)
	}
	if got := paired(last, base, sample.cpuRatio); !slices.Equal(got, []float64{0.5, 0.5, 0.5}) {
		t.Errorf("new ÷ base is %v, want 0.5 in each round", got)
	}
}

func TestBars(t *testing.T) {
	var r report
	r.atMost("a", 4, 4, "×")
	r.atMost("b", 4.1, 4, "×")
	r.atLeast("c", 4, 4, "×")
	r.atLeast("d", 3.9, 4, "×")
	r.atMost("not measured", math.NaN(), 4, "×")
	var kept []bool
	for _, b := range r.bars {
		kept = append(kept, b.kept())
	}
	if !slices.Equal(kept, []bool{true, false, true, false, false}) {
		t.Errorf("kept %v", kept)
	}
}
