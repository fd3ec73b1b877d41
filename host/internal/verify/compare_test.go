package verify

import (
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// world is a pipeline whose four sides agree: run 1 has the 1st of June, run 2
// both days. A test changes one side.
type world struct {
	in Input
}

// text is the content of an object, which stands for its rows too.
func text(run int64, date string) string { return fmt.Sprintf("run %d, %s", run, date) }

func facts(content string) *protocol.InventoryFacts {
	sum := crc32.ChecksumIEEE([]byte(content))
	return &protocol.InventoryFacts{
		Rows: uint64(len(content)), RowsBytes: uint64(len(content)), RowsCRC32: sum,
		StoredBytes: uint64(len(content)), Checksum: fmt.Sprintf("crc32:%08x", sum),
	}
}

func object(run int64, date string) string {
	return strings.ReplaceAll(date, "-", "/") + fmt.Sprintf("/p-id-%08d-0001.json.gz", run)
}

func newWorld() *world {
	w := &world{in: Input{Before: 2, Journal: map[string]Journal{}}}
	w.item(protocol.InventoryItem{Kind: protocol.InventoryRecord, Run: 2, Content: "c2", Object: "manifest"})
	totals := map[string]*protocol.InventoryFacts{}
	for _, run := range []struct {
		number int64
		dates  []string
	}{{1, []string{"2026-06-01"}}, {2, []string{"2026-06-01", "2026-06-02"}}} {
		r := Run{Number: run.number, Content: fmt.Sprintf("c%d", run.number)}
		w.item(protocol.InventoryItem{Kind: protocol.InventoryRun, Run: run.number, Content: r.Content, Object: fmt.Sprintf("receipt %d", run.number)})
		for _, date := range run.dates {
			f := facts(text(run.number, date))
			w.item(protocol.InventoryItem{
				Kind: protocol.InventoryObject, Date: date, Run: run.number, Object: object(run.number, date), Recorded: f, Found: facts(text(run.number, date)),
			})
			n := int64(f.Rows)
			r.Parts = append(r.Parts, Part{
				Date: date, Committed: Amount{Rows: n, StoredBytes: n, Objects: 1},
				Journal: &batch.Totals{Rows: f.Rows, RowsBytes: f.RowsBytes, RowsCRC32: f.RowsCRC32},
			})
			j := w.in.Journal[date]
			j.Rows += n
			w.in.Journal[date] = j
			if totals[date] == nil {
				totals[date] = &protocol.InventoryFacts{}
			}
			totals[date].Rows += f.Rows
			totals[date].RowsBytes += f.RowsBytes
			totals[date].StoredBytes += f.StoredBytes
			totals[date].Objects++
		}
		w.in.Runs = append(w.in.Runs, r)
	}
	for date, f := range totals {
		w.item(protocol.InventoryItem{Kind: protocol.InventoryTotals, Date: date, Object: "manifest", Recorded: f})
	}
	return w
}

func (w *world) item(i protocol.InventoryItem) { w.in.Items = append(w.in.Items, i) }

// find returns the item of a kind with this run and date.
func (w *world) find(kind protocol.InventoryKind, run int64, date string) *protocol.InventoryItem {
	i := slices.IndexFunc(w.in.Items, func(i protocol.InventoryItem) bool { return i.Kind == kind && i.Run == run && i.Date == date })
	return &w.in.Items[i]
}

func (w *world) drop(kind protocol.InventoryKind, run int64) {
	w.in.Items = slices.DeleteFunc(w.in.Items, func(i protocol.InventoryItem) bool { return i.Kind == kind && i.Run == run })
}

const first, second = "2026-06-01", "2026-06-02"

func TestSidesThatAgree(t *testing.T) {
	for name, change := range map[string]func(*world){
		"": func(*world) {},
		"nothing was exported yet": func(w *world) {
			w.in = Input{Journal: map[string]Journal{first: {Amount: Amount{Rows: 5}, Waiting: 5}}}
			w.item(protocol.InventoryItem{Kind: protocol.InventoryRecord, Object: "manifest", Problem: "the manifest does not exist"})
		},
		"the journal no longer holds a run": func(w *world) {
			w.in.Runs[0].Parts[0].Journal, w.in.Runs[0].Parts[0].Gone = nil, "retention"
		},
		"a run is in progress": func(w *world) {
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: first, Run: 3, Object: object(3, first), Found: facts("x"), Unfinished: true})
		},
		"a run was begun while the destination was asked": func(w *world) {
			w.in.Open = &Run{Number: 3, Content: "c3"}
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: first, Run: 3, Object: object(3, first), Found: facts("x")})
		},
		"a run was committed while the destination was asked, and its objects were listed": func(w *world) {
			w.in.Runs = append(w.in.Runs, Run{Number: 3, Content: "c3", Parts: []Part{{Date: first, Committed: Amount{Rows: 1}, Journal: &batch.Totals{Rows: 1}}}})
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: first, Run: 3, Object: object(3, first), Found: facts("x")})
		},
		"a run was committed while the destination was asked": func(w *world) {
			w.in.Runs = append(w.in.Runs, Run{Number: 3, Content: "c3", Parts: []Part{{Date: first, Committed: Amount{Rows: 1}, Journal: &batch.Totals{Rows: 1}}}})
		},
		"a run is committed and not recorded yet": func(w *world) {
			w.find(protocol.InventoryRecord, 2, "").Run = 3
			w.item(protocol.InventoryItem{Kind: protocol.InventoryRun, Run: 3, Content: "c3", Object: "receipt 3"})
			w.in.Open = &Run{Number: 3, Content: "c3"}
		},
		"a foreign object of the same size": func(w *world) {
			f := facts(text(1, first))
			f.Checksum = "crc32:00000000"
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: first, Object: "2026/06/01/other.gz", Found: f, Foreign: true})
		},
		"checksums of two algorithms": func(w *world) { w.find(protocol.InventoryObject, 1, first).Found.Checksum = "crc32c:12345678" },
		"rejected rows": func(w *world) {
			p := &w.in.Runs[0].Parts[0]
			p.Rejected, p.Journal.Rows, p.Journal.RowsCRC32 = 3, p.Journal.Rows+3, 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			change(w)
			r := Compare(w.in)
			if len(r.Differences) > 0 || !r.Plan.Empty() {
				t.Errorf("differences %+v, plan %+v", r.Differences, r.Plan)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	send := func(run int64, date string, part int) *Plan {
		return &Plan{Sends: []Send{{
			Run: run, Parts: []int{part}, Dates: []string{date}, Objects: []string{object(run, date)}, Rows: int64(len(text(run, date))),
		}}}
	}
	whole := func(run int64, dates ...string) *Plan {
		s := Send{Run: run, Record: true}
		for i, date := range dates {
			s.Parts, s.Dates, s.Rows = append(s.Parts, i), append(s.Dates, date), s.Rows+int64(len(text(run, date)))
		}
		return &Plan{Sends: []Send{s}}
	}
	for name, c := range map[string]struct {
		change func(*world)
		want   []string // kind, run, object: in order
		plan   *Plan
	}{
		"an object is missing": {func(w *world) { w.find(protocol.InventoryObject, 2, second).Found = nil },
			[]string{"missing 2 " + object(2, second)}, send(2, second, 1)},
		"an object is truncated": {func(w *world) { w.find(protocol.InventoryObject, 1, first).Found.StoredBytes-- },
			[]string{"truncated 1 " + object(1, first)}, send(1, first, 0)},
		"an object is longer": {func(w *world) { w.find(protocol.InventoryObject, 1, first).Found.StoredBytes++ },
			[]string{"size 1 " + object(1, first)}, send(1, first, 0)},
		"an object has other bytes": {func(w *world) { w.find(protocol.InventoryObject, 1, first).Found.Checksum = "crc32:00000000" },
			[]string{"changed 1 " + object(1, first)}, send(1, first, 0)},
		"an object has other rows": {func(w *world) {
			f := w.find(protocol.InventoryObject, 1, first).Found
			f.Counted, f.Rows = true, f.Rows-1
		}, []string{"changed 1 " + object(1, first)}, send(1, first, 0)},
		"an object cannot be read": {func(w *world) { w.find(protocol.InventoryObject, 1, first).Problem = "unexpected EOF" },
			[]string{"changed 1 " + object(1, first)}, send(1, first, 0)},
		"a damaged object of a run that the journal no longer holds": {func(w *world) {
			w.find(protocol.InventoryObject, 1, first).Found = nil
			w.in.Runs[0].Parts[0].Journal, w.in.Runs[0].Parts[0].Gone = nil, "retention"
		}, []string{"missing 1 " + object(1, first)}, nil},
		"a foreign object": {func(w *world) {
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: first, Run: 1, Object: "foreign", Found: facts("x")})
		}, []string{"foreign 1 foreign"}, &Plan{Remove: []string{"foreign"}}},
		"a doubled object": {func(w *world) {
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: second, Run: 1, Object: "double", Found: facts(text(1, first))})
		}, []string{"doubled 1 double"}, &Plan{Remove: []string{"double"}}},
		"a copy with a foreign name": {func(w *world) {
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: second, Object: "copy", Found: facts(text(1, first)), Foreign: true})
		}, []string{"doubled 0 copy"}, nil},
		"an object of a run to come": {func(w *world) {
			w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: first, Run: 4, Object: "coming", Found: facts("x")})
		}, []string{"foreign 4 coming"}, nil},
		"the totals of a day": {func(w *world) { w.find(protocol.InventoryTotals, 0, second).Recorded.Rows++ },
			[]string{"totals 0 manifest"}, &Plan{Totals: true}},
		"a day without totals": {func(w *world) {
			w.in.Items = slices.DeleteFunc(w.in.Items, func(i protocol.InventoryItem) bool { return i.Kind == protocol.InventoryTotals && i.Date == second })
		}, []string{"totals 0 manifest"}, &Plan{Totals: true}},
		"a damaged record of a run": {func(w *world) { w.find(protocol.InventoryRun, 1, "").Problem = "damaged" },
			[]string{"record 1 receipt 1"}, whole(1, first)},
		"no record of a run": {func(w *world) {
			w.drop(protocol.InventoryRun, 1)
			w.find(protocol.InventoryObject, 1, first).Recorded = nil
		}, []string{"record 1 "}, whole(1, first)},
		"a record of other rows": {func(w *world) { w.find(protocol.InventoryObject, 2, first).Recorded.RowsCRC32++ },
			[]string{"record 2 receipt 2"}, whole(2, first, second)},
		"a record of fewer rows": {func(w *world) {
			w.find(protocol.InventoryObject, 2, first).Recorded.Rows--
			w.find(protocol.InventoryTotals, 0, first).Recorded.Rows--
		}, []string{"record 2 receipt 2"}, whole(2, first, second)},
		"a record that was deleted with its objects in the journal gone": {func(w *world) {
			w.find(protocol.InventoryRun, 1, "").Problem = "damaged"
			w.in.Runs[0].Parts[0].Journal, w.in.Runs[0].Parts[0].Gone = nil, "retention"
		}, []string{"record 1 receipt 1"}, nil},
		"no manifest": {func(w *world) {
			w.find(protocol.InventoryRecord, 2, "").Problem = "the manifest does not exist"
		}, []string{"record 0 manifest"}, nil},
		"no manifest, and it can be restored": {func(w *world) {
			r := w.find(protocol.InventoryRecord, 2, "")
			*r = protocol.InventoryItem{Kind: protocol.InventoryRecord, Object: "manifest", Problem: "the manifest does not exist", Restorable: true}
		}, []string{"record 0 manifest"}, &Plan{Record: true}},
		"a manifest in which nothing is committed": {func(w *world) {
			r := w.find(protocol.InventoryRecord, 2, "")
			*r = protocol.InventoryItem{Kind: protocol.InventoryRecord, Object: "manifest", Restorable: true}
		}, []string{"record 0 manifest"}, &Plan{Record: true}},
		"a run is lost": {func(w *world) {
			w.find(protocol.InventoryRecord, 2, "").Run = 1
			w.drop(protocol.InventoryRun, 2)
			w.drop(protocol.InventoryObject, 2)
			f := w.find(protocol.InventoryTotals, 0, first).Recorded
			*f = *facts(text(1, first))
			f.Objects = 1
			w.in.Items = slices.DeleteFunc(w.in.Items, func(i protocol.InventoryItem) bool { return i.Kind == protocol.InventoryTotals && i.Date == second })
		}, []string{"lost 2 manifest"}, nil},
		"a run that the catalog does not have": {func(w *world) {
			w.find(protocol.InventoryRecord, 2, "").Run = 3
			w.item(protocol.InventoryItem{Kind: protocol.InventoryRun, Run: 3, Content: "theirs", Object: "receipt 3"})
			w.in.Open = &Run{Number: 3, Content: "c3"}
		}, []string{"unknown 3 receipt 3"}, nil},
		"another run of the same number": {func(w *world) { w.find(protocol.InventoryRun, 2, "").Content = "theirs" },
			[]string{"unknown 2 receipt 2"}, nil},
		"rows that were passed": {func(w *world) { w.in.Journal[first] = Journal{Skipped: 2} },
			[]string{"skipped 0 "}, nil},
		"rows in two runs": {func(w *world) { w.in.Journal[first] = Journal{Twice: 2} },
			[]string{"twice 0 "}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.change(w)
			r := Compare(w.in)
			var got []string
			for _, d := range r.Differences {
				got = append(got, fmt.Sprintf("%s %d %s", d.Kind, d.Run, d.Object))
				if d.Detail == "" || (d.Repair == "") == (d.Left == "") {
					t.Errorf("%+v says neither what a repair does nor why it does nothing", d)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.plan, r.Plan); diff != "" {
				t.Errorf("the plan (-want +got):\n%s", diff)
			}
		})
	}
}

