package redshift

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/awsserver"
)

// setsOver returns sets over a store, with the directory of one stream.
func (s *services) setsOver(t *testing.T, store lake.Store, dir string) *sets {
	t.Helper()
	return &sets{
		Store: store, catalog: s.catalog(t), streams: map[string]sdk.Stream{dir: sdk.People}, now: time.Now, log: hclog.NewNullLogger(),
	}
}

// unfenced is the check that lets one attempt after another replace an object without
// a fence in between. A table keeps the attempt that has fenced it last, so that the
// next one has to fence it, as a lake does.
const unfenced = "an unfinished upload leaves nothing"

// Sets keep the contract of a store, and a lake over them its guarantees: a run
// comes through a fault of any call, and an attempt that was overtaken changes
// nothing.
func TestSetsKeepTheContractOfAStore(t *testing.T) {
	s := newServices(t)
	for i, c := range laketest.Checks() {
		if c.Name == unfenced {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			dir := fmt.Sprintf("a/b%d/", i)
			own := dir + "data/"
			if strings.Contains(c.Name, ":") { // a lake's
				own = dir + "42/mp_people_data/"
			}
			s.config.GlueDatabase = fmt.Sprintf("mp%d", i)
			over := s.setsOver(t, laketest.NewMemory(), own)
			if err := over.catalog.hasDatabase(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.Run(t.Context(), over, dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A table without a version is not updated: the update would have no condition.
func TestATableWithoutAVersionIsNotUpdated(t *testing.T) {
	s, bucket, runs := exported(t, sdk.People, 1)
	c := s.start(t, bucket, time.Now).catalog
	dir := fmt.Sprintf("%d/mp_people_data/", runs[0].ProjectID)
	state, err := c.readSet(t.Context(), sdk.People, dir)
	if err != nil || state.table == nil || state.dir == "" {
		t.Fatalf("the table shows %q, %v", state.dir, err)
	}
	state.table.VersionId = nil
	if err := c.writeSet(t.Context(), sdk.People, dir, state.emptied()); protocol.ClassOf(err) != protocol.Permanent {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	if after, err := c.readSet(t.Context(), sdk.People, dir); err != nil || after.dir != state.dir {
		t.Errorf("the table shows %q, %v", after.dir, err)
	}
}

// A user's changes to a table between the fence and the switch of a run survive, and
// do not disturb it. No version is archived.
func TestAUserChangesATableDuringARun(t *testing.T) {
	s, bucket, _ := exported(t, sdk.People, 1)
	p, second := s.start(t, bucket, time.Now), runOf(sdk.People, 2, 2)
	receipt, err := p.prepare(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	s.glue.Change("mp", "mp_people_data", func(in awsserver.Object) {
		in["Description"] = "profiles"
		parameters, _ := in["Parameters"].(map[string]any)
		parameters["has_encrypted_data"] = "false"
		storage, _ := in["StorageDescriptor"].(map[string]any)
		of, _ := storage["Columns"].([]any)
		id, _ := of[0].(map[string]any)
		id["Comment"] = "the id"
	})
	if err := p.Commit(t.Context(), second, receipt); err != nil {
		t.Fatal(err)
	}
	s.expectSet(t, bucket, second)
	third := runOf(sdk.People, 3, 3)
	if err := s.start(t, bucket, time.Now).export(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	s.expectSet(t, bucket, third)
	in, _, archived := s.glue.Table("mp", "mp_people_data")
	for _, want := range []string{"Description:profiles", "has_encrypted_data:false", "Comment:the id", "TableType:EXTERNAL_TABLE"} {
		if !strings.Contains(fmt.Sprint(in), want) {
			t.Errorf("%q is not in %v", want, in)
		}
	}
	if archived != 0 {
		t.Errorf("%d versions are archived", archived)
	}
}

// R6 of the public reports: a zombie that switches after a newer attempt is refused,
// and the catalog is unchanged. So is one that a newer attempt has only fenced.
func TestAZombieCannotSwitch(t *testing.T) {
	for _, switched := range []bool{true, false} {
		s, bucket, runs := exported(t, sdk.People, 1)
		zombie, newer := s.start(t, bucket, time.Now), s.start(t, bucket, time.Now)
		second := runOf(sdk.People, 2, 2)
		receipt, err := zombie.prepare(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		next := second
		next.Fence = 3
		sealed, err := newer.prepare(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		want := runs[0]
		if switched {
			if err := newer.Commit(t.Context(), next, sealed); err != nil {
				t.Fatal(err)
			}
			want = next
		}
		before, _, _ := s.glue.Table("mp", "mp_people_data")
		wantClass(t, zombie.Commit(t.Context(), second, receipt), protocol.Fenced, "")
		if after, _, _ := s.glue.Table("mp", "mp_people_data"); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the table was %v and is %v", before, after)
		}
		s.expectSet(t, bucket, want)
	}
}

// A set that was replaced stays for queries that have begun to read it, and is
// removed when they have had time. The files of a killed attempt are removed by the
// next one.
func TestFormerSetsAreRemoved(t *testing.T) {
	s, bucket, _ := exported(t, sdk.People, 1)
	now := time.Now()
	clock := func() time.Time { return now }
	_, first := s.tableOf(sdk.People)
	if _, err := s.start(t, bucket, clock).prepare(t.Context(), runOf(sdk.People, 2, 2)); err != nil {
		t.Fatal(err) // it is killed before its commit
	}
	if err := s.start(t, bucket, clock).export(t.Context(), runOf(sdk.People, 2, 3)); err != nil {
		t.Fatal(err)
	}
	_, second := s.tableOf(sdk.People)
	if got := setDirs(bucket); !slices.Equal(got, []string{first, second}) {
		t.Errorf("there are %v, want the first and the second set", got)
	}
	now = now.Add(keepsSets - time.Minute)
	if err := s.start(t, bucket, clock).export(t.Context(), runOf(sdk.People, 3, 4)); err != nil {
		t.Fatal(err)
	}
	if got := setDirs(bucket); len(got) != 3 || got[0] != first {
		t.Errorf("before its time there are %v, without the first set", got)
	}
	now = now.Add(2 * time.Minute)
	if err := s.start(t, bucket, clock).export(t.Context(), runOf(sdk.People, 4, 5)); err != nil {
		t.Fatal(err)
	}
	if got := setDirs(bucket); len(got) != 3 || got[0] != second {
		t.Errorf("after its time there are %v, want all sets but the first", got)
	}
	s.expectSet(t, bucket, runOf(sdk.People, 4, 5))
}

// setDirs returns the directories of the sets that are stored, sorted.
func setDirs(bucket *laketest.Memory) []string {
	var dirs []string
	for name := range bucket.Objects() {
		if dir, _ := path.Split(name); strings.HasPrefix(dir, peopleDir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// A fence that comes late, of an older attempt, removes nothing of a newer one.
func TestALateFenceRemovesNothing(t *testing.T) {
	s, bucket, _ := exported(t, sdk.People, 1)
	newer, late := s.start(t, bucket, time.Now), s.start(t, bucket, time.Now)
	second := runOf(sdk.People, 2, 3)
	if _, err := newer.prepare(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	before := setDirs(bucket)
	if _, err := late.store.Fence(t.Context(), peopleDir+"p-c0ffee.parquet", lake.NewAttempt(2, 2)); err != nil {
		t.Fatal(err)
	}
	if got := setDirs(bucket); !slices.Equal(got, before) {
		t.Errorf("there are %v, and were %v", got, before)
	}
}

// A table that a user drops during a run fails the attempt, and the next one creates
// it: readers see an empty set until then.
func TestATableOfASetIsDropped(t *testing.T) {
	s, bucket, _ := exported(t, sdk.People, 1)
	p, second := s.start(t, bucket, time.Now), runOf(sdk.People, 2, 2)
	receipt, err := p.prepare(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	s.glue.Drop("mp", "mp_people_data")
	wantClass(t, p.Commit(t.Context(), second, receipt), protocol.Retryable, "")
	second.Fence++
	if err := s.start(t, bucket, time.Now).export(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	s.expectSet(t, bucket, second)
}

// Tables that show other places are refused: one database has the tables of one
// place, and readers of a location above the sets would see them all.
func TestTablesOfOtherPlacesAreRefused(t *testing.T) {
	for location, text := range map[string]string{
		"s3://lake/8/mp_people_data/":         "has the files at s3://lake/8/mp_people_data/",
		"s3://lake/7/mp_people_data/":         "sets lie in directories below",
		"s3://lake/7/mp_people_data/by_hand/": "sets lie in directories below",
	} {
		s, bucket, _ := exported(t, sdk.People, 1)
		s.glue.Change("mp", "mp_people_data", func(in awsserver.Object) {
			storage, _ := in["StorageDescriptor"].(map[string]any)
			storage["Location"] = location
		})
		wantClass(t, s.start(t, bucket, time.Now).export(t.Context(), runOf(sdk.People, 2, 2)), protocol.Configuration, text)
	}
}
