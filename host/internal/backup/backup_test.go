package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// installation is a data directory with one project, whose journal is open.
type installation struct {
	t *testing.T
	*projecttest.Stores
	quarantine *quarantine.Store
	writer     *journal.Writer
	rows       int
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	stores := projecttest.Open(t, t.TempDir(), []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}})
	clock := func() time.Time { return now }
	q, err := quarantine.Open(stores.Dir.Path(datadir.QuarantineDir), quarantine.Options{Ledger: stores.Catalog.Quarantine(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	w, err := journal.Open(t.Context(), journal.Options{Project: 1, Zone: time.UTC, Store: stores.Blobs, Catalog: stores.Catalog, Now: clock, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{t: t, Stores: stores, quarantine: q, writer: w}
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), q.Close(), stores.Close()); err != nil {
			t.Error(err)
		}
	})
	return i
}

// seal seals one more row.
func (i *installation) seal() {
	i.t.Helper()
	i.rows++
	row := fmt.Appendf(nil, "{\"n\":%d}\n", i.rows)
	c := journal.Chunk{Rows: []journal.Row{{Length: len(row), Time: now.Unix(), Kind: journal.KindEvents, Key: journal.Key{byte(i.rows), 1}}}, Data: row}
	if err := errors.Join(i.writer.Append(i.t.Context(), c), i.writer.Seal(i.t.Context())); err != nil {
		i.t.Fatal(err)
	}
}

func (i *installation) options() Options {
	return Options{
		Dir: i.Dir, Store: i.Blobs, Catalog: i.Catalog, HoldRecords: i.quarantine.Hold,
		HoldLogs: func(context.Context) (func(), error) { return func() {}, nil }, Version: "1.2.3", Now: func() time.Time { return now },
	}
}

// write writes a backup and returns its path.
func (i *installation) write() string {
	i.t.Helper()
	path := filepath.Join(i.t.TempDir(), "b.tar")
	if _, err := Write(i.t.Context(), i.options(), path); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// tree reads all files below a directory but the lock.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == datadir.LockFile {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func target(t *testing.T) datadir.Dir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	return datadir.Dir{Data: dir, Blobs: filepath.Join(dir, "blobs")}
}