// Only the dates that were asked for are compared.
// A table has rows and no bytes, and its plugin does not repair: rows that are missing or
// too many are reported with the plugin's reason.
func TestRowsOfATable(t *testing.T) {
	for detail, c := range map[string]struct {
		kind  Kind
		found *protocol.InventoryFacts
	}{
		"": {"", &protocol.InventoryFacts{Rows: 17, Counted: true}},
		"16 rows are there, recorded are 17: the partition has 16": {Missing, &protocol.InventoryFacts{Rows: 16, Counted: true}},
		"18 rows are there, recorded are 17: the partition has 18": {Doubled, &protocol.InventoryFacts{Rows: 18, Counted: true}},
		"0 rows are there, recorded are 17":                        {Missing, nil},
	} {
		w := newWorld()
		w.in.CannotRepair = true
		for i := range w.in.Items {
			item := &w.in.Items[i]
			if item.Recorded == nil {
				continue
			}
			item.Recorded = &protocol.InventoryFacts{Rows: item.Recorded.Rows, Objects: item.Recorded.Objects}
			if item.Found != nil {
				item.Found = &protocol.InventoryFacts{Rows: item.Found.Rows, Counted: true}
			}
		}
		i := w.find(protocol.InventoryObject, 1, first)
		i.Found = c.found
		_, i.Problem, _ = strings.Cut(detail, ": ")
		r := Compare(w.in)
		switch {
		case c.kind == "" && len(r.Differences) > 0:
			t.Errorf("whole rows have the differences %+v", r.Differences)
		case c.kind != "" && (len(r.Differences) != 1 || r.Differences[0].Kind != c.kind || r.Differences[0].Detail != detail):
			t.Errorf("%+v, want %s %s", r.Differences, c.kind, detail)
		case c.kind != "" && (r.Differences[0].Repair != "" || r.Differences[0].Left == "" || !r.Plan.Empty()):
			t.Errorf("a repair is offered: %+v, plan %+v", r.Differences, r.Plan)
		}
	}
}

