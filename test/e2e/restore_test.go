package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// file writes count events of day 0 to a file of events; from tells them from
// those of other files.
func (s *site) file(name string, from, count int) {
	s.t.Helper()
	var b strings.Builder
	for n := from; n < from+count; n++ {
		b.WriteString(event(0, n, "") + "\n")
	}
	s.Write(filepath.Join("events", name), b.String())
}

func (s *site) remove(name string) {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.Dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) copy(from, to string) {
	s.t.Helper()
	if err := os.CopyFS(filepath.Join(s.Dir, to), os.DirFS(filepath.Join(s.Dir, from))); err != nil {
		s.t.Fatal(err)
	}
}

// backup writes a backup, in the place of an earlier one.
func (s *site) backup() {
	s.t.Helper()
	s.remove("backup.tar")
	s.Says(s.Penstock(nil, "backup", "backup.tar"), 0, "wrote", "catalog: 1 file", "not in a backup")
}

// restore puts the backup in the place of the data directory.
func (s *site) restore() {
	s.t.Helper()
	s.remove("data")
	s.Says(s.Penstock(nil, "restore", "backup.tar"), 0, "restored", "1 project")
}

var insertID = regexp.MustCompile(`"insert_id":"id-0-(\d+)"`)

// delivered checks which events lie at the destination, and that each is there
// once.
func (s *site) delivered(when string, want ...int) {
	s.t.Helper()
	got := []int{}
	for _, row := range s.Rows("out") {
		var n int
		if _, err := fmt.Sscan(insertID.FindStringSubmatch(row)[1], &n); err != nil {
			s.t.Fatal(err)
		}
		got = append(got, n)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s the destination has events %v, want %v", when, got, want)
	}
}

func numbers(from, count int) (n []int) {
	for i := range count {
		n = append(n, from+i)
	}
	return n
}

// A backup is restored after a run that it does not know. The next run of the
// restored host has the same number, as many rows and the same days, and other
// content: it is not taken for the one that is there. The pipeline stops, and
// goes on when a person says so.
func TestARestoredBackupDoesNotTakeAnotherRunForItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	s.backup()
	s.file("b.ndjson", 100, 5)
	s.Once()
	s.delivered("before the restore", slices.Concat(numbers(0, 5), numbers(100, 5))...)

	s.restore()
	s.remove("events/b.ndjson") // unknown to the backup: it must not be read again
	s.file("c.ndjson", 200, 5)
	s.Says(s.Penstock(nil, "run", "--once"), 1, "run 2", "restored from a backup", "penstock pipelines recover events_out")
	s.delivered("after the refusal", slices.Concat(numbers(0, 5), numbers(100, 5))...)
	s.Says(s.Penstock(nil, "runs", "list"), 0, "failed", "restored from a backup")

	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out"), 0, "run 2", "both have the runs up to 1", "--resend")
	s.delivered("after a look", slices.Concat(numbers(0, 5), numbers(100, 5))...)
	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out", "--resend", "--yes"), 0, "from run 3 on")
	s.Once()
	all := slices.Concat(numbers(0, 5), numbers(100, 5), numbers(200, 5))
	s.delivered("after the recovery", all...)
	s.file("d.ndjson", 300, 2)
	s.Once()
	s.delivered("after another run", append(all, numbers(300, 2)...)...)
	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out"), 0, "nothing to recover")
}

// The backup is several runs behind, and its fence too.
func TestARestoredBackupThatIsFarBehindStops(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	s.backup()
	for i := range 4 {
		s.file(fmt.Sprintf("b%d.ndjson", i), 100+i, 1)
		s.Once()
		s.remove(fmt.Sprintf("events/b%d.ndjson", i))
	}
	s.restore()
	s.file("c.ndjson", 200, 5)
	s.Says(s.Penstock(nil, "run", "--once"), 1, "run 2", "run 5", "penstock pipelines recover events_out")
	if r := s.Penstock(nil, "runs", "list"); strings.Contains(r.Out, "runs retry") {
		t.Errorf("a retry is advised, and fails again:\n%s", r.Out)
	}
	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out", "--resend", "--yes"), 0,
		"those of the destination's runs 2 to 5 that this journal has, too, will be there twice", "from run 6 on")
	s.Once()
	s.delivered("after the recovery", slices.Concat(numbers(0, 5), numbers(100, 4), numbers(200, 5))...)
}

