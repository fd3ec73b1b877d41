package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/option"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

const bigQueryBlock = `
destination "bigquery" "warehouse" {
  gcp_project    = %q
  dataset        = "mixpanel"
  region         = "europe-west3"
  create_dataset = true
  endpoint       = %q
  credentials    = file("key.json")
  views          = ["resolved"]
}
`

// zone is the project's: partitions of the warehouse are its days.
const zone = "Asia/Tokyo"

// warehouseSite exports all three streams to a stand-in for BigQuery.
type warehouseSite struct {
	*site
	server *standin.BigQuery
	api    *bq.Service
}

func identityPipeline(destination string) string {
	return fmt.Sprintf("\npipeline \"identity_out\" {\n  project     = \"shop\"\n  stream      = \"identity\"\n  destination = %q\n}\n", destination)
}

// inZone sets the project's time zone, and adds a collector.
func (s *site) inZone() {
	text := strings.Replace(s.Read("penstock.hcl"), "  id    = 2195193\n", "  id    = 2195193\n  timezone = \""+zone+"\"\n", 1)
	s.Write("penstock.hcl", strings.Replace(text, `env("SHOP_TOKEN")`, `"shop-token"`, 1)+"\nsource \"collector\" \"web\" {\n  project = \"shop\"\n  listen  = \"127.0.0.1:0\"\n}\n")
}

func newWarehouseSite(t *testing.T) *warehouseSite {
	t.Helper()
	return newWarehouseSiteAt(t, standin.StartBigQuery(t, standin.BigQueryOptions{}))
}

func newWarehouseSiteAt(t *testing.T, server *standin.BigQuery) *warehouseSite {
	t.Helper()
	s := newPeopleSite(t, fmt.Sprintf(bigQueryBlock, server.Project, server.URL), "bigquery.warehouse")
	s.Append("penstock.hcl", identityPipeline("bigquery.warehouse"))
	s.inZone()
	s.Write("key.json", server.KeyFile())
	api, err := bq.NewService(t.Context(), option.WithAuthCredentialsJSON(option.ServiceAccount, []byte(server.KeyFile())), option.WithEndpoint(server.URL+"/bigquery/v2/"))
	if err != nil {
		t.Fatal(err)
	}
	return &warehouseSite{s, server, api}
}

