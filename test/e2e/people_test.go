package e2e

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

const peopleSource = `
source "files" "profiles" {
  project = "shop"
  path    = "./people/*"
  records = "people"
}
`

func peoplePipeline(destination, more string) string {
	return fmt.Sprintf(`
pipeline "people_out" {
  project     = "shop"
  stream      = "people"
  destination = %q
%s}
`, destination, more)
}

// newPeopleSite makes a site with a people pipeline and an events pipeline.
func newPeopleSite(t *testing.T, destination, reference string) *site {
	t.Helper()
	s := newSiteWith(t, destination, reference)
	s.Append("penstock.hcl", peopleSource+peoplePipeline(reference, ""))
	if err := os.Mkdir(filepath.Join(s.Dir, "people"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// profiles are properties by distinct_id, as decoded JSON.
type profiles map[string]map[string]any

// peopleFile writes operations to a file, and applies them to profiles: some
// are made, some changed, some deleted.
func (s *site) peopleFile(name string, all profiles, from, to int) {
	s.t.Helper()
	var b strings.Builder
	for n := from; n < to; n++ {
		id := fmt.Sprintf("user-%d", n%400)
		switch {
		case n%11 == 10:
			fmt.Fprintf(&b, `{"$token":"t","$distinct_id":%q,"$delete":"","$ignore_alias":true}`+"\n", id)
			delete(all, id)
			continue
		case n%3 == 0:
			fmt.Fprintf(&b, `{"$token":"t","$distinct_id":%q,"$ignore_time":true,"$add":{"visits":1}}`+"\n", id)
		case n%3 == 1:
			fmt.Fprintf(&b, `[{"$token":"t","$distinct_id":%q,"$ignore_time":true,"$set":{"n":%d,"$city":"Zürich"}}]`+"\n", id, n)
		default:
			fmt.Fprintf(&b, `{"$distinct_id":%q,"$properties":{"n":%d,"plan":"x"}}`+"\n", id, n)
		}
		p := all[id]
		if p == nil {
			p = map[string]any{}
			all[id] = p
		}
		switch n % 3 {
		case 0:
			visits, _ := p["visits"].(float64)
			p["visits"] = visits + 1
		case 1:
			p["n"], p["$city"] = float64(n), "Zürich"
		default:
			p["n"], p["plan"] = float64(n), "x"
		}
	}
	s.Write(filepath.Join("people", name), b.String())
}

func (p profiles) clone() profiles {
	c := profiles{}
	for id, properties := range p {
		c[id] = maps.Clone(properties)
	}
	return c
}

// people reads the set of people below out as a reader does that lists the
// directory: each profile must be there once.
func (s *site) people(out string) profiles {
	s.t.Helper()
	found := profiles{}
	for object := range s.Objects(out) {
		if !strings.Contains(object, "mp_people_data") {
			continue
		}
		for _, line := range penstocktest.ReadObject(s.t, filepath.Join(s.Dir, out, object)) {
			var row struct {
				ID         *string        `json:"distinct_id"`
				Properties map[string]any `json:"properties"`
			}
			d := json.NewDecoder(strings.NewReader(line))
			d.DisallowUnknownFields()
			if err := d.Decode(&row); err != nil || row.ID == nil {
				s.t.Fatalf("%s: %v in %s", object, err, line)
			}
			if _, twice := found[*row.ID]; twice {
				s.t.Errorf("%s is there twice", *row.ID)
			}
			found[*row.ID] = row.Properties
		}
	}
	return found
}

func (s *site) samePeople(want profiles) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.people("out")); diff != "" {
		s.t.Errorf("people at the destination (-want +got):\n%s", diff)
	}
}

// peopleObjects are the files of the set, by name.
func (s *site) peopleObjects() []string {
	s.t.Helper()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Objects("out"))), func(name string) bool { return !strings.Contains(name, "mp_people_data") })
}

