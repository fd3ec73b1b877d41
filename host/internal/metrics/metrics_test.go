package metrics

import (
	"bytes"
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/penstock-io/penstock/host/internal/operation"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// measured has a number of each kind.
func measured(context.Context) (*operation.Measures, error) {
	waiting := int64(3)
	return &operation.Measures{
		Version:  "1.2.3",
		Ready:    []operation.Readiness{{Check: "catalog", Ready: true}, {Check: "journal shop", Reason: "no space left on device"}},
		Journals: []operation.JournalMeasure{{Project: "shop", Bytes: 4096, Kept: 100, Duplicates: 7}},
		Sources: []operation.SourceMeasure{
			{Source: "files.import", Records: map[string]int64{"accepted": 90, "refused": 2}, Quarantined: map[string]int64{"not_json": 2}},
			{Source: "collector.web", Records: map[string]int64{"accepted": 10}, Collector: &operation.CollectorStatus{
				LogBytes: 512, Waiting: &waiting,
				Requests: []operation.RequestCount{{Endpoint: "track", Status: 200, Requests: 4}, {Endpoint: "import", Status: 200, Requests: 1}, {Endpoint: "track", Status: 503, Requests: 2}},
			}},
		},
		Pipelines: []operation.PipelineMeasure{
			{Pipeline: "events", Waiting: now.Add(-90 * time.Second), Succeeded: now.Add(-time.Hour), Attempts: operation.Attempts{Succeeded: 4, Retried: 1, Took: 6 * time.Second}},
			{Pipeline: "broken", Paused: true, Attempts: operation.Attempts{Failed: 1}, Waiting: now.Add(time.Second)},
		},
		Plugins:         []operation.PluginMeasure{{Destination: "s3.lake", Restarts: 2}},
		Disks:           []operation.DiskMeasure{{Directory: "data_dir", Free: 1 << 30, Size: 1 << 40}},
		QuarantineBytes: 99, QuarantineCap: 1 << 30,
	}, nil
}

// text returns the metrics.
func text(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(t.Context(), &b, measured, now); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	got := text(t)
	lines := strings.Split(got, "\n")
	for _, want := range []string{
		`penstock_build_info{version="1.2.3"} 1`,
		`penstock_ready{check="catalog"} 1`, `penstock_ready{check="journal shop"} 0`,
		`penstock_source_records_total{outcome="accepted",source="files.import"} 90`, `penstock_source_records_total{outcome="refused",source="files.import"} 2`,
		`penstock_source_records_total{outcome="accepted",source="collector.web"} 10`,
		`penstock_source_quarantined_records{reason="not_json",source="files.import"} 2`,
		`penstock_collector_requests_total{source="collector.web",status="200"} 5`, `penstock_collector_requests_total{source="collector.web",status="503"} 2`,
		`penstock_collector_wal_bytes{source="collector.web"} 512`, `penstock_collector_wal_waiting_requests{source="collector.web"} 3`,
		`penstock_journal_bytes{project="shop"} 4096`, `penstock_journal_rows_total{project="shop"} 100`, `penstock_journal_duplicate_rows_total{project="shop"} 7`,
		`penstock_quarantine_bytes 99`, `penstock_quarantine_limit_bytes 1.073741824e+09`,
		`penstock_pipeline_lag_seconds{pipeline="events"} 90`, `penstock_pipeline_lag_seconds{pipeline="broken"} 0`,
		`penstock_pipeline_paused{pipeline="events"} 0`, `penstock_pipeline_paused{pipeline="broken"} 1`,
		`penstock_pipeline_last_success_timestamp_seconds{pipeline="events"} 1.7935308e+09`, `penstock_pipeline_last_success_timestamp_seconds{pipeline="broken"} 0`,
		`penstock_runs_total{pipeline="events",result="succeeded"} 4`, `penstock_runs_total{pipeline="events",result="retried"} 1`,
		`penstock_runs_total{pipeline="broken",result="failed"} 1`, `penstock_runs_total{pipeline="broken",result="succeeded"} 0`,
		`penstock_run_duration_seconds_sum{pipeline="events"} 6`, `penstock_run_duration_seconds_count{pipeline="events"} 4`,
		`penstock_plugin_restarts_total{destination="s3.lake"} 2`,
		`penstock_disk_free_bytes{directory="data_dir"} 1.073741824e+09`, `penstock_disk_size_bytes{directory="data_dir"} 1.099511627776e+12`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s", want)
		}
	}
	families, err := (&expfmt.TextParser{}).TextToMetricFamilies(strings.NewReader(got))
	if err != nil || families["process_open_fds"] == nil || families["go_goroutines"] == nil {
		t.Errorf("%d families, %v", len(families), err)
	}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
	failing := errors.New("the catalog cannot be read")
	if err := Write(t.Context(), &bytes.Buffer{}, func(context.Context) (*operation.Measures, error) { return nil, failing }, now); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
}

// The page for operators names each metric, and no other.
func TestThePageNamesTheMetrics(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	named, written := map[string]bool{}, map[string]bool{}
	for _, name := range regexp.MustCompile(`penstock_[a-z_]+`).FindAllString(string(page), -1) {
		named[name] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^# HELP (penstock_\S+)`).FindAllStringSubmatch(text(t), -1) {
		written[m[1]] = true
		if !named[m[1]] {
			t.Errorf("%s is not described", m[1])
		}
	}
	for name := range named {
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
		if !written[name] && !written[base] {
			t.Errorf("%s is described, and there is no such metric", name)
		}
	}
}
