package laketest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// repairChecks returns the checks of inventories and repairs.
func repairChecks() []Check {
	return []Check{
		{"repair: each harm is found and mended, byte for byte", checkHarms},
		{"repair: comes through any fault and harms nothing", checkRepairFaults},
		{"repair: a newer attempt ends it", checkRepairOvertaken},
		{"repair: objects of committed and coming runs are not removed", checkRemovals},
		{"repair: a run with other content is refused", checkRepairContent},
	}
}

// harm is done to the objects of a place. It returns the names of the objects
// that an inventory must report.
type harm func(ctx context.Context, p place, names []string) ([]string, error)

// harms returns the harms by name. names are the data objects, sorted.
func harms() map[string]harm {
	return map[string]harm{
		"deleted": func(ctx context.Context, p place, names []string) ([]string, error) {
			return names[:1], p.store.Delete(ctx, names[:1])
		},
		"truncated": func(ctx context.Context, p place, names []string) ([]string, error) {
			return names[:1], p.rewrite(ctx, names[0], func(data []byte) []byte { return data[:len(data)/2] })
		},
		"other bytes of the same size": func(ctx context.Context, p place, names []string) ([]string, error) {
			return names[:1], p.rewrite(ctx, names[0], func(data []byte) []byte {
				data[len(data)/2] ^= 1
				return data
			})
		},
		"emptied": func(ctx context.Context, p place, names []string) ([]string, error) {
			return names[:1], p.rewrite(ctx, names[0], func([]byte) []byte { return nil })
		},
		"all deleted": func(ctx context.Context, p place, names []string) ([]string, error) {
			return names, p.store.Delete(ctx, names)
		},
		"doubled": func(ctx context.Context, p place, names []string) ([]string, error) {
			double := strings.TrimSuffix(p.part(names[0]), "1.json.gz") + "7.json.gz"
			data, _, err := p.store.Read(ctx, names[0], 1<<30)
			if err != nil {
				return nil, err
			}
			return []string{double}, put(ctx, p.store, double, string(data))
		},
		"foreign": func(ctx context.Context, p place, names []string) ([]string, error) {
			foreign := strings.TrimSuffix(p.part(names[0]), "1.json.gz") + "9.json.gz"
			return []string{foreign}, put(ctx, p.store, foreign, "not of this pipeline")
		},
	}
}

// part returns a name that is one of a run's parts, in the directory of name.
func (p place) part(name string) string {
	if p.run.Mode == sdk.Replace {
		return strings.TrimSuffix(name, ".json.gz") + "-00000001-0001.json.gz"
	}
	return name
}

// rewrite puts other bytes in the place of an object.
func (p place) rewrite(ctx context.Context, name string, change func([]byte) []byte) error {
	data, _, err := p.store.Read(ctx, name, 1<<30)
	if err != nil {
		return err
	}
	return put(ctx, p.store, name, string(change(data)))
}

// data returns the data objects below the place, without manifests, and their
// sorted names.
func (p place) data(ctx context.Context) (map[string][]byte, []string, error) {
	objects, err := p.objects(ctx)
	maps.DeleteFunc(objects, func(name string, _ []byte) bool { return strings.Contains(name, "/_penstock/") })
	return objects, slices.Sorted(maps.Keys(objects)), err
}

// different returns the names of objects that an inventory does not find as the
// record says, and that no record names.
func (p place) different(ctx context.Context, deep bool) (damaged, unnamed []string, err error) {
	q := sdk.InventoryQuery{Run: p.run, Deep: deep}
	err = p.lake(p.store).Inventory(ctx, q, func(i sdk.InventoryItem) error {
		switch {
		case i.Kind != sdk.InventoryObject:
			if i.Problem != "" {
				return fmt.Errorf("%s: %s", i.Object, i.Problem)
			}
		case i.Recorded == nil && !i.Unfinished:
			unnamed = append(unnamed, i.Object)
		case i.Found == nil || i.Found.StoredBytes != i.Recorded.StoredBytes || i.Found.Checksum != i.Recorded.Checksum:
			damaged = append(damaged, i.Object)
		case deep && (!i.Found.Counted || i.Found.Rows != i.Recorded.Rows || i.Found.RowsCRC32 != i.Recorded.RowsCRC32):
			damaged = append(damaged, i.Object)
		case i.Found.Checksum == "":
			return fmt.Errorf("%s has no checksum", i.Object)
		}
		return nil
	})
	return damaged, unnamed, err
}

// repair repairs run n over l, which is a lake over the place's store or a
// wrapper of it.
func (p place) repair(ctx context.Context, l *lake.Lake, n, fence int64, remove []string) error {
	run, days := p.number(n), p.days(n)
	run.Fence, run.Repair = fence, &sdk.Repair{Partitions: len(days), Remove: remove, Totals: true}
	if _, err := l.Open(ctx, run); err != nil {
		return err
	}
	r, err := writeDays(ctx, l, run, days)
	if err == nil {
		err = l.Prepare(ctx, run, r)
	}
	if err == nil {
		err = l.Commit(ctx, run, r)
	}
	if err != nil {
		return errors.Join(err, l.Abort(ctx, run, false))
	}
	return nil
}