// A catalog that is several runs behind its destination, next to the whole journal, finds
// each of them there. Rows that came later are sent.
func TestAnOldCatalogCatchesUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	old := s.Read("data/catalog.db")
	for i := range 3 {
		s.file(fmt.Sprintf("b%d.ndjson", i), 100+i, 1)
		s.Once()
	}
	s.Write("data/catalog.db", old)
	s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 0, "restored: 4 segments", "kept: 1 pipeline with", "1 run\n")
	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out"), 0, "is run 4, in the catalog it is run 1", "run the pipeline")
	s.file("c.ndjson", 200, 5)
	s.Once()
	s.delivered("after the catalog was rebuilt", slices.Concat(numbers(0, 5), numbers(100, 3), numbers(200, 5))...)
	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out"), 0, "nothing to recover")
}

// A restored host that has only to read again what the destination holds finds
// the runs to be its own: nothing is sent, and nothing is to be decided.
func TestARestoredBackupAdoptsTheRunsThatAreItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	s.backup()
	s.file("b.ndjson", 100, 5)
	s.Once()
	before := s.Objects("out")
	s.restore()
	s.Once()
	if after := s.Objects("out"); len(after) != len(before) {
		t.Errorf("%d objects, before there were %d", len(after), len(before))
	}
	s.file("c.ndjson", 200, 5)
	s.Once()
	s.delivered("after the restore", slices.Concat(numbers(0, 5), numbers(100, 5), numbers(200, 5))...)
}

// A data directory is copied, and both hosts export: the one that comes second
// is stopped, and the first is not disturbed.
func TestACopiedDataDirectoryIsStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	s.copy("data", "copied/data")
	s.copy("events", "copied/events")
	copied := &site{Site: s.Site.At("copied"), t: t}
	copied.Write("penstock.hcl", strings.ReplaceAll(s.Read("penstock.hcl"), `"./out"`, `"../out"`))

	s.file("b.ndjson", 100, 5)
	s.Once()
	copied.file("c.ndjson", 200, 5)
	for range 2 { // it stays stopped
		copied.Says(copied.Penstock(nil, "run", "--once"), 1, "a copy of it exports to the same place", "penstock pipelines recover events_out")
	}
	s.file("d.ndjson", 300, 5)
	s.Once()
	s.delivered("with a live copy", slices.Concat(numbers(0, 5), numbers(100, 5), numbers(300, 5))...)
}

// A destination is emptied, or restored from a backup of its own: the runs that it
// lost are sent again when an operator asks for it.
func TestADestinationThatLostItsRunsIsSentThemAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	s.copy("out", "out.backup")
	s.file("b.ndjson", 100, 5)
	s.Once()
	s.remove("out")
	s.copy("out.backup", "out")
	s.file("c.ndjson", 200, 5)
	s.Says(s.Penstock(nil, "run", "--once"), 1, "was emptied, or restored", "penstock pipelines recover events_out")
	s.Says(s.Penstock(nil, "pipelines", "recover", "events_out", "--resend", "--yes"), 0, "what came after run 1")
	s.Once()
	s.delivered("after the recovery", slices.Concat(numbers(0, 5), numbers(100, 5), numbers(200, 5))...)
}

// The set of a restored host replaces that of its destination only when a
// person says so.
func TestARestoredBackupDoesNotReplaceANewerSet(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	all := profiles{}
	s.peopleFile("a.ndjson", all, 0, 10)
	s.Once()
	s.backup()
	s.peopleFile("b.ndjson", all, 10, 30)
	s.Once()
	newer := s.Objects("out")

	s.restore()
	s.remove("people/b.ndjson")
	s.peopleFile("c.ndjson", profiles{}, 40, 50)
	s.Says(s.Penstock(nil, "run", "--once"), 1, "penstock pipelines recover people_out")
	if got := s.Objects("out"); fmt.Sprint(got) != fmt.Sprint(newer) {
		t.Error("the newer set was replaced")
	}
	s.Says(s.Penstock(nil, "pipelines", "recover", "people_out", "--resend", "--yes"), 0, "from run 3 on")
	s.Once()
	if got := s.Objects("out"); fmt.Sprint(got) == fmt.Sprint(newer) {
		t.Error("the set was not replaced")
	}
}
