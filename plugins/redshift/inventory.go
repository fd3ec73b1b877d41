package redshift

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

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
		if err != nil {
			return nil, fmt.Errorf("read partitions in Glue: %w", err)
		}
		for _, date := range chunk {
			switch s, ok := found[date]; {
			case !ok:
				problems[date] = fmt.Sprintf("the partition %s=%s is not registered in Glue, so that no query sees it", partitionKey, date)
			case !c.isOurStorage(s, sdk.Events, c.location(dirs[date])):
				problems[date] = fmt.Sprintf("the partition %s=%s in Glue shows %s with other columns, SerDe or location", partitionKey, date, location(s))
			}
		}
	}
	return problems, nil
}

// days reads the registered partitions of at most partitionsPerCall dates.
func (c *catalog) days(ctx context.Context, dates []string) (map[string]*types.StorageDescriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	get := &glue.BatchGetPartitionInput{DatabaseName: &c.database, TableName: aws.String(tables[sdk.Events])}
	for _, date := range dates {
		get.PartitionsToGet = append(get.PartitionsToGet, types.PartitionValueList{Values: []string{date}})
	}
	out, err := c.client.BatchGetPartition(ctx, get)
	if isCode(err, "EntityNotFoundException") {
		return nil, nil // the table or the database was dropped
	}
	if err != nil {
		return nil, classify(err)
	}
	if len(out.UnprocessedKeys) > 0 {
		return nil, sdk.Retryable(fmt.Errorf("Glue left %d partitions out of an answer", len(out.UnprocessedKeys)), 0)
	}
	found := make(map[string]*types.StorageDescriptor)
	for _, p := range out.Partitions {
		if len(p.Values) == 1 {
			found[p.Values[0]] = p.StorageDescriptor
		}
	}
	return found, nil
}