func checkHarms(ctx context.Context, s lake.Store, dir string) error {
	for kind, at := range map[string]func(lake.Store, string) place{"events": eventsAt, "people": peopleAt} {
		for name, harm := range harms() {
			p := at(s, dir+kind+"-"+strings.ReplaceAll(name, " ", "-"))
			if err := p.mends(ctx, harm); err != nil {
				return fmt.Errorf("%s, %s: %w", kind, name, err)
			}
		}
	}
	return nil
}

// mends exports two runs, does harm, and expects that it is found, and that
// after a repair of both runs all objects are as they were.
func (p place) mends(ctx context.Context, harm harm) error {
	for n := int64(1); n <= 2; n++ {
		if err := p.export(ctx, n); err != nil {
			return err
		}
	}
	before, names, err := p.data(ctx)
	if err != nil {
		return err
	}
	if err := p.whole(ctx, before); err != nil {
		return fmt.Errorf("before any harm: %w", err)
	}
	harmed, err := harm(ctx, p, names)
	if err != nil {
		return err
	}
	damaged, unnamed, err := p.different(ctx, false)
	if err != nil {
		return err
	}
	if found := slices.Concat(damaged, unnamed); !slices.Equal(found, harmed) {
		return fmt.Errorf("found are %v, harmed were %v", found, harmed)
	}
	repaired := []int64{1, 2}
	if p.run.Mode == sdk.Replace {
		repaired = []int64{2}
	}
	for _, n := range repaired {
		if err := p.repair(ctx, p.lake(p.store), n, 100+n, unnamed); err != nil {
			return fmt.Errorf("repair run %d: %w", n, err)
		}
	}
	if err := p.whole(ctx, before); err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	// The pipeline goes on.
	next := p.number(3)
	next.Fence = 200
	if _, err := Export(ctx, p.lake(p.store), next, p.days(3)); err != nil {
		return fmt.Errorf("the run after the repair: %w", err)
	}
	return p.expect(ctx, 1, 2, 3)
}

// whole expects that the data objects are want, that no object is left aside, and
// that an inventory finds no difference.
func (p place) whole(ctx context.Context, want map[string][]byte) error {
	got, _, err := p.data(ctx)
	if err != nil {
		return err
	}
	if !maps.EqualFunc(got, want, bytes.Equal) {
		return fmt.Errorf("%d objects are not the %d that were committed, byte for byte", len(got), len(want))
	}
	for _, deep := range []bool{false, true} {
		damaged, unnamed, err := p.different(ctx, deep)
		if err != nil || len(damaged)+len(unnamed) > 0 {
			return fmt.Errorf("an inventory (deep: %v) finds %v damaged and %v unnamed: %w", deep, damaged, unnamed, err)
		}
	}
	all, err := p.objects(ctx)
	for name := range all {
		if strings.Contains(name, "/aside/") {
			return fmt.Errorf("%s is left", name)
		}
	}
	return err
}

