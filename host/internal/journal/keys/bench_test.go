package keys

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keysort"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// cpuTime returns the processor time that the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pull is a source that is read twice: keys come in seals, seals in order of
// days, each with some keys for earlier days.
type pull struct {
	seals, perSeal, days, perBlock int
}

// block makes one block's keys, in the order of their rows, and its day.
func (p pull) block(seal, block int) (segment.Day, []segment.Key) {
	r := rand.New(rand.NewPCG(uint64(seal), uint64(block)))
	keys := make([]segment.Key, p.perBlock)
	for i := range keys {
		binary.LittleEndian.PutUint64(keys[i][:], r.Uint64())
		binary.LittleEndian.PutUint64(keys[i][8:], r.Uint64())
	}
	day := 20000 + seal*p.days/p.seals
	if block%10 == 9 {
		day -= r.IntN(30) // late
	}
	return segment.Day(day), keys
}

// BenchmarkDedup stores 20,000,000 keys of 2,000 seals over 200 days, then looks
// all of them up again. It takes the steps of the journal for the keys of a block
// (sort, look up) and of a seal (write, open, merge), on disk.
func BenchmarkDedup(b *testing.B) {
	p := pull{seals: 2000, perSeal: 10_000, days: 200, perBlock: 1000}
	for b.Loop() {
		store, err := disk.OpenDir(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		set := NewSet(store, 8<<20)
		total := p.seals * p.perSeal
		start, tenth := cpuTime(b), p.seals/10
		var first, last time.Duration
		for seal := range p.seals {
			if seal == p.seals-tenth {
				last = cpuTime(b)
			}
			p.seal(b, store, set, seal)
			if seal == tenth-1 {
				first = cpuTime(b) - start
			}
		}
		end := cpuTime(b)
		each := func(d time.Duration, keys int) float64 { return d.Seconds() * 1e6 / float64(keys) }
		b.ReportMetric(float64(total), "keys")
		b.ReportMetric(float64(p.seals), "seals")
		b.ReportMetric(each(first, total/10), "µs/first-tenth")
		b.ReportMetric(each(end-last, total/10), "µs/last-tenth")
		b.ReportMetric(each(end-start, total), "µs/new-key")
		b.ReportMetric(float64(len(set.Runs())), "runs")

		start = cpuTime(b)
		for seal := range p.seals {
			for block := range p.perSeal / p.perBlock {
				if n := p.find(b, set, seal, block, nil); n != p.perBlock {
					b.Fatalf("%d of %d keys were found again", n, p.perBlock)
				}
			}
		}
		b.ReportMetric(each(cpuTime(b)-start, total), "µs/known-key")
		if err := set.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// sorted returns keys in ascending order, as the journal sorts them.
func sorted(keys []segment.Key) []segment.Key {
	var s keysort.Sorter
	s.Sort(keys)
	ascending := make([]segment.Key, 0, len(keys))
	for i := range s.Len() {
		_, index := s.At(i)
		ascending = append(ascending, keys[index])
	}
	return ascending
}

// find looks a block's keys up, and adds them to the keys of its seal.
func (p pull) find(b *testing.B, set *Set, seal, block int, held map[segment.Day][]segment.Key) int {
	day, keys := p.block(seal, block)
	keys = sorted(keys)
	found := make([]bool, len(keys))
	if err := set.Find(day, keys, found, -1); err != nil {
		b.Fatal(err)
	}
	if held != nil {
		held[day] = append(held[day], keys...)
	}
	n := 0
	for _, f := range found {
		if f {
			n++
		}
	}
	return n
}

func (p pull) seal(b *testing.B, store disk.Store, set *Set, seal int) {
	held := map[segment.Day][]segment.Key{}
	for block := range p.perSeal / p.perBlock {
		if n := p.find(b, set, seal, block, held); n != 0 {
			b.Fatalf("%d new keys were found", n)
		}
	}
	run := Run{Blob: fmt.Sprintf("segments/%d.seg", seal), From: int64(seal + 1), To: int64(seal + 1), Keys: int64(p.perSeal)}
	writeRun(b, store, run.Blob, held)
	if err := set.Add(b.Context(), run); err != nil {
		b.Fatal(err)
	}
	for due := set.Due(); due != nil; due = set.Due() {
		merged, err := set.Merge(b.Context(), due, fmt.Sprintf("keys/%d-%d.seg", due[0].From, due[len(due)-1].To))
		if err == nil {
			err = set.Replace(b.Context(), due, merged)
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, old := range due {
			if err := store.Delete(b.Context(), old.Blob); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// writeRun writes a segment of keys alone.
func writeRun(b *testing.B, store disk.Store, blob string, byDay map[segment.Day][]segment.Key) {
	w, err := store.Create(b.Context(), blob)
	if err != nil {
		b.Fatal(err)
	}
	builder := segment.NewBuilder(w)
	var days []segment.Day
	for day := range byDay {
		days = append(days, day)
	}
	slices.Sort(days)
	for _, day := range days {
		builder.Keys(day, sorted(byDay[day]))
	}
	if _, _, err := builder.Finish(); err != nil {
		b.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		b.Fatal(err)
	}
}
