package keys

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
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
	files := make([]*segment.File, 0, len(inputs))
	for _, r := range inputs {
		files = append(files, r.file)
	}
	if merged.Keys, err = MergeFiles(ctx, b, files); err != nil {
		return Run{}, errors.Join(err, w.Abort())
	}
	if _, _, err := b.Finish(); err != nil {
		return Run{}, errors.Join(fmt.Errorf("merge keys: %w", err), w.Abort())
	}
	if err := w.Commit(); err != nil {
		return Run{}, fmt.Errorf("merge keys: %w", err)
	}
	return merged, nil
}

// MergeFiles writes the keys of files, each key of a date once, and returns their
// number. It holds a page of each file that has keys of the date in question.
func MergeFiles(ctx context.Context, b *segment.Builder, files []*segment.File) (total int64, err error) {
	byDay := map[segment.Day][]*stream{}
	counts := map[segment.Day]int{}
	for _, f := range files {
		for rest := f.Index().Sections; len(rest) > 0; {
			day, n := rest[0].Day, 1
			for n < len(rest) && rest[n].Day == day {
				n++
			}
			st := &stream{file: f}
			for i := range rest[:n] {
				st.sections = append(st.sections, &rest[i])
				counts[day] += rest[i].Count
			}
			byDay[day] = append(byDay[day], st)
			rest = rest[n:]
		}
	}
	var scratch []segment.Key
	for _, day := range slices.Sorted(maps.Keys(byDay)) {
		scratch = slices.Grow(scratch[:0], min(counts[day], segment.SectionKeys))
		n, err := mergeDay(b, day, byDay[day], scratch)
		delete(byDay, day) // and its pages
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return total, fmt.Errorf("merge keys of %s: %w", day, err)
		}
		total += n
	}
	return total, nil
}

// mergeDay merges one day's keys into sections of at most SectionKeys, which
// are collected in out.
func mergeDay(b *segment.Builder, day segment.Day, streams streams, out []segment.Key) (int64, error) {
	for _, st := range streams {
		if err := st.fill(); err != nil {
			return 0, err
		}
	}
	heap.Init(&streams)
	var total int64
	for len(streams) > 0 {
		least := streams[0]
		if key := least.head; len(out) == 0 || out[len(out)-1] != key {
			if len(out) == segment.SectionKeys {
				b.Keys(day, out)
				total += int64(len(out))
				out = out[:0]
			}
			out = append(out, key)
		}
		switch err := least.next(); {
		case errors.Is(err, errEnd):
			heap.Pop(&streams)
		case err != nil:
			return 0, err
		default:
			heap.Fix(&streams, 0)
		}
	}
	b.Keys(day, out)
	return total + int64(len(out)), nil
}

// streams is a heap: the stream with the least head comes first.
type streams []*stream

func (s streams) Len() int           { return len(s) }
func (s streams) Less(i, j int) bool { return s[i].head.Compare(s[j].head) < 0 }
func (s streams) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *streams) Push(x any)        { *s = append(*s, x.(*stream)) }
func (s *streams) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
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
