package httpapi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// base begins the paths of all operations.
const base = "/api/v1"

// endpoint is an operation with its path.
type endpoint struct {
	method, path string // the path below base
	id, summary  string // of the OpenAPI document
	params       reflect.Type
	result       reflect.Type
	do           func(http.ResponseWriter, *http.Request) (any, error)
}

// The parameters of operations.
type (
	none   struct{}
	paging struct{ Paging }

	onePipeline struct {
		Pipeline string `json:"-" path:"pipeline" doc:"Name of the pipeline."`
	}
	runPipeline struct {
		onePipeline
		AllowShrink bool `json:"allow_shrink,omitempty" doc:"A set of people or identity mappings may shrink by more than half."`
	}
	recoverPipeline struct {
		onePipeline
		Resend bool `json:"resend,omitempty" doc:"Continue after the destination's last run, and send again the rows that came after the last run that both have."`
	}
	forgetPipeline struct {
		onePipeline
		Emptied bool `json:"emptied,omitempty" doc:"The rows of the pipeline were removed from the destination, so that its dates are free."`
	}
	verifyPipeline struct {
		onePipeline
		From   string   `json:"from,omitempty" doc:"First date, YYYY-MM-DD."`
		To     string   `json:"to,omitempty" doc:"Last date, YYYY-MM-DD."`
		Deep   bool     `json:"deep,omitempty" doc:"Read every object, and count its rows."`
		Repair bool     `json:"repair,omitempty" doc:"Carry out the plan of the comparison, and compare again."`
		Only   []string `json:"only,omitempty" doc:"Names of the objects that a repair may restore, write or remove: those of a plan that was shown. Missing: all."`
	}
	pipelineRuns struct {
		onePipeline
		Paging
	}
	oneRun struct {
		onePipeline
		Number int64 `json:"-" path:"number" doc:"Number of the run."`
	}
	oneDestination struct {
		Destination string `json:"destination,omitempty" doc:"Type and name of the destination, such as s3.lake. Missing: all."`
	}
	sourceDates struct {
		Source string `json:"-" path:"source" doc:"Type and name of a source that pulls, such as mixpanel.eu."`
		From   string `json:"from,omitempty" doc:"First date, YYYY-MM-DD. Missing: yesterday, or the last date."`
		To     string `json:"to,omitempty" doc:"Last date, YYYY-MM-DD."`
	}
	picked struct {
		Source  string    `json:"source,omitempty" doc:"Source of the records, such as files.import, or pipeline.NAME for rows that a destination has refused. Missing: all."`
		Reason  string    `json:"reason,omitempty" doc:"Why the records were refused. Missing: whatever the reason."`
		ID      string    `json:"id,omitempty" doc:"One record."`
		Before  time.Time `json:"before,omitzero" doc:"Only records that were refused before this time."`
		Missing bool      `json:"missing,omitempty" doc:"Records that are lost, in place of those that are there."`
	}
	pickedPage struct {
		picked
		Paging
	}
	failuresPage struct {
		Project string `json:"project,omitempty" doc:"Name of the project. Missing: all."`
		Paging
	}
	backupPath struct {
		Path string `json:"path" doc:"Absolute path on the machine of the host: a new file, or a directory, in which the file is named by the time."`
	}
)

// filter returns the filter of package quarantine.
func (p picked) filter() quarantine.Filter {
	return quarantine.Filter{Source: p.Source, Reason: p.Reason, ID: p.ID, Before: p.Before, Missing: p.Missing}
}

// Sources are the sources of the configuration.
type Sources struct {
	Files      []operation.SourceStatus    `json:"files"`
	Collectors []operation.CollectorStatus `json:"collectors"`
	Pulls      []operation.PullStatus      `json:"pulls"`
}

// QuarantinePage is a part of the records in quarantine, with the counts of all.
type QuarantinePage struct {
	operation.QuarantineList
	// Next is the cursor of the next part; it is missing after the last one.
	Next string `json:"next,omitempty"`
}

// FailuresPage is a part of the refused identity links, with the counts of all.
type FailuresPage struct {
	operation.IdentityFailures
	// Next is the cursor of the next part; it is missing after the last one.
	Next string `json:"next,omitempty"`
}

