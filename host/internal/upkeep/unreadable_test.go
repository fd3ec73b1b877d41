package upkeep_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// A file that is missing, or whose commit record is, fails its own rewrite: the rows of
// the others are removed, and the journal opens again.
func TestAFileThatCannotBeReadKeepsNoOtherFromItsRewrite(t *testing.T) {
	for name, lost := range map[string]string{"segment": "", "commit record": fmt.Sprintf("commits/%d/%016d.json", project, 5)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 7)
			for range 10 {
				w.seal()
			}
			s, err := w.catalog.Segment(t.Context(), project, 5)
			if err != nil {
				t.Fatal(err)
			}
			if lost == "" {
				lost = s.Blob
			}
			if err := w.store.Delete(t.Context(), lost); err != nil {
				t.Fatal(err)
			}
			w.now = w.now.AddDate(0, 0, 40)
			for range 2 {
				report, err := w.upkeep.Pass(t.Context(), 0)
				if !errors.Is(err, fs.ErrNotExist) || report.Error == "" {
					t.Errorf("the pass says nothing of %s: %v", lost, err)
				}
			}
			err = w.catalog.Files(t.Context(), project, 0, func(f journal.File) error {
				for _, s := range f.Seals {
					for _, e := range s.Extents {
						if left := e.Kind == journal.KindEvents && e.Blocks > 0; left != (e.Kind == journal.KindEvents && s.Seq == 5) {
							t.Errorf("rows of seal %d are left: %v", s.Seq, left)
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := journal.Recover(t.Context(), w.catalog, w.store, project); err != nil {
				t.Errorf("recover: %v", err)
			}
		})
	}
}
