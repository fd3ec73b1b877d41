package redshift

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// Inventory implements sdk.Inventorier. In addition to the objects it compares the
// catalog: an object whose day is not registered at its location has a problem, since
// no query sees it. A repair of the object's run registers the day. Sets need no such
// comparison: their objects are found through the table.
func (d *destination) Inventory(ctx context.Context, q sdk.InventoryQuery, yield func(sdk.InventoryItem) error) error {
	if q.Run.Stream != sdk.Events {
		return d.Lake.Inventory(ctx, q, yield)
	}
	dir, err := lake.StreamDir(d.root, q.Run.ProjectID, q.Run.Stream)
	if err != nil {
		return sdk.Permanent(err)
	}
	days := make(map[string]string)    // directories by date, of the totals that come first
	var unregistered map[string]string // problems by date; nil: not asked yet
	return d.Lake.Inventory(ctx, q, func(i sdk.InventoryItem) error {
		switch {
		case i.Kind == sdk.InventoryTotals && i.Recorded != nil && i.Recorded.Rows > 0:
			days[i.Date] = dayDir(dir, i.Date)
		case i.Kind == sdk.InventoryObject && i.Recorded != nil && i.Problem == "":
			if unregistered == nil {
				if unregistered, err = d.catalog.unregistered(ctx, days); err != nil {
					return err
				}
			}
			i.Problem = unregistered[i.Date]
		}
		return yield(i)
	})
}

// dayDir is the directory of a date in that of its stream.
func dayDir(dir, date string) string { return path.Join(dir, strings.ReplaceAll(date, "-", "/")) + "/" }

// unregistered returns the dates that the catalog does not show at their directories,
// with the reasons.
func (c *catalog) unregistered(ctx context.Context, dirs map[string]string) (problems map[string]string, err error) {
	problems = make(map[string]string)
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(dirs)), partitionsPerCall) {
		found, err := c.days(ctx, chunk)
		if err != nil && !isCode(err, "EntityNotFoundException") { // the table or the database was dropped
			return nil, fmt.Errorf("read partitions in Glue: %w", err)
		}
		for _, date := range chunk {
			switch p, ok := found[date]; {
			case !ok:
				problems[date] = fmt.Sprintf("the partition %s=%s is not registered in Glue, so that no query sees it", partitionKey, date)
			case !c.isOurStorage(p.StorageDescriptor, sdk.Events, c.location(dirs[date])):
				problems[date] = fmt.Sprintf("the partition %s=%s in Glue shows %s with other columns, SerDe or location", partitionKey, date, location(p.StorageDescriptor))
			}
		}
	}
	return problems, nil
}
