package lake

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/quick"
	"time"

	"github.com/penstock-io/penstock/sdk"
)

// A name can be parsed by its own pipeline, and by no other.
func TestNamesAreRead(t *testing.T) {
	mine := layout{dir: "p/7/mp_master_event/", stem: "events-c0ffee", ext: ".json.gz"}
	others := []layout{
		{dir: mine.dir, stem: "events-c0ffee2", ext: mine.ext},
		{dir: mine.dir, stem: "events-c0", ext: mine.ext},
		{dir: mine.dir, stem: "events-c0ffee-00000001", ext: mine.ext},
		{dir: "p/8/mp_master_event/", stem: mine.stem, ext: mine.ext},
	}
	check := func(run uint32, day uint16, part uint16) bool {
		date := time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly)
		name := mine.part(int64(run), date, int(part))
		gotDate, gotRun, ok := mine.owned(name)
		for _, o := range others {
			if _, _, taken := o.owned(name); taken {
				return false
			}
			if _, _, taken := mine.owned(o.part(int64(run), date, int(part))); taken {
				return false
			}
		}
		return ok && gotDate == date && gotRun == int64(run)
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
	if got, want := mine.part(7, "2026-06-01", 3), "p/7/mp_master_event/2026/06/01/events-c0ffee-00000007-0003.json.gz"; got != want {
		t.Errorf("a part is named %s, want %s", got, want)
	}
	for _, name := range []string{mine.fixed(), mine.manifest(), mine.receipt(1), "", "p/7/mp_master_event/x"} {
		if _, _, ok := mine.owned(name); ok {
			t.Errorf("%q is taken for a part", name)
		}
	}
}

func TestAsideDir(t *testing.T) {
	for name, want := range map[string]string{
		"7/mp_people_data/p-id.json.gz":                 "7/_penstock/mp_people_data/aside/p-id.json.gz/",
		"a/7/mp_master_event/2026/06/01/p-1-1.json.gz":  "a/7/_penstock/mp_master_event/aside/2026/06/01/p-1-1.json.gz/",
		"mp_people_data/7/mp_master_event/2026/x.gz":    "mp_people_data/7/_penstock/mp_master_event/aside/2026/x.gz/",
		"mp_master_event/7/mp_people_data/p-id.json.gz": "mp_master_event/7/_penstock/mp_people_data/aside/p-id.json.gz/",
		"dir/object": "_penstock/dir/aside/object/",
	} {
		if got := AsideDir(name); got != want {
			t.Errorf("%s is written aside in %s, want %s", name, got, want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	m := newManifest(sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "id", Stream: sdk.Events, Number: 1})
	m.commit(1, "", &RunReceipt{Run: 1, Partitions: []PartitionReceipt{{Date: "2026-06-01", Files: []File{{Name: "x", Rows: 3}}}}})
	data, err := encodeJSON(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":"penstock-manifest","version":1,"days":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest("m", data)
		if err != nil {
			return
		}
		m.commit(9, "", &RunReceipt{Run: 9, Partitions: []PartitionReceipt{{Date: "2026-06-02", Files: []File{{Rows: 1}}}}})
		again, err := encodeJSON(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeManifest("m", again); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTargets(t *testing.T) {
	for root, want := range map[string]string{"": "x://b/7/mp_people_data/", "a/b": "x://b/a/b/7/mp_people_data/"} {
		targets := Targets("x://b/", root, 7)
		if len(targets) != len(Capabilities().Streams) {
			t.Errorf("there are %d targets: %v", len(targets), targets)
		}
		for _, target := range targets {
			if target.Stream == sdk.People && target.URI != want {
				t.Errorf("below %q: %s, want %s", root, target.URI, want)
			}
		}
	}
}

// All names are tried, and an error is returned.
func TestDeleteEach(t *testing.T) {
	var names []string
	for i := range 3 * deleters {
		names = append(names, strconv.Itoa(i))
	}
	var tried atomic.Int64
	refused := errors.New("refused")
	err := DeleteEach(t.Context(), names, func(_ context.Context, name string) error {
		tried.Add(1)
		if name == "3" {
			return refused
		}
		return nil
	})
	if !errors.Is(err, refused) || int(tried.Load()) != len(names) {
		t.Errorf("%d of %d names were tried: %v", tried.Load(), len(names), err)
	}
}