func TestDatesAreChosen(t *testing.T) {
	w := newWorld()
	w.in.From, w.in.To = second, second
	w.in.Items = slices.DeleteFunc(w.in.Items, func(i protocol.InventoryItem) bool { return i.Date == first })
	r := Compare(w.in)
	if len(r.Differences) > 0 || len(r.Days) != 1 || r.Days[0].Date != second {
		t.Errorf("days %+v, differences %+v", r.Days, r.Differences)
	}
}

func TestTheFourSidesAreSummedUp(t *testing.T) {
	w := newWorld()
	w.in.Runs[0].Parts[0].Journal, w.in.Runs[0].Parts[0].Gone = nil, "retention"
	w.find(protocol.InventoryObject, 2, second).Found = nil
	w.item(protocol.InventoryItem{Kind: protocol.InventoryObject, Date: second, Run: 2, Object: "foreign", Found: facts("xy")})
	n := int64(len(text(1, first)))
	want := []Day{
		{
			Date: first, Journal: Amount{Rows: 2 * n}, Gone: n, Committed: Amount{Rows: 2 * n, StoredBytes: 2 * n, Objects: 2},
			Recorded: Amount{Rows: 2 * n, RowsBytes: 2 * n, StoredBytes: 2 * n, Objects: 2},
			Stored:   Amount{Rows: 2 * n, RowsBytes: 2 * n, StoredBytes: 2 * n, Objects: 2},
		},
		{
			Date: second, Journal: Amount{Rows: n}, Committed: Amount{Rows: n, StoredBytes: n, Objects: 1},
			Recorded: Amount{Rows: n, RowsBytes: n, StoredBytes: n, Objects: 1},
			Stored:   Amount{StoredBytes: 2, Objects: 1}, Uncounted: 1,
		},
	}
	if diff := cmp.Diff(want, Compare(w.in).Days); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
}

