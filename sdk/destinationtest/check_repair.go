package destinationtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// lists skips the check when the plugin has no inventory.
func (p *process) lists() {
	if !p.describe().Capabilities.Inventory {
		p.bench.Skipf("the destination has no inventory")
	}
}

// repairs skips the check when the plugin does not repair, or when the harness
// cannot harm.
func (p *process) repairs() {
	b := p.bench
	if !p.describe().Capabilities.Repair {
		b.Skipf("the destination repairs nothing")
	}
	if b.h.Harm == nil {
		b.Skipf("the harness has no Harm")
	}
}

// inventory returns the items of a pipeline's inventory.
func (p *process) inventory(q sdk.InventoryQuery) []sdk.InventoryItem {
	b := p.bench
	b.Helper()
	ctx, cancel := b.call()
	defer cancel()
	var items []sdk.InventoryItem
	err := p.Inventory(ctx, q, func(i sdk.InventoryItem) error {
		items = append(items, i)
		return nil
	})
	if err != nil {
		b.Fatalf("inventory: %v", err)
	}
	return items
}

// objectsOf returns those items that are objects, by name.
func objectsOf(items []sdk.InventoryItem) map[string]sdk.InventoryItem {
	objects := make(map[string]sdk.InventoryItem)
	for _, i := range items {
		if i.Kind == sdk.InventoryObject {
			objects[i.Object] = i
		}
	}
	return objects
}

// isWhole reports whether an object is there as it is recorded.
func isWhole(i sdk.InventoryItem) bool {
	r, f := i.Recorded, i.Found
	return i.Problem == "" && r != nil && f != nil && r.StoredBytes == f.StoredBytes && r.Checksum == f.Checksum &&
		(!f.Counted || r.Rows == f.Rows && r.RowsCRC32 == f.RowsCRC32)
}

func inventory(b *bench) {
	p := b.start()
	p.lists()
	first, second := days("inventory", 3, 5), days("inventory-2", 2, 4)
	p.mustExport(b.run(1, 1), first)
	p.mustExport(b.run(2, 2), second)
	for _, deep := range []bool{false, true} {
		items := p.inventory(sdk.InventoryQuery{Run: b.run(1, 0), Deep: deep})
		if i := items[0]; i.Kind != sdk.InventoryRecord || i.Run != 2 || i.Content != b.run(2, 0).Content || i.Problem != "" {
			b.Errorf("the first item is %+v, want the record with run 2", i)
		}
		b.expectInventory(objectsOf(items), map[int64]data{1: first, 2: second}, deep)
	}
	date := first[1].date
	got := objectsOf(p.inventory(sdk.InventoryQuery{Run: b.run(1, 0), From: date, To: date}))
	b.expectInventory(got, map[int64]data{1: first[1:2], 2: second[1:2]}, false)
}

// expectInventory compares whole objects with the rows that were committed.
func (b *bench) expectInventory(objects map[string]sdk.InventoryItem, committed map[int64]data, deep bool) {
	b.Helper()
	got, want := make(map[string]uint64), make(map[string]uint64)
	for number, d := range committed {
		for _, part := range d {
			want[fmt.Sprintf("run %d of %s", number, part.date)] += uint64(len(part.rows()))
		}
	}
	for _, i := range objects {
		if !isWhole(i) || i.Unfinished || i.Foreign {
			b.Errorf("an object that was not harmed is %+v, found %+v, recorded %+v", i, i.Found, i.Recorded)
			continue
		}
		if deep && !i.Found.Counted {
			b.Errorf("the rows of %s were not counted", i.Object)
		}
		got[fmt.Sprintf("run %d of %s", i.Run, i.Date)] += i.Recorded.Rows
	}
	if !maps.Equal(got, want) {
		b.Errorf("the inventory has the rows %v, committed were %v", got, want)
	}
}

// harms are done to one object.
var harms = []struct {
	name   string
	change func([]byte) []byte
}{
	{"deleted", func([]byte) []byte { return nil }},
	{"truncated", func(data []byte) []byte { return slices.Clone(data[:len(data)/2]) }},
	{"changed", func(data []byte) []byte {
		changed := bytes.Clone(data)
		changed[len(data)/2] ^= 1
		return changed
	}},
	{"longer", func(data []byte) []byte { return append(bytes.Clone(data), "more"...) }},
}