// endpoints is the table of all operations.
func endpoints(h operation.Operations) []endpoint {
	o := operations{h}
	return []endpoint{
		read("/status", "getStatus", "The host with its projects, sources, quarantine and pipelines", func(ctx context.Context, _ none) (*operation.Status, error) { return h.Status(ctx) }),
		read("/plan", "getPlan", "The rows that the next run of each pipeline would export", o.plan),
		read("/sources", "listSources", "How far sources were read, and what became of requests and records", o.sources),
		change("/sources/{source}/check", "checkSource", "Ask a source that pulls for the events of some dates, count them and store nothing", func(ctx context.Context, p sourceDates) (*operation.SourceCheck, error) {
			return h.CheckSource(ctx, p.Source, p.From, p.To)
		}),
		change("/sources/{source}/pull", "pullSource", "Pull the events of some dates, whether or not they are due; the answer comes when they are stored", func(ctx context.Context, p sourceDates) (*operation.SourceSummary, error) {
			return h.PullSource(ctx, p.Source, p.From, p.To)
		}),

		read("/pipelines", "listPipelines", "Registered pipelines by name, with progress and last run", o.pipelines),
		read("/pipelines/{pipeline}", "getPipeline", "A pipeline with its dates, targets and latest runs", func(ctx context.Context, p onePipeline) (*operation.PipelineDetail, error) {
			return h.Pipeline(ctx, p.Pipeline)
		}),
		change("/pipelines/{pipeline}/pause", "pausePipeline", "Pause a pipeline; a run that is under way stops, and continues when the pipeline is resumed", func(ctx context.Context, p onePipeline) (*operation.Pause, error) {
			return h.PausePipeline(ctx, p.Pipeline, true)
		}),
		change("/pipelines/{pipeline}/resume", "resumePipeline", "Resume a paused pipeline", func(ctx context.Context, p onePipeline) (*operation.Pause, error) {
			return h.PausePipeline(ctx, p.Pipeline, false)
		}),
		change("/pipelines/{pipeline}/run", "runPipeline", "Run a pipeline until nothing is left to export, whether or not it is due; the answer comes then", func(ctx context.Context, p runPipeline) (*operation.PipelineSummary, error) {
			return h.RunPipeline(ctx, p.Pipeline, p.AllowShrink)
		}),
		change("/pipelines/{pipeline}/cancel", "cancelPipeline", "End a pipeline for good", func(ctx context.Context, p onePipeline) (*operation.Cancellation, error) {
			return h.CancelPipeline(ctx, p.Pipeline)
		}),
		change("/pipelines/{pipeline}/forget", "forgetPipeline", "Drop a pipeline that is not configured, and the records of its runs", func(ctx context.Context, p forgetPipeline) (*operation.Forgetting, error) {
			return h.ForgetPipeline(ctx, p.Pipeline, p.Emptied)
		}),
		change("/pipelines/{pipeline}/recover", "recoverPipeline", "Compare the runs of a pipeline's destination with those of the catalog", func(ctx context.Context, p recoverPipeline) (*operation.Recovery, error) {
			return h.RecoverPipeline(ctx, p.Pipeline, p.Resend)
		}),
		change("/pipelines/{pipeline}/verify", "verifyPipeline", "Compare a pipeline's rows in the journal, in the catalog and at the destination; repair differences if asked to", func(ctx context.Context, p verifyPipeline) (*operation.Verification, error) {
			return h.VerifyPipeline(ctx, operation.VerifyRequest{Pipeline: p.Pipeline, From: p.From, To: p.To, Deep: p.Deep, Repair: p.Repair, Only: p.Only})
		}),

		read("/runs", "listRuns", "The latest 50 runs of each pipeline", o.latestRuns),
		read("/pipelines/{pipeline}/runs", "listPipelineRuns", "All runs of a pipeline, the latest first", o.runs),
		read("/pipelines/{pipeline}/runs/{number}", "getRun", "A run with its rows by date, its error and the last log lines of the plugin", func(ctx context.Context, p oneRun) (*operation.RunDetail, error) {
			return h.Run(ctx, p.Pipeline, p.Number)
		}),
		change("/pipelines/{pipeline}/runs/{number}/retry", "retryRun", "Let a failed run be tried again", o.retry),

		read("/destinations", "listDestinations", "The destinations of the configuration, with the pipelines that export to each", func(ctx context.Context, p paging) (*Page[operation.DestinationStatus], error) {
			return pagedDestinations(ctx, h, p)
		}),
		change("/destinations/check", "checkDestinations", "Try the operations of an export at destinations", o.checkDestinations),

		read("/journal/segments", "listSegments", "The segments of the journal, by project and number", o.segments),
		read("/journal/stats", "listJournalStats", "The journal by project: bytes per day and kind, and what holds back retention", o.journalStats),
		change("/journal/verify", "verifyJournal", "Read the whole journal, and report what is corrupt or missing", func(ctx context.Context, _ none) (*operation.JournalReport, error) {
			return h.VerifyJournal(ctx)
		}),

		read("/quarantine", "listQuarantine", "Records that were refused, and their counts", o.quarantine),
		change("/quarantine/replay", "replayQuarantine", "Feed refused records to the journal again", func(ctx context.Context, p picked) (*operation.ReplayReport, error) {
			return h.ReplayQuarantine(ctx, p.filter())
		}),
		change("/quarantine/drop", "dropQuarantine", "Remove refused records for good: those of a source, with a reason, from before a time, or one", func(ctx context.Context, p picked) (*operation.DropReport, error) {
			return drop(ctx, h, p)
		}),
		read("/identity/failures", "listIdentityFailures", "Identity links that were refused, and their counts", o.failures),

		change("/reload", "reload", "Read the configuration again; one that is wrong changes nothing", func(ctx context.Context, _ none) (*operation.ReloadReport, error) {
			return h.Reload(ctx)
		}),
		change("/reload/plan", "planReload", "Read the configuration again and list the changes of a reload, without making them", func(ctx context.Context, _ none) (*operation.ReloadReport, error) {
			return h.PlanReload(ctx)
		}),
		change("/backup", "backup", "Write a backup to the machine of the host", o.backup),
	}
}

