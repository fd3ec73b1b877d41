package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// storeInstallation makes a stored installation. With the binaries of the version that it is to be of in DIR (penstock with the
// tag crashpoints, and plugins/ with localfs, pinned):
//
//	PENSTOCK_TEST_INSIDE=DIR go test ./test/e2e -run TestAnOlderInstallationIsUpgraded -store-installation schema7
var storeInstallation = flag.String("store-installation", "", "name of an installation to store in testdata/installations")

// installations is where each stored installation has an archive of its files and, as
// NAME.golden, everything that its own version then exported.
const installations = "testdata/installations"

// installationConfig is the configuration of stored installations. Its dates are fixed:
// that pipelines may begin so far back is decided when they are registered, and rows are
// kept for a hundred years.
const installationConfig = `
host {
  data_dir     = "./data"
  plugin_dir   = %q
  memory       = "4MiB"
  max_backfill = "1200 months"
  retention    = "36500d"
}
project "shop" {
  id    = 2195193
  token = "tok-7c1d"
}
source "files" "import" {
  project = "shop"
  path    = "./events/*"
}
source "files" "profiles" {
  project = "shop"
  path    = "./people/*"
  records = "people"
}
source "collector" "web" {
  project = "shop"
  listen  = "127.0.0.1:0"
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = "localfs.out"
  from_date   = "2026-09-01"
}
pipeline "people_out" {
  project     = "shop"
  stream      = "people"
  destination = "localfs.out"
}
pipeline "ids_out" {
  project     = "shop"
  stream      = "identity"
  destination = "localfs.out"
}
`

func newInstallation(t *testing.T) *site {
	t.Helper()
	s := &site{penstocktest.NewSite(t), t}
	s.Write("penstock.hcl", fmt.Sprintf(installationConfig, filepath.Join(penstocktest.Binaries, "plugins")))
	return s
}

// fixedEvents writes a file of events whose times do not depend on today's.
func (s *site) fixedEvents(name string, from, count int) {
	s.t.Helper()
	var b strings.Builder
	for n := from; n < from+count; n++ {
		fmt.Fprintf(&b, `{"event":"Item %d","properties":{"time":%d,"distinct_id":"user-%d","$insert_id":"id-%d","n":%d}}`+"\n", n%3, 1788300000+n*20000, n%5, n, n)
	}
	s.Write(filepath.Join("events", name), b.String())
}

// fixedProfiles writes a file of operations on profiles.
func (s *site) fixedProfiles(name string, from, count int) {
	s.t.Helper()
	var b strings.Builder
	for n := from; n < from+count; n++ {
		fmt.Fprintf(&b, `{"$token":"tok-7c1d","$distinct_id":"user-%d","$time":%d,"$set":{"n":%d}}`+"\n", n%5, 1788300000+n, n)
	}
	s.Write(filepath.Join("people", name), b.String())
}

// fixedLinks sends events that link devices to users.
func (s *site) fixedLinks(h *penstocktest.Host, from, count int) {
	s.t.Helper()
	var events []string
	for n := from; n < from+count; n++ {
		events = append(events, fmt.Sprintf(`{"event":"Login","properties":{"time":%d,"$insert_id":"login-%d","$device_id":%q,"$user_id":"user-%d"}}`,
			1788400000+n*1000, n, anonymousID(n), n%5))
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+collectorAddress(h)+"/import?strict=1", strings.NewReader("["+strings.Join(events, ",")+"]"))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("tok-7c1d", "")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	text, _ := io.ReadAll(response.Body)
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%d %s, %v", response.StatusCode, text, err)
	}
}

