package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// setAside puts records into the quarantine of the site's source, as an
// earlier version that did not take them would have.
func (s *site) setAside(name string, count int, record func(n int) string) {
	s.t.Helper()
	dir := filepath.Join(s.Dir, "data", "quarantine", "files.import")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, name+".ndjson"))
	if err != nil {
		s.t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for n := range count {
		text, err := json.Marshal(record(n))
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(w, `{"time":"2026-11-01T12:00:00Z","source":"files.import","position":"old at byte %d","reason":"too_modern","record":%s}`+"\n", n, text)
	}
	if err := w.Flush(); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// quarantined counts by reason.
func (s *site) quarantined() map[string]int64 {
	s.t.Helper()
	var list struct {
		Counts []struct {
			Reason string `json:"reason"`
			Count  int64  `json:"count"`
		} `json:"counts"`
	}
	r := s.Penstock(nil, "quarantine", "list", "--json", "--limit", "1")
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil {
		s.t.Fatalf("%v in %s%s", err, r.Out, r.Err)
	}
	counts := map[string]int64{}
	for _, c := range list.Counts {
		counts[c.Reason] += c.Count
	}
	return counts
}

func TestQuarantineShowsOneRecord(t *testing.T) {
	s := newSite(t)
	s.Write("events/a.ndjson", event(0, 1, "")+"\nno json at all\n"+event(0, 2, "")+"\n{\"event\":\"no properties\"}\n")
	s.Once()
	var list struct {
		Records []struct{ ID, Reason string } `json:"records"`
	}
	r := s.Penstock(nil, "quarantine", "list", "--json")
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil || len(list.Records) != 2 {
		t.Fatalf("%v in %s%s", err, r.Out, r.Err)
	}
	s.Says(s.Penstock(nil, "quarantine", "show", list.Records[0].ID), 0, list.Records[0].ID, list.Records[0].Reason, "a.ndjson at byte ", "no json at all\n")
	s.Says(s.Penstock(nil, "quarantine", "show", list.Records[1].ID, "--json"), 0, `"id": "`+list.Records[1].ID+`"`)
	for _, id := range []string{"files.import/x:1", "../../secret:1", "nothing"} {
		s.Says(s.Penstock(nil, "quarantine", "show", id), 1, "no record", id, "penstock quarantine list")
		s.Says(s.Penstock(nil, "quarantine", "replay", "--id", id), 1, id)
	}
}

// Records are dropped by source, reason and id, with and without a host.
func TestQuarantineDrop(t *testing.T) {
	s := newSite(t)
	s.Write("events/a.ndjson", event(0, 1, "")+"\nno json\nno json either\n{\"event\":\"no properties\"}\n")
	s.Once()
	s.setAside("old", 100, func(n int) string { return event(1, n, "") })
	s.Says(s.Penstock(nil, "quarantine", "drop"), 2, "too_modern", "100", "add --yes")
	s.Says(s.Penstock(nil, "quarantine", "drop", "--source", "files.other", "--yes"), 1, `no source "files.other"`, "there is files.import")
	s.Says(s.Penstock(nil, "quarantine", "drop", "--source", "files.import", "--reason", "other", "--yes"), 0, "dropped 0 records")
	s.Says(s.Penstock(nil, "quarantine", "drop", "--id", "files.import/old:7", "--yes"), 0, "dropped 1 record\n")
	s.Says(s.Penstock(nil, "quarantine", "drop", "--id", "files.import/old:7", "--yes"), 1, "files.import/old:7")
	if got := s.quarantined(); got["too_modern"] != 99 || got["invalid_json"] != 2 {
		t.Errorf("in quarantine: %v", got)
	}
	h := s.Serve()
	h.Until("the host answers", func() bool { return strings.Contains(s.Penstock(nil, "status").Out, "a host is running") })
	r := s.Penstock(nil, "quarantine", "drop", "--reason", "too_modern", "--yes", "--json")
	if want := `{"records":99,"counts":[{"source":"files.import","reason":"too_modern","count":99}]}`; strings.Join(strings.Fields(r.Out), "") != want {
		t.Errorf("status %d: %s%s", r.Status, r.Out, r.Err)
	}
	s.Says(s.Penstock(nil, "quarantine", "drop", "--yes"), 0, "dropped 3 records")
	h.Stop(syscall.SIGTERM)
	if got := s.quarantined(); len(got) != 0 {
		t.Errorf("in quarantine: %v", got)
	}
	s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 files of the quarantine", "0 corruptions")
}

// A source that is mistyped is refused with the names that there are, and one whose block
// is gone keeps its records.
func TestReplayNamesSources(t *testing.T) {
	s := newSite(t)
	s.Write("events/a.ndjson", event(0, 1, "")+"\nno json\n")
	s.Once()
	s.Says(s.Penstock(nil, "quarantine", "replay", "--source", "files.imprt"), 1, `no source "files.imprt" in the configuration or in quarantine; there is files.import`)
	s.Says(s.Penstock(nil, "quarantine", "replay", "--reason", "other"), 0, "nothing in quarantine is of this source and reason")
	s.Says(s.Penstock(nil, "quarantine", "replay", "--source", "files.import"), 0, "replayed 1 record: 0 accepted, 1 refused again")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"files" "import"`, `"files" "other"`, 1))
	s.Says(s.Penstock(nil, "quarantine", "replay", "--source", "files.import"), 1, "the records of files.import cannot be replayed: the source is not in the configuration")
	s.Says(s.Penstock(nil, "quarantine", "drop", "--source", "files.import", "--yes"), 0, "dropped 1 record\n")
}

// Records that have become valid are replayed, each once, also when the host dies
// between the journal and the quarantine; records that are refused again stay.
func TestReplayIsExactlyOnce(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	s.Once()
	before := s.Rows("out")
	s.setAside("old", 50000, func(n int) string {
		if n%100 == 7 {
			return "still no json"
		}
		return event(1, n, "")
	})
	for range 2 {
		if r := s.Penstock([]string{"PENSTOCK_CRASH_AT=replay.sealed:2"}, "quarantine", "replay"); r.Signal != syscall.SIGKILL {
			t.Fatalf("the replay did not die: %d\n%s%s", r.Status, r.Out, r.Err)
		}
	}
	s.Says(s.Penstock(nil, "quarantine", "replay", "--source", "files.import"), 0, "500 refused again")
	if got := s.quarantined(); len(got) != 1 || got["too_modern"] != 500 {
		t.Errorf("in quarantine: %v", got)
	}
	s.Once()
	rows := s.Rows("out")
	if len(rows) != len(before)+49500 {
		t.Errorf("%d rows, want %d", len(rows), len(before)+49500)
	}
	for i := 1; i < len(rows); i++ {
		if rows[i] == rows[i-1] {
			t.Fatalf("twice at the destination: %s", rows[i])
		}
	}
	s.Says(s.Penstock(nil, "journal", "verify"), 0)
}

// However much is replayed, a part of it is in memory at a time.
func TestReplayHasBoundedMemory(t *testing.T) {
	s := newSite(t)
	s.Once()
	random := rand.NewChaCha8([32]byte{})
	const count, size = 8000, 40 << 10
	s.setAside("old", count, func(n int) string {
		noise := make([]byte, size/2)
		_, _ = random.Read(noise) // never fails
		return event(1, n, fmt.Sprintf(`,"noise":"%x"`, noise))
	})
	r := s.Penstock(nil, "quarantine", "replay")
	s.Says(r, 0, "replayed 8,000 records: 8,000 accepted")
	t.Logf("%d MiB for %d MiB", r.Memory>>20, count*size>>20)
	if r.Memory > 140<<20 {
		t.Errorf("%d MiB were in memory for %d MiB of records", r.Memory>>20, count*size>>20)
	}
	if got := s.quarantined(); len(got) != 0 {
		t.Errorf("in quarantine: %v", got)
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir, "data/quarantine/files.import/*.ndjson")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if strings.Contains(r.Err, "warning") {
		t.Error(r.Err)
	}
}
