package keys

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// Run names a run: keys of the seals From to To.
type Run struct {
	Blob     string
	From, To int64
	Keys     int64
}

// Set looks up keys in runs. It may be used concurrently; Add, Replace and
// Close exclude look-ups.
type Set struct {
	store disk.Store
	cache *cache

	mu   sync.RWMutex
	runs []*openRun // newest last
}

type openRun struct {
	Run
	reader disk.Reader
	file   *segment.File
	byDay  map[segment.Day][]*segment.Section
}

// NewSet returns an empty set whose cache takes at most budget bytes.
func NewSet(store disk.Store, budget int64) *Set {
	return &Set{store: store, cache: newCache(budget)}
}

// Add opens a run and makes it the newest.
func (s *Set) Add(ctx context.Context, run Run) error {
	opened, err := s.open(ctx, run)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, opened)
	sort.Slice(s.runs, func(i, j int) bool { return s.runs[i].From < s.runs[j].From })
	return nil
}

func (s *Set) open(ctx context.Context, run Run) (*openRun, error) {
	reader, err := s.store.Open(ctx, run.Blob)
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	file, err := segment.Open(reader, reader.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open keys in %s: %w", run.Blob, err), reader.Close())
	}
	o := &openRun{Run: run, reader: reader, file: file, byDay: map[segment.Day][]*segment.Section{}}
	sections := file.Index().Sections
	for i := range sections {
		o.byDay[sections[i].Day] = append(o.byDay[sections[i].Day], &sections[i])
	}
	return o, nil
}

// Sync makes the set hold exactly runs: it opens the runs that are new and closes
// those that are not listed. An error leaves the set unchanged. fs.ErrNotExist
// means that a run was merged after the caller listed it: list the runs again.
func (s *Set) Sync(ctx context.Context, runs []Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next []*openRun
	for _, run := range runs {
		if i := slices.IndexFunc(s.runs, func(o *openRun) bool { return o.Blob == run.Blob }); i >= 0 {
			next = append(next, s.runs[i])
			continue
		}
		opened, err := s.open(ctx, run)
		if err != nil {
			for _, o := range next {
				if !slices.Contains(s.runs, o) {
					err = errors.Join(err, o.reader.Close())
				}
			}
			return err
		}
		next = append(next, opened)
	}
	var err error
	for _, o := range s.runs {
		if !slices.Contains(next, o) {
			s.cache.forget(o)
			err = errors.Join(err, o.reader.Close())
		}
	}
	s.runs = next
	return err
}

// Newest is the latest seal whose keys are in the set; 0: none.
func (s *Set) Newest() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var newest int64
	for _, r := range s.runs {
		newest = max(newest, r.To)
	}
	return newest
}

// Runs lists the runs, oldest first.
func (s *Set) Runs() []Run {
	s.mu.RLock()
	defer s.mu.RUnlock()
	runs := make([]Run, 0, len(s.runs))
	for _, r := range s.runs {
		runs = append(runs, r.Run)
	}
	return runs
}

// Close closes the files of all runs.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, r := range s.runs {
		err = errors.Join(err, r.reader.Close())
	}
	s.runs = nil
	return err
}

// Find sets found[i] for each of keys, ascending and of one day, that a run
// with To > after holds. It does not look up keys whose found[i] is set already.
func (s *Set) Find(day segment.Day, keys []segment.Key, found []bool, after int64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := len(s.runs) - 1; i >= 0; i-- {
		r := s.runs[i]
		if r.To <= after {
			continue
		}
		sections := r.byDay[day]
		for j, section := range sections {
			from, to := 0, len(keys)
			if j > 0 {
				first := section.Pages[0].First
				from = sort.Search(len(keys), func(i int) bool { return keys[i].High() >= first })
			}
			if j+1 < len(sections) {
				// Keys with the high part of the next section's first key can lie in both.
				next := sections[j+1].Pages[0].First
				to = sort.Search(len(keys), func(i int) bool { return keys[i].High() > next })
			}
			if from >= to {
				continue
			}
			if err := s.findIn(r, section, keys[from:to], found[from:to]); err != nil {
				return fmt.Errorf("look up keys in %s: %w", r.Blob, err)
			}
		}
	}
	return nil
}