// live brings an installation to a state in which much is under way: all streams were
// exported, a record is in quarantine, a run was interrupted, its pipeline is paused, and
// acknowledged records wait in the log of a collector.
func (s *site) live() {
	s.t.Helper()
	for _, dir := range []string{"events", "people"} {
		if err := os.Mkdir(filepath.Join(s.Dir, dir), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	s.fixedEvents("a.ndjson", 0, 40)
	s.fixedProfiles("a.ndjson", 0, 12)
	s.Append(filepath.Join("events", "a.ndjson"), "not an event\n")
	h := s.Serve()
	s.fixedLinks(h, 0, 6)
	h.Stop(syscall.SIGTERM)
	s.Once()
	s.fixedEvents("b.ndjson", 100, 30)
	if r := s.Penstock([]string{"PENSTOCK_CRASH_AT=export.streaming"}, "run", "--once"); r.Signal != syscall.SIGKILL {
		s.t.Fatalf("it was not killed: %s%s", r.Out, r.Err)
	}
	s.Says(s.Penstock(nil, "pipelines", "pause", "events_out"), 0)
	h = s.Serve()
	s.fixedLinks(h, 50, 4)
	h.Stop(syscall.SIGKILL)
}

// goOn lets an installation finish its interrupted work, and read more. It returns
// everything that is exported then.
func (s *site) goOn() string {
	s.t.Helper()
	s.Says(s.Penstock(nil, "pipelines", "resume", "events_out"), 0)
	s.fixedEvents("c.ndjson", 200, 10)
	s.fixedProfiles("b.ndjson", 12, 5)
	s.Once()
	var lines []string
	for object := range s.Objects("out") {
		directory := strings.Split(object, string(filepath.Separator))[1]
		for _, line := range penstocktest.ReadObject(s.t, filepath.Join(s.Dir, "out", object)) {
			lines = append(lines, directory+" "+withoutReceipt(s.t, line))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// withoutReceipt removes the time at which a collector received an event.
func withoutReceipt(t *testing.T, line string) string {
	t.Helper()
	var row map[string]any
	if err := json.Unmarshal([]byte(line), &row); err != nil {
		t.Fatal(err)
	}
	if p, ok := row["properties"].(map[string]any); ok {
		delete(p, "mp_processing_time_ms")
		delete(p, "$mp_api_timestamp_ms")
	}
	data, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Installations that older versions have left are opened, finish their interrupted work, and
// export the same as the version that they are of.
func TestAnOlderInstallationIsUpgraded(t *testing.T) {
	t.Parallel()
	if *storeInstallation != "" {
		s := newInstallation(t)
		s.live()
		s.store(filepath.Join(installations, *storeInstallation+".tar.gz"))
		if err := os.WriteFile(filepath.Join(installations, *storeInstallation+".golden"), []byte(s.goOn()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := filepath.Glob(filepath.Join(installations, "*.tar.gz"))
	if err != nil || len(stored) < 2 {
		t.Fatalf("%q, %v", stored, err)
	}
	for _, archive := range stored {
		name := strings.TrimSuffix(filepath.Base(archive), ".tar.gz")
		t.Run(name, func(t *testing.T) {
			golden, err := os.ReadFile(filepath.Join(installations, name+".golden"))
			if err != nil {
				t.Fatal(err)
			}
			s := newInstallation(t)
			s.unpack(archive)
			s.Says(s.Penstock(nil, "status"), 0, "events_out", "paused") // of a copy: the catalog is still the older one
			s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
			if got := s.goOn(); got != string(golden) {
				t.Errorf("it exports other rows than its own version:\n%s", difference(string(golden), got))
			}
			s.Says(s.Penstock(nil, "quarantine", "list"), 0, "files.import")
			s.Says(s.Penstock(nil, "pipelines", "verify", "events_out"), 0)
			s.Says(s.Penstock(nil, "pipelines", "recover", "events_out"), 0, "nothing to recover")
			checkNothingMore(t, s)
		})
	}
}

// difference lists the lines that only one of two sorted texts has.
func difference(want, got string) string {
	var b strings.Builder
	wanted, found := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range wanted {
		if !slices.Contains(found, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range found {
		if !slices.Contains(wanted, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	return b.String()
}

// kept reports whether a file of an installation is stored. Files that a host makes again
// are not.
func kept(name string) bool {
	for _, made := range []string{"penstock.hcl", "data/penstock.sock", "data/penstock.lock", "data/spill", "data/run", "data/identity"} {
		if name == made || strings.HasPrefix(name, made+"/") {
			return false
		}
	}
	return true
}

// store writes the files of an installation to an archive.
func (s *site) store(archive string) {
	s.t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.Dir, path)
		if err != nil || !d.Type().IsRegular() || !kept(filepath.ToSlash(name)) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(archive), 0o700)
	}
	if err == nil {
		err = os.WriteFile(archive, b.Bytes(), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("stored %d bytes", b.Len())
}

// unpack reads the files of an installation from an archive.
func (s *site) unpack(archive string) {
	s.t.Helper()
	data, err := os.ReadFile(archive)
	if err != nil {
		s.t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.t.Fatal(err)
		}
		path := filepath.Join(s.Dir, filepath.FromSlash(h.Name))
		data, err := io.ReadAll(r)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// files reads all files of the data directory, but the lock.
func (s *site) files() map[string]string {
	s.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(s.Dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "penstock.lock" || strings.HasSuffix(path, "-shm") {
			return err
		}
		data, err := os.ReadFile(path)
		found[path] = string(data)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// A catalog of a newer version is refused by every command, with the version that wrote
// it, and no file of the data directory changes.
func TestANewerInstallationIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	db, err := sql.Open("sqlite", filepath.Join(s.Dir, "data", "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{`UPDATE identity SET host = '9.9.0'`, `PRAGMA user_version = 1000`, `PRAGMA wal_checkpoint(TRUNCATE)`} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s.Write("data/spill/left", "by a fold")
	s.Write("data/blobs/segments/2195193/.tmp-left", "by a seal")
	before := s.files()
	for _, command := range [][]string{{"run", "--once"}, {"run"}, {"status"}, {"pipelines", "list"}, {"backup", "b.tar"}, {"journal", "rebuild-catalog"}} {
		s.Says(s.Penstock(nil, command...), 1, "schema version 1000, which penstock 9.9.0 wrote", "Nothing was changed", "run that version")
	}
	after := s.files()
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s was changed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
}