// query returns the rows of a query; a NULL is empty.
func (w *warehouseSite) query(text string) [][]string {
	w.t.Helper()
	rows, err := w.ask(w.t.Context(), text)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func (w *warehouseSite) ask(ctx context.Context, text string) ([][]string, error) {
	standard := false
	answer, err := w.api.Jobs.Query(w.server.Project, &bq.QueryRequest{
		Query: text, UseLegacySql: &standard, Location: "europe-west3", TimeoutMs: 60_000, MaxResults: 100_000,
		DefaultDataset: &bq.DatasetReference{ProjectId: w.server.Project, DatasetId: "mixpanel"},
	}).Context(ctx).Do()
	if err != nil || !answer.JobComplete || answer.PageToken != "" {
		return nil, fmt.Errorf("%s: the answer is not whole: %w", text, err)
	}
	var rows [][]string
	for _, r := range answer.Rows {
		var row []string
		for _, cell := range r.F {
			text, _ := cell.V.(string)
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// canonical has one text for each JSON value. Of events that were collected it leaves
// the properties out.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if row, ok := v.(map[string]any); ok && row["event_name"] == "Sign in" {
		delete(row, "properties") // the collector adds the time of the request
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// warehouseQueries return the rows of each stream as one JSON object.
var warehouseQueries = map[string]string{
	"mp_master_event":           `SELECT TO_JSON_STRING(STRUCT(device_id, distinct_id, event_name, insert_id, properties, UNIX_SECONDS(time) AS time, user_id)) FROM mp_master_event`,
	"mp_people_data":            `SELECT TO_JSON_STRING(STRUCT(distinct_id, properties)) FROM mp_people_data_view`,
	"mp_identity_mappings_data": `SELECT TO_JSON_STRING(STRUCT(distinct_id, resolved_distinct_id)) FROM mp_identity_mappings_data_view`,
}

// same compares the rows of all streams with those of an undisturbed export of the
// same records to a directory.
func (w *warehouseSite) same(undisturbed *site) {
	w.t.Helper()
	want := map[string][]string{}
	for object := range undisturbed.Objects("out") {
		for stream := range warehouseQueries {
			if !strings.Contains(object, "/"+stream+"/") || !strings.HasSuffix(object, ".json.gz") {
				continue
			}
			for _, line := range penstocktest.ReadObject(w.t, filepath.Join(undisturbed.Dir, "out", object)) {
				want[stream] = append(want[stream], canonical(w.t, line))
			}
		}
	}
	for stream, query := range warehouseQueries {
		var got []string
		for _, row := range w.query(query) {
			got = append(got, canonical(w.t, row[0]))
		}
		if len(want[stream]) == 0 {
			w.t.Errorf("%s: the undisturbed export has no row", stream)
		}
		slices.Sort(got)
		slices.Sort(want[stream])
		if !slices.Equal(got, want[stream]) {
			w.t.Errorf("%s: %d rows, want %d", stream, len(got), len(want[stream]))
			penstocktest.SameRows(w.t, got, want[stream])
		}
	}
}

// inTheirDays asserts that each event lies in the partition of its day in the
// project's zone.
func (w *warehouseSite) inTheirDays() {
	w.t.Helper()
	tokyo, err := time.LoadLocation(zone)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, row := range w.query(`SELECT CAST(DATE(_PARTITIONTIME) AS STRING), MIN(UNIX_SECONDS(time)), MAX(UNIX_SECONDS(time)) FROM mp_master_event GROUP BY 1`) {
		for _, text := range row[1:] {
			var seconds int64
			if _, err := fmt.Sscan(text, &seconds); err != nil {
				w.t.Fatal(err)
			}
			if day := time.Unix(seconds, 0).In(tokyo).Format(time.DateOnly); day != row[0] {
				w.t.Errorf("an event of %s is in the partition %s", day, row[0])
			}
		}
	}
}

// signIns has a serving host collect events of devices whose users sign in.
func (s *site) signIns(n int) {
	s.t.Helper()
	h := s.Serve()
	var list []string
	for i := range 5 {
		list = append(list, fmt.Sprintf(`{"event":"Sign in","properties":{"token":"shop-token","time":%d,"$device_id":"D%d-%d","$user_id":"user-%d","$insert_id":"link-%d-%d"}}`,
			base.AddDate(0, 0, n%3).Unix()+int64(i), n, i, i, n, i))
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+collectorAddress(h)+"/import?strict=0", strings.NewReader("["+strings.Join(list, ",")+"]"))
	if err != nil {
		s.t.Fatal(err)
	}
	request.SetBasicAuth("shop-token", "")
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("import: %s, %v", answer.Status, err)
	}
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		s.t.Fatalf("the host ended with %v:\n%s", status, h.Said())
	}
}

// round writes the records of one round: new events, most of them of days that earlier
// rounds had too, and profiles.
func (s *site) round(n int, people profiles) {
	s.events(fmt.Sprintf("round%d.ndjson", n), n, 4, 150)
	s.peopleFile(fmt.Sprintf("people%d.ndjson", n), people, n*50, n*50+60)
}

// All three streams arrive row by row, with late events, through processes that are
// killed and frozen at every phase of a run.
func TestBigQueryThroughKills(t *testing.T) {
	t.Parallel()
	disturbances := []penstocktest.Disturbance{
		{}, {At: "export.streaming:2"}, {At: "plugin.open"}, {At: "plugin.write:2"}, {At: "plugin.prepare"}, {At: "plugin.commit.before"},
		{At: "plugin.commit.after"}, {At: "export.prepared"}, {At: "export.committed"},
		{At: "plugin.write", Freezes: true}, {At: "plugin.commit.before", Freezes: true}, {At: "plugin.commit.after", Freezes: true},
	}
	w := newWarehouseSite(t)
	undisturbed := newPeopleSite(t, localDestination, "localfs.out")
	undisturbed.Append("penstock.hcl", identityPipeline("localfs.out"))
	undisturbed.inZone()
	w.Says(w.Penstock(nil, "destinations", "check", "bigquery.warehouse"), 0)
	people, signedIn := profiles{}, 0
	sets := map[string]bool{}
	var watched func(string) map[string]bool
	for n, disturbance := range disturbances {
		before := people.clone()
		w.round(n, people)
		undisturbed.round(n, before)
		if n%4 == 0 {
			w.signIns(n)
			undisturbed.signIns(n)
			signedIn += 5
		}
		if disturbance.At != "" {
			w.Disturbed(disturbance)
		}
		w.Once()
		if sets[w.answer("mp_people_data")] = true; watched == nil {
			watched = w.watch("mp_people_data")
		}
		if n%3 == 2 || n == len(disturbances)-1 {
			undisturbed.Once()
			w.same(undisturbed)
		}
	}
	seen := watched(w.answer("mp_people_data"))
	for set := range seen {
		if !sets[set] {
			t.Errorf("a reader saw a set of people that no run has written: %.300s", set)
		}
	}
	t.Logf("a reader saw %d of %d sets", len(seen), len(sets))
	w.inTheirDays()
	w.loggedOnce()
	resolved := w.query(`SELECT distinct_id, resolved_distinct_id FROM mp_master_event_resolved WHERE event_name = 'Sign in'`)
	if len(resolved) != signedIn {
		t.Errorf("mp_master_event_resolved has %d of the events, want %d", len(resolved), signedIn)
	}
	w.verified()
	if left := slices.Collect(maps.Keys(w.stagingTables())); len(left) > len(disturbances) {
		t.Errorf("staging tables are left: %v", left)
	}
}

// loggedOnce asserts that the export log has each run once, with all rows of events.
func (w *warehouseSite) loggedOnce() {
	w.t.Helper()
	runs := w.query(`SELECT data_source, COUNT(*), COUNT(DISTINCT export_id), SUM(rows_exported) FROM mp_nessie_export_log GROUP BY 1 ORDER BY 1`)
	total := map[string]string{}
	for _, r := range runs {
		if r[1] != r[2] {
			w.t.Errorf("the export log has runs of %s twice: %v", r[0], r)
		}
		total[r[0]] = r[3]
	}
	if events := fmt.Sprint(len(w.query(`SELECT 1 FROM mp_master_event`))); total["events"] != events || len(runs) != 3 {
		w.t.Errorf("the export log counts %v, and there are %s events", runs, events)
	}
}

// watch reads a stream's rows again and again. The function that it returns waits until a
// read has given last, and returns all different answers.
func (w *warehouseSite) watch(stream string) (stop func(last string) map[string]bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	seen, failed, final := map[string]bool{}, error(nil), make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		last := ""
		for last == "" || !seen[last] {
			rows, err := w.ask(ctx, warehouseQueries[stream])
			if err != nil {
				failed = err
				return
			}
			slices.SortFunc(rows, slices.Compare)
			seen[fmt.Sprint(rows)] = true
			select {
			case <-tick.C:
			case last = <-final:
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		reading.Wait()
	})
	return func(last string) map[string]bool {
		w.t.Helper()
		final <- last
		reading.Wait()
		if failed != nil {
			w.t.Fatalf("a reader of %s: %v", stream, failed)
		}
		return seen
	}
}

// answer returns the rows of a stream as watch keeps them.
func (w *warehouseSite) answer(stream string) string {
	w.t.Helper()
	rows := w.query(warehouseQueries[stream])
	slices.SortFunc(rows, slices.Compare)
	return fmt.Sprint(rows)
}

// successor copies the site to a directory of its own, with the data of a host that is
// frozen.
func (w *warehouseSite) successor() *warehouseSite {
	w.t.Helper()
	next := &warehouseSite{&site{w.At("successor"), w.t}, w.server, w.api}
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		w.Copy(e.Name(), filepath.Join("successor", e.Name()))
	}
	return next
}

// A host is frozen at points of its runs. Another one, over a copy of its data
// directory, finishes them and exports more. The frozen host and its plugin then go on: they
// change no row.
func TestBigQueryOvertaken(t *testing.T) {
	t.Parallel()
	w := newWarehouseSite(t)
	undisturbed := newPeopleSite(t, localDestination, "localfs.out")
	undisturbed.Append("penstock.hcl", identityPipeline("localfs.out"))
	undisturbed.inZone()
	people := profiles{}
	round := func(n int) {
		before := people.clone()
		w.round(n, people)
		undisturbed.round(n, before)
	}
	w.signIns(0)
	undisturbed.signIns(0)
	for n, point := range []string{"export.prepared", "export.prepared:2", "export.committed"} {
		round(2 * n)
		thaw := w.Freeze(nil, point, "run", "--once", "--retry-for", "1s")
		w = w.successor()
		round(2*n + 1)
		w.Once()
		before := map[string]string{}
		for stream := range warehouseQueries {
			before[stream] = w.answer(stream)
		}
		r := thaw()
		if point != "export.committed" && (r.Status != 1 || !strings.Contains(r.Err, "Stop the other host")) {
			t.Errorf("the host that was frozen at %s does not say that it was overtaken: status %d\n%s%s", point, r.Status, r.Out, r.Err)
		}
		for stream := range warehouseQueries {
			if w.answer(stream) != before[stream] {
				t.Errorf("%s: the host that was frozen at %s has changed rows", stream, point)
			}
		}
	}
	undisturbed.Once()
	w.same(undisturbed)
	w.loggedOnce()
}

// verified asserts that verify finds no difference, and finds rows that were deleted and
// copied.
func (w *warehouseSite) verified() {
	w.t.Helper()
	for _, pipeline := range []string{"events_out", "people_out", "identity_out"} {
		w.Says(w.Penstock(nil, "pipelines", "verify", pipeline, "--deep"), 0, "no differences")
	}
	w.Says(w.Penstock(nil, "pipelines", "verify", "events_out"), 0, "no differences")
	days := w.query(`SELECT CAST(DATE(_PARTITIONTIME) AS STRING), MIN(insert_id) FROM mp_master_event WHERE insert_id IS NOT NULL GROUP BY 1 ORDER BY 1`)
	w.query(`DELETE FROM mp_master_event WHERE insert_id = '` + days[0][1] + `'`)
	w.query(`INSERT INTO mp_master_event (_PARTITIONTIME, event_name, insert_id) SELECT _PARTITIONTIME, event_name, insert_id FROM mp_master_event WHERE insert_id = '` + days[1][1] + `'`)
	partition := func(day string) string { return "mp_master_event$" + strings.ReplaceAll(day, "-", "") }
	w.Says(w.Penstock(nil, "pipelines", "verify", "events_out"), 3,
		"MISSING "+partition(days[0][0]), "DOUBLED "+partition(days[1][0]), "2 differences", "does not repair: its guide")
	w.Says(w.Penstock(nil, "pipelines", "verify", "events_out", "--repair", "--yes"), 3, "does not repair: its guide")
}

// stagingTables are the tables of attempts, each with the time at which it expires.
func (w *warehouseSite) stagingTables() map[string]int64 {
	w.t.Helper()
	list, err := w.api.Tables.List(w.server.Project, "mixpanel").MaxResults(1000).Context(w.t.Context()).Do()
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]int64{}
	for _, table := range list.Tables {
		name := table.TableReference.TableId
		if !strings.HasPrefix(name, "penstock_staging_") {
			continue
		}
		if found[name] = table.ExpirationTime; table.ExpirationTime == 0 {
			w.t.Errorf("%s has no expiration", name)
		}
	}
	return found
}

