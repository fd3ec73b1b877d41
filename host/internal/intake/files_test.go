package intake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/files"
)

type sealer struct{ err error }

func (s sealer) Seal(context.Context) error { return s.err }

// A journal that fails behind the last row fails the source: it had looked like
// one that was read to its end.
func TestAFailedJournalFailsTheSource(t *testing.T) {
	t.Parallel()
	full, gone := errors.New("the disk is full"), errors.New("the file is gone")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		ctx          context.Context
		source, seal error
		want         string
	}{
		{t.Context(), nil, nil, "<nil>"},
		{t.Context(), nil, full, "the disk is full"},
		{t.Context(), gone, nil, "the file is gone"},
		{t.Context(), gone, full, "the file is gone\nthe disk is full"},
		{t.Context(), fmt.Errorf("append: %w", full), full, "append: the disk is full"},
		{stopped, gone, full, "the file is gone"},
	} {
		if got := fmt.Sprint(sealed(tt.ctx, sealer{tt.seal}, tt.source)); got != tt.want {
			t.Errorf("sealed(%v, %v) = %q, want %q", tt.source, tt.seal, got, tt.want)
		}
	}
}

// cursors is a journal that takes cursors and nothing else.
type cursors map[string][]byte

func (c cursors) Append(_ context.Context, chunk journal.Chunk) error {
	for _, m := range chunk.Cursors {
		c[m.Position] = m.To
	}
	return nil
}

// A file takes the place of another: the refused records of the first stay in
// quarantine, and a crash after it quarantines nothing twice.
func TestARotatedFileKeepsWhatWasRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := quarantine.Open(filepath.Join(dir, "quarantine"), quarantine.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	read := func(c cursors) {
		t.Helper()
		source, err := files.Open(t.Context(), files.Options{Name: "files.in", Pattern: filepath.Join(dir, "*.log"), Cursors: maps.Clone(c)})
		if err != nil {
			t.Fatal(err)
		}
		err = ingest.Run(t.Context(), ingest.Options{
			Source: source, Appender: c, Rejects: rejects{store, "files.in"}, Now: time.Now, Counters: &ingest.Counters{},
		})
		if err := errors.Join(err, source.Close()); err != nil {
			t.Fatal(err)
		}
	}
	c := cursors{}
	for i, text := range []string{"first", "second", "third"} {
		if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte(text+" fails\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(c)
		read(c)
		read(before) // as if the host had died before the cursor was durable
		n := 0
		for _, err := range store.Entries("files.in") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != i+1 {
			t.Errorf("after the %s file %d records are in quarantine", text, n)
		}
	}
}

// A source that remembers many files has a warning.
func TestManyFilesAreWarnedOf(t *testing.T) {
	t.Parallel()
	if w := crowded(files.Description{Files: 5_000, Replaced: 5_000}); w == "" || crowded(files.Description{Files: 9_999}) != "" {
		t.Errorf("the warning is %q", w)
	}
}
