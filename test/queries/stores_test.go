//go:build cgo

package queries

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/objectstore"
	"github.com/penstock-io/penstock/test/penstocktest"
)

const storeConfiguration = `
host {
  data_dir   = "./data"
  plugin_dir = %q
  memory     = "4MiB"
}
project "shop" {
  id    = %s
  token = %q
}
source "collector" "web" {
  project = "shop"
  listen  = "127.0.0.1:0"
}
`

// streams are the directories of the streams, with the columns of their rows.
var streams = map[string]string{
	"mp_master_event":           "{device_id:'VARCHAR',distinct_id:'VARCHAR',event_name:'VARCHAR',insert_id:'VARCHAR',properties:'JSON',time:'BIGINT',user_id:'VARCHAR'}",
	"mp_people_data":            "{distinct_id:'VARCHAR',properties:'JSON'}",
	"mp_identity_mappings_data": "{distinct_id:'VARCHAR',resolved_distinct_id:'VARCHAR'}",
}

// comparison is a site that exports the same journal to an object store and to a
// directory. DuckDB compares the two row by row.
type comparison struct {
	*penstocktest.Site
	t      *testing.T
	db     *sql.DB
	bucket *objectstore.Bucket
	base   string // of the configuration, without destinations
	store  string // the store's destination and pipelines
	local  string // the directory's
}

func newComparison(t *testing.T, bucket *objectstore.Bucket) *comparison {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &comparison{
		Site: penstocktest.NewSite(t), t: t, db: db, bucket: bucket,
		base:  fmt.Sprintf(storeConfiguration, filepath.Join(penstocktest.Binaries, "plugins"), projectID, token),
		store: bucket.Block("lake", bucket.Endpoint) + pipelinesTo(bucket.Type+".lake", "lake"),
		local: "\ndestination \"localfs\" \"out\" {\n  path = \"./local\"\n}\n" + pipelinesTo("localfs.out", "local"),
	}
}

