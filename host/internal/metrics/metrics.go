package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// Measure collects the numbers of a host.
type Measure func(context.Context) (*operation.Measures, error)

// Write writes the metrics as they are now. now is the time to which lags are counted.
func Write(ctx context.Context, w io.Writer, measure Measure, now time.Time) error {
	m, err := measure(ctx)
	if err != nil {
		return err
	}
	registry := prometheus.NewPedanticRegistry()
	err = errors.Join(
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		registry.Register(collectors.NewGoCollector()),
		registry.Register(&collector{m, now}),
	)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	families, err := registry.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	e := expfmt.NewEncoder(w, expfmt.FmtText)
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}

// family is a metric with its labels.
type family struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// The metrics. Those of the process and of Go come in addition.
var (
	buildInfo = gauge("penstock_build_info", "The version of the host; always 1.", "version")
	ready     = gauge("penstock_ready", "Whether a condition of /readyz holds: 1 or 0.", "check")

	sourceRecords     = counter("penstock_source_records_total", "Records since the host started, by outcome: accepted, refused, or why a collector's was refused.", "source", "outcome")
	sourceQuarantined = gauge("penstock_source_quarantined_records", "Refused records that were neither replayed nor dropped.", "source", "reason")
	sourceRequests    = counter("penstock_collector_requests_total", "Requests of a collector since the host started, by status.", "source", "status")
	walBytes          = gauge("penstock_collector_wal_bytes", "Bytes of a collector's write-ahead log on disk.", "source")
	walWaiting        = gauge("penstock_collector_wal_waiting_requests", "Acknowledged requests, or groups of small ones that came together, that are not yet durable in journals.", "source")

	journalBytes      = gauge("penstock_journal_bytes", "Bytes of the rows of a project's journal, as stored.", "project")
	journalRows       = counter("penstock_journal_rows_total", "Rows that were sealed since the journal was opened.", "project")
	journalDuplicates = counter("penstock_journal_duplicate_rows_total", "Rows that were left out as duplicates since the journal was opened.", "project")
	quarantineBytes   = gauge("penstock_quarantine_bytes", "Bytes of the quarantine's files.")
	quarantineCap     = gauge("penstock_quarantine_limit_bytes", "Bytes beyond which refused records are only counted.")

	lag         = gauge("penstock_pipeline_lag_seconds", "How long the oldest sealed row waits that is not exported; 0: none does.", "pipeline")
	paused      = gauge("penstock_pipeline_paused", "Whether a pipeline is paused or cancelled: 1 or 0.", "pipeline")
	lastSuccess = gauge("penstock_pipeline_last_success_timestamp_seconds", "When the last run was committed; 0: none was.", "pipeline")
	runs        = counter("penstock_runs_total", "Attempts at runs since the host started, by result: succeeded, retried (failed, and will be tried again) or failed (a person must act).", "pipeline", "result")
	duration    = prometheus.NewDesc("penstock_run_duration_seconds", "How long the runs took that succeeded since the host started.", []string{"pipeline"}, nil)
	restarts    = counter("penstock_plugin_restarts_total", "Starts of a plugin after its process had ended by itself, since the host started.", "destination")

	diskFree = gauge("penstock_disk_free_bytes", "Bytes that the host may still write to the disk of a directory.", "directory")
	diskSize = gauge("penstock_disk_size_bytes", "Size of the disk of a directory.", "directory")
)

// collector hands on the numbers of one moment.
type collector struct {
	m   *operation.Measures
	now time.Time
}

// Describe implements prometheus.Collector: the metrics follow from the configuration.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	send := sender(to)
	send.number(buildInfo, 1, c.m.Version)
	for _, r := range c.m.Ready {
		send.number(ready, oneIf(r.Ready), r.Check)
	}
	for _, s := range c.m.Sources {
		send.source(s)
	}
	for _, j := range c.m.Journals {
		send.number(journalBytes, float64(j.Bytes), j.Project)
		send.number(journalRows, float64(j.Kept), j.Project)
		send.number(journalDuplicates, float64(j.Duplicates), j.Project)
	}
	send.number(quarantineBytes, float64(c.m.QuarantineBytes))
	send.number(quarantineCap, float64(c.m.QuarantineCap))
	for _, p := range c.m.Pipelines {
		send.pipeline(p, c.now)
	}
	for _, p := range c.m.Plugins {
		send.number(restarts, float64(p.Restarts), p.Destination)
	}
	for _, d := range c.m.Disks {
		send.number(diskFree, float64(d.Free), d.Directory)
		send.number(diskSize, float64(d.Size), d.Directory)
	}
}

// sender sends metrics.
type sender chan<- prometheus.Metric

func (s sender) number(f family, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(f.Desc, f.kind, value, labels...)
}

func (s sender) source(m operation.SourceMeasure) {
	for outcome, n := range m.Records {
		s.number(sourceRecords, float64(n), m.Source, outcome)
	}
	for reason, n := range m.Quarantined {
		s.number(sourceQuarantined, float64(n), m.Source, reason)
	}
	if m.Collector == nil {
		return
	}
	requests := map[int]int64{}
	for _, r := range m.Collector.Requests {
		requests[r.Status] += r.Requests
	}
	for status, n := range requests {
		s.number(sourceRequests, float64(n), m.Source, fmt.Sprint(status))
	}
	s.number(walBytes, float64(m.Collector.LogBytes), m.Source)
	if m.Collector.Waiting != nil {
		s.number(walWaiting, float64(*m.Collector.Waiting), m.Source)
	}
}

func (s sender) pipeline(p operation.PipelineMeasure, now time.Time) {
	waits, succeeded := 0.0, 0.0
	if !p.Waiting.IsZero() {
		waits = max(0, now.Sub(p.Waiting).Seconds())
	}
	if !p.Succeeded.IsZero() {
		succeeded = float64(p.Succeeded.UnixMilli()) / 1000
	}
	s.number(lag, waits, p.Pipeline)
	s.number(paused, oneIf(p.Paused), p.Pipeline)
	s.number(lastSuccess, succeeded, p.Pipeline)
	for result, n := range map[string]int64{"succeeded": p.Attempts.Succeeded, "retried": p.Attempts.Retried, "failed": p.Attempts.Failed} {
		s.number(runs, float64(n), p.Pipeline, result)
	}
	s <- prometheus.MustNewConstSummary(duration, uint64(p.Attempts.Succeeded), p.Attempts.Took.Seconds(), nil, p.Pipeline)
}

// oneIf is 1 for true.
func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
