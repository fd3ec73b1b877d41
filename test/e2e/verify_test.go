package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/test/objectstore"
)

// bucket is where a site exports to, as a stranger reaches it: not through
// Penstock.
type bucket interface {
	// all returns the content of every object by name.
	all(t *testing.T) map[string]string
	put(t *testing.T, name, data string)
	remove(t *testing.T, name string)
}

// directory is the bucket of a localfs destination.
type directory string

func (d directory) all(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(string(d), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(string(d), path)
		found[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (d directory) put(t *testing.T, name, data string) {
	t.Helper()
	path := filepath.Join(string(d), filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (d directory) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(string(d), filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// remoteBucket is the bucket of an object store, reached with the vendor's client.
type remoteBucket struct{ *objectstore.Bucket }

func (b remoteBucket) all(t *testing.T) map[string]string {
	t.Helper()
	found, err := b.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (b remoteBucket) put(t *testing.T, name, data string) {
	t.Helper()
	if err := b.Put(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

func (b remoteBucket) remove(t *testing.T, name string) {
	t.Helper()
	if err := b.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// allDestinations are the destinations whose objects are compared and repaired.
var allDestinations = []string{"localfs", "s3", "gcs", "azure"}

// exportedSite is a site that has exported events of five days in two runs, the
// second with late rows, and a set of people.
type exportedSite struct {
	*site
	bucket bucket
	env    []string
}

func newExportedSite(t *testing.T, store string) *exportedSite {
	t.Helper()
	e := &exportedSite{}
	if store == "localfs" {
		e.site = newPeopleSite(t, localDestination, "localfs.out")
		e.bucket = directory(filepath.Join(e.Dir, "out"))
	} else {
		kind, err := objectstore.Named(store)
		if err != nil {
			t.Fatal(err)
		}
		remote := kind.Start(t)
		e.site = newPeopleSite(t, remote.Block("lake", remote.Endpoint), store+".lake")
		e.bucket, e.env = remoteBucket{remote}, remote.Environment
	}
	e.events("a.ndjson", 0, 5, 2000)
	e.peopleFile("a.ndjson", profiles{}, 0, 500)
	e.Once(e.env...)
	e.events("late.ndjson", 2, 2, 3000)
	e.Once(e.env...)
	return e
}

// verify runs the command and checks its exit status and output.
func (e *exportedSite) verify(pipeline string, status int, texts []string, args ...string) {
	e.t.Helper()
	e.Says(e.Penstock(e.env, append([]string{"pipelines", "verify", pipeline}, args...)...), status, texts...)
}

// data are the objects with rows, without manifests and receipts.
func (e *exportedSite) data() map[string]string {
	e.t.Helper()
	all := e.bucket.all(e.t)
	maps.DeleteFunc(all, func(name, _ string) bool { return strings.Contains(name, "/_penstock/") })
	return all
}

// pick returns the n-th object of a stream, of the runs with a number; "" is any.
func (e *exportedSite) pick(stream, run string, n int) string {
	e.t.Helper()
	var names []string
	for name := range e.data() {
		if strings.Contains(name, "/"+stream+"/") && strings.Contains(name, run) {
			names = append(names, name)
		}
	}
	if len(names) <= n {
		e.t.Fatalf("there are %d objects of %s", len(names), stream)
	}
	slices.Sort(names)
	return names[n]
}

// sameAs expects the data objects to be those of before, byte for byte.
func (e *exportedSite) sameAs(before map[string]string) {
	e.t.Helper()
	after := e.data()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			e.t.Errorf("%s is not as it was: %d bytes, %d before", name, len(after[name]), len(before[name]))
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			e.t.Errorf("%s was not there before", name)
		}
	}
}

// edit changes a manifest as a person would.
func (e *exportedSite) edit(stream string, change func(map[string]any)) {
	e.t.Helper()
	for name, data := range e.bucket.all(e.t) {
		if !strings.Contains(name, "/_penstock/"+stream+"/") || strings.Contains(name, "/runs/") {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			e.t.Fatal(err)
		}
		change(m)
		edited, err := json.Marshal(m)
		if err != nil {
			e.t.Fatal(err)
		}
		e.bucket.put(e.t, name, string(edited))
	}
}

// eventHarms are done to the events of a site. Each returns texts that verify prints of it.
var eventHarms = map[string]func(e *exportedSite) []string{
	"an object deleted": func(e *exportedSite) []string {
		name := e.pick("mp_master_event", "-00000001-", 1)
		e.bucket.remove(e.t, name)
		return []string{"MISSING " + name, "run 1"}
	},
	"an object truncated": func(e *exportedSite) []string {
		name := e.pick("mp_master_event", "-00000002-", 0)
		e.bucket.put(e.t, name, e.data()[name][:100])
		return []string{"TRUNCATED " + name, "it has 100 bytes", "run 2"}
	},
	"an object replaced by other bytes of its size": func(e *exportedSite) []string {
		name := e.pick("mp_master_event", "-00000001-", 2)
		data := []byte(e.data()[name])
		data[len(data)/2] ^= 0x40
		e.bucket.put(e.t, name, string(data))
		return []string{"CHANGED " + name, "checksum"}
	},
	"an object with more bytes": func(e *exportedSite) []string {
		name := e.pick("mp_master_event", "-00000001-", 0)
		e.bucket.put(e.t, name, e.data()[name]+"more")
		return []string{"SIZE " + name}
	},
	"a foreign object": func(e *exportedSite) []string {
		name := strings.Replace(e.pick("mp_master_event", "-00000001-", 0), "-0001.json.gz", "-0004.json.gz", 1)
		e.bucket.put(e.t, name, "not of Penstock")
		return []string{"FOREIGN " + name, "removes " + name}
	},
	"a doubled object": func(e *exportedSite) []string {
		of := e.pick("mp_master_event", "-00000001-", 0)
		name := strings.Replace(of, "-0001.json.gz", "-0002.json.gz", 1)
		e.bucket.put(e.t, name, e.data()[of])
		return []string{"DOUBLED " + name, "a copy of " + of}
	},
	"totals edited": func(e *exportedSite) []string {
		e.edit("mp_master_event", func(m map[string]any) {
			for _, day := range m["days"].(map[string]any) {
				day.(map[string]any)["rows"] = 1
			}
		})
		return []string{"TOTALS ", "the totals of the day are 1 rows"}
	},
	"the last receipt edited": func(e *exportedSite) []string {
		e.edit("mp_master_event", func(m map[string]any) { m["receipt"].(map[string]any)["partitions"] = []any{} })
		return []string{"RECORD ", "run 2", "differs from the copy in the manifest"}
	},
	"a receipt deleted": func(e *exportedSite) []string {
		for name := range e.bucket.all(e.t) {
			if strings.Contains(name, "/runs/") && strings.HasSuffix(name, "00000001.json") {
				e.bucket.remove(e.t, name)
			}
		}
		return []string{"RECORD ", "run 1", "no record of the run"}
	},
	"an object renamed": func(e *exportedSite) []string {
		of := e.pick("mp_master_event", "-00000001-", 0)
		name := strings.Replace(of, "-0001.json.gz", "-0002.json.gz", 1)
		e.bucket.put(e.t, name, e.data()[of])
		e.bucket.remove(e.t, of)
		return []string{"MISSING " + of, "DOUBLED " + name}
	},
	"much of it": func(e *exportedSite) []string {
		for name := range e.data() {
			if strings.Contains(name, "mp_master_event") {
				e.bucket.remove(e.t, name)
			}
		}
		return []string{"MISSING ", "7 differences"}
	},
}

func TestVerifyFindsHarmAndRepairsIt(t *testing.T) {
	for _, store := range allDestinations {
		t.Run(store, func(t *testing.T) {
			e := newExportedSite(t, store)
			e.verify("events_out", 0, []string{"no differences", "up to run 2"})
			e.verify("people_out", 0, []string{"no differences"})
			before := e.data()
			for name, harm := range eventHarms {
				said := harm(e)
				harmed := e.bucket.all(t)
				e.verify("events_out", 3, said)
				e.verify("events_out", 3, append(said, "a repair", "add --yes"), "--repair")
				if diff := cmp.Diff(harmed, e.bucket.all(t)); diff != "" {
					t.Fatalf("%s: a repair that was only shown has changed objects:\n%s", name, diff)
				}
				e.verify("events_out", 0, []string{"repaired: ", "no differences"}, "--repair", "--yes")
				e.sameAs(before)
				e.verify("events_out", 0, []string{"no differences"}, "--deep")
				if t.Failed() {
					t.Fatalf("after: %s", name)
				}
			}
			// A copy whose name is not one of the pipeline's own is only reported.
			of := e.pick("mp_master_event", "-00000001-", 0)
			copied := strings.Replace(of, ".json.gz", " (1).json.gz", 1)
			e.bucket.put(t, copied, before[of])
			e.verify("events_out", 3, []string{"DOUBLED " + copied, "not repaired: its name is not one of the pipeline's own"}, "--repair", "--yes")
			e.bucket.remove(t, copied)
			// The pipeline goes on.
			e.events("more.ndjson", 4, 3, 900)
			e.Once(e.env...)
			e.verify("events_out", 0, []string{"no differences", "up to run 3"}, "--deep")
			checkUntouched(t, before, e.data())
		})
	}
}

func TestVerifyRepairsASet(t *testing.T) {
	for _, store := range allDestinations {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			e := newExportedSite(t, store)
			before := e.data()
			set := e.pick("mp_people_data", "", 0)
			for kind, harm := range map[string]func(){
				"MISSING " + set:   func() { e.bucket.remove(t, set) },
				"TRUNCATED " + set: func() { e.bucket.put(t, set, "") },
				"CHANGED " + set:   func() { e.bucket.put(t, set, strings.Repeat("x", len(before[set]))) },
				"FOREIGN ":         func() { e.bucket.put(t, strings.Replace(set, ".json.gz", "-00000001-0001.json.gz", 1), "x") },
				"RECORD ":          func() { e.edit("mp_people_data", func(m map[string]any) { m["files"] = []any{} }) },
			} {
				harm()
				e.verify("people_out", 3, []string{kind})
				e.verify("people_out", 0, []string{"no differences"}, "--repair", "--yes")
				e.sameAs(before)
			}
			e.verify("people_out", 0, []string{"no differences"}, "--deep")
		})
	}
}

// A set that has changed since cannot be written as it was: verify says so, and
// the next run replaces it.
func TestVerifySaysThatASetIsGone(t *testing.T) {
	e := newExportedSite(t, "localfs")
	e.Append("penstock.hcl", strings.Replace(peoplePipeline("localfs.two", ""), `"people_out"`, `"people_two"`, 1)+`
destination "localfs" "two" {
  path = "./two"
}
`)
	e.Says(e.Penstock(nil, "pipelines", "pause", "people_out"), 0)
	all := profiles{}
	e.peopleFile("a.ndjson", all, 0, 500)
	e.peopleFile("b.ndjson", all, 500, 700)
	e.Once()
	e.bucket.remove(t, e.pick("mp_people_data", "", 0))
	e.verify("people_out", 3, []string{"MISSING ", "not repaired: the set has changed since run 1", "the next run replaces it"}, "--repair", "--yes")
	e.Says(e.Penstock(nil, "pipelines", "resume", "people_out"), 0)
	e.Once()
	e.verify("people_out", 0, []string{"no differences"})
	e.samePeople(all)
}

// A repair dies at each of these points, in the host or in the plugin. The next
// one completes it.
func TestARepairThatIsKilledIsRepeated(t *testing.T) {
	for _, store := range allDestinations {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			e := newExportedSite(t, store)
			before := e.data()
			for _, point := range []string{
				"repair.prepared:1", "plugin.open:1", "plugin.open:2", "plugin.write:1", "plugin.prepare:1", "plugin.commit.before:1", "plugin.commit.after:1",
			} {
				damaged := e.pick("mp_master_event", "-00000001-", 0)
				e.bucket.put(t, damaged, "damaged")
				e.bucket.remove(t, e.pick("mp_master_event", "-00000002-", 1))
				r := e.Penstock(append(slices.Clone(e.env), "PENSTOCK_CRASH_AT="+point), "pipelines", "verify", "events_out", "--repair", "--yes")
				if r.Signal != syscall.SIGKILL && r.Status != 1 {
					t.Fatalf("nothing died at %s: status %d\n%s%s", point, r.Status, r.Out, r.Err)
				}
				for name, data := range e.data() {
					if name != damaged && data != before[name] {
						t.Errorf("%s is changed by a repair that died at %s", name, point)
					}
				}
				e.verify("events_out", 0, []string{"no differences"}, "--repair", "--yes")
				e.sameAs(before)
				if t.Failed() {
					t.Fatalf("killed at %s", point)
				}
			}
			e.events("more.ndjson", 4, 3, 900)
			e.Once(e.env...)
			e.verify("events_out", 0, []string{"no differences", "up to run 3"})
		})
	}
}

// A command compares and repairs the chosen dates, and machines read the report.
func TestVerifySomeDays(t *testing.T) {
	e := newExportedSite(t, "localfs")
	before := e.data()
	day := func(n int) string { return base.AddDate(0, 0, n).Format("2006-01-02") }
	for _, n := range []int{0, 4} {
		e.bucket.remove(t, e.pick("mp_master_event", strings.ReplaceAll(day(n), "-", "/"), 0))
	}
	e.verify("events_out", 0, []string{day(2), "no differences"}, "--from", day(1), "--to", day(3))
	e.verify("events_out", 3, []string{"1 difference"}, "--from", day(3))
	e.verify("events_out", 0, []string{"no differences"}, "--from", day(3), "--repair", "--yes")
	e.verify("events_out", 3, []string{"1 difference", day(0)})

	r := e.Penstock(nil, "pipelines", "verify", "events_out", "--json")
	var report struct {
		Pipeline    string
		Differences []struct {
			Kind, Date, Object, Repair string
			Run                        int64
		}
		Days []struct {
			Date                                 string
			Journal, Committed, Recorded, Stored struct{ Rows, Objects int64 }
		}
		Plan struct {
			Sends []struct{ Run, Rows int64 }
		}
	}
	if err := json.Unmarshal([]byte(r.Out), &report); err != nil || r.Status != 3 {
		t.Fatalf("status %d, %v\n%s", r.Status, err, r.Out)
	}
	if len(report.Days) != 5 || len(report.Differences) != 1 || len(report.Plan.Sends) != 1 {
		t.Fatalf("%+v", report)
	}
	d, late := report.Differences[0], report.Days[2]
	if d.Kind != "missing" || d.Date != day(0) || d.Run != 1 || d.Repair != "send" || report.Plan.Sends[0].Run != 1 || report.Plan.Sends[0].Rows != 400 {
		t.Errorf("%+v, plan %+v", d, report.Plan)
	}
	if late.Date != day(2) || late.Journal.Rows != 1700 || late.Committed.Rows != 1700 || late.Recorded.Rows != 1700 || late.Stored.Rows != 1700 || late.Stored.Objects != 2 {
		t.Errorf("a day with late rows: %+v", late)
	}
	if first := report.Days[0]; first.Recorded.Rows != 400 || first.Stored.Rows != 0 || first.Stored.Objects != 0 {
		t.Errorf("a day whose object is missing: %+v", first)
	}
	r = e.Penstock(nil, "pipelines", "verify", "events_out", "--json", "--repair", "--yes")
	if !strings.Contains(r.Out, `"repaired"`) || r.Status != 0 {
		t.Errorf("status %d\n%s%s", r.Status, r.Out, r.Err)
	}
	e.sameAs(before)
	for _, args := range [][]string{{"--from", "yesterday"}, {"--from", "2026-02-01", "--to", "2026-01-01"}} {
		e.verify("events_out", 2, nil, args...)
	}
	e.verify("nonesuch", 1, []string{"nonesuch"})
}

// A command speaks with the host that serves, which repairs between its runs.
func TestVerifyWithARunningHost(t *testing.T) {
	t.Parallel()
	e := newExportedSite(t, "localfs")
	before := e.data()
	e.follow()
	h := e.Serve()
	e.bucket.remove(t, e.pick("mp_master_event", "-00000001-", 3))
	e.bucket.put(t, e.pick("mp_people_data", "", 0), "x")
	e.verify("events_out", 3, []string{"MISSING "})
	e.verify("events_out", 0, []string{"repaired: 1 object", "no differences"}, "--repair", "--yes")
	e.verify("people_out", 0, []string{"no differences"}, "--repair", "--yes")
	e.sameAs(before)
	h.Stop(syscall.SIGTERM)
}

// manifest returns the name and the content of the manifest of a stream.
func (e *exportedSite) manifest(stream string) (name string, content map[string]any) {
	e.t.Helper()
	for name, data := range e.bucket.all(e.t) {
		if strings.Contains(name, "/_penstock/"+stream+"/") && !strings.Contains(name, "/runs/") {
			if err := json.Unmarshal([]byte(data), &content); err != nil {
				e.t.Fatal(err)
			}
			return name, content
		}
	}
	e.t.Fatalf("there is no manifest of %s", stream)
	return "", nil
}

// A manifest that was deleted, damaged, or replaced by the next attempt, which finds
// none, is restored from the receipts, and that of a set with the set.
func TestVerifyRestoresAManifest(t *testing.T) {
	for _, store := range allDestinations {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			e := newExportedSite(t, store)
			before := e.data()
			for pipeline, stream := range map[string]string{"events_out": "mp_master_event", "people_out": "mp_people_data"} {
				name, want := e.manifest(stream)
				for said, harm := range map[string]func(){
					"the manifest does not exist":   func() { e.bucket.remove(t, name) },
					"was damaged by another writer": func() { e.bucket.put(t, name, `{"format": "penst`) },
					"says that nothing is committed": func() {
						e.edit(stream, func(m map[string]any) {
							m["last_committed_run"] = 0
							delete(m, "days")
							delete(m, "receipt")
							delete(m, "files")
						})
					},
					"its format is \"\" and not \"pens": func() { e.bucket.put(t, name, "{}") },
				} {
					harm()
					harmed := e.bucket.all(t)
					e.verify(pipeline, 3, []string{"RECORD " + name, said, "a repair", "record"}, "--repair")
					if diff := cmp.Diff(harmed, e.bucket.all(t)); diff != "" {
						t.Fatalf("a repair that was only shown has changed objects:\n%s", diff)
					}
					e.verify(pipeline, 0, []string{"repaired: ", "no differences"}, "--repair", "--yes")
					_, got := e.manifest(stream)
					for _, m := range []map[string]any{want, got} {
						delete(m, "fence")
						delete(m, "attempt")
						inMilliseconds(t, m)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("%s: the manifest (-before +after):\n%s", said, diff)
					}
					e.sameAs(before)
				}
				e.verify(pipeline, 0, []string{"no differences"}, "--deep")
			}
			e.restoreWithMore()
			// The pipeline goes on.
			e.Once(e.env...)
			e.verify("events_out", 0, []string{"no differences", "up to run 3"}, "--deep")
			checkUntouched(t, before, e.data())
		})
	}
}

// inMilliseconds rounds the time of a manifest and its receipt as the catalog has it.
func inMilliseconds(t *testing.T, m map[string]any) {
	t.Helper()
	for _, in := range []any{m, m["receipt"]} {
		record := in.(map[string]any)
		at, err := time.Parse(time.RFC3339Nano, record["complete_as_of"].(string))
		if err != nil {
			t.Fatal(err)
		}
		record["complete_as_of"] = at.Truncate(time.Millisecond).Format(time.RFC3339Nano)
	}
}

// restoreWithMore deletes the manifest of events with a receipt and an object, and has
// the next run find that: it stops, and is repaired in three steps: the manifest, the
// receipt and the object, the totals.
func (e *exportedSite) restoreWithMore() {
	e.t.Helper()
	before := e.data()
	name, _ := e.manifest("mp_master_event")
	e.bucket.remove(e.t, name)
	for object := range e.bucket.all(e.t) {
		if strings.HasSuffix(object, "/00000001.json") {
			e.bucket.remove(e.t, object)
		}
	}
	lost := e.pick("mp_master_event", "-00000002-", 0)
	e.bucket.remove(e.t, lost)
	e.events("more.ndjson", 4, 3, 900)
	e.Says(e.Penstock(e.env, "run", "--once", "--retry-for", "1s"), 1, "events_out")
	e.verify("events_out", 3, []string{"repaired: ", "MISSING " + lost, "the destination has no record of the run"}, "--repair", "--yes")
	e.verify("events_out", 3, []string{"repaired: 1 record and 1 object restored", "TOTALS "}, "--repair", "--yes")
	e.verify("events_out", 0, []string{"repaired: ", "no differences"}, "--repair", "--yes")
	e.sameAs(before)
}

func TestVerifyNeedsAnInventory(t *testing.T) {
	s := newSiteWith(t, `
destination "ndjson" "out" {
  path = "./out"
}
`, "ndjson.out")
	s.events("a.ndjson", 0, 2, 100)
	s.Once()
	s.Says(s.Penstock(nil, "pipelines", "verify", "events_out"), 1, "cannot list what its destination holds")
}
