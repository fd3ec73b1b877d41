package lake_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

const setManifest = "exports/42/_penstock/mp_people_data/events_to_out-c0ffee.json"

// listed returns the rows that a reader finds who lists the directory.
func listed(t *testing.T, objects map[string]string) string {
	t.Helper()
	var rows strings.Builder
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if strings.HasPrefix(name, setDir) && strings.HasSuffix(name, ".json.gz") {
			rows.Write(gunzip(t, objects[name]))
		}
	}
	return rows.String()
}

func set(t *testing.T, run sdk.Run, batches int) string {
	t.Helper()
	s := laketest.NewMemory()
	mustExport(t, newLake(s), run, days{"": batches})
	return listed(t, s.Objects())
}

func TestReplace(t *testing.T) {
	s := laketest.NewMemory()
	l := newLake(s)
	for number, batches := range map[int64]int{1: 3} {
		r := mustExport(t, l, people(number, number), days{"": batches})
		p := r.Partitions[0]
		if got := uint64(len(s.Objects()[setName])); got != p.StoredBytes || p.Rows != 300 || p.Objects[0] != setName {
			t.Errorf("receipt is %+v, stored are %d bytes", p, got)
		}
	}
	mustExport(t, l, people(2, 2), days{"": 2})
	if listed(t, s.Objects()) != set(t, people(2, 2), 2) {
		t.Error("the set is not that of run 2")
	}
	// A file name is the one optional field of a gzip header that all readers accept.
	if head := s.Objects()[setName]; head[3] != 1<<3 || !strings.HasPrefix(head[10:], "events_to_out-c0ffee-00000002-00000002-content-2.json\x00") {
		t.Errorf("the object begins with %q", head[:50])
	}
	mustExport(t, l, people(3, 3), days{}) // the empty set
	if got := listed(t, s.Objects()); got != "" {
		t.Errorf("the empty set is %q", got)
	}
	m := readManifest(t, s, setManifest)
	if m.Run != 3 || len(m.Files) != 1 || m.Prepared != nil || m.Layout != "object" {
		t.Errorf("manifest is %+v", m)
	}
}

func TestReaderSeesTheOldSetOrTheNewOne(t *testing.T) {
	older, newer := set(t, people(1, 1), 3), set(t, people(2, 2), 4)
	everyFault(t, func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults) {
		mustExport(t, newLake(s), people(1, 1), days{"": 3})
		switched := false
		s.Observe = func(s *laketest.Memory) {
			switch got := listed(t, s.Objects()); {
			case got == newer:
				switched = true
			case got != older || switched:
				t.Error("a reader saw neither the old set nor the new one")
			}
		}
		retry(t, faulty, people(2, 2), days{"": 4})
		status, err := newLake(s).Status(t.Context(), people(2, 9))
		if err != nil || status.State != sdk.Committed || status.Receipt.Partitions[0].Rows != 400 {
			t.Errorf("status is %+v, %v", status, err)
		}
		if _, err := newLake(s).Open(t.Context(), people(3, 99)); err != nil {
			t.Fatal(err)
		}
		if m := readManifest(t, s, setManifest); m.Run != 2 || m.Prepared != nil || len(m.Files) != 1 {
			t.Errorf("manifest is %+v", m)
		}
		if n := s.Uploads(); n != 0 {
			t.Errorf("%d uploads are left", n)
		}
	})
}

func TestSetThatOutgrowsOneObjectAndShrinksAgain(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), people(1, 1), days{"": 2})
	small := listed(t, s.Objects())

	_, err := export(t.Context(), newLake(s), people(2, 2), days{"": 10})
	if protocol.ClassOf(err) != protocol.Retryable {
		t.Fatalf("a set over the limit: %v", err)
	}
	if listed(t, s.Objects()) != small {
		t.Error("the old set is not there")
	}
	r := mustExport(t, newLake(s), people(2, 3), days{"": 10})
	m := readManifest(t, s, setManifest)
	var files []string
	for _, f := range m.Files {
		files = append(files, f.Name)
	}
	if len(files) < 4 || m.Layout != "parts" || m.Run != 2 {
		t.Errorf("manifest is %+v", m)
	}
	if diff := cmp.Diff(files, slices.Sorted(maps.Keys(data(s)))); diff != "" {
		t.Errorf("files differ from the manifest's:\n%s", diff)
	}
	if diff := cmp.Diff(files, r.Partitions[0].Objects); diff != "" {
		t.Errorf("files differ from the receipt's:\n%s", diff)
	}
	if got := strings.Count(listed(t, s.Objects()), "\n"); got != 1000 {
		t.Errorf("the set has %d rows", got)
	}

	mustExport(t, newLake(s), people(3, 4), days{"": 1})
	mustExport(t, newLake(s), people(4, 5), days{"": 1})
	if got := slices.Collect(maps.Keys(data(s))); len(got) != 1 || got[0] != setName {
		t.Errorf("the small set is %v", got)
	}
}

func TestPartsThatReplaceParts(t *testing.T) {
	start := func(t *testing.T, s *laketest.Memory) {
		if _, err := export(t.Context(), newLake(s), people(1, 1), days{"": 10}); err == nil {
			t.Fatal("the set fits")
		}
		mustExport(t, newLake(s), people(1, 2), days{"": 10})
	}
	everyFault(t, func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults) {
		start(t, s)
		// All files that the manifest names must exist at every instant.
		s.Observe = func(s *laketest.Memory) {
			for _, f := range readManifest(t, s, setManifest).Files {
				if _, ok := s.Objects()[f.Name]; !ok {
					t.Errorf("%s is named and not there", f.Name)
				}
			}
		}
		retry(t, faulty, people(2, 3), days{"": 12})
		if _, err := newLake(s).Open(t.Context(), people(3, 99)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(listed(t, s.Objects()), "\n"); got != 1200 {
			t.Errorf("the set has %d rows", got)
		}
	})
}

