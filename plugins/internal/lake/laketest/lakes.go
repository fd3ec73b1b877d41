package laketest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/fstest"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// lakeChecks returns the checks of a lake over the store.
func lakeChecks() []Check {
	return []Check{
		{"lake: events come through any fault once", checkEventsFaults},
		{"lake: a set comes through any fault whole", checkSetFaults},
		{"lake: a conditional write that was its own is found done", checkOwnWrites},
		{"lake: an attempt that was overtaken leaves nothing", checkOvertaken},
		{"lake: of pipelines that claim a target at one time one exports", checkClaims},
	}
}

// place is a prefix of a store, and a pipeline that exports to it.
type place struct {
	store lake.Store
	root  string
	run   sdk.Run
}

func eventsAt(s lake.Store, root string) place {
	return place{store: s, root: strings.TrimSuffix(root, "/"), run: sdk.Run{
		ProjectID: 42, Pipeline: "events_to_out", PipelineID: "c0ffee",
		Stream: sdk.Events, Mode: sdk.Append, Number: 1, Fence: 1,
	}}
}

func peopleAt(s lake.Store, root string) place {
	p := eventsAt(s, root)
	p.run.Stream, p.run.Mode = sdk.People, sdk.Replace
	return p
}

// number returns the place's run n. A run's fence is ten times its number.
func (p place) number(n int64) sdk.Run {
	run := p.run
	run.Number, run.Fence = n, 10*n
	return run
}

// days returns the partitions of run n: few rows, and different for each run.
func (p place) days(n int64) Days {
	if p.run.Mode == sdk.Replace {
		return Days{"": int(n)}
	}
	return Days{"2026-06-01": int(n), fmt.Sprintf("2026-05-%02d", n): 1}
}

// lake returns a new lake over s, which is the place's store or wraps it.
func (p place) lake(s lake.Store) *lake.Lake {
	return lake.New(lake.Options{Store: s, Root: p.root, PartSize: 2 << 10})
}

func (p place) export(ctx context.Context, n int64) error {
	_, err := Export(ctx, p.lake(p.store), p.number(n), p.days(n))
	return err
}

// expect compares the committed rows with the rows of the runs, and fails if an
// object is left that no run explains.
func (p place) expect(ctx context.Context, runs ...int64) error {
	objects, err := p.objects(ctx)
	if err != nil {
		return err
	}
	files := make(fstest.MapFS, len(objects))
	for name, data := range objects {
		files[strings.TrimPrefix(name, p.root+"/")] = &fstest.MapFile{Data: data}
	}
	got, err := Target{
		Files: files, ProjectID: p.run.ProjectID, Pipeline: p.run.Pipeline, PipelineID: p.run.PipelineID, Stream: p.run.Stream,
	}.Committed()
	if err != nil {
		return err
	}
	want := make(map[string][]string)
	if p.run.Mode == sdk.Replace {
		runs = runs[len(runs)-1:]
	}
	for _, n := range runs {
		for date, lines := range Lines(p.number(n), p.days(n)) {
			want[date] = append(want[date], lines...)
		}
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		return fmt.Errorf("committed are %s, want %s", count(got), count(want))
	}
	return p.expectNoOthers(objects, files)
}

// expectNoOthers fails if an object in an aside directory, or a data object that
// is not the current set, is left.
func (p place) expectNoOthers(objects map[string][]byte, files fs.FS) error {
	for name := range objects {
		rel := strings.TrimPrefix(name, p.root+"/")
		if strings.Contains(rel, "/aside/") {
			return fmt.Errorf("%s is left", name)
		}
		if p.run.Mode == sdk.Replace && strings.HasSuffix(rel, ".json.gz") && path.Base(rel) != p.run.Pipeline+"-"+p.run.PipelineID+".json.gz" {
			return fmt.Errorf("%s is left next to the set", name)
		}
	}
	_, err := fs.Stat(files, ".")
	return err
}

func count(rows map[string][]string) string {
	var text []string
	for _, date := range slices.Sorted(maps.Keys(rows)) {
		first := ""
		if len(rows[date]) > 0 {
			first = rows[date][0]
		}
		text = append(text, fmt.Sprintf("%q: %d rows from %s", date, len(rows[date]), first))
	}
	return "{" + strings.Join(text, ", ") + "}"
}