// A replaced set is compared with the last run only.
func TestAReplacedSet(t *testing.T) {
	set := func(damage bool, gone string) Report {
		in := Input{Replaced: true, Before: 7, Runs: []Run{{Number: 7, Content: "c7", Parts: []Part{{
			Committed: Amount{Rows: 3, StoredBytes: 3}, Journal: &batch.Totals{Rows: 3, RowsBytes: 3, RowsCRC32: facts("set").RowsCRC32},
		}}}}}
		if gone != "" {
			in.Runs[0].Parts[0].Journal, in.Runs[0].Parts[0].Gone = nil, gone
		}
		found := facts("set")
		if damage {
			found = facts("tes")
		}
		in.Items = []protocol.InventoryItem{
			{Kind: protocol.InventoryRecord, Run: 7, Content: "c7", Object: "manifest"},
			{Kind: protocol.InventoryRun, Run: 7, Content: "c7", Object: "manifest"},
			{Kind: protocol.InventoryObject, Run: 7, Object: "p-id.json.gz", Recorded: facts("set"), Found: found},
		}
		return Compare(in)
	}
	if r := set(false, ""); len(r.Differences) > 0 || r.Days[0].Journal.Rows != 3 || r.Days[0].Stored.Rows != 3 {
		t.Errorf("a whole set: %+v", r)
	}
	if r := set(true, ""); len(r.Differences) != 1 || r.Differences[0].Kind != Changed || r.Plan.Empty() || len(r.Plan.Sends[0].Dates) > 0 {
		t.Errorf("a changed set: %+v", r)
	}
	if r := set(true, "the next run replaces it"); len(r.Differences) != 1 || r.Differences[0].Left != "the next run replaces it" || !r.Plan.Empty() {
		t.Errorf("a changed set whose rows are gone: %+v", r)
	}
}