func TestPeopleAreReplaced(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	s.events("a.ndjson", 0, 2, 100)
	all := profiles{}
	s.peopleFile("1.ndjson", all, 0, 900)
	r := s.Penstock(nil, "plan")
	s.Says(r, 0, "people_out: nothing to export")
	s.Once()
	s.samePeople(all)
	first := s.peopleObjects()
	if len(first) != 1 {
		t.Errorf("the set is %q", first)
	}
	// Nothing new: nothing is written.
	before := s.Objects("out")
	r = s.Once()
	s.Says(r, 0, "people_out → localfs.out: nothing new to export")
	if diff := cmp.Diff(before, s.Objects("out")); diff != "" {
		t.Error(diff)
	}
	s.peopleFile("2.ndjson", all, 900, 1500)
	s.Once()
	s.samePeople(all)
	if diff := cmp.Diff(first, s.peopleObjects()); diff != "" {
		t.Errorf("the set has another name: %s", diff)
	}
	s.Says(s.Penstock(nil, "runs", "list", "people_out"), 0, "full set", "succeeded")
	s.Says(s.Penstock(nil, "pipelines", "list"), 0, "people_out", "succeeded", fmt.Sprint(len(all)))
	s.Says(s.Penstock(nil, "plan"), 0, "people_out: nothing to export")
	s.Says(s.Penstock(nil, "journal", "verify"), 0)

	// Malformed operations wait in quarantine.
	s.Write("people/3.ndjson", `{"$distinct_id":"user-1","$sett":{}}`+"\n"+`{"$distinct_id":"user-1","$ignore_time":true,"$set":{"m":1}}`+"\n{\n")
	all["user-1"]["m"] = 1.0
	s.Says(s.Once(), 0, "in quarantine: 1 unknown_operation", "in quarantine: 1 invalid_json")
	s.samePeople(all)

	// A rebuilt catalog keeps the pipelines, and the set is folded again.
	s.Says(s.Penstock(nil, "journal", "rebuild-catalog", "--force"), 0, "kept: 2 pipelines", "people and identity mappings")
	s.Once()
	s.samePeople(all)
}

func TestASetThatShrinksIsRefused(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	all := profiles{}
	s.peopleFile("1.ndjson", all, 0, 600)
	s.Once()
	before := all.clone()
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(all))[:len(all)*2/3] {
		fmt.Fprintf(&b, "{\"$distinct_id\":%q,\"$delete\":null}\n", id)
		delete(all, id)
	}
	s.Write("people/2.ndjson", b.String())
	r := s.Penstock(nil, "run", "--once", "--retry-for", "30s")
	s.Says(r, 1, "would replace", "penstock pipelines run people_out --allow-shrink")
	if strings.Contains(r.Err, "will retry") {
		t.Errorf("an error that needs an operator is retried:\n%s", r.Err)
	}
	s.samePeople(before)
	s.Says(s.Penstock(nil, "pipelines", "list"), 0, "the next run is refused", "--allow-shrink")
	s.Says(s.Penstock(nil, "plan"), 0, "refused:")
	s.Says(s.Penstock(nil, "pipelines", "run", "people_out"), 1, "would replace")
	s.samePeople(before)
	s.Says(s.Penstock(nil, "pipelines", "run", "people_out", "--allow-shrink"), 0, "1 run")
	s.samePeople(all)
	s.Once()

	// Every profile is deleted.
	b.Reset()
	for id := range all {
		fmt.Fprintf(&b, "{\"$distinct_id\":%q,\"$delete\":null}\n", id)
	}
	s.Write("people/3.ndjson", b.String())
	s.Says(s.Penstock(nil, "run", "--once"), 1, "by none")
	s.samePeople(all)
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), peoplePipeline("localfs.out", ""), peoplePipeline("localfs.out", "  allow_shrink = true\n"), 1))
	s.Once()
	s.samePeople(profiles{})
	s.Says(s.Penstock(nil, "pipelines", "run", "nobody"), 1, "nobody")
}

// peoplePoints are where a host dies by SIGKILL in a run that replaces people.
var peoplePoints = []string{
	"profile.sorted:1", "generation.block:1", "generation.blocks:1", "generation.listed:1", "fold.recorded:1",
	"export.streaming:1", "export.prepared:1", "export.committed:1",
}

// Whenever host or plugin die, a reader that lists finds the old set or the new
// one.
func TestPeopleSurviveKillsAtEachPoint(t *testing.T) {
	t.Parallel()
	points := map[string][]string{}
	for _, point := range peoplePoints {
		points["host "+point] = []string{"run", "--once"}
	}
	for _, point := range pluginPoints {
		if point != "plugin.write:3" { // there is one block
			points["plugin "+point] = []string{"run", "--once", "--retry-for", "3s"}
		}
	}
	for name, args := range points {
		who, point, _ := strings.Cut(name, " ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newPeopleSite(t, localDestination, "localfs.out")
			all := profiles{}
			s.peopleFile("1.ndjson", all, 0, 900)
			s.Once()
			s.samePeople(all)
			before := all.clone()
			s.peopleFile("2.ndjson", all, 900, 1500)
			r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, args...)
			if who == "host" && r.Signal != syscall.SIGKILL || who == "plugin" && r.Signal != 0 {
				t.Fatalf("%s: status %d, signal %v\n%s\n%s", point, r.Status, r.Signal, r.Out, r.Err)
			}
			found := s.people("out")
			if !cmp.Equal(found, before) && !cmp.Equal(found, all) {
				t.Errorf("the set is neither the old one nor the new one: %s", cmp.Diff(before, found))
			}
			s.Once()
			s.samePeople(all)
			if objects := s.peopleObjects(); len(objects) != 1 {
				t.Errorf("the set is %q", objects)
			}
			checkNothingMore(t, s)
			// Files of generations that the crash left are gone.
			if left, err := filepath.Glob(filepath.Join(s.Dir, "data", "blobs", "generations", "*", "people", "*.list")); err != nil || len(left) != 1 {
				t.Errorf("lists %q, %v", left, err)
			}
		})
	}
}

