package lake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/sdk"
)

// inspectors is the number of objects and receipts that an inventory asks the
// store for at one time.
const inspectors = 8

// DefaultInventoryLimit is the largest number of recorded objects that one
// inventory selects: their states are held in memory, about 100 bytes each.
const DefaultInventoryLimit = 250_000

// inventory is the state of one Inventory call.
type inventory struct {
	lake  *Lake
	query sdk.InventoryQuery
	yield func(sdk.InventoryItem) error

	lay      layout
	others   []layout // of the other pipelines of the target
	manifest *Manifest
	// files are the recorded objects that the listing has not come to yet.
	files map[fileKey]recordedFile
	sizes map[uint64]bool // of the recorded objects
	// sums are those of the last object that was inspected: missing objects are
	// described with the same algorithm, so that a copy of one is recognized.
	sums Sums
}

// recordedFile is a File without its name and date, which are in its key.
type recordedFile struct {
	rows, rowsBytes, storedBytes         uint64
	rowsCRC32, storedCRC32, storedCRC32C uint32
	run                                  int64
}

// facts returns the facts of the file, with a checksum of the algorithm that the
// store keeps.
func (f recordedFile) facts(stored Sums) *sdk.InventoryFacts {
	return File{
		Rows: f.rows, RowsBytes: f.rowsBytes, RowsCRC32: f.rowsCRC32,
		StoredBytes: f.storedBytes, StoredCRC32: f.storedCRC32, StoredCRC32C: f.storedCRC32C,
	}.facts(stored)
}

// fileKey stands for the name of an object of a pipeline in less memory: run, day
// and part of a part, or part 0 for the fixed object of a set.
type fileKey struct {
	run  int64
	part int64
	day  int32 // days since 1970; noDay: an object of a set
	ext  uint8 // index in extensions
}

const noDay = math.MinInt32

// key returns the key of a name; false: the name does not belong to the pipeline.
func (l layout) key(name string) (fileKey, bool) {
	ext := slices.IndexFunc(extensions, func(ext string) bool { return strings.HasSuffix(name, ext) })
	if ext < 0 {
		return fileKey{}, false
	}
	if l.isFixed(name) {
		return fileKey{day: noDay, ext: uint8(ext)}, true
	}
	date, run, ok := l.owned(name)
	part, isPart := l.partOf(name)
	if !ok || !isPart {
		return fileKey{}, false
	}
	k := fileKey{run: run, part: int64(part), day: noDay, ext: uint8(ext)}
	if date != "" {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil {
			return fileKey{}, false
		}
		k.day = int32(day.Unix() / (24 * 60 * 60))
	}
	return k, l.name(k) == name
}

// date returns the date of a key's object; empty: it has none.
func (k fileKey) date() string {
	if k.day == noDay {
		return ""
	}
	return time.Unix(int64(k.day)*24*60*60, 0).UTC().Format(time.DateOnly)
}

// name returns the name of a key's object.
func (l layout) name(k fileKey) string {
	l.ext = extensions[k.ext]
	if k.part == 0 {
		return l.fixed()
	}
	return l.part(k.run, k.date(), int(k.part))
}