// Rows that a JSON column cannot hold are changed and counted, or rejected, as the
// configuration says.
func TestBigQueryUnusualRows(t *testing.T) {
	for _, mode := range []string{"repair", "reject"} {
		t.Run(mode, func(t *testing.T) {
			w := newWarehouseSite(t)
			w.Write("penstock.hcl", strings.Replace(w.Read("penstock.hcl"), "  views ", "  unusual = \""+mode+"\"\n  views ", 1))
			w.Write(filepath.Join("events", "a.ndjson"), strings.Join([]string{
				event(0, 1, `,"a":1,"a":2`), event(0, 2, `,"big":123456789012345678901`), event(0, 3, `,"f":0.1234567890123456789`), event(0, 4, `,"s":"a\ud83d"`), event(0, 5, ""),
			}, "\n")+"\n")
			r := w.Once()
			rows := w.query(`SELECT insert_id, JSON_VALUE(properties, '$.a'), JSON_VALUE(properties, '$.big'), JSON_VALUE(properties, '$.f') FROM mp_master_event ORDER BY insert_id`)
			status := w.Penstock(nil, "status")
			switch {
			case mode == "reject":
				if len(rows) != 2 || !strings.Contains(r.Out, "refused by the destination, in quarantine: 3 rows") {
					t.Errorf("%d rows, and run says %s", len(rows), r.Out)
				}
			case len(rows) != 5 || rows[0][1] != "2" || rows[1][2] != "123456789012345678901" || rows[2][3] != "0.1234567890123456789":
				t.Errorf("the rows are %q", rows)
			default:
				for _, said := range []string{r.Out, status.Out} {
					if !strings.Contains(said, "equal keys 1, number would be rounded or refused 2") {
						t.Errorf("the changes are not counted: %s", said)
					}
				}
				if log := w.query(`SELECT TO_JSON_STRING(rows_changed) FROM mp_nessie_export_log WHERE data_source = 'events'`); len(log) != 1 || canonical(t, log[0][0]) != `{"equal keys":1,"number would be rounded or refused":2}` {
					t.Errorf("the export log has %v", log)
				}
			}
		})
	}
}

