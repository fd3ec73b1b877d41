package lake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
)

const (
	partSize = 2 << 10

	dir      = "exports/42/mp_master_event/"
	manifest = "exports/42/_penstock/mp_master_event/events_to_out-c0ffee.json"
	setDir   = "exports/42/mp_people_data/"
	setName  = setDir + "events_to_out-c0ffee.json.gz"
)

func events(number, fence int64) sdk.Run {
	return sdk.Run{
		ProjectID: 42, Pipeline: "events_to_out", PipelineID: "c0ffee", Stream: sdk.Events, Mode: sdk.Append,
		Number: number, Content: fmt.Sprintf("content-%d", number), Fence: fence, AsOf: time.Date(2026, 6, 3, 4, 5, 6, 0, time.UTC),
	}
}

func people(number, fence int64) sdk.Run {
	r := events(number, fence)
	r.Stream, r.Mode = sdk.People, sdk.Replace
	return r
}

func newLake(s lake.Store) *lake.Lake {
	return lake.New(lake.Options{Store: s, Root: "exports", PartSize: partSize, ObjectLimit: 5 << 10})
}

// days of a run's partitions, with the number of batches.
type days = laketest.Days

func attempt(ctx context.Context, l *lake.Lake, run sdk.Run, d days) (sdk.Receipt, error) {
	return laketest.Attempt(ctx, l, run, d)
}

func export(ctx context.Context, l *lake.Lake, run sdk.Run, d days) (sdk.Receipt, error) {
	return laketest.Export(ctx, l, run, d)
}

func mustExport(t *testing.T, l *lake.Lake, run sdk.Run, d days) sdk.Receipt {
	t.Helper()
	r, err := export(t.Context(), l, run, d)
	if err != nil {
		t.Fatalf("run %d: %v", run.Number, err)
	}
	return r
}

func readManifest(t *testing.T, s *laketest.Memory, name string) lake.Manifest {
	t.Helper()
	var m lake.Manifest
	if err := json.Unmarshal([]byte(s.Objects()[name]), &m); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// data are the objects that a reader takes for rows.
func data(s *laketest.Memory) map[string]string {
	all := s.Objects()
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.HasSuffix(name, ".json.gz") })
	return all
}

// gunzip reads an object and insists on one member.
func gunzip(t *testing.T, object string) []byte {
	t.Helper()
	r := bytes.NewReader([]byte(object))
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	rows, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() != 0 {
		t.Fatalf("%d bytes follow the first gzip member", r.Len())
	}
	return rows
}

func TestRun(t *testing.T) {
	s := laketest.NewMemory()
	l := newLake(s)
	r := mustExport(t, l, events(7, 3), days{"2026-06-01": 20, "2026-05-31": 1, "2026-06-02": 0})

	var names []string
	for i, p := range r.Partitions {
		var rows []byte
		var stored uint64
		for _, name := range p.Objects {
			names = append(names, name)
			rows = append(rows, gunzip(t, s.Objects()[name])...)
			stored += uint64(len(s.Objects()[name]))
		}
		got := sdk.PartitionReceipt{
			Index: i, Date: p.Date, Rows: uint64(bytes.Count(rows, []byte("\n"))), RowsBytes: uint64(len(rows)),
			RowsCRC32: crc32.ChecksumIEEE(rows), StoredBytes: stored, Objects: p.Objects,
		}
		if diff := cmp.Diff(got, p); diff != "" {
			t.Errorf("receipt of partition %d differs from what is stored:\n%s", i, diff)
		}
	}
	if len(names) < 5 || names[0] != dir+"2026/05/31/events_to_out-c0ffee-00000007-0001.json.gz" ||
		names[2] != dir+"2026/06/01/events_to_out-c0ffee-00000007-0002.json.gz" {
		t.Errorf("objects are named %q", names)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(data(s))), slices.Sorted(slices.Values(names))); diff != "" {
		t.Errorf("stored objects differ from the receipt's:\n%s", diff)
	}
	for _, name := range names {
		if n := len(s.Objects()[name]); n > partSize+100 {
			t.Errorf("%s has %d bytes, more than the part size", name, n)
		}
	}
}

