package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// Inventory implements sdk.Inventorier.
func (s *Store) Inventory(_ context.Context, q sdk.InventoryQuery, yield func(sdk.InventoryItem) error) error {
	l, err := edit(s.base(q.Run.Stream), nil)
	if err != nil {
		return err
	}
	last := l.Last[q.Run.PipelineID]
	items := []sdk.InventoryItem{{Kind: sdk.InventoryRecord, Run: last.Number, Content: last.Content, Object: "ledger.json"}}
	named := make(map[string]bool)
	for _, c := range l.visible() {
		if c.PipelineID != q.Run.PipelineID {
			continue
		}
		items = append(items, sdk.InventoryItem{Kind: sdk.InventoryRun, Run: c.Number, Content: c.Content, Object: "ledger.json", Recorded: new(sdk.InventoryFacts)})
		for _, p := range c.Receipt.Partitions {
			if s.lies("inventory_forgets_days") && p.Index > 0 {
				continue
			}
			item, err := s.object(q, c, p)
			if err != nil {
				return err
			}
			named[item.Object] = true
			if q.Holds(p.Date) || s.lies("inventory_ignores_dates") {
				items = append(items, item)
			}
		}
	}
	others, err := s.unnamed(q, l, named)
	if err != nil {
		return err
	}
	for _, i := range append(items, others...) {
		if err := yield(i); err != nil {
			return err
		}
	}
	return nil
}

// object compares the file of a committed partition with the ledger.
func (s *Store) object(q sdk.InventoryQuery, c committedRun, p sdk.PartitionReceipt) (sdk.InventoryItem, error) {
	run := q.Run
	run.Number = c.Number
	item := sdk.InventoryItem{Kind: sdk.InventoryObject, Date: p.Date, Run: c.Number, Recorded: &sdk.InventoryFacts{
		Rows: p.Rows, RowsBytes: p.StoredBytes, RowsCRC32: c.Sums[p.Index], StoredBytes: p.StoredBytes, Checksum: checksum(c.Sums[p.Index]),
	}}
	dir := s.runDir(run)
	item.Object = filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir) + "/" + p.Objects[0]
	data, err := os.ReadFile(filepath.Join(dir, p.Objects[0]))
	switch {
	case s.lies("inventory_repeats_the_record"):
		item.Found = item.Recorded
		return item, nil
	case errors.Is(err, fs.ErrNotExist):
		return item, nil
	case err != nil:
		return item, err
	}
	item.Found = s.facts(data, q.Deep)
	if s.lies("inventory_compares_sizes") {
		item.Found.Checksum = item.Recorded.Checksum
	}
	return item, nil
}

func (s *Store) facts(data []byte, deep bool) *sdk.InventoryFacts {
	f := &sdk.InventoryFacts{StoredBytes: uint64(len(data)), Checksum: checksum(crc32.ChecksumIEEE(data))}
	if deep && !s.lies("inventory_is_shallow") {
		f.Counted, f.Rows, f.RowsBytes, f.RowsCRC32 = true, uint64(bytes.Count(data, []byte("\n"))), uint64(len(data)), crc32.ChecksumIEEE(data)
	}
	return f
}

func checksum(sum uint32) string { return fmt.Sprintf("crc32:%08x", sum) }

// unnamed lists the files of the pipeline that no committed run names.
func (s *Store) unnamed(q sdk.InventoryQuery, l *ledger, named map[string]bool) ([]sdk.InventoryItem, error) {
	if s.lies("inventory_hides_unnamed_files") {
		return nil, nil
	}
	root := filepath.Join(s.base(q.Run.Stream), "data")
	var items []sdk.InventoryItem
	err := filepath.WalkDir(filepath.Join(root, q.Run.PipelineID), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || named[name] {
			return err
		}
		run, date := parse(name)
		if c := l.find(q.Run.PipelineID, run); c != nil && replacedBy(l, c) || !q.Holds(date) {
			return nil // a set that was replaced, or another day
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		items = append(items, sdk.InventoryItem{
			Kind: sdk.InventoryObject, Date: date, Run: run, Object: name, Found: s.facts(data, q.Deep), Unfinished: run > l.Last[q.Run.PipelineID].Number,
		})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return items, err
}

// replacedBy reports whether a later run has replaced the rows of c.
func replacedBy(l *ledger, c *committedRun) bool {
	for i := range l.visible() {
		if v := &l.visible()[i]; v.PipelineID == c.PipelineID && v.Number == c.Number {
			return false
		}
	}
	return true
}

// parse returns the run and the date of a file: <pipeline>/run-00000001/0000-2026-06-01.ndjson.
func parse(name string) (run int64, date string) {
	dir, base := filepath.Split(name)
	number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), "run-"), "-")
	run, _ = strconv.ParseInt(number, 10, 64)
	_, date, _ = strings.Cut(strings.TrimSuffix(base, ".ndjson"), "-")
	return run, date
}