func TestAFailedRunLeavesTheSet(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	all := profiles{}
	s.peopleFile("1.ndjson", all, 0, 500)
	s.Once()
	before := all.clone()
	s.peopleFile("2.ndjson", all, 500, 900)
	manifests, err := filepath.Glob(filepath.Join(s.Dir, "out", "*", "_penstock", "mp_people_data", "*.json"))
	if err != nil || len(manifests) != 1 {
		t.Fatal(manifests, err)
	}
	manifest, err := os.ReadFile(manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifests[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.Penstock(nil, "run", "--once", "--retry-for", "1s"); r.Status != 1 {
		t.Errorf("status %d with a damaged manifest\n%s", r.Status, r.Err)
	}
	s.samePeople(before)
	if err := os.WriteFile(manifests[0], manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	// The next start tries again by itself.
	s.Once()
	s.samePeople(all)
}

// While sets are replaced, and hosts killed, somebody looks all the time: each
// set that is seen is whole, and of one version.
func TestAReaderSeesOneSetOrAnother(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	const count = 3000
	write := func(version int) {
		var b strings.Builder
		for n := range count {
			fmt.Fprintf(&b, `{"$distinct_id":"user-%d","$properties":{"version":%d,"pad":"%x"}}`+"\n", n, version, sha256.Sum256(fmt.Append(nil, n, version)))
		}
		s.Write(fmt.Sprintf("people/%d.ndjson", version), b.String())
	}
	write(1)
	s.Once()
	stop, ended := make(chan struct{}), make(chan struct{})
	seen := map[int]int{} // looks, by version
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			versions, err := versionsOf(s.Dir)
			if err != nil {
				t.Error(err)
				return
			}
			for version, n := range versions {
				seen[version]++
				if n != count || len(versions) != 1 {
					t.Errorf("rows by version: %v", versions)
					return
				}
			}
			if len(versions) == 0 {
				t.Error("there is a hole")
				return
			}
		}
	}()
	for version := 2; version <= 6; version++ {
		write(version)
		if version%2 == 0 {
			s.Penstock([]string{"PENSTOCK_CRASH_AT=" + []string{"export.streaming:2", "export.prepared", "export.committed"}[version/2-1]}, "run", "--once")
		}
		s.Once()
	}
	close(stop)
	<-ended
	if len(seen) < 2 {
		t.Errorf("the reader has seen %v", seen)
	}
}

// versionsOf counts the profiles that a reader finds in a site by version.
func versionsOf(dir string) (map[int]int, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "out", "*", "mp_people_data", "*.json.gz"))
	if err != nil {
		return nil, err
	}
	versions := map[int]int{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		for rows := json.NewDecoder(z); ; {
			var row struct{ Properties struct{ Version int } }
			if err := rows.Decode(&row); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			versions[row.Properties.Version]++
		}
	}
	return versions, nil
}

