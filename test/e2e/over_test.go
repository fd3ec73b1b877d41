package e2e

import (
	"slices"
	"strings"
	"testing"
)

// A host dies in a run, before the commit or after it, and the pipeline is cancelled: the
// run is taken back, or recorded. A pipeline with another name goes on, and the cancelled
// one is forgotten. Each event is at the destination once.
func TestACancelledPipelineIsContinuedAndForgotten(t *testing.T) {
	for point, outcome := range map[string]string{
		"export.prepared": "run 2 was not committed", "export.committed": "run 2 was at the destination, and is recorded",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.file("a.ndjson", 0, 5)
			s.Once()
			s.file("b.ndjson", 100, 5)
			if r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once"); r.Status == 0 {
				t.Fatal("the host did not die")
			}
			s.Says(s.Penstock(nil, "pipelines", "cancel", "events_uot", "--yes"), 1, `no such pipeline: "events_uot"; registered are events_out`)
			s.Says(s.Penstock(nil, "pipelines", "cancel", "events_out"), 2, "add --yes")
			day := base.Format("2006-01-02")
			s.Says(s.Penstock(nil, "pipelines", "cancel", "events_out", "--yes"), 0, outcome, "events_out is over", "kept at file://", "/mp_master_event/: "+day)
			there := numbers(0, 5)
			if point == "export.committed" {
				there = append(there, numbers(100, 5)...)
			}
			s.delivered("after the end", slices.Clone(there)...)
			s.Says(s.Penstock(nil, "pipelines", "cancel", "events_out", "--yes"), 0, "was cancelled already")
			for _, command := range []string{"pause", "resume", "run"} {
				s.Says(s.Penstock(nil, "pipelines", command, "events_out"), 1, "the pipeline is over", "adopt = true")
			}
			s.file("c.ndjson", 200, 5)
			s.Once()
			s.delivered("after another run", slices.Clone(there)...)
			s.Says(s.Penstock(nil, "pipelines", "show", "events_out"), 0, "cancelled", day, "localfs.out")
			s.Says(s.Penstock(nil, "runs", "show", "events_out", "1"), 0, "run 1: succeeded", "1 attempt", day)
			s.Says(s.Penstock(nil, "runs", "show", "events_out", "7"), 1, "has no run 7")
			s.Says(s.Penstock(nil, "pipelines", "forget", "events_out", "--yes"), 1, "is in the configuration", "penstock.hcl:")

			text := s.Read("penstock.hcl")
			s.Write("penstock.hcl", strings.Replace(text, `pipeline "events_out" {`, `pipeline "next" {`, 1))
			s.Says(s.Penstock(nil, "run", "--once"), 2, "next and events_out have the target", "the dates "+day+" in common")
			s.Says(s.Penstock(nil, "pipelines", "forget", "events_out", "--yes"), 0, "is forgotten", "kept at file://", day)
			s.Says(s.Penstock(nil, "pipelines", "show", "events_out"), 1, "no such pipeline")
			s.Says(s.Penstock(nil, "run", "--once"), 2, "next and events_out (forgotten) have the target")
			s.Write("penstock.hcl", strings.Replace(text, `pipeline "events_out" {`, "pipeline \"next\" {\n  adopt = true", 1))
			s.Once()
			s.delivered("by the pipeline that goes on", slices.Concat(numbers(0, 5), numbers(100, 5), numbers(200, 5))...)
			s.Says(s.Penstock(nil, "pipelines", "show", "next"), 0, "goes on for")
		})
	}
}