// Days of events are loaded through a bucket without a transaction. The host is killed when the first day of
// a run is in the table and the load of the second one is running: every row arrives once, and
// the bucket is empty at the end.
func TestBigQueryLoadsThroughABucket(t *testing.T) {
	t.Parallel()
	g := standin.StartGCS(t, "acme-staging")
	w := newWarehouseSiteAt(t, standin.StartBigQuery(t, standin.BigQueryOptions{Storage: "http://" + g.Address}))
	w.Write("penstock.hcl", strings.Replace(w.Read("penstock.hcl"), "  views ",
		fmt.Sprintf("  mode = \"load\"\n  staging_bucket = \"acme-staging\"\n  staging_endpoint = \"http://%s\"\n  views ", g.Address), 1))
	undisturbed := newPeopleSite(t, localDestination, "localfs.out")
	undisturbed.Append("penstock.hcl", identityPipeline("localfs.out"))
	undisturbed.inZone()
	people := profiles{}
	both := func(n int) {
		before := people.clone()
		w.round(n, people)
		undisturbed.round(n, before)
	}
	w.signIns(0)
	undisturbed.signIns(0)
	both(0)
	hold := w.server.Hold(standin.BigQueryPoint{Job: "_append_.*_d00001_"})
	h := w.Serve()
	hold.Reached()
	h.Until("the first day is in the table", func() bool {
		rows, err := w.ask(t.Context(), `SELECT 1 FROM mp_master_event WHERE event_name != 'Sign in' LIMIT 1`)
		return err == nil && len(rows) > 0
	})
	if h.Stop(syscall.SIGKILL).Signal() != syscall.SIGKILL {
		t.Fatalf("the host was not killed:\n%s", h.Said())
	}
	hold.Release()
	w.Once()
	both(1) // late events of days that are loaded
	w.Once()
	undisturbed.Once()
	w.same(undisturbed)
	w.inTheirDays()
	w.loggedOnce()
	for _, pipeline := range []string{"events_out", "people_out", "identity_out"} {
		w.Says(w.Penstock(nil, "pipelines", "verify", pipeline, "--deep"), 0, "no differences")
	}
	if left := g.Names("acme-staging"); len(left) > 0 {
		t.Errorf("objects are left in the bucket: %v", left)
	}
}