// findIn looks keys up in a section of a run. A key that belongs to another section
// costs a look at the filter, and now and then a page.
func (s *Set) findIn(r *openRun, section *segment.Section, keys []segment.Key, found []bool) error {
	filter, err := s.filter(r, section)
	if err != nil {
		return err
	}
	page, held, begin := -1, []byte(nil), 0
	for i := range keys {
		if found[i] || !filter.MayContain(keys[i]) {
			continue
		}
		// The search does not start at the held page: keys with the same high
		// part can lie in several pages, and the previous key was searched for
		// in all of them.
		begin = pageOf(section, keys[i], begin)
		for p := begin; p < len(section.Pages) && section.Pages[p].First <= keys[i].High(); p++ {
			if p != page {
				if held, err = s.page(r, section, p); err != nil {
					return err
				}
				page = p
			}
			if found[i] = contains(held, keys[i]); found[i] {
				break
			}
		}
	}
	return nil
}

// pageOf is the first page, from the one given on, that can hold the key.
func pageOf(section *segment.Section, key segment.Key, from int) int {
	pages, high := section.Pages[from:], key.High()
	// Pages that begin below the key's high part; the last of them may hold it.
	n := sort.Search(len(pages), func(i int) bool { return pages[i].First >= high })
	return from + max(n-1, 0)
}

// contains searches a page.
func contains(page []byte, key segment.Key) bool {
	n := len(page) / segment.KeySize
	at := sort.Search(n, func(i int) bool {
		return segment.Key(page[i*segment.KeySize:(i+1)*segment.KeySize]).Compare(key) >= 0
	})
	return at < n && segment.Key(page[at*segment.KeySize:(at+1)*segment.KeySize]) == key
}

func (s *Set) filter(r *openRun, section *segment.Section) (segment.Filter, error) {
	b, err := s.cache.get(place{r, section.Offset, -1}, func() ([]byte, error) { return r.file.Filter(section) })
	return segment.Filter(b), err
}

func (s *Set) page(r *openRun, section *segment.Section, p int) ([]byte, error) {
	return s.cache.get(place{r, section.Offset, p}, func() ([]byte, error) { return r.file.Page(section, p, nil) })
}

// place names a filter or a page that the cache holds.
type place struct {
	run    *openRun
	offset int64
	page   int
}

// cache keeps filters and pages that are used again and again, up to a number of
// bytes. Each block of a day asks for all filters of that day, and for a few pages
// that the next block does not need. If they do not fit, a cache of the most recently
// used would give up each filter just before it is asked for again. So a full cache
// gives up the newcomer first, unless it is used once more before the next one comes:
//
//	asked for                A B C D A B C D A B C D …, with room for three
//	most recently used       no hit
//	this cache               B and C are hits, A and D displace each other
//
// Every fresh-th newcomer displaces the least recently used one, so that filters that
// are not asked for any more go.
type cache struct {
	mu     sync.Mutex
	budget int64
	used   int64
	byUse  *list.List // of *cached; the last is given up first
	held   map[place]*list.Element
	loads  int
}

// fresh is how many newcomers of a full cache come for one that stays.
const fresh = 32

type cached struct {
	place place
	bytes []byte
}

func newCache(budget int64) *cache {
	return &cache{budget: budget, byUse: list.New(), held: map[place]*list.Element{}}
}

// get returns the value that is cached for a place, or loads it. Two concurrent
// misses of one place both load it.
func (c *cache) get(p place, load func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e := c.held[p]; e != nil {
		c.byUse.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cached).bytes, nil
	}
	c.mu.Unlock()
	b, err := load()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[p] != nil {
		return b, nil
	}
	full := c.used+int64(len(b)) > c.budget
	for c.used+int64(len(b)) > c.budget && c.byUse.Len() > 0 {
		c.drop(c.byUse.Back())
	}
	c.used += int64(len(b))
	if c.loads++; full && c.loads%fresh != 0 {
		c.held[p] = c.byUse.PushBack(&cached{p, b})
	} else {
		c.held[p] = c.byUse.PushFront(&cached{p, b})
	}
	return b, nil
}

// drop gives up an element. The caller holds mu.
func (c *cache) drop(e *list.Element) {
	old := e.Value.(*cached)
	c.byUse.Remove(e)
	delete(c.held, old.place)
	c.used -= int64(len(old.bytes))
}

// forget drops the filters and pages of a run.
func (c *cache) forget(r *openRun) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, e := range c.held {
		if p.run == r {
			c.drop(e)
		}
	}
}