func TestAdoptedSetIsReplaced(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), people(1, 1), days{"": 2})
	run := people(1, 1)
	run.PipelineID = "decaf"
	if _, err := newLake(s).Open(t.Context(), run); protocol.ClassOf(err) != protocol.Configuration {
		t.Fatalf("another pipeline's set: %v", err)
	}
	run.Adopt = true
	mustExport(t, newLake(s), run, days{"": 1})
	if got := strings.Count(listed(t, s.Objects()), "\n"); got != 100 {
		t.Errorf("the set has %d rows", got)
	}
}

// cutting fails every conditional write of a small object while now is set.
type cutting struct {
	*laketest.Memory
	now bool
}

func (c *cutting) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	if c.now {
		return "", laketest.ErrInjected
	}
	return c.Memory.WriteIf(ctx, name, data, prev)
}

func TestCommitCutBehindTheSwitch(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), people(1, 1), days{"": 2})
	cut := &cutting{Memory: s}
	l := newLake(cut)
	r, err := attempt(t.Context(), l, people(2, 2), days{"": 3})
	if err != nil {
		t.Fatal(err)
	}
	cut.now = true
	if err := l.Commit(t.Context(), people(2, 2), r); err == nil {
		t.Fatal("nothing failed")
	}
	if listed(t, s.Objects()) != set(t, people(2, 2), 3) || readManifest(t, s, setManifest).Run != 1 {
		t.Fatal("the commit was not cut behind the switch")
	}
	status, err := newLake(s).Status(t.Context(), people(2, 2))
	if err != nil || status.State != sdk.Committed || status.Last.Number != 2 || status.Receipt == nil {
		t.Errorf("status is %+v, %v", status, err)
	}
	if err := newLake(s).Abort(t.Context(), people(2, 2), true); err != nil {
		t.Error(err)
	}
	last, err := newLake(s).Open(t.Context(), people(3, 3))
	if err != nil || last.Number != 2 {
		t.Errorf("the last committed run is %+v, %v", last, err)
	}
}

// stubborn neither ends uploads nor fences: only the condition of the switch is
// left.
type stubborn struct{ *laketest.Memory }

func (stubborn) EndUploads(context.Context, string, func(string) bool) error { return nil }

func (s stubborn) Fence(ctx context.Context, name string, _ lake.Attempt) (lake.Version, error) {
	_, version, err := s.Read(ctx, name, 1)
	if errors.Is(err, lake.ErrNotFound) {
		err = nil
	}
	return version, err
}

func TestZombieThatKeepsItsUploadCannotSwitchBack(t *testing.T) {
	m := laketest.NewMemory()
	s := stubborn{m}
	zombie := newLake(s)
	r, err := attempt(t.Context(), zombie, people(1, 1), days{"": 2})
	if err != nil {
		t.Fatal(err)
	}
	mustExport(t, newLake(s), people(1, 2), days{"": 2})
	mustExport(t, newLake(s), people(2, 3), days{"": 3})
	before := m.Objects()
	if err := zombie.Commit(t.Context(), people(1, 1), r); protocol.ClassOf(err) != protocol.Fenced {
		t.Errorf("commit with an older fence: %v", err)
	}
	if diff := cmp.Diff(before, m.Objects()); diff != "" {
		t.Errorf("the zombie changed objects:\n%s", diff)
	}
}

// keeping is a store that deletes no object of a set.
type keeping struct{ *laketest.Memory }

func (k keeping) Delete(ctx context.Context, names []string) error {
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, setDir) }) {
		return errors.New("objects of sets cannot be deleted")
	}
	return k.Memory.Delete(ctx, names)
}

// Objects of the set before that cannot be deleted do not fail the commit; a run that
// can delete them does (treeverse/lakeFS#1339).
func TestASweepThatFailsFailsNoCommit(t *testing.T) {
	s := laketest.NewMemory()
	d := days{"": 12}
	if err := laketest.Retry(t.Context(), func() *lake.Lake { return newLake(s) }, people(1, 1), d); err == nil {
		t.Fatal("the set fits in one object")
	}
	mustExport(t, newLake(s), people(1, 9), d)
	first := readManifest(t, s, setManifest).Files
	mustExport(t, newLake(keeping{s}), people(2, 10), d)
	m := readManifest(t, s, setManifest)
	if m.Run != 2 || s.Objects()[first[0].Name] == "" {
		t.Errorf("the last run is %d, and the object %q of the first is left", m.Run, s.Objects()[first[0].Name])
	}
	mustExport(t, newLake(s), people(3, 11), d)
	for _, f := range slices.Concat(first, m.Files) {
		if s.Objects()[f.Name] != "" {
			t.Errorf("%s is left", f.Name)
		}
	}
}

// A destination that stores a set as one object refuses a larger one, instead of
// writing parts that its readers would not see.
func TestASetThatMustBeOneObject(t *testing.T) {
	s := laketest.NewMemory()
	l := lake.New(lake.Options{Store: s, Root: "exports", ObjectLimit: 5 << 10, OneObject: true})
	mustExport(t, l, people(1, 1), days{"": 2})
	_, err := export(t.Context(), l, people(2, 2), days{"": 20})
	if protocol.ClassOf(err) != protocol.Permanent || !strings.Contains(err.Error(), "stores a set as one object") {
		t.Errorf("%v of class %v", err, protocol.ClassOf(err))
	}
	if listed(t, s.Objects()) != set(t, people(1, 1), 2) {
		t.Error("the set is not that of run 1")
	}
}