// harm changes an object behind the destination's back.
func (b *bench) harm(run sdk.Run, object string, change func([]byte) []byte) {
	b.Helper()
	ctx, cancel := b.call()
	defer cancel()
	if err := b.h.Harm(ctx, b.place(run), object, change); err != nil {
		b.Fatalf("harm %s: %v", object, err)
	}
}

// objectOf returns the name of an object of a run and a date.
func (p *process) objectOf(run sdk.Run, date string) string {
	b := p.bench
	b.Helper()
	for name, i := range objectsOf(p.inventory(sdk.InventoryQuery{Run: run})) {
		if i.Run == run.Number && i.Date == date {
			return name
		}
	}
	b.Fatalf("the inventory has no object of run %d and date %q", run.Number, date)
	return ""
}

func inventoryHarm(b *bench) {
	p := b.start()
	p.lists()
	if b.h.Harm == nil {
		b.Skipf("the harness has no Harm")
	}
	d := days("harm", 2, 5)
	run := b.run(1, 1)
	p.mustExport(run, d)
	object := p.objectOf(run, d[1].date)
	for _, h := range harms {
		var before []byte
		b.harm(run, object, func(data []byte) []byte {
			before = bytes.Clone(data)
			return h.change(data)
		})
		for name, i := range objectsOf(p.inventory(sdk.InventoryQuery{Run: run})) {
			if isWhole(i) != (name != object) {
				b.Errorf("%s was %s, and %s is found as %+v, recorded as %+v", object, h.name, name, i.Found, i.Recorded)
			}
		}
		b.harm(run, object, func([]byte) []byte { return before })
	}
}

// repair sends the chosen partitions of a committed run again.
func (p *process) repair(run sdk.Run, d data, parts []int, remove ...string) error {
	s, err := p.prepareRepair(run, d, parts, remove...)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.commit()
	return err
}

