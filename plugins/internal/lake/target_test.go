package lake_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/jsonlines"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// of is a run of another pipeline.
func of(id string, run sdk.Run, adopt bool) sdk.Run {
	run.PipelineID, run.Adopt = id, adopt
	return run
}

func refused(t *testing.T, s lake.Store, run sdk.Run, text string) {
	t.Helper()
	_, err := newLake(s).Open(t.Context(), run)
	if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), text) {
		t.Errorf("pipeline %s: %v, want a refusal with %q", run.PipelineID, err, text)
	}
}

func TestAnotherPipelinesTargetIsRefused(t *testing.T) {
	for _, kind := range []func(number, fence int64) sdk.Run{events, people} {
		s := laketest.NewMemory()
		if _, err := newLake(s).Open(t.Context(), kind(1, 1)); err != nil {
			t.Fatal(err)
		}
		before := s.Objects()
		refused(t, s, of("decaf", kind(1, 1), false), "c0ffee has claimed")
		if diff := cmp.Diff(before, s.Objects()); diff != "" {
			t.Errorf("the refused pipeline has written:\n%s", diff)
		}
		d := someDays
		if kind(1, 1).Mode == sdk.Replace {
			d = days{"": 2}
		}
		mustExport(t, newLake(s), kind(1, 2), d)
		refused(t, s, of("decaf", kind(1, 3), false), "committed its runs there up to 1")
	}
}

// A pipeline whose only run was discarded has left nothing: another one takes its place
// without adopting, and what the first one has still open cannot commit.
func TestATargetOfADiscardedRunIsFree(t *testing.T) {
	for _, kind := range []func(number, fence int64) sdk.Run{events, people} {
		d := someDays
		if kind(1, 1).Mode == sdk.Replace {
			d = days{"": 2}
		}
		s := laketest.NewMemory()
		stale, cancelled := newLake(s), newLake(s)
		if _, err := stale.Open(t.Context(), kind(1, 1)); err != nil {
			t.Fatal(err)
		}
		refused(t, s, of("decaf", kind(1, 1), false), "c0ffee has claimed")
		if _, err := cancelled.Open(t.Context(), kind(1, 2)); err != nil {
			t.Fatal(err)
		}
		if err := cancelled.Abort(t.Context(), kind(1, 2), true); err != nil {
			t.Fatal(err)
		}
		mustExport(t, newLake(s), of("decaf", kind(1, 1), false), d)
		if err := stale.Commit(t.Context(), kind(1, 1), sdk.Receipt{}); err == nil {
			t.Error("the discarded run was committed")
		}
		refused(t, s, kind(2, 3), "decaf")
		refused(t, s, of("0ther", kind(1, 1), false), "committed its runs there up to 1")
	}
}

// A pipeline whose run was discarded may come back, from a copy of its catalog, while
// another one takes its place. In whichever moment it exports, one of the two is refused,
// and the other goes on.
func TestADiscardedPipelineComesBackWhileItIsAdopted(t *testing.T) {
	for _, kind := range []func(number, fence int64) sdk.Run{events, people} {
		d := someDays
		if kind(1, 1).Mode == sdk.Replace {
			d = days{"": 2}
		}
		for moment := int64(1); ; moment++ {
			s := laketest.NewMemory()
			first := newLake(s)
			if _, err := first.Open(t.Context(), kind(1, 1)); err != nil {
				t.Fatal(err)
			}
			if err := first.Abort(t.Context(), kind(1, 1), true); err != nil {
				t.Fatal(err)
			}
			var back error
			var calls atomic.Int64 // also of the uploads of the one that comes back
			s.Observe = func(s *laketest.Memory) {
				if calls.Add(1) == moment {
					_, back = export(t.Context(), newLake(s), kind(1, 2), d)
				}
			}
			_, adopted := newLake(s).Open(t.Context(), of("decaf", kind(1, 1), false))
			s.Observe = nil
			if calls.Load() < moment {
				break
			}
			if (back == nil) == (adopted == nil) {
				t.Fatalf("in moment %d: of the one that comes back %v, of the other %v", moment, back, adopted)
			}
			if adopted == nil {
				mustExport(t, newLake(s), of("decaf", kind(1, 2), false), d)
				refused(t, s, kind(1, 3), "decaf")
				continue
			}
			mustExport(t, newLake(s), kind(2, 3), d)
			refused(t, s, of("decaf", kind(1, 2), false), "committed its runs there up to 2")
		}
	}
}