// The record of a set is restored with the set, while the journal holds it.
func TestTheRecordOfASetIsRestored(t *testing.T) {
	in := Input{Replaced: true, Before: 7, Runs: []Run{{Number: 7, Parts: []Part{{Journal: &batch.Totals{Rows: 3}}}}}}
	in.Items = []protocol.InventoryItem{{Kind: protocol.InventoryRecord, Object: "manifest", Restorable: true}}
	r := Compare(in)
	want := &Plan{Sends: []Send{{Run: 7, Parts: []int{0}, Record: true, Rows: 3}}, Record: true}
	if diff := cmp.Diff(want, r.Plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if only := r.Plan.Only(r.Plan.Names()); !reflect.DeepEqual(only, r.Plan) {
		t.Errorf("the whole plan was shown, and %+v is left of it", only)
	}
	in.Runs[0].Parts[0].Journal, in.Runs[0].Parts[0].Gone = nil, "the next run replaces it"
	if r := Compare(in); r.Differences[0].Left != "the next run replaces it" || !r.Plan.Empty() {
		t.Errorf("a set whose rows are gone: %+v", r)
	}
}

// Work is counted as done unless the report after it has a difference of the same
// object or record.
func TestDone(t *testing.T) {
	plan := &Plan{
		Sends: []Send{{Run: 1, Objects: []string{"a", "b"}}, {Run: 2, Record: true}, {Run: 3, Record: true}}, Remove: []string{"c", "d"}, Totals: true,
	}
	got := Done(plan, &Report{Differences: []Difference{
		{Kind: Missing, Run: 1, Object: "b"}, {Kind: Record, Run: 3, Object: "receipt 3"}, {Kind: Missing, Run: 2, Object: "x"}, {Kind: Foreign, Object: "d"},
	}})
	if want := (&Repaired{Runs: []int64{1, 2, 3}, Records: 1, Objects: 1, Removed: 1, Totals: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
