package upkeep_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
)

// A catalog that was copied before files were rewritten does not know the files that
// took the place of the others: nothing is removed with it, although it knows every seal.
func TestACatalogFromBeforeARewriteRemovesNothing(t *testing.T) {
	w := newWorld(t, 1)
	for range 20 {
		w.seal()
	}
	w.now = w.now.Add(30 * time.Hour)
	copied := filepath.Join(t.TempDir(), "catalog.db")
	if err := w.catalog.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	report, err := w.upkeep.Pass(t.Context(), 0)
	if err != nil || report.Rewritten == 0 {
		t.Fatalf("%d files were rewritten: %v", report.Rewritten, err)
	}
	held := w.held(journal.KindEvents)
	w.stop()

	// The older catalog takes the place of the later one.
	path := filepath.Join(w.dir, "catalog.db")
	later := filepath.Join(t.TempDir(), "later.db")
	if err := errors.Join(os.Rename(path, later), os.Rename(copied, path)); err != nil {
		t.Fatal(err)
	}
	w.start()
	var behind *journal.BehindError
	if err := journal.Recover(t.Context(), w.catalog, w.store, project); !errors.As(err, &behind) {
		t.Errorf("the journal is opened: %v", err)
	}
	if _, err := w.upkeep.Pass(t.Context(), 0); !errors.As(err, &behind) {
		t.Errorf("a pass is made: %v", err)
	}
	w.stop()

	if err := errors.Join(catalog.Remove(path), os.Rename(later, path)); err != nil {
		t.Fatal(err)
	}
	w.start()
	if found := w.held(journal.KindEvents); !slices.Equal(found, held) {
		t.Errorf("%d rows are left of %d", len(found), len(held))
	}
	w.check()
}