// prepareRepair is repair up to the commit.
func (p *process) prepareRepair(run sdk.Run, d data, parts []int, remove ...string) (*session, error) {
	run.Repair = &sdk.Repair{Partitions: len(d), Remove: remove}
	s, err := p.open(run)
	if err != nil {
		return nil, err
	}
	for _, index := range parts {
		s.parts = index
		if err := s.send(d[index : index+1]); err != nil {
			s.Close()
			return nil, err
		}
	}
	receipt, err := s.prepare()
	if err == nil && len(receipt.Partitions) != len(parts) {
		err = fmt.Errorf("the receipt of the repair has %d partitions, %d were sent", len(receipt.Partitions), len(parts))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func repairRestores(b *bench) {
	p := b.start()
	p.repairs()
	first, second := days("restore", 3, 5), days("restore-2", 2, 4)
	p.mustExport(b.run(1, 1), first)
	p.mustExport(b.run(2, 2), second)
	run := b.run(1, 1)
	before, rows := b.objects(run), b.read(run, "before any harm")
	fence := int64(10)
	for _, h := range harms {
		b.harm(run, p.objectOf(b.run(1, 0), first[1].date), h.change)
		harmed := b.objects(run)
		run.Fence = fence
		s, err := p.prepareRepair(run, first, []int{1})
		if err != nil {
			b.Fatalf("%s: repair: %v", h.name, err)
		}
		b.expectSameObjects(run, harmed, "before the repair commits")
		if _, err := s.commit(); err != nil {
			b.Fatalf("%s: commit the repair: %v", h.name, err)
		}
		s.Close()
		b.expectSameObjects(run, before, "after the repair of an object that was "+h.name)
		b.expectRows(run, rows, "after the repair")
		p.expectState(b.run(2, 0), sdk.Committed, 2)
		fence++
	}
	next := b.run(3, fence)
	third := days("restore-3", 1, 2)
	p.mustExport(next, third)
	p.expectState(next, sdk.Committed, 3)
}

func repairRefuses(b *bench) {
	p := b.start()
	p.repairs()
	d := days("refuse", 1, 5)
	p.mustExport(b.run(1, 5), d)
	object := p.objectOf(b.run(1, 0), d[0].date)
	b.harm(b.run(1, 0), object, func(data []byte) []byte { return data[:1] })
	harmed := b.objects(b.run(1, 0))
	for name, c := range map[string]struct {
		change func(*sdk.Run)
		class  protocol.Class
	}{
		"a repair with other content":             {func(r *sdk.Run) { r.Content = "00000000000000000000000000000000" }, protocol.Permanent},
		"a repair of a run that is not committed": {func(r *sdk.Run) { *r = b.run(2, 9) }, protocol.Permanent},
		"a repair with an older fence":            {func(r *sdk.Run) { r.Fence = 4 }, protocol.Fenced},
	} {
		run := b.run(1, 9)
		c.change(&run)
		if run.Fence < 5 && b.h.FenceInProcess {
			continue
		}
		// A new process knows no fence but that of the destination.
		b.expectClass(b.start().repair(run, d, []int{0}), name, c.class)
		b.expectSameObjects(run, harmed, "after "+name)
	}
	p.expectState(b.run(1, 0), sdk.Committed, 1)
	if err := p.repair(b.run(1, 20), d, []int{0}); err != nil {
		b.Fatalf("repair: %v", err)
	}
	if !b.h.FenceInProcess {
		b.expectClass(b.start().tryOpen(b.run(2, 15)), "a run with a fence older than that of a repair", protocol.Fenced)
	}
}

func repairZombie(b *bench) {
	if b.h.FenceInProcess {
		b.Skipf("the destination keeps no fence")
	}
	zombie := b.start()
	zombie.repairs()
	d := days("zombie-repair", 1, 5)
	run := b.run(1, 1)
	zombie.mustExport(run, d)
	b.harm(run, zombie.objectOf(run, d[0].date), func(data []byte) []byte { return data[:1] })
	harmed := b.objects(run)
	run.Fence = 2
	s, err := zombie.prepareRepair(run, d, []int{0})
	if err != nil {
		b.Fatalf("repair: %v", err)
	}
	defer s.Close()
	newer := b.run(2, 3)
	n, err := b.start().open(newer)
	if err != nil {
		b.Fatalf("open a newer attempt: %v", err)
	}
	defer n.Close()
	_, err = s.commit()
	b.expectClass(err, "the commit of a repair that was overtaken", protocol.Fenced)
	b.expectSameObjects(run, harmed, "after a repair that was overtaken")
}

func repairKill(b *bench) {
	probe := b.start()
	probe.repairs()
	d := days("killed-repair", 2, 5)
	run := b.run(1, 1)
	probe.mustExport(run, d)
	before := b.objects(run)
	fence := int64(10)
	for _, at := range []string{"plugin.open", "plugin.write:2", "plugin.prepare", "plugin.commit.before", "plugin.commit.after"} {
		for _, part := range d {
			b.harm(run, probe.objectOf(run, part.date), func(data []byte) []byte { return data[:1] })
		}
		run.Fence = fence
		var p *process
		if b.h.Package != "" {
			p = b.start("PENSTOCK_CRASH_AT=" + at)
			if err := p.repair(run, d, []int{0, 1}); err == nil {
				b.Fatalf("the process was to be killed at %s, and the repair ended", at)
			}
		} else {
			p = b.start()
			if s, err := p.prepareRepair(run, d, []int{0, 1}); err == nil {
				defer s.Close()
			}
		}
		p.kill()
		run.Fence = fence + 1
		if err := b.start().repair(run, d, []int{0, 1}); err != nil {
			b.Fatalf("repair after a kill at %s: %v", at, err)
		}
		b.expectSameObjects(run, before, "repaired after a kill at "+at)
		fence += 2
	}
	b.start().expectState(b.run(1, 0), sdk.Committed, 1)
}

func repairRemoves(b *bench) {
	p := b.start()
	p.repairs()
	if b.h.Unnamed == nil {
		b.Skipf("the harness has no Unnamed")
	}
	d := days("remove", 2, 5)
	run := b.run(1, 1)
	p.mustExport(run, d)
	before := b.objects(run)
	named := p.objectOf(run, d[0].date)
	unnamed := b.h.Unnamed(named)
	b.harm(run, unnamed, func([]byte) []byte { return []byte("of a stranger") })
	i, ok := objectsOf(p.inventory(sdk.InventoryQuery{Run: run}))[unnamed]
	if !ok || i.Recorded != nil || i.Found == nil || i.Unfinished || i.Foreign {
		b.Errorf("the unnamed object %s is found: %v, as %+v", unnamed, ok, i)
	}
	run.Fence = 2
	if err := p.repair(run, d, nil, named, unnamed); err != nil {
		b.Fatalf("repair: %v", err)
	}
	b.expectSameObjects(run, before, "after the repair")
}
