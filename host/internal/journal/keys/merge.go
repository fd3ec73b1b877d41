package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// FanOut is how many runs of a size are merged into one.
const FanOut = 4

// Due returns the runs that should be merged next, oldest first: the newest
// FanOut or more that are about equally large; nil when there are none.
func (s *Set) Due() []Run { return due(s.Runs()) }

// smallRun is the number of keys up to which a run is always part of a group.
const smallRun = 1024

func due(runs []Run) []Run {
	// A group grows while the next older run has at most twice as many keys as
	// the group. Sizes thus grow geometrically toward the past: with the number
	// of keys, the number of runs and the number of times that a key is written
	// grow logarithmically.
	if len(runs) < FanOut {
		return nil
	}
	start := len(runs) - 1
	sum := runs[start].Keys
	for start > 0 && runs[start-1].Keys <= max(2*sum, smallRun) {
		start--
		sum += runs[start].Keys
	}
	if len(runs)-start < FanOut {
		return nil
	}
	return runs[start:]
}

// Merge writes the keys of runs into a new blob and returns its run. The
// caller replaces the runs in the catalog, then calls Replace.
func (s *Set) Merge(ctx context.Context, runs []Run, blob string) (Run, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var inputs []*openRun
	for _, r := range s.runs {
		if slices.ContainsFunc(runs, func(x Run) bool { return x.Blob == r.Blob }) {
			inputs = append(inputs, r)
		}
	}
	merged := Run{Blob: blob, From: runs[0].From, To: runs[len(runs)-1].To}
	w, err := s.store.Create(ctx, blob)
	if err != nil {
		return Run{}, fmt.Errorf("merge keys: %w", err)
	}
	b := segment.NewBuilder(w)
	var scratch []segment.Key
	for _, day := range days(inputs) {
		scratch = slices.Grow(scratch[:0], sectionOf(day, inputs))
		n, err := mergeDay(b, day, inputs, scratch)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Run{}, errors.Join(fmt.Errorf("merge keys of %s: %w", day, err), w.Abort())
		}
		merged.Keys += n
	}
	if _, _, err := b.Finish(); err != nil {
		return Run{}, errors.Join(fmt.Errorf("merge keys: %w", err), w.Abort())
	}
	if err := w.Commit(); err != nil {
		return Run{}, fmt.Errorf("merge keys: %w", err)
	}
	return merged, nil
}

func days(runs []*openRun) []segment.Day {
	var all []segment.Day
	for _, r := range runs {
		for day := range r.byDay {
			all = append(all, day)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sectionOf is how many keys a section of the merged day has at most.
func sectionOf(day segment.Day, runs []*openRun) int {
	n := 0
	for _, r := range runs {
		for _, s := range r.byDay[day] {
			n += s.Count
		}
	}
	return min(n, segment.SectionKeys)
}

// mergeDay merges one day's keys into sections of at most SectionKeys, which
// are collected in out.
func mergeDay(b *segment.Builder, day segment.Day, runs []*openRun, out []segment.Key) (int64, error) {
	var streams []*stream
	for _, r := range runs {
		if sections := r.byDay[day]; sections != nil {
			st := &stream{file: r.file, sections: sections}
			if err := st.fill(); err != nil {
				return 0, err
			}
			streams = append(streams, st)
		}
	}
	var total int64
	for len(streams) > 0 {
		least := 0
		for i := 1; i < len(streams); i++ {
			if streams[i].head.Compare(streams[least].head) < 0 {
				least = i
			}
		}
		key := streams[least].head
		if len(out) == 0 || out[len(out)-1] != key {
			if len(out) == segment.SectionKeys {
				b.Keys(day, out)
				total += int64(len(out))
				out = out[:0]
			}
			out = append(out, key)
		}
		switch err := streams[least].next(); {
		case errors.Is(err, errEnd):
			streams = slices.Delete(streams, least, least+1)
		case err != nil:
			return 0, err
		}
	}
	b.Keys(day, out)
	return total + int64(len(out)), nil
}

var errEnd = errors.New("no more keys")

// stream reads one run's keys of a day in order, a page at a time.
type stream struct {
	file     *segment.File
	sections []*segment.Section
	page     int
	buffer   []byte
	rest     []byte
	head     segment.Key
}

func (s *stream) fill() error {
	for len(s.sections) > 0 && s.page == len(s.sections[0].Pages) {
		s.sections, s.page = s.sections[1:], 0
	}
	if len(s.sections) == 0 {
		return errEnd
	}
	var err error
	if s.buffer, err = s.file.Page(s.sections[0], s.page, s.buffer); err != nil {
		return err
	}
	s.page++
	s.rest = s.buffer
	return s.next()
}

func (s *stream) next() error {
	if len(s.rest) == 0 {
		return s.fill()
	}
	s.head = segment.Key(s.rest[:segment.KeySize])
	s.rest = s.rest[segment.KeySize:]
	return nil
}

// Replace puts a merged run in the place of the runs it was made of, and closes
// those.
func (s *Set) Replace(ctx context.Context, old []Run, merged Run) error {
	opened, err := s.open(ctx, merged)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := []*openRun{}
	for _, r := range s.runs {
		if !slices.ContainsFunc(old, func(x Run) bool { return x.Blob == r.Blob }) {
			kept = append(kept, r)
			continue
		}
		s.cache.forget(r)
		err = errors.Join(err, r.reader.Close())
	}
	s.runs = append(kept, opened)
	slices.SortFunc(s.runs, func(a, b *openRun) int { return int(a.From - b.From) })
	return err
}
