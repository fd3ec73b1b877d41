package upkeep

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// Stats describes the journals. It reads the catalog and the names of files.
func (u *Upkeep) Stats(ctx context.Context) ([]operation.JournalStats, error) {
	counted, err := u.count(ctx)
	if err != nil {
		return nil, err
	}
	all := []operation.JournalStats{}
	for _, p := range u.o.Projects() {
		s, err := u.stats(ctx, p, counted.cutoff(u.o.Retention()))
		if err != nil {
			return nil, err
		}
		all = append(all, *s)
	}
	return all, nil
}

// partition is a kind and a UTC date.
type partition struct {
	kind journal.Kind
	day  journal.Day
}

// held is the rows that one holder keeps.
type held struct {
	from, to journal.Day
	amount   operation.StatsAmount
}

// counting sums up one journal.
type counting struct {
	stats  *operation.JournalStats
	expiry expiry
	days   map[partition]*operation.DayStats
	held   map[string]*held
	rows   int64 // bytes of rows
	stored int64 // bytes of blocks
}

func (u *Upkeep) stats(ctx context.Context, p Project, cutoff journal.Day) (*operation.JournalStats, error) {
	c := &counting{
		stats:  &operation.JournalStats{Project: p.Name, Days: []operation.DayStats{}, Held: []operation.HeldRows{}, Orphans: []string{}, Retention: cutoff.String()},
		expiry: expiry{cutoff: cutoff}, days: map[partition]*operation.DayStats{}, held: map[string]*held{},
	}
	var err error
	if c.expiry.holdings, err = u.holdings(ctx, p.ID); err != nil {
		return nil, err
	}
	if err := u.o.Catalog.Files(ctx, p.ID, 0, c.count); err != nil {
		return nil, err
	}
	orphans, err := journal.Orphans(ctx, u.o.Catalog, u.o.Store, p.ID)
	if err != nil {
		return nil, err
	}
	c.stats.Orphans = append(c.stats.Orphans, orphans...)
	return c.sum(), nil
}

// count adds a file.
func (c *counting) count(f journal.File) error {
	c.stats.Files++
	c.stats.Bytes += f.Size
	c.stats.Keys += f.Keys
	for _, s := range f.Seals {
		c.stats.Seals++
		for i, e := range s.Extents {
			c.extent(s, i, e)
		}
	}
	return nil
}

func (c *counting) extent(s journal.Segment, index int, e journal.Extent) {
	at := partition{e.Kind, e.UTCDate}
	day := c.days[at]
	if day == nil {
		day = &operation.DayStats{Date: e.UTCDate.String(), Kind: e.Kind.String()}
		c.days[at] = day
	}
	if e.Blocks == 0 {
		day.Removed += e.Rows
		return
	}
	day.Rows += e.Rows
	day.Bytes += e.Bytes
	day.Blocks += e.Blocks
	c.rows += e.RowsBytes
	c.stored += e.Bytes
	c.stats.Blocks += e.Blocks
	if c.expiry.old(s, e) {
		c.old(s, index, e)
	}
}

// old adds rows that are older than the retention.
func (c *counting) old(s journal.Segment, index int, e journal.Extent) {
	holder := catalog.Holder(c.expiry.holdings, s.Seq, index, e)
	if holder == "" {
		c.stats.Due.Rows += e.Rows
		c.stats.Due.Bytes += e.Bytes
		return
	}
	h := c.held[holder]
	if h == nil {
		h = &held{from: e.UTCDate, to: e.UTCDate}
		c.held[holder] = h
	}
	h.from, h.to = min(h.from, e.UTCDate), max(h.to, e.UTCDate)
	h.amount.Rows += e.Rows
	h.amount.Bytes += e.Bytes
}

func (c *counting) sum() *operation.JournalStats {
	if n := c.stats.Blocks; n > 0 {
		c.stats.MeanBlock, c.stats.MeanBlockRows = c.stored/n, c.rows/n
	}
	byDay := func(a, b partition) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.kind, b.kind)) }
	for _, at := range slices.SortedFunc(maps.Keys(c.days), byDay) {
		c.stats.Days = append(c.stats.Days, *c.days[at])
	}
	for _, name := range slices.Sorted(maps.Keys(c.held)) {
		h := c.held[name]
		c.stats.Held = append(c.stats.Held, operation.HeldRows{Holder: name, From: h.from.String(), To: h.to.String(), StatsAmount: h.amount})
	}
	return c.stats
}