func TestManifestAddsUp(t *testing.T) {
	s := laketest.NewMemory()
	l := newLake(s)
	mustExport(t, l, events(1, 1), days{"2026-06-01": 2, "2026-06-02": 1})
	mustExport(t, l, events(2, 2), days{"2026-06-01": 3})
	mustExport(t, l, events(2, 3), days{"2026-06-01": 3}) // committed before

	m := readManifest(t, s, manifest)
	if m.Run != 2 || m.Fence != 3 || m.Stream != "events" || m.ProjectID != 42 || m.CompleteAsOf != "2026-06-03T04:05:06Z" {
		t.Errorf("manifest is %+v", m)
	}
	if len(m.Unfinished) != 0 {
		t.Errorf("unfinished runs are %v", m.Unfinished)
	}
	if d := m.Days["2026-06-01"]; d.Rows != 500 || d.Files != 2 || d.Run != 2 || d.CompleteAsOf == "" {
		t.Errorf("the day is %+v", d)
	}
	if d := m.Days["2026-06-02"]; d.Rows != 100 || d.Files != 1 || d.Run != 1 {
		t.Errorf("the day is %+v", d)
	}

	// A run that is followed by more runs of a backlog has no time of completeness.
	part := events(3, 4)
	part.AsOf = time.Time{}
	mustExport(t, l, part, days{"2026-06-01": 1, "2026-06-03": 1})
	m = readManifest(t, s, manifest)
	if m.CompleteAsOf != "" || m.Days["2026-06-01"].CompleteAsOf == "" || m.Days["2026-06-03"].CompleteAsOf != "" {
		t.Errorf("after a part of a backlog the manifest is %+v", m)
	}
}

func TestSameDateTwiceInARun(t *testing.T) {
	s := laketest.NewMemory()
	l := newLake(s)
	run := events(1, 1)
	if _, err := l.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for i := range 2 {
		p, err := l.Write(t.Context(), run, sdk.Partition{Index: i, Date: "2026-06-01"}, laketest.Reader(fmt.Sprint(i), 1, 10))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range p.Objects {
			if seen[name] {
				t.Errorf("%s is written twice", name)
			}
			seen[name] = true
		}
	}
}

func TestStatusAndInventory(t *testing.T) {
	s := laketest.NewMemory()
	l := newLake(s)
	first := mustExport(t, l, events(1, 1), days{"2026-06-01": 2})
	second := mustExport(t, l, events(2, 2), days{"2026-06-01": 1, "2026-06-02": 9})
	last := events(2, 2).Last()

	for _, c := range []struct {
		run  sdk.Run
		want sdk.Status
	}{
		{events(1, 9), sdk.Status{State: sdk.Committed, Receipt: &first, Content: "content-1", Last: last, Fence: 2}},
		{events(2, 1), sdk.Status{State: sdk.Committed, Receipt: &second, Content: "content-2", Last: last, Fence: 2}},
		{events(3, 1), sdk.Status{State: sdk.Absent, Last: last, Fence: 2}},
	} {
		got, err := newLake(s).Status(t.Context(), c.run)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("status of run %d (-want +got):\n%s", c.run.Number, diff)
		}
	}
	rows := make(map[int64]uint64)
	err := l.Inventory(t.Context(), sdk.InventoryQuery{Run: events(0, 0)}, func(i sdk.InventoryItem) error {
		if i.Kind != sdk.InventoryObject {
			return nil
		}
		rows[i.Run] += i.Recorded.Rows
		if int(i.Found.StoredBytes) != len(s.Objects()[i.Object]) || !strings.Contains(i.Object, strings.ReplaceAll(i.Date, "-", "/")) {
			t.Errorf("item is %+v", i)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int64]uint64{1: 200, 2: 1000}, rows); diff != "" {
		t.Errorf("rows by run:\n%s", diff)
	}
}