// checkRepairFaults cuts a repair at each call. Whole objects must stay as they
// are, and a second repair must restore the others.
func checkRepairFaults(ctx context.Context, s lake.Store, dir string) error {
	for kind, at := range map[string]func(lake.Store, string) place{"events": eventsAt, "people": peopleAt} {
		err := everyFault([]Fault{Refused, LostAnswer, Repeated}, dir+kind+"/", s, func(faulty *Faults, root string) error {
			p := at(s, root)
			if err := errors.Join(p.export(ctx, 1), p.export(ctx, 2)); err != nil {
				return err
			}
			before, names, err := p.data(ctx)
			if err != nil {
				return err
			}
			harmed := names[len(names)-1]
			if err := p.rewrite(ctx, harmed, func(data []byte) []byte { return data[1:] }); err != nil {
				return err
			}
			err = p.repair(ctx, p.lake(faulty), 2, 100, nil)
			if err != nil && !errors.Is(err, ErrInjected) {
				return fmt.Errorf("the first repair: %w", err)
			}
			now, _, dataErr := p.data(ctx)
			delete(now, harmed)
			for name, data := range now {
				if !bytes.Equal(data, before[name]) {
					return fmt.Errorf("the repair that was cut has changed %s", name)
				}
			}
			if dataErr == nil && err != nil {
				dataErr = p.repair(ctx, p.lake(s), 2, 101, nil)
			}
			return errors.Join(dataErr, p.whole(ctx, before))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// checkRepairOvertaken lets a newer attempt open between the steps of a repair:
// another repair, or the next run. The older repair must be refused, and what is
// committed must stay.
func checkRepairOvertaken(ctx context.Context, s lake.Store, dir string) error {
	for kind, at := range map[string]func(lake.Store, string) place{"events": eventsAt, "people": peopleAt} {
		for _, newer := range []string{"repair", "run"} {
			for step := range 3 {
				p := at(s, fmt.Sprintf("%s%s-%s-%d", dir, kind, newer, step))
				if err := p.overtakeRepair(ctx, newer, step); err != nil {
					return fmt.Errorf("%s, overtaken by a %s after step %d: %w", kind, newer, step, err)
				}
			}
		}
	}
	return nil
}

func (p place) overtakeRepair(ctx context.Context, newer string, step int) error {
	if err := p.export(ctx, 1); err != nil {
		return err
	}
	before, names, err := p.data(ctx)
	if err != nil {
		return err
	}
	if err := p.rewrite(ctx, names[0], func(data []byte) []byte { return data[1:] }); err != nil {
		return err
	}
	zombie, run := p.lake(p.store), p.number(1)
	run.Fence, run.Repair = 100, &sdk.Repair{Partitions: len(p.days(1))}
	overtake := func(at int) error {
		if at != step {
			return nil
		}
		if newer == "repair" {
			return p.repair(ctx, p.lake(p.store), 1, 101, nil)
		}
		next := p.number(2)
		next.Fence = 101
		_, err := Export(ctx, p.lake(p.store), next, p.days(2))
		return err
	}
	if _, err := zombie.Open(ctx, run); err != nil {
		return err
	}
	if err := overtake(0); err != nil {
		return err
	}
	r, err := writeDays(ctx, zombie, run, p.days(1))
	if err := overtake(1); err != nil {
		return err
	}
	if err == nil {
		err = zombie.Prepare(ctx, run, r)
	}
	if err := overtake(2); err != nil {
		return err
	}
	if err == nil {
		err = zombie.Commit(ctx, run, r)
	}
	if !isFenced(err) {
		return fmt.Errorf("the older repair ended with: %w", err)
	}
	if err := zombie.Abort(ctx, run, true); err != nil {
		return err
	}
	if newer == "repair" {
		return p.whole(ctx, before)
	}
	if p.run.Mode != sdk.Replace { // the damage of run 1 is still there
		if err := p.repair(ctx, p.lake(p.store), 1, 102, nil); err != nil {
			return err
		}
	}
	return p.expect(ctx, 1, 2)
}

// checkRemovals asks a repair to remove objects that it must keep.
func checkRemovals(ctx context.Context, s lake.Store, dir string) error {
	p := eventsAt(s, dir+"events")
	if err := p.export(ctx, 1); err != nil {
		return err
	}
	unfinished := p.lake(s)
	if _, err := Attempt(ctx, unfinished, p.number(2), p.days(2)); err != nil {
		return err
	}
	if err := unfinished.Abort(ctx, p.number(2), false); err != nil {
		return err
	}
	before, names, err := p.data(ctx)
	if err != nil {
		return err
	}
	future := strings.Replace(names[0], "-00000001-", "-00000003-", 1)
	if err := put(ctx, s, future, "of a run to come"); err != nil {
		return err
	}
	before[future] = []byte("of a run to come")
	if err := p.repair(ctx, p.lake(s), 1, 100, append(names, future)); err != nil {
		return err
	}
	after, _, err := p.data(ctx)
	if err != nil {
		return err
	}
	if !maps.EqualFunc(before, after, bytes.Equal) {
		return fmt.Errorf("a repair was asked to remove committed and unfinished objects: %d of %d are left", len(after), len(before))
	}
	other := p.root + "/42/mp_master_event/2026/06/01/other-pipeline-00000001-0001.json.gz"
	if err := p.repair(ctx, p.lake(s), 1, 101, []string{other}); err == nil {
		return errors.New("a repair took the name of another pipeline's object")
	}
	return nil
}

// checkRepairContent repairs runs that are not the committed ones.
func checkRepairContent(ctx context.Context, s lake.Store, dir string) error {
	p := eventsAt(s, dir+"events")
	p.run.Content = "content"
	if err := errors.Join(p.export(ctx, 1), p.export(ctx, 2)); err != nil {
		return err
	}
	for name, change := range map[string]func(*sdk.Run){
		"with other content":    func(r *sdk.Run) { r.Content = "theirs" },
		"that is not committed": func(r *sdk.Run) { r.Number = 3 },
		"with an older fence":   func(r *sdk.Run) { r.Fence = 1 },
	} {
		run := p.number(1)
		run.Fence, run.Repair = 100, &sdk.Repair{}
		change(&run)
		l := p.lake(s)
		if _, err := l.Open(ctx, run); err == nil {
			return errors.Join(fmt.Errorf("a repair of a run %s was opened", name), l.Abort(ctx, run, false))
		}
	}
	return nil
}

// EditManifest changes the manifest at name as a person would with an editor.
func EditManifest(ctx context.Context, s lake.Store, name string, change func(map[string]any)) error {
	data, version, err := s.Read(ctx, name, 1<<30)
	if err != nil {
		return err
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	change(m)
	if data, err = json.Marshal(m); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = s.WriteIf(ctx, name, data, version)
	return err
}

// Unnamed returns a name of the same pipeline, run and day as an object's that
// no run writes.
func Unnamed(object string) string {
	return strings.Replace(object, "-0001.", "-0009.", 1)
}