// One that adopts the place of a pipeline whose runs were discarded holds it alone, also if
// it held it before.
func TestAFormerHolderOfADiscardedRunsTargetHoldsItAlone(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), events(1, 1), someDays)
	adopter := newLake(s)
	if _, err := adopter.Open(t.Context(), of("decaf", events(1, 1), true)); err != nil {
		t.Fatal(err)
	}
	if err := adopter.Abort(t.Context(), of("decaf", events(1, 1), true), true); err != nil {
		t.Fatal(err)
	}
	mustExport(t, newLake(s), events(2, 2), days{"2026-06-10": 1})
	refused(t, s, of("decaf", events(1, 2), false), "c0ffee")
}

func TestAdoptedTarget(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), events(1, 1), someDays)
	mustExport(t, newLake(s), of("decaf", events(1, 1), true), days{"2026-06-09": 1})
	mustExport(t, newLake(s), of("decaf", events(2, 2), false), days{"2026-06-09": 1}) // it was adopted before
	refused(t, s, events(2, 2), "decaf")

	// The first one adopts in turn: from then on both write.
	in := events(2, 3)
	in.Adopt = true
	mustExport(t, newLake(s), in, days{"2026-06-10": 1})
	mustExport(t, newLake(s), of("decaf", events(3, 3), false), days{"2026-06-09": 1})
	mustExport(t, newLake(s), events(3, 4), days{"2026-06-10": 1})
	refused(t, s, of("0ther", events(1, 1), false), "")
}

// The objects of an adopted pipeline stay, so that they must have the format of the
// adopter's: readers of one directory expect one format.
func TestATargetOfAnotherFormatIsNotAdopted(t *testing.T) {
	for _, kind := range []func(number, fence int64) sdk.Run{events, people} {
		d := someDays
		if kind(1, 1).Mode == sdk.Replace {
			d = days{"": 2}
		}
		s := laketest.NewMemory()
		mustExport(t, newLake(s), kind(1, 1), d)
		before := s.Objects()
		other := lake.New(lake.Options{Store: s, Root: "exports", Format: jsonlines.Format{}})
		_, err := other.Open(t.Context(), of("decaf", kind(1, 2), true))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(fmt.Sprint(err), `objects of format "json"`) {
			t.Errorf("%v, want a refusal", err)
		}
		if diff := cmp.Diff(before, s.Objects()); diff != "" {
			t.Errorf("the refused pipeline has written:\n%s", diff)
		}
		mustExport(t, newLake(s), kind(2, 2), d) // it is not adopted
	}
}

// A pipeline that is adopted while it writes cannot commit, whichever call of its
// adopter fails.
func TestAdoptedWhileItWrites(t *testing.T) {
	everyFault(t, func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults) {
		adoptee := newLake(s)
		r, err := attempt(t.Context(), adoptee, events(1, 1), someDays)
		if err != nil {
			t.Fatal(err)
		}
		adopter := of("decaf", events(1, 1), true)
		_, err = export(t.Context(), newLake(faulty), adopter, days{"2026-06-09": 1})
		if err != nil {
			adopter.Fence++
			mustExport(t, newLake(faulty), adopter, days{"2026-06-09": 1})
		}
		if err := adoptee.Commit(t.Context(), events(1, 1), r); protocol.ClassOf(err) != protocol.Configuration {
			t.Errorf("commit of the adopted pipeline: %v", err)
		}
		refused(t, s, events(1, 2), "decaf")
	})
}

func TestTargetWhoseRecordIsGone(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), events(1, 1), someDays)
	if err := s.Delete(t.Context(), []string{"exports/42/_penstock/mp_master_event.target.json"}); err != nil {
		t.Fatal(err)
	}
	refused(t, s, of("decaf", events(1, 1), false), "c0ffee")
	mustExport(t, newLake(s), events(2, 2), someDays)
	refused(t, s, of("decaf", events(1, 1), false), "c0ffee")
}

// turns is a scheduler: of several goroutines in a synctest bubble it lets one
// continue at a time.
type turns struct{ waiting chan chan struct{} }

func (s turns) wait() {
	mine := make(chan struct{})
	s.waiting <- mine
	<-mine
}

// run calls all functions concurrently and returns when all have ended. choose
// selects the waiting goroutine that continues.
func (s turns) run(choose func(n int) int, fs ...func()) {
	running := len(fs)
	ended := make(chan struct{}, running)
	for _, f := range fs {
		go func() {
			s.wait()
			f()
			ended <- struct{}{}
		}()
	}
	var queue []chan struct{}
	for running > 0 {
		synctest.Wait() // all goroutines wait for a turn, or have ended
		for more := true; more; {
			select {
			case w := <-s.waiting:
				queue = append(queue, w)
				synctest.Wait()
			case <-ended:
				running--
			default:
				more = false
			}
		}
		if len(queue) == 0 {
			continue
		}
		i := choose(len(queue))
		next := queue[i]
		queue = append(queue[:i], queue[i+1:]...)
		close(next)
	}
}