// pipelinesTo returns three pipelines, one for each stream.
func pipelinesTo(destination, name string) string {
	var b strings.Builder
	for _, stream := range []string{"events", "people", "identity"} {
		fmt.Fprintf(&b, "pipeline \"%s_%s\" {\n  project     = \"shop\"\n  stream      = %q\n  destination = %q\n", stream, name, stream, destination)
		if stream == "events" {
			fmt.Fprintf(&b, "  from_date   = %q\n", first.Format("2006-01-02"))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// collect has a serving host collect a sample, as clients send it. No pipeline
// is configured.
func (c *comparison) collect(s *sample) {
	c.t.Helper()
	c.Write("penstock.hcl", c.base)
	h := c.Serve()
	address := "http://" + listening(c.t, c.Dir, filepath.Join(penstocktest.Binaries, "penstock"))
	for batch := range slices.Chunk(s.events, 500) {
		post(c.t, address+"/import?strict=0", batch, event.record)
	}
	if len(s.profiles) > 0 {
		post(c.t, address+"/engage", s.profiles, profile.record)
	}
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		c.t.Fatalf("the host ended with %v:\n%s", status, h.Said())
	}
}

// disturbed runs the store's pipelines with a process that dies or freezes at a
// point.
func (c *comparison) disturbed(d penstocktest.Disturbance) {
	c.t.Helper()
	c.Write("penstock.hcl", c.base+c.store)
	c.Disturbed(d, c.bucket.Environment...)
}

// overtaken freezes the host at a point of a run. Another host, over a copy of its
// data directory, collects more, finishes the run, and exports what is new. The frozen
// host is then continued, and must change no object. The other host's directory is
// that of the next runs.
func (c *comparison) overtaken(point string, more *sample) {
	c.t.Helper()
	c.Write("penstock.hcl", c.base+c.store)
	thaw := c.Freeze(c.bucket.Environment, point, "run", "--once", "--retry-for", "1s")
	successor := *c
	successor.Site = c.At("successor")
	c.Copy("data", filepath.Join("successor", "data"))
	successor.collect(more)
	successor.Write("penstock.hcl", c.base+c.store)
	successor.Once(c.bucket.Environment...)
	before := c.downloaded("before")
	r := thaw()
	if r.Status != 1 || !strings.Contains(r.Err, "Stop the other host") {
		c.t.Errorf("the host that was frozen at %s does not say that it was overtaken: status %d\n%s%s", point, r.Status, r.Out, r.Err)
	}
	if after := c.downloaded("after"); !maps.Equal(before, after) {
		c.t.Errorf("the host that was frozen at %s has changed objects:\nbefore %v\nafter  %v", point, before, after)
	}
	for _, move := range [][2]string{{"data", "overtaken"}, {filepath.Join("successor", "data"), "data"}} {
		if err := os.Rename(filepath.Join(c.Dir, move[0]), filepath.Join(c.Dir, move[1])); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, dir := range []string{"overtaken", "successor", "before", "after"} {
		if err := os.RemoveAll(filepath.Join(c.Dir, dir)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// downloaded returns the store's objects after a download into a directory.
func (c *comparison) downloaded(dir string) map[string]string {
	c.t.Helper()
	if err := c.bucket.Download(c.t.Context(), filepath.Join(c.Dir, dir)); err != nil {
		c.t.Fatal(err)
	}
	return c.Objects(dir)
}

// compare exports to both places, and compares them with each other and with all
// that was sent.
func (c *comparison) compare(sent *sample) {
	c.t.Helper()
	c.Write("penstock.hcl", c.base+c.store+c.local)
	c.Once(c.bucket.Environment...)
	if err := c.bucket.Download(c.t.Context(), filepath.Join(c.Dir, "lake")); err != nil {
		c.t.Fatal(err)
	}
	for stream, columns := range streams {
		c.same(stream, columns)
	}
	c.inTheirDays()
	same(c.t, c.query("mp_master_event", "SELECT insert_id FROM %s ORDER BY 1"), slices.Sorted(slices.Values(sent.each())))
	same(c.t, c.query("mp_identity_mappings_data", "SELECT distinct_id, resolved_distinct_id FROM %s ORDER BY 1"), sent.mappings())
	same(c.t, c.query("mp_people_data", "SELECT distinct_id, json_extract_string(properties, '$.$email') FROM %s ORDER BY 1"), sent.people())
}

// objects returns DuckDB's table function over the objects of a stream.
func (c *comparison) objects(place, stream string) string {
	pattern := filepath.Join(c.Dir, place, projectID, stream, "**", "*.json.gz")
	return fmt.Sprintf("read_json('%s', format='newline_delimited', filename=true, columns=%s)", strings.ReplaceAll(pattern, "'", "''"), streams[stream])
}

// query runs a query over the store's rows of a stream.
func (c *comparison) query(stream, text string) []string {
	c.t.Helper()
	return rows(c.t, c.db, fmt.Sprintf(text, c.objects("lake", stream)))
}

// same compares all rows of a stream: each as often in one place as in the other.
func (c *comparison) same(stream, columns string) {
	c.t.Helper()
	selected := func(place string) string { return "SELECT " + casts(columns) + " FROM " + c.objects(place, stream) }
	for _, pair := range [][2]string{{"lake", "local"}, {"local", "lake"}} {
		if more := rows(c.t, c.db, selected(pair[0])+" EXCEPT ALL "+selected(pair[1])+" LIMIT 3"); len(more) > 0 {
			c.t.Errorf("%s: rows that %s has and %s has not: %q", stream, pair[0], pair[1], more)
		}
	}
}

// casts returns the columns of a stream as texts, from its entry in streams.
func casts(columns string) string {
	var names []string
	for field := range strings.SplitSeq(strings.Trim(columns, "{}"), ",") {
		name, _, _ := strings.Cut(field, ":")
		names = append(names, "CAST("+name+" AS VARCHAR)")
	}
	return strings.Join(names, ", ")
}

// inTheirDays looks for rows in the directory of another day.
func (c *comparison) inTheirDays() {
	c.t.Helper()
	wrong := c.query("mp_master_event", `SELECT insert_id, filename FROM %s
		WHERE strftime(to_timestamp(time) AT TIME ZONE 'UTC', '%%Y/%%m/%%d') <> regexp_extract(filename, '(\d{4}/\d{2}/\d{2})/[^/]*$', 1) LIMIT 3`)
	if len(wrong) > 0 {
		c.t.Errorf("in the directory of another day: %q", wrong)
	}
}

// mappings are the rows of the identity stream.
func (s *sample) mappings() []string {
	owners := s.owners()
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(owners)) {
		lines = append(lines, line(id, owners[id]))
	}
	return lines
}

// people are the rows of the people stream: the latest of each profile.
func (s *sample) people() []string {
	emails := map[string]string{}
	for _, p := range s.profiles {
		emails[p.id] = p.email
	}
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(emails)) {
		lines = append(lines, line(id, emails[id]))
	}
	return lines
}

// rounds divides a sample into three deliveries: the second and the third bring
// late events of every day, and profiles that change.
func (s *sample) rounds() [3]*sample {
	var parts [3]*sample
	for i := range parts {
		parts[i] = &sample{}
	}
	for n, e := range s.events {
		of := parts[min(n*4/len(s.events), 2)]
		if n%7 == 3 {
			of = parts[1+n%2]
		}
		of.events = append(of.events, e)
	}
	for n, p := range s.profiles {
		of := parts[n%3]
		of.profiles = append(of.profiles, p)
		if n%5 == 0 {
			p.email, p.seen = "changed-"+p.email, p.seen.AddDate(0, 1, 0)
			last := parts[2]
			last.profiles = append(last.profiles, p)
		}
	}
	return parts
}

// pieces divides a sample into n deliveries.
func (s *sample) pieces(n int) []*sample {
	divided := make([]*sample, n)
	for i := range divided {
		divided[i] = &sample{
			events:   s.events[i*len(s.events)/n : (i+1)*len(s.events)/n],
			profiles: s.profiles[i*len(s.profiles)/n : (i+1)*len(s.profiles)/n],
		}
	}
	return divided
}

// Three streams are exported to each store in three runs, with late data, and
// read back with DuckDB. Host and plugin die and freeze in between, and a host that was
// frozen goes on after another one has taken over. The second and
// the third run bring rows of days that the first, the backfill, has exported.
func TestObjectStores(t *testing.T) {
	for _, store := range objectstore.All() {
		t.Run(store.Type, func(t *testing.T) {
			compareStore(t, store.Start(t))
		})
	}
}

// TestSmoke makes the comparison in the account that the environment names; see
// test/smoke, which removes the objects.
func TestSmoke(t *testing.T) {
	name := os.Getenv("SMOKE")
	if name == "" {
		t.Skip("SMOKE names no object store: run make smoke-s3, smoke-gcs or smoke-azure")
	}
	store, err := objectstore.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := store.Account(os.LookupEnv, os.Getenv("SMOKE_PREFIX"))
	if err != nil {
		t.Fatal(err)
	}
	compareStore(t, bucket)
}

// compareStore makes the whole comparison for a bucket.
func compareStore(t *testing.T, bucket *objectstore.Bucket) {
	rounds := [3]struct {
		frozen    []string // points at which the host freezes
		disturbed []penstocktest.Disturbance
	}{
		{frozen: []string{"export.streaming:1", "export.prepared:2"}}, // of events, people
		{
			disturbed: []penstocktest.Disturbance{{At: "export.prepared:1"}, {At: "plugin.write:1"}},
			frozen:    []string{"export.prepared:3"}, // of identity
		},
		{disturbed: []penstocktest.Disturbance{{At: "plugin.commit.before:1", Freezes: true}, {At: "plugin.commit.after:1"}}},
	}
	c := newComparison(t, bucket)
	sent := &sample{}
	for n, delivery := range newSample().rounds() {
		round := rounds[n]
		if len(round.frozen) == 0 {
			// A run whose plugin froze may end whole, and leave nothing to the next one.
			for i, piece := range delivery.pieces(len(round.disturbed)) {
				c.collect(piece)
				c.disturbed(round.disturbed[i])
			}
		}
		for i, piece := range delivery.pieces(2 * len(round.frozen)) {
			if i%2 == 1 {
				c.overtaken(round.frozen[i/2], piece)
				continue
			}
			c.collect(piece)
			for _, d := range round.disturbed {
				c.disturbed(d)
			}
		}
		sent.events, sent.profiles = append(sent.events, delivery.events...), append(sent.profiles, delivery.profiles...)
		c.compare(sent)
		if t.Failed() {
			t.Fatalf("after run %d", n+1)
		}
	}
	before := c.Objects("lake")
	c.compare(sent)
	if after := c.Objects("lake"); !maps.Equal(before, after) {
		t.Error("a run with nothing to do has changed objects")
	}
}