// Inventory lists the manifest, the receipts of the committed runs, the totals of
// the days, and then the pipeline's objects in the order of their names, with the
// missing ones at the end.
func (l *Lake) Inventory(ctx context.Context, q sdk.InventoryQuery, yield func(sdk.InventoryItem) error) error {
	lay, err := l.layout(q.Run)
	if err != nil {
		return err
	}
	v := &inventory{
		lake: l, query: q, yield: yield, lay: lay, manifest: newManifest(q.Run),
		files: make(map[fileKey]recordedFile), sizes: make(map[uint64]bool),
	}
	for _, step := range []func(context.Context) error{v.record, v.runs, v.totals, v.objects, v.missing} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// record reads the manifest and the target's record.
func (v *inventory) record(ctx context.Context) error {
	name := v.lay.manifest()
	item := sdk.InventoryItem{Kind: sdk.InventoryRecord, Object: name}
	data, _, err := v.lake.store.Read(ctx, name, manifestLimit)
	switch {
	case errors.Is(err, ErrNotFound):
		item.Problem, item.Restorable = "the manifest does not exist", true
	case err != nil:
		return fmt.Errorf("read manifest %s: %w", name, err)
	default:
		m, err := decodeManifest(name, data)
		if err == nil {
			err = m.check(v.lay)
		}
		if err == nil {
			m, err = v.lake.completed(ctx, v.lay, m)
		}
		if err != nil {
			item.Problem, item.Restorable = err.Error(), errors.Is(err, errDamaged)
			break
		}
		v.manifest = m
		item.Restorable = m.Run == 0 && m.AdoptedBy == ""
		item.Run, item.Content = m.Run, m.last().Content
	}
	t, _, err := v.lake.readTarget(ctx, v.lay)
	if err != nil {
		item.Problem = cmp.Or(item.Problem, err.Error())
	}
	if t != nil {
		for _, h := range slices.Concat(t.Holders, t.Former) {
			if h.PipelineID != v.query.Run.PipelineID {
				v.others = append(v.others, h.layout(v.lay))
			}
		}
	}
	return v.yield(item)
}

// runs reads the receipts of the committed runs. The receipt of a replaced set is
// in the manifest only.
func (v *inventory) runs(ctx context.Context) error {
	m := v.manifest
	if v.query.Run.Stream != sdk.Events {
		if m.Run == 0 {
			return nil
		}
		return v.run(ctx, m.Receipt, sdk.InventoryItem{Run: m.Run, Object: v.lay.manifest(), Problem: m.setProblem()})
	}
	numbers, err := v.lake.committedRuns(ctx, v.lay, m)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(numbers, 8*inspectors) {
		found, err := concurrently(chunk, func(number int64) (storedReceipt, error) {
			r, problem, err := v.lake.storedReceipt(ctx, v.lay, m, number)
			return storedReceipt{r, problem}, err
		})
		if err != nil {
			return err
		}
		for i, r := range found {
			if err := v.run(ctx, r.receipt, sdk.InventoryItem{Run: chunk[i], Object: v.lay.receipt(chunk[i]), Problem: r.problem}); err != nil {
				return err
			}
		}
	}
	return nil
}

// committedRuns returns the committed runs of events whose receipts are listed, and
// the last one even if its receipt is not, in ascending order.
func (l *Lake) committedRuns(ctx context.Context, lay layout, m *Manifest) ([]int64, error) {
	var numbers []int64
	err := l.store.List(ctx, lay.receipts(), false, func(o Object) error {
		if number, ok := lay.receiptOf(o.Name); ok && m.committed(number) && number != m.Run {
			numbers = append(numbers, number)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list receipts in %s: %w", lay.receipts(), err)
	}
	if m.Run > 0 {
		numbers = append(numbers, m.Run)
	}
	slices.Sort(numbers)
	return numbers, nil
}

type storedReceipt struct {
	receipt *RunReceipt // nil: it cannot be read
	problem string
}

// storedReceipt reads the receipt of a committed run of events and compares it
// with the copy that the manifest has of the last one.
func (l *Lake) storedReceipt(ctx context.Context, lay layout, m *Manifest, run int64) (*RunReceipt, string, error) {
	data, _, err := l.store.Read(ctx, lay.receipt(run), manifestLimit)
	var r *RunReceipt
	problem := "the receipt does not exist"
	if err == nil {
		r, problem = decodeReceipt(lay, run, data)
	} else if !errors.Is(err, ErrNotFound) {
		return nil, "", fmt.Errorf("read the receipt of run %d: %w", run, err)
	}
	if c := m.Receipt; c != nil && c.Run == run {
		if r != nil && !sameReceipt(r, c) {
			problem = "the receipt differs from the copy in the manifest"
		}
		if r == nil {
			r = c
		}
	}
	return r, problem, nil
}

// decodeReceipt parses the receipt of a run. problem is not empty if it cannot be
// used, or names objects of other runs.
func decodeReceipt(lay layout, run int64, data []byte) (r *RunReceipt, problem string) {
	r = new(RunReceipt)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, "the receipt is damaged: " + err.Error()
	}
	if r.Format != receiptFormat || r.Run != run || r.Version > manifestVersion {
		return nil, fmt.Sprintf("the receipt is damaged: it is of run %d, format %q and version %d", r.Run, r.Format, r.Version)
	}
	for _, p := range r.Partitions {
		for _, f := range p.Files {
			if date, of, ok := lay.owned(f.Name); !ok || of != run || date != p.Date {
				return nil, fmt.Sprintf("the receipt is damaged: it names %s", f.Name)
			}
		}
	}
	return r, ""
}

// sameReceipt reports whether two receipts list the same objects of the same run.
func sameReceipt(a, b *RunReceipt) bool {
	return a.Run == b.Run && a.Content == b.Content && slices.EqualFunc(a.Partitions, b.Partitions, func(a, b PartitionReceipt) bool {
		return a.Index == b.Index && a.Date == b.Date && slices.Equal(a.Files, b.Files)
	})
}

// setProblem says why the record of a replaced set contradicts itself.
func (m *Manifest) setProblem() string {
	if m.Receipt == nil || m.Receipt.Run != m.Run {
		return "the manifest has no receipt of the last committed run"
	}
	var files []File
	for _, p := range m.Receipt.Partitions {
		files = append(files, p.Files...)
	}
	if !slices.Equal(files, m.Files) {
		return "the manifest's files are not those of its receipt"
	}
	return ""
}

// committed reports whether the manifest counts a run as committed.
func (m *Manifest) committed(run int64) bool { return run <= m.Run && !slices.Contains(m.Void, run) }

// run yields the record of a committed run and takes its files.
func (v *inventory) run(_ context.Context, r *RunReceipt, item sdk.InventoryItem) error {
	item.Kind = sdk.InventoryRun
	if r != nil {
		item.Content, item.Recorded = r.Content, new(sdk.InventoryFacts)
		for _, p := range r.Partitions {
			for _, f := range p.Files {
				item.Recorded.Rows += f.Rows
				item.Recorded.RowsBytes += f.RowsBytes
				item.Recorded.StoredBytes += f.StoredBytes
				item.Recorded.Objects++
				if !v.query.Holds(p.Date) {
					continue
				}
				k, ok := v.lay.key(f.Name)
				if !ok {
					item.Problem = cmp.Or(item.Problem, "the receipt is damaged: it names "+f.Name)
					continue
				}
				v.files[k] = recordedFile{
					rows: f.Rows, rowsBytes: f.RowsBytes, rowsCRC32: f.RowsCRC32,
					storedBytes: f.StoredBytes, storedCRC32: f.StoredCRC32, storedCRC32C: f.StoredCRC32C, run: r.Run,
				}
				v.sizes[f.StoredBytes] = true
			}
		}
	}
	if len(v.files) > v.lake.inventoryLimit {
		return sdk.Configuration(fmt.Errorf("more than %d objects of these dates are recorded", v.lake.inventoryLimit), "compare fewer days at a time, with --from and --to")
	}
	return v.yield(item)
}

func (v *inventory) totals(context.Context) error {
	for _, date := range slices.Sorted(maps.Keys(v.manifest.Days)) {
		if !v.query.Holds(date) {
			continue
		}
		d := v.manifest.Days[date]
		err := v.yield(sdk.InventoryItem{Kind: sdk.InventoryTotals, Date: date, Run: d.Run, Object: v.lay.manifest(), Recorded: &sdk.InventoryFacts{
			Rows: d.Rows, RowsBytes: d.RowsBytes, StoredBytes: d.StoredBytes, Objects: d.Files,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// objects lists the stream's directory.
func (v *inventory) objects(ctx context.Context) error {
	var listed []sdk.InventoryItem
	inspect := func() error {
		defer func() { listed = listed[:0] }()
		return v.inspect(ctx, listed)
	}
	err := v.lake.store.List(ctx, v.lay.dir, v.query.Run.Stream == sdk.Events, func(o Object) error {
		item, ok := v.item(o)
		if !ok {
			return nil
		}
		if listed = append(listed, item); len(listed) < 8*inspectors {
			return nil
		}
		return inspect()
	})
	if err == nil {
		err = inspect()
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", v.lay.dir, err)
	}
	return nil
}

// item returns the item of a listed object; false: the object does not concern
// the pipeline.
func (v *inventory) item(o Object) (sdk.InventoryItem, bool) {
	item := sdk.InventoryItem{Kind: sdk.InventoryObject, Object: o.Name}
	date, run, own := v.lay.owned(o.Name)
	switch {
	case own:
		item.Date, item.Run = date, run
		item.Unfinished = !v.manifest.committed(run) && slices.Contains(v.manifest.Unfinished, run)
	case o.Name == v.lay.fixed() && v.query.Run.Stream != sdk.Events:
		k, _ := v.lay.key(o.Name)
		item.Run = v.files[k].run
	case v.sizes[uint64(o.Size)] && !v.ofOthers(o.Name):
		item.Foreign = true
		item.Date = v.lay.dateOf(o.Name)
	default:
		return item, false
	}
	return item, v.query.Holds(item.Date)
}

func (v *inventory) ofOthers(name string) bool {
	return slices.ContainsFunc(v.others, func(lay layout) bool {
		_, _, ok := lay.owned(name)
		return ok || lay.isFixed(name)
	})
}

// inspect asks the store for the states of listed objects and yields them.
func (v *inventory) inspect(ctx context.Context, listed []sdk.InventoryItem) error {
	states, err := concurrently(listed, func(i sdk.InventoryItem) (*state, error) {
		s, err := v.lake.inspect(ctx, i.Object, v.query.Run.Stream, v.query.Deep)
		if errors.Is(err, ErrNotFound) { // it was deleted since it was listed
			return nil, nil
		}
		return s, err
	})
	if err != nil {
		return err
	}
	for i, item := range listed {
		s := states[i]
		if s == nil {
			continue // missing reports it if it is recorded
		}
		item.Found, item.Problem, v.sums = &s.facts, s.problem, s.sums
		if k, own := v.lay.key(item.Object); own {
			if f, ok := v.files[k]; ok {
				item.Recorded, item.Run = f.facts(s.sums), f.run
				s.forget(File{RowsBytes: f.rowsBytes})
				delete(v.files, k)
			}
		}
		if err := v.yield(item); err != nil {
			return err
		}
	}
	return nil
}

// missing yields the recorded objects that were not found.
func (v *inventory) missing(context.Context) error {
	left := slices.SortedFunc(maps.Keys(v.files), func(a, b fileKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.run, b.run), cmp.Compare(a.part, b.part))
	})
	for _, k := range left {
		f := v.files[k]
		err := v.yield(sdk.InventoryItem{Kind: sdk.InventoryObject, Date: k.date(), Run: f.run, Object: v.lay.name(k), Recorded: f.facts(v.sums)})
		if err != nil {
			return err
		}
	}
	return nil
}

// concurrently calls f for each element, a few at a time, and returns the
// results in order.
func concurrently[A, B any](in []A, f func(A) (B, error)) ([]B, error) {
	out := make([]B, len(in))
	t := newTasks(inspectors)
	var mu sync.Mutex
	for i, a := range in {
		t.start(func() error {
			b, err := f(a)
			mu.Lock()
			defer mu.Unlock()
			out[i] = b
			return err
		})
	}
	return out, t.wait()
}