// current reads the set that the manifest names, as a reader of a large set does.
func (s *site) current() profiles {
	s.t.Helper()
	manifests, err := filepath.Glob(filepath.Join(s.Dir, "out", "*", "_penstock", "mp_people_data", "*.json"))
	if err != nil || len(manifests) != 1 {
		s.t.Fatal(manifests, err)
	}
	data, err := os.ReadFile(manifests[0])
	if err != nil {
		s.t.Fatal(err)
	}
	var manifest struct {
		Files []struct{ Name string }
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		s.t.Fatal(err)
	}
	found := profiles{}
	for _, f := range manifest.Files {
		for _, line := range penstocktest.ReadObject(s.t, filepath.Join(s.Dir, "out", filepath.FromSlash(f.Name))) {
			var row struct {
				ID         string         `json:"distinct_id"`
				Properties map[string]any `json:"properties"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				s.t.Fatal(err)
			}
			if _, twice := found[row.ID]; twice {
				s.t.Errorf("%s is there twice", row.ID)
			}
			found[row.ID] = row.Properties
		}
	}
	return found
}

// A set above the limit of one object is parts, and the manifest is the switch.
func TestALargeSetIsParts(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	all := profiles{}
	s.peopleFile("1.ndjson", all, 0, 100)
	limit := "PENSTOCK_OBJECT_LIMIT=2000"
	s.Once(limit)
	if objects := s.peopleObjects(); len(objects) != 1 || strings.Contains(objects[0], "-00000001-") {
		t.Errorf("a small set is %q", objects)
	}
	for i, point := range []string{"", "export.streaming:1", "export.prepared:1", "plugin.commit.before:1", "plugin.commit.after:1", "export.committed:1"} {
		before := all.clone()
		s.peopleFile(fmt.Sprintf("%d.ndjson", i+2), all, 100+300*i, 400+300*i)
		if point != "" {
			s.Penstock([]string{limit, "PENSTOCK_CRASH_AT=" + point}, "run", "--once", "--retry-for", "3s")
			if found := s.current(); !cmp.Equal(found, before) && !cmp.Equal(found, all) {
				t.Errorf("%s: the set is neither the old one nor the new one: %s", point, cmp.Diff(before, found))
			}
		}
		s.Once(limit)
		if diff := cmp.Diff(all, s.current()); diff != "" {
			t.Fatalf("%s: the set (-want +got): %s", point, diff)
		}
		s.samePeople(all)
		for _, object := range s.peopleObjects() {
			if !strings.Contains(object, fmt.Sprintf("-%08d-", i+2)) {
				t.Errorf("%s: %s is left of another run, or is not a part", point, object)
			}
		}
	}
}

func TestPeopleInABucket(t *testing.T) {
	server := standin.StartS3(t, "lake")
	s := newPeopleSite(t, s3Destination(server), "s3.lake")
	env := "S3_SECRET=" + server.SecretKey
	fetched := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(s.Dir, "out")); err != nil {
			t.Fatal(err)
		}
		download(t, server, filepath.Join(s.Dir, "out"))
	}
	all := profiles{}
	s.peopleFile("1.ndjson", all, 0, 900)
	s.Once(env)
	fetched()
	s.samePeople(all)
	for i, point := range []string{"export.streaming:1", "export.prepared:1", "plugin.commit.before:1", "plugin.commit.after:1", "export.committed:1"} {
		before := all.clone()
		s.peopleFile(fmt.Sprintf("%d.ndjson", i+2), all, 900+200*i, 1100+200*i)
		s.Penstock([]string{env, "PENSTOCK_CRASH_AT=" + point}, "run", "--once", "--retry-for", "3s")
		fetched()
		if found := s.people("out"); !cmp.Equal(found, before) && !cmp.Equal(found, all) {
			t.Errorf("%s: the set is neither the old one nor the new one: %s", point, cmp.Diff(before, found))
		}
		s.Once(env)
		fetched()
		s.samePeople(all)
		if objects := s.peopleObjects(); len(objects) != 1 {
			t.Errorf("%s: the set is %q", point, objects)
		}
	}
}

// A host that serves takes operations of a collector and of files, and exports
// when it is asked to.
func TestPeopleOfAServingHost(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, localDestination, "localfs.out")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `  records = "people"`, `  records = "people"`+"\n  follow  = true", 1)+`
source "collector" "web" {
  project = "shop"
  listen  = "127.0.0.1:0"
}
`)
	all := profiles{}
	s.peopleFile("1.ndjson", all, 0, 600)
	h := s.Serve()
	h.Until("the first export", func() bool { return len(s.people("out")) == len(all) })
	s.samePeople(all)

	body := `[{"$token":"tok-7c1d","$distinct_id":"user-1","$ignore_time":true,"$set":{"from":"web"}},{"$token":"tok-7c1d","$distinct_id":"user-2","$delete":""}]`
	answer, err := http.Post("http://"+s.listening(h)+"/engage", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	all["user-1"]["from"] = "web"
	delete(all, "user-2")
	// Acknowledged operations reach the journal soon, and a run seals them.
	h.Until("the operations are exported", func() bool {
		r := s.Penstock(nil, "pipelines", "run", "people_out")
		s.Says(r, 0, "people_out → localfs.out")
		return len(s.people("out")) == len(all)
	})
	s.samePeople(all)
	s.Says(s.Penstock(nil, "status"), 0, "people_out", "succeeded")
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Errorf("the host ended with %v\n%s", status, h.Said())
	}
	checkNothingMore(t, s)
}