// Files are restored as they were written, byte for byte, with the blobs in the data directory and
// elsewhere.
func TestRestoresWhatWasWritten(t *testing.T) {
	i := newInstallation(t)
	for range 3 {
		i.seal()
	}
	if err := i.quarantine.Append("files.a", []quarantine.Entry{{Source: "files.a", Reason: "invalid_json", Bytes: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	log := i.Dir.Path(datadir.CollectorDir, "web")
	if err := errors.Join(os.MkdirAll(log, 0o700), os.WriteFile(filepath.Join(log, "acknowledged"), []byte("mark"), 0o600),
		os.WriteFile(filepath.Join(log, "1.wal"), []byte("entries"), 0o600)); err != nil {
		t.Fatal(err)
	}
	path := i.write()
	want := tree(t, i.Dir.Data)
	inside, apart := target(t), target(t)
	apart.Blobs = filepath.Join(t.TempDir(), "blobs")
	for _, d := range []datadir.Dir{inside, apart} {
		report, err := Restore(t.Context(), d, path, "1.2.4")
		if err != nil || report.Projects != 1 || report.Version != "1.2.3" || !report.MadeAt.Equal(now) {
			t.Fatalf("%+v, %v", report, err)
		}
		got := tree(t, d.Data)
		for name, data := range tree(t, d.Blobs) {
			got[filepath.Join("blobs", name)] = data
		}
		for name, data := range want {
			if !strings.HasPrefix(name, datadir.CatalogFile) && got[name] != data {
				t.Errorf("%s: %q, want %q", name, got[name], data)
			}
		}
		if len(got) > len(want) || got[datadir.CatalogFile] == "" {
			t.Errorf("%d files, there were %d", len(got), len(want))
		}
		stores := projecttest.Open(t, d.Data, []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}})
		blobs, err := disk.OpenDir(d.Blobs)
		if err == nil {
			err = journal.Compare(t.Context(), stores.Catalog, blobs, 1)
		}
		if err := errors.Join(err, stores.Close()); err != nil {
			t.Error(err)
		}
	}
}

// Seals and merges of keys go on while a backup is written: it holds one state, with
// every blob that this state names.
func TestABackupHoldsOneState(t *testing.T) {
	i := newInstallation(t)
	for range 5 {
		i.seal()
	}
	o := i.options()
	held := 0
	o.HoldLogs = func(context.Context) (func(), error) { // between the first pass and the last
		held++
		for range 12 {
			i.seal()
		}
		return func() {}, nil
	}
	path := filepath.Join(t.TempDir(), "b.tar")
	if _, err := Write(t.Context(), o, path); err != nil {
		t.Fatal(err)
	}
	i.seal()
	d := target(t)
	if _, err := Restore(t.Context(), d, path, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	stores := projecttest.Open(t, d.Data, nil)
	defer stores.Close()
	seq, err := stores.Catalog.Sequence(t.Context(), 1)
	if err != nil || seq != int64(5+12*held) {
		t.Errorf("the journal ends at %d, %v", seq, err)
	}
	names, err := journal.Named(t.Context(), stores.Catalog, stores.Blobs, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := stores.Blobs.Open(t.Context(), name)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A segment that is missing is an error, and not a backup without it.
func TestABackupOfADamagedJournalFails(t *testing.T) {
	i := newInstallation(t)
	i.seal()
	names, err := i.Blobs.List(t.Context(), "segments")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	if err := i.Blobs.Delete(t.Context(), names[0]); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err = Write(t.Context(), i.options(), filepath.Join(dir, "b.tar"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("got %v", err)
	}
	if left := tree(t, dir); len(left) > 0 {
		t.Errorf("%d files were left", len(left))
	}
}

// A file that is cut off at any place, or has another byte anywhere, is refused, and
// leaves an empty directory.
func TestADamagedBackupIsRefused(t *testing.T) {
	i := newInstallation(t)
	i.seal()
	whole, err := os.ReadFile(i.write())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "damaged.tar")
	refused := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		d := target(t)
		_, err := Restore(t.Context(), d, path, "1.2.3")
		if err == nil {
			t.Errorf("%s: it was restored", what)
			return
		}
		if _, err := os.Stat(d.Data); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if left := names(t, d.Data); !slices.Equal(left, []string{datadir.LockFile}) {
			t.Errorf("%s: %q was left after %v", what, left, err)
		}
	}
	for _, other := range []string{"", "hi", strings.Repeat("hi", 1000), string(whole[:300])} {
		refused("another file", []byte(other))
		if _, err := Restore(t.Context(), target(t), path, "1.2.3"); err == nil || !strings.Contains(err.Error(), "is not a whole backup of Penstock") {
			t.Errorf("%d bytes: %v", len(other), err)
		}
	}
	end := bytes.LastIndex(whole, []byte(`{"sha256"`))
	for cut := 0; cut < end; cut += 1777 {
		refused(fmt.Sprintf("cut off at %d", cut), whole[:cut])
	}
	for _, name := range []string{`{"format"`, "SQLite format 3", `"seq":1`, `{"sha256":"`} {
		at := bytes.Index(whole, []byte(name))
		if at < 0 {
			t.Fatalf("there is no %s", name)
		}
		damaged := bytes.Clone(whole)
		damaged[at+len(name)+1] ^= 1
		refused(name, damaged)
	}
	var damaged *DamagedError
	if _, err := Restore(t.Context(), target(t), path, "1.2.3"); !errors.As(err, &damaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

// names returns the names in a directory.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// A restore that fails removes the directories that it has made, those of an interrupted
// restore too, and leaves others.
func TestARestoreThatFailsRemovesItsDirectories(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b, now)
	if err := errors.Join(a.addJSON(headerEntry, Header{Format: format}), a.finish()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "without_catalog.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		prepare func(datadir.Dir) error
		want    []string
	}{
		"no directory": {func(datadir.Dir) error { return nil }, []string{datadir.LockFile}},
		"a part of it": {func(d datadir.Dir) error { return os.MkdirAll(d.Path("deep"), 0o700) }, []string{"deep", datadir.LockFile}},
		"an interrupted restore": {func(d datadir.Dir) error {
			return errors.Join(os.MkdirAll(d.Blobs, 0o700), datadir.BeginRestore(d))
		}, []string{datadir.LockFile}},
	} {
		d := target(t)
		d.Blobs = d.Path("deep", "blobs")
		if err := tt.prepare(d); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), d, path, "1.2.3"); err == nil || !strings.Contains(err.Error(), "has no catalog.db") {
			t.Errorf("%s: %v", name, err)
		}
		if got := names(t, d.Data); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q was left, want %q", name, got, tt.want)
		}
		if got := tt.want; got[0] == "deep" && len(names(t, d.Path("deep"))) > 0 {
			t.Errorf("%s: the directory of the blobs was left", name)
		}
	}
}

// A newer backup is refused before anything is made; the message says which host
// restores it.
func TestANewerBackupIsRefused(t *testing.T) {
	for _, h := range []Header{{Format: format + 1, Version: "9.9.0"}, {Format: format, Schema: 1000, Version: "9.9.0"}} {
		var b bytes.Buffer
		a := newArchive(&b, now)
		if err := errors.Join(a.addJSON(headerEntry, h), a.finish()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "b.tar")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		d := target(t)
		var newer *NewerError
		if _, err := Restore(t.Context(), d, path, "1.2.3"); !errors.As(err, &newer) || !strings.Contains(err.Error(), "penstock 9.9.0 or a later") {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(d.Data); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the data directory was made: %v", err)
		}
	}
}

// An entry that would lie outside of the data directory, or belongs to no part of it, is
// refused.
func TestOtherEntriesAreRefused(t *testing.T) {
	for _, name := range []string{"../x", "/etc/x", "blobs/../../x", "penstock.lock", "catalog.db-wal", "quarantine/../penstock.lock"} {
		var b bytes.Buffer
		a := newArchive(&b, now)
		if err := errors.Join(a.addJSON(headerEntry, Header{Format: format}), a.add(name, 1, strings.NewReader("x")), a.finish()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "b.tar")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		d := target(t)
		if _, err := Restore(t.Context(), d, path, "1.2.3"); err == nil || !strings.Contains(err.Error(), "belongs to no part") {
			t.Errorf("%s: %v", name, err)
		}
		if left := tree(t, filepath.Dir(d.Data)); len(left) > 0 {
			t.Errorf("%s: %v was left", name, left)
		}
	}
}

// Nothing is restored over something.
func TestRestoresIntoEmptyDirectoriesOnly(t *testing.T) {
	i := newInstallation(t)
	i.seal()
	path := i.write()
	d := target(t)
	if err := errors.Join(os.MkdirAll(d.Blobs, 0o700), os.WriteFile(filepath.Join(d.Blobs, "x"), []byte("precious"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var full *NotEmptyError
	if _, err := Restore(t.Context(), d, path, "1.2.3"); !errors.As(err, &full) || full.Name != "x" {
		t.Errorf("got %v", err)
	}
	if got := tree(t, d.Data); got["blobs/x"] != "precious" || len(got) != 1 {
		t.Errorf("there is %v", got)
	}
}