// inTurns is a store whose calls wait for their turn before they run.
type inTurns struct {
	*laketest.Memory
	turns turns
}

func (s inTurns) Create(ctx context.Context, name string, by lake.Attempt) (lake.Upload, error) {
	s.turns.wait()
	return s.Memory.Create(ctx, name, by)
}

func (s inTurns) Fence(ctx context.Context, name string, by lake.Attempt) (lake.Version, error) {
	s.turns.wait()
	return s.Memory.Fence(ctx, name, by)
}

func (s inTurns) Read(ctx context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	s.turns.wait()
	return s.Memory.Read(ctx, name, limit)
}

func (s inTurns) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	s.turns.wait()
	return s.Memory.WriteIf(ctx, name, data, prev)
}

func (s inTurns) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	s.turns.wait()
	return s.Memory.List(ctx, prefix, deep, yield)
}

// Several hosts with one configuration and separate data directories start at the
// same time. For every order of their calls exactly one exports, and the others
// have written nothing.
func TestHostsThatClaimATargetAtOneTime(t *testing.T) {
	for _, hosts := range []int{2, 3} {
		for seed := range uint64(400) {
			synctest.Test(t, func(t *testing.T) { claimAtOneTime(t, hosts, seed) })
			if t.Failed() {
				t.Fatalf("%d hosts, seed %d", hosts, seed)
			}
		}
	}
}

func claimAtOneTime(t *testing.T, hosts int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // an order of calls
	order := turns{waiting: make(chan chan struct{}, 100)}
	s := inTurns{Memory: laketest.NewMemory(), turns: order}
	kind := []func(number, fence int64) sdk.Run{events, people}[seed%2]
	d := []days{{"2026-06-01": 1}, {"": 1}}[seed%2]
	errs := make([]error, hosts)
	var fs []func()
	for i := range hosts {
		fs = append(fs, func() {
			_, errs[i] = export(t.Context(), newLake(s), of(fmt.Sprint("host", i), kind(1, 1), false), d)
		})
	}
	order.run(random.IntN, fs...)

	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = fmt.Sprint("host", i)
		case err == nil:
			t.Errorf("two hosts have exported")
		case protocol.ClassOf(err) != protocol.Configuration:
			t.Errorf("host %d: %v", i, err)
		}
	}
	if winner == "" {
		t.Fatalf("no host has exported: %v", errors.Join(errs...))
	}
	for name := range s.Objects() {
		if strings.Contains(name, "-host") && !strings.Contains(name, "-"+winner) {
			t.Errorf("%s won, and there is %s", winner, name)
		}
	}
}

// A manifest that was edited to name a foreign or missing file must not lead to
// the removal of the set.
func TestEditedManifestRemovesNothing(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"another file":     func(m string) string { return strings.ReplaceAll(m, setName, setDir+"other.json.gz") },
		"a file elsewhere": func(m string) string { return strings.ReplaceAll(m, setName, "exports/43/x.json.gz") },
		"another pipeline": func(m string) string { return strings.Replace(m, `"c0ffee"`, `"decaf"`, 1) },
		"another stream":   func(m string) string { return strings.Replace(m, `"people"`, `"events"`, 1) },
	} {
		s := laketest.NewMemory()
		mustExport(t, newLake(s), people(1, 1), days{"": 2})
		before := s.Objects()[setName]
		_, version, err := s.Read(t.Context(), setManifest, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteIf(t.Context(), setManifest, []byte(edit(s.Objects()[setManifest])), version); err != nil {
			t.Fatal(err)
		}
		_, err = export(t.Context(), newLake(s), people(2, 2), days{"": 3})
		if protocol.ClassOf(err) != protocol.Permanent || !strings.Contains(err.Error(), setManifest) {
			t.Errorf("%s: %v", name, err)
		}
		if s.Objects()[setName] != before {
			t.Errorf("%s: the set is another one", name)
		}
	}

	// A part of the pipeline's own that is not there.
	s := laketest.NewMemory()
	mustExport(t, newLake(s), people(1, 1), days{"": 2})
	_, version, err := s.Read(t.Context(), setManifest, 1)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.ReplaceAll(s.Objects()[setManifest], "c0ffee.json.gz", "c0ffee-00000001-0009.json.gz")
	if _, err := s.WriteIf(t.Context(), setManifest, []byte(edited), version); err != nil {
		t.Fatal(err)
	}
	if _, err := newLake(s).Open(t.Context(), people(2, 2)); err != nil {
		t.Fatal(err)
	}
	if s.Objects()[setName] == "" {
		t.Error("the set was removed")
	}
}