// read is a GET, with parameters in the query.
func read[P, R any](path, id, summary string, do func(context.Context, P) (R, error)) endpoint {
	return newEndpoint(http.MethodGet, path, id, summary, do)
}

// change is a POST, with parameters in a JSON body. It changes something, or takes long.
func change[P, R any](path, id, summary string, do func(context.Context, P) (R, error)) endpoint {
	return newEndpoint(http.MethodPost, path, id, summary, do)
}

func newEndpoint[P, R any](method, path, id, summary string, do func(context.Context, P) (R, error)) endpoint {
	return endpoint{
		method: method, path: path, id: id, summary: summary, params: reflect.TypeFor[P](), result: reflect.TypeFor[R](),
		do: func(w http.ResponseWriter, r *http.Request) (any, error) {
			var p P
			if err := decode(w, r, &p); err != nil {
				return nil, err
			}
			withoutDeadlines(w)
			return do(r.Context(), p)
		},
	}
}

// operations are the operations whose results are put together or cut into pages.
type operations struct{ operation.Operations }

func (h operations) plan(ctx context.Context, p paging) (*Page[operation.PlannedRun], error) {
	all, err := h.Plan(ctx)
	if err != nil {
		return nil, err
	}
	return paged(all, p.Paging, func(r operation.PlannedRun) string { return r.Pipeline })
}

func (h operations) sources(ctx context.Context, _ none) (*Sources, error) {
	s, err := h.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &Sources{Files: s.Sources, Collectors: s.Collectors, Pulls: s.Pulls}, nil
}

func (h operations) pipelines(ctx context.Context, p paging) (*Page[operation.PipelineStatus], error) {
	all, err := h.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	return paged(all, p.Paging, func(s operation.PipelineStatus) string { return s.Name })
}

// runKey sorts runs by pipeline, the latest first.
func runKey(r operation.RunStatus) string {
	return fmt.Sprintf("%s/%019d", r.Pipeline, math.MaxInt64-r.Number)
}

func (h operations) latestRuns(ctx context.Context, p paging) (*Page[operation.RunStatus], error) {
	all, err := h.Runs(ctx, operation.RunFilter{})
	if err != nil {
		return nil, err
	}
	return paged(all, p.Paging, runKey)
}