// objects reads all objects below the place's prefix.
func (p place) objects(ctx context.Context) (map[string][]byte, error) {
	found := make(map[string][]byte)
	var names []string
	err := p.store.List(ctx, p.root+"/", true, func(o lake.Object) error {
		names = append(names, o.Name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if found[name], _, err = p.store.Read(ctx, name, 1<<30); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// everyFault calls f with a store whose n-th call fails, for n = 1, 2, … until no
// call fails any more, with each of the faults.
func everyFault(faults []Fault, dir string, s lake.Store, f func(faulty *Faults, root string) error) error {
	for _, fault := range faults {
		for n := 1; ; n++ {
			faulty := NewFaults(s, n, fault)
			if err := f(faulty, fmt.Sprintf("%sfault-%d-%d", dir, fault, n)); err != nil {
				return fmt.Errorf("call %d, fault %d: %w", n, fault, err)
			}
			if !faulty.Failed() {
				break
			}
		}
	}
	return nil
}

func checkEventsFaults(ctx context.Context, s lake.Store, dir string) error {
	return everyFault([]Fault{Refused, LostAnswer}, dir, s, func(faulty *Faults, root string) error {
		p := eventsAt(s, root)
		if err := p.export(ctx, 1); err != nil {
			return err
		}
		if err := Retry(ctx, func() *lake.Lake { return p.lake(faulty) }, p.number(2), p.days(2)); err != nil {
			return err
		}
		return p.expect(ctx, 1, 2)
	})
}

func checkSetFaults(ctx context.Context, s lake.Store, dir string) error {
	return everyFault([]Fault{Refused, LostAnswer}, dir, s, func(faulty *Faults, root string) error {
		p := peopleAt(s, root)
		for n := int64(1); n <= 2; n++ { // without a set before it, and with one
			if err := Retry(ctx, func() *lake.Lake { return p.lake(faulty) }, p.number(n), p.days(n)); err != nil {
				return err
			}
			if err := p.settle(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// settle opens the next run and expects the set of run n and no other object.
func (p place) settle(ctx context.Context, n int64) error {
	l, next := p.lake(p.store), p.number(n)
	next.Number, next.Fence = n+1, next.Fence+9
	if _, err := l.Open(ctx, next); err != nil {
		return err
	}
	return errors.Join(l.Abort(ctx, next, false), p.expect(ctx, n))
}

// checkOwnWrites sends each conditional call twice, as a client does that has
// lost the answer. The attempt must find that the write was its own, and commit.
func checkOwnWrites(ctx context.Context, s lake.Store, dir string) error {
	for name, at := range map[string]func(lake.Store, string) place{"events": eventsAt, "people": peopleAt} {
		err := everyFault([]Fault{Repeated}, dir+name+"/", s, func(faulty *Faults, root string) error {
			p := at(s, root)
			if _, err := Export(ctx, p.lake(faulty), p.number(1), p.days(1)); err != nil {
				return fmt.Errorf("the first attempt at run 1: %w", err)
			}
			return p.expect(ctx, 1)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// checkOvertaken lets a newer attempt open and commit while an older attempt is
// between two of its steps. The newer attempt is at the same run, or at the next
// run because the older one was given up. The older attempt then continues and
// must be refused. Readers must see only the newer attempt's run, and after one
// more run no object of another run may be left.
func checkOvertaken(ctx context.Context, s lake.Store, dir string) error {
	for name, at := range map[string]func(lake.Store, string) place{"events": eventsAt, "people": peopleAt} {
		for _, before := range []int64{0, 1} { // runs that are committed before them
			for _, ahead := range []int64{0, 1} { // of the newer attempt's run
				for step := range 3 {
					p := at(s, fmt.Sprintf("%s%s-%d-%d-%d", dir, name, before, ahead, step))
					if err := p.overtake(ctx, before, ahead, step); err != nil {
						return fmt.Errorf("%s, behind %d runs, newer run ahead by %d, step %d: %w", name, before, ahead, step, err)
					}
				}
			}
		}
	}
	return nil
}

func (p place) overtake(ctx context.Context, before, ahead int64, step int) error {
	var committed []int64
	for n := int64(1); n <= before; n++ {
		if err := p.export(ctx, n); err != nil {
			return err
		}
		committed = append(committed, n)
	}
	older, newer := p.number(before+1), p.number(before+1+ahead)
	newer.Fence++
	zombie := p.lake(p.store)
	overtake := func(at int) error {
		if at != step {
			return nil
		}
		_, err := Export(ctx, p.lake(p.store), newer, p.days(newer.Number))
		return err
	}
	if _, err := zombie.Open(ctx, older); err != nil {
		return err
	}
	if err := overtake(0); err != nil {
		return err
	}
	receipt, err := writeDays(ctx, zombie, older, p.days(older.Number))
	if err := overtake(1); err != nil {
		return err
	}
	if err == nil {
		err = zombie.Prepare(ctx, older, receipt)
	}
	if err := overtake(2); err != nil {
		return err
	}
	if err == nil {
		err = zombie.Commit(ctx, older, receipt)
	}
	if !isFenced(err) {
		return fmt.Errorf("the older attempt ended with: %w", err)
	}
	if err := zombie.Abort(ctx, older, step%2 == 0); err != nil {
		return err
	}
	committed = append(committed, newer.Number)
	if err := p.expect(ctx, committed...); err != nil {
		return err
	}
	next := newer.Number + 1
	if err := p.export(ctx, next); err != nil {
		return err
	}
	return p.expectOnly(ctx, append(committed, next))
}

// expectOnly expects the rows of the runs, and no data object of another run.
func (p place) expectOnly(ctx context.Context, runs []int64) error {
	if err := p.expect(ctx, runs...); err != nil {
		return err
	}
	objects, err := p.objects(ctx)
	if err != nil {
		return err
	}
	for name := range objects {
		of, ok := strings.CutPrefix(path.Base(name), p.run.Pipeline+"-"+p.run.PipelineID+"-")
		if !ok || !strings.HasSuffix(name, ".json.gz") {
			continue
		}
		number, err := strconv.ParseInt(strings.Split(of, "-")[0], 10, 64)
		if err != nil || !slices.Contains(runs, number) {
			return fmt.Errorf("%s is left", name)
		}
	}
	return nil
}

// checkClaims lets several pipelines export to one target at the same time. They
// have the same name and different ids, as on hosts that share a configuration.
// Exactly one must succeed.
func checkClaims(ctx context.Context, s lake.Store, dir string) error {
	const rounds, pipelines = 5, 3
	for round := range rounds {
		p := eventsAt(s, fmt.Sprintf("%sround-%d", dir, round))
		if round%2 == 1 {
			p = peopleAt(s, p.root)
		}
		errs := make([]error, pipelines)
		var wg sync.WaitGroup
		for i := range pipelines {
			wg.Go(func() {
				run := p.number(1)
				run.PipelineID = fmt.Sprintf("host%d", i)
				_, errs[i] = Export(ctx, p.lake(p.store), run, p.days(1))
			})
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			if err == nil {
				won++
				p.run.PipelineID = fmt.Sprintf("host%d", i)
			}
		}
		if won != 1 {
			return fmt.Errorf("round %d: %d of %d pipelines have exported: %w", round, won, pipelines, errors.Join(errs...))
		}
		if err := p.expect(ctx, 1); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		objects, err := p.objects(ctx)
		if err != nil {
			return err
		}
		for name := range objects {
			if strings.Contains(name, "-host") && !strings.Contains(name, "-"+p.run.PipelineID) {
				return fmt.Errorf("round %d: a pipeline that was refused has written %s", round, name)
			}
		}
	}
	return nil
}

// isFenced reports whether err has the class that sdk.Fenced gives.
func isFenced(err error) bool {
	var fenced, e *sdk.Error
	return errors.As(sdk.Fenced(errors.New("fenced")), &fenced) && errors.As(err, &e) && e.Class == fenced.Class
}
