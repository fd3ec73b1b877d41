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

// lakeChecks are about lakes over the store.
func lakeChecks() []Check {
	return []Check{
		{"lake: events come through any fault once", checkEventsFaults},
		{"lake: a set comes through any fault whole", checkSetFaults},
		{"lake: a conditional write that was its own is found done", checkOwnWrites},
		{"lake: an attempt that was overtaken leaves nothing", checkOvertaken},
		{"lake: of pipelines that claim a target at one time one exports", checkClaims},
	}
}

// place is where a check lets lakes write.
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

// number is a run of the place; fences grow with it.
func (p place) number(n int64) sdk.Run {
	run := p.run
	run.Number, run.Fence = n, 10*n
	return run
}

// days are those of a run: small, and different for every run.
func (p place) days(n int64) Days {
	if p.run.Mode == sdk.Replace {
		return Days{"": int(n)}
	}
	return Days{"2026-06-01": int(n), fmt.Sprintf("2026-05-%02d", n): 1}
}

// lake is a new process over a store that is, or stands before, the place's.
func (p place) lake(s lake.Store) *lake.Lake {
	return lake.New(lake.Options{Store: s, Root: p.root, PartSize: 2 << 10})
}

func (p place) export(ctx context.Context, n int64) error {
	_, err := Export(ctx, p.lake(p.store), p.number(n), p.days(n))
	return err
}

// expect compares the committed rows, and all objects, with those of the runs.
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

// expectNoOthers reports objects that no manifest or receipt explains.
func (p place) expectNoOthers(objects map[string][]byte, files fs.FS) error {
	for name := range objects {
		rel := strings.TrimPrefix(name, p.root+"/")
		if strings.Contains(rel, "/aside/") {
			return fmt.Errorf("%s is left", name)
		}
		if p.run.Mode == sdk.Replace && strings.HasSuffix(rel, ".json.gz") && path.Base(rel) != p.run.Pipeline+"-"+p.run.PipelineID+".json.gz" {
			return fmt.Errorf("%s is left beside the set", name)
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

// objects reads everything below the place.
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

// everyFault calls f with a store whose n-th call fails, for each n until
// nothing fails any more, in each of the ways.
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

// settle expects the set of run n, and nothing beside it once the next run has
// opened.
func (p place) settle(ctx context.Context, n int64) error {
	l, next := p.lake(p.store), p.number(n)
	next.Number, next.Fence = n+1, next.Fence+9
	if _, err := l.Open(ctx, next); err != nil {
		return err
	}
	return errors.Join(l.Abort(ctx, next, false), p.expect(ctx, n))
}

// checkOwnWrites repeats each conditional call, as a client does that has lost
// the answer: the attempt finds that the write was its own and goes on.
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

// checkOvertaken lets a newer attempt open and commit while an older one stands
// at each of its steps: an attempt at the same run, and one at the next because
// the older one's run was given up. The older one goes on and is refused. What
// is committed is the newer one's run, and once a later run has committed
// nothing else is there.
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

// expectOnly expects the runs' rows, and no data of any other run.
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

// checkClaims lets pipelines of one name and other ids, as hosts with one
// configuration have, export to one target at one time.
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

// isFenced reports whether an error is of the class of sdk.Fenced.
func isFenced(err error) bool {
	var fenced, e *sdk.Error
	return errors.As(sdk.Fenced(errors.New("fenced")), &fenced) && errors.As(err, &e) && e.Class == fenced.Class
}