// runs asks for one more run than a page has: it tells whether there is a next page.
func (h operations) runs(ctx context.Context, p pipelineRuns) (*Page[operation.RunStatus], error) {
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	f := operation.RunFilter{Pipeline: p.Pipeline, Limit: min(p.limit()+1, operation.MaxRuns)}
	if after != "" {
		if f.Before, err = strconv.ParseInt(after, 10, 64); err != nil || f.Before <= 0 {
			return nil, invalid("cursor is %q, which no answer has returned", p.Cursor)
		}
	}
	all, err := h.Runs(ctx, f)
	if err != nil || len(all) < f.Limit {
		return newPage(all, ""), err
	}
	all = all[:min(len(all), f.Limit-1)]
	return newPage(all, fmt.Sprint(all[len(all)-1].Number)), nil
}

func (h operations) retry(ctx context.Context, p oneRun) (*operation.RunDetail, error) {
	if err := h.RetryRun(ctx, p.Pipeline, p.Number); err != nil {
		return nil, err
	}
	return h.Run(ctx, p.Pipeline, p.Number)
}

func pagedDestinations(ctx context.Context, h operation.Operations, p paging) (*Page[operation.DestinationStatus], error) {
	all, err := h.ListDestinations(ctx)
	if err != nil {
		return nil, err
	}
	return paged(all, p.Paging, func(d operation.DestinationStatus) string { return d.Name })
}

func (h operations) checkDestinations(ctx context.Context, p oneDestination) (*Page[operation.DestinationCheck], error) {
	all, err := h.CheckDestinations(ctx, p.Destination)
	return newPage(all, ""), err
}

func (h operations) segments(ctx context.Context, p paging) (*Page[operation.SegmentStatus], error) {
	all, err := h.Segments(ctx)
	if err != nil {
		return nil, err
	}
	return paged(all, p.Paging, func(s operation.SegmentStatus) string { return fmt.Sprintf("%s/%019d", s.Project, s.Sequence) })
}

func (h operations) journalStats(ctx context.Context, p paging) (*Page[operation.JournalStats], error) {
	all, err := h.JournalStats(ctx)
	if err != nil {
		return nil, err
	}
	return paged(all, p.Paging, func(s operation.JournalStats) string { return s.Project })
}

func (h operations) quarantine(ctx context.Context, p pickedPage) (*QuarantinePage, error) {
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	f := p.filter()
	f.Limit, f.After = p.limit()+1, after
	list, err := h.Quarantine(ctx, f)
	if err != nil {
		return nil, err
	}
	page := &QuarantinePage{QuarantineList: *list}
	if len(list.Records) == f.Limit {
		kept := newPage(list.Records[:p.limit()], list.Records[p.limit()-1].ID)
		page.Records, page.Next = kept.Items, kept.Next
	}
	return page, nil
}

// drop refuses a body that picks all records, as one that was forgotten does.
func drop(ctx context.Context, h operation.Operations, p picked) (*operation.DropReport, error) {
	if p.Source == "" && p.Reason == "" && p.ID == "" && p.Before.IsZero() {
		return nil, invalid("the body picks all records, which would be removed for good: give \"source\", \"reason\", \"id\" or \"before\"")
	}
	return h.DropQuarantine(ctx, p.filter())
}

func (h operations) failures(ctx context.Context, p failuresPage) (*FailuresPage, error) {
	all, err := h.IdentityFailures(ctx, operation.IdentityFilter{Project: p.Project})
	if err != nil {
		return nil, err
	}
	kept, err := paged(all.Failures, p.Paging, func(f operation.IdentityFailure) string {
		return fmt.Sprintf("%s/%019d/%s/%s/%s", f.Project, math.MaxInt64-f.Time.UnixNano(), f.Verb, f.AnonymousID, f.IdentifiedID)
	})
	if err != nil {
		return nil, err
	}
	all.Failures = kept.Items
	return &FailuresPage{IdentityFailures: *all, Next: kept.Next}, nil
}

func (h operations) backup(ctx context.Context, p backupPath) (*operation.BackupReport, error) {
	if !filepath.IsAbs(p.Path) {
		return nil, invalid("the body needs \"path\": the absolute path of a new file, or of a directory")
	}
	return h.Backup(ctx, p.Path)
}
