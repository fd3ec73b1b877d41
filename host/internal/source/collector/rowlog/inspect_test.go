package rowlog

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// logDamaged appends three entries: two of fragments, one of which in the second is not what
// it says, and one of another project.
func logDamaged(t *testing.T, w *wal.Log) (wrong *journal.Fragment) {
	t.Helper()
	second := packed(t)
	wrong = second.Fragments[1]
	wrong.RowsCRC32++
	rows, data := rowsOf("other")
	for _, payload := range [][]byte{encoded(1, packed(t)), encoded(1, second), encoded(2, journal.Chunk{Rows: rows, Data: data})} {
		if _, err := w.Append(t.Context(), payload); err != nil {
			t.Fatal(err)
		}
	}
	return wrong
}

// A fragment that does not inflate is kept elsewhere, and the other rows of its entry, and
// later entries, reach their journals: in a Drain up to an entry, and in one that follows
// Inspect.
func TestDamagedFragmentsAreSetAside(t *testing.T) {
	for _, upTo := range []uint64{0, 3} {
		b := newBooks()
		l, w := newLog(t, b)
		var kept []Damaged
		l.SetAside(func(d Damaged) error {
			kept = append(kept, d)
			return nil
		})
		wrong := logDamaged(t, w)
		if upTo == 0 {
			if err := l.Drain(t.Context(), 0, b.find); err == nil || len(kept) > 0 {
				t.Fatalf("%v, and %d fragments were kept before Inspect", err, len(kept))
			}
			b.crash()
			l.Inspect()
		}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		err := l.Drain(ctx, upTo, func(ctx context.Context, project int64) (Appender, error) {
			if project == 2 { // of the last entry
				end()
				return nil, ErrHeld
			}
			return b.find(ctx, project)
		})
		if upTo == 0 && !errors.Is(err, context.Canceled) || upTo != 0 && err != nil {
			t.Fatal(err)
		}
		b.seal(t, 1)
		if want := []string{"a\n", "c\n", "g\n", "b\n", "d\n", "e\n", "f\n", "a\n", "c\n", "g\n", "d\n", "e\n", "f\n"}; !slices.Equal(b.sealed[1], want) {
			t.Errorf("the journal has %q", b.sealed[1])
		}
		if len(kept) != 1 || kept[0].Index != 2 || kept[0].Number != 2 || kept[0].Project != 1 || kept[0].Err == nil {
			t.Fatalf("kept are %+v", kept)
		}
		project, alone, err := decodeEntry(kept[0].Entry(), nil)
		if err != nil || project != 1 || len(alone.Rows) != 0 || !reflect.DeepEqual(alone.Fragments, []*journal.Fragment{wrong}) {
			t.Errorf("%v: %+v is not what was logged", err, alone)
		}
	}
}

// While a damaged fragment cannot be kept, its entry is not handed on.
func TestADamagedFragmentIsKeptBeforeItsEntryGoes(t *testing.T) {
	b := newBooks()
	l, w := newLog(t, b)
	logDamaged(t, w)
	full := errors.New("the disk is full")
	l.SetAside(func(Damaged) error { return full })
	if err := l.Drain(t.Context(), 3, b.find); !errors.Is(err, full) {
		t.Errorf("Drain returns %v", err)
	}
	b.seal(t, 1)
	if want := []string{"a\n", "c\n", "g\n", "b\n", "d\n", "e\n", "f\n"}; !slices.Equal(b.sealed[1], want) {
		t.Errorf("the journal has %q", b.sealed[1])
	}
}

// A fragment that was compressed wrong makes all packers inflate what they make, and the
// entries be inflated that the log holds.
func TestOneWrongFragmentIsOfAllPackers(t *testing.T) {
	w := openWAL(t, wal.Options{})
	if _, err := w.Append(t.Context(), []byte("an entry")); err != nil {
		t.Fatal(err)
	}
	l := New(w, "collector.web", newBooks())
	told := 0
	l.Compress(func(int64) *time.Location { return time.UTC }, func(error) { told++ })
	if l.isSuspect(1) {
		t.Error("an entry is suspect before anything was wrong")
	}
	one, other := l.packers.take(time.UTC), l.packers.take(time.UTC)
	if one == other || l.packers.care == nil {
		t.Fatal("packers have no care in common")
	}
	l.packers.care.Wrong(errors.New("a block was not compressed right"))
	if !l.isSuspect(1) || l.isSuspect(2) || told != 1 {
		t.Errorf("suspect: %v, %v; told %d times", l.isSuspect(1), l.isSuspect(2), told)
	}
}
