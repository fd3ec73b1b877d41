package e2e

import (
	"strings"
	"testing"
)

// warehouse is a site whose destination keeps a ledger in tables.
type warehouse interface {
	same(undisturbed *site)
}

// recovers loses a site's catalog, and puts older ones in its place. The destination's
// ledger tells each host which runs are there: no row is sent twice, and none is lost
// without a word.
func recovers(t *testing.T, s *site, w warehouse) {
	t.Helper()
	undisturbed := newPeopleSite(t, localDestination, "localfs.out")
	undisturbed.Append("penstock.hcl", identityPipeline("localfs.out"))
	undisturbed.inZone()
	s.signIns(0) // before the backup: a collector's records are nowhere else
	undisturbed.signIns(0)
	people := profiles{}
	round := func(n int) {
		t.Helper()
		same := people.clone()
		s.round(n, people)
		undisturbed.round(n, same)
		undisturbed.Once()
	}
	round(0)
	s.Once()
	s.backup()
	oldest := s.Read("data/catalog.db")
	round(1)
	s.Once()
	w.same(undisturbed)

	// A backup from before the second round: its runs are planned again, and are those of
	// the ledger.
	s.restore()
	s.Once()
	w.same(undisturbed)
	before := s.Read("data/catalog.db")
	round(2)
	s.Once()
	w.same(undisturbed)

	// An older catalog next to the whole journal: the cursors follow the ledger.
	rebuild := func(catalog string) {
		t.Helper()
		s.Write("data/catalog.db", catalog)
		s.Says(s.Penstock(nil, "run", "--once"), 1, "rebuild-catalog")
		s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 0, "kept: 3 pipelines")
	}
	rebuild(before)
	s.Once()
	w.same(undisturbed)
	round(3)
	s.Once()
	w.same(undisturbed)

	// One that is several runs behind finds the runs of events in the journal. Those of
	// people and identity stop, and nothing is sent.
	rebuild(oldest)
	r := s.Penstock(nil, "run", "--once")
	s.Says(r, 1, "nothing was sent", "penstock pipelines recover people_out")
	if strings.Contains(r.Out+r.Err, "penstock pipelines recover events_out") {
		t.Error("events_out stops")
	}
	w.same(undisturbed)

	// No catalog at all: pipelines have new ids, and the ledger is another one's.
	removeCatalog(t, s)
	s.Says(s.Penstock(nil, "run", "--once"), 1, "the catalog was lost", "rebuild-catalog")
	s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 0)
	s.Says(s.Penstock(nil, "run", "--once"), 1, "pipeline events_out", "pipeline people_out")
	w.same(undisturbed)
}

func TestBigQueryRecovers(t *testing.T) {
	t.Parallel()
	w := newWarehouseSite(t)
	recovers(t, w.site, w)
}

func TestSnowflakeRecovers(t *testing.T) {
	w := newSnowflakeSite(t)
	recovers(t, w.site, w)
}
