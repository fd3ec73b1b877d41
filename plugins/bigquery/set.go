package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// The labels of a replaced set's view. They are its record: the query and they
// change in one request, on condition of the view's version.
const (
	labelProject    = "penstock_project"
	labelPipeline   = "penstock_pipeline"
	labelPipelineID = "penstock_pipeline_id"
	labelFence      = "penstock_fence"
	labelHolder     = "penstock_holder"  // content of the run that holds the fence
	labelRun        = "penstock_run"     // last committed run
	labelContent    = "penstock_content" // of the last committed run
	// Of the last committed run, for its row of the export log. started is in
	// milliseconds since 1970; labelChanged begins the labels of rows that were
	// changed, by reason.
	labelStarted  = "penstock_started"
	labelRows     = "penstock_rows"
	labelRejected = "penstock_rejected"
	labelChanged  = "penstock_changed_"
	// labelFormer begins the label of a pipeline whose set was adopted, with its last
	// run and content.
	labelFormer = "penstock_former_"
)

// setRecord is the record in a view's labels.
type setRecord struct {
	projectID            int64
	pipeline, pipelineID string
	fence                int64
	holder               string
	last                 sdk.LastRun
	former               map[string]sdk.LastRun // by pipeline id
}

// parseRecord reads the record of a view. A view without labels has the zero value.
func parseRecord(labels map[string]string) setRecord {
	number := func(name string) int64 {
		n, err := strconv.ParseInt(labels[name], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	r := setRecord{
		projectID: number(labelProject), pipeline: labels[labelPipeline], pipelineID: labels[labelPipelineID], fence: number(labelFence),
		holder: labels[labelHolder], last: sdk.LastRun{Number: number(labelRun), Content: labels[labelContent]}, former: make(map[string]sdk.LastRun),
	}
	for name, value := range labels {
		if id, ok := strings.CutPrefix(name, labelFormer); ok {
			run, content, _ := strings.Cut(value, "-")
			n, err := strconv.ParseInt(run, 10, 64)
			if err == nil {
				r.former[id] = sdk.LastRun{Number: n, Content: content}
			}
		}
	}
	return r
}

// isOf reports whether the run's pipeline holds the set.
func (r setRecord) isOf(run sdk.Run) bool { return r.pipelineID == label(run.PipelineID) }

// lastOf returns the last committed run of the run's pipeline.
func (r setRecord) lastOf(run sdk.Run) sdk.LastRun {
	if r.isOf(run) {
		return r.last
	}
	return r.former[label(run.PipelineID)]
}

// admit returns the error of a run that must not claim the set.
func (r setRecord) admit(view string, run sdk.Run) error {
	switch {
	case r.projectID != 0 && r.projectID != run.ProjectID:
		return sdk.Configuration(fmt.Errorf("the dataset holds the data of project %d", r.projectID), "give each project a dataset of its own")
	case r.pipelineID == "" || r.isOf(run):
		if r.fence > run.Fence {
			return ledgers.Fenced(r.fence, run.Fence)
		}
		return nil
	case !run.Adopt:
		return sdk.Configuration(fmt.Errorf("the view %s is held by pipeline %s (id %s)", view, r.pipeline, r.pipelineID),
			"set adopt = true to take it over, or use another dataset")
	}
	return nil
}

// claimLabels are the changes of the labels with which a run claims the set.
func (r setRecord) claimLabels(run sdk.Run) map[string]string {
	last := r.lastOf(run)
	labels := map[string]string{
		labelProject: strconv.FormatInt(run.ProjectID, 10), labelPipeline: label(run.Pipeline), labelPipelineID: label(run.PipelineID),
		labelFence: strconv.FormatInt(run.Fence, 10), labelHolder: label(run.Content),
		labelRun: strconv.FormatInt(last.Number, 10), labelContent: label(last.Content),
	}
	if r.pipelineID != "" && !r.isOf(run) {
		labels[labelFormer+label(r.pipelineID)] = label(fmt.Sprintf("%d-%s", r.last.Number, r.last.Content))
	}
	return labels
}

// setTries is how often a view is read and changed again because its version was
// another one.
const setTries = 10

// openSet claims the view of a replaced set for a run.
func (d *destination) openSet(ctx context.Context, run sdk.Run) (sdk.LastRun, error) {
	view := viewName(dataTable(run.Stream))
	for range setTries {
		t, err := d.ensureView(ctx, run.Stream)
		if err != nil {
			return sdk.LastRun{}, err
		}
		r := parseRecord(t.Labels)
		err = r.admit(view, run)
		if err == nil && r.pipelineID == "" {
			err = foreign(t, run)
		}
		if err != nil {
			return sdk.LastRun{}, err
		}
		claimed := r.fence == run.Fence && r.holder == label(run.Content) && r.isOf(run)
		if !claimed {
			t, err = d.patch(ctx, view, labelled(r.claimLabels(run)), t.ETag)
			if hasCode(err, http.StatusPreconditionFailed) {
				continue // another writer was faster, or this one, whose answer was lost
			}
			if err != nil {
				return sdk.LastRun{}, d.classify("claim "+view, err)
			}
		}
		d.completeLog(ctx, run, r, t)
		d.begin(run).view = t
		d.sweepStaged(ctx, run)
		return r.lastOf(run), nil
	}
	return sdk.LastRun{}, sdk.Retryable(fmt.Errorf("the view %s keeps changing: other writers were faster in every attempt", view), 0)
}

// ensureView returns the view of a replaced set. A new one shows a table without
// rows.
func (d *destination) ensureView(ctx context.Context, stream sdk.Stream) (*cloud.TableMetadata, error) {
	name := viewName(dataTable(stream))
	found, err := d.getTable(ctx, name)
	if err != nil || found != nil {
		return found, err
	}
	empty := emptyTable(stream)
	if _, err := d.ensureTable(ctx, empty, d.table(columnsOf(stream), "The rows of "+name+" before the first run: none.")); err != nil {
		return nil, err
	}
	return d.ensureTable(ctx, name, &cloud.TableMetadata{ViewQuery: d.setQuery(stream, empty)})
}

// emptyTable names the table that a new view shows.
func emptyTable(stream sdk.Stream) string { return dataTable(stream) + "_empty" }

// foreign returns the error of a view without a record that somebody else has made: its
// readers expect other rows.
func foreign(t *cloud.TableMetadata, run sdk.Run) error {
	view := viewName(dataTable(run.Stream))
	if t.Type != cloud.ViewTable {
		return sdk.Configuration(fmt.Errorf("%s exists and is not a view", view), "move the table away, or use another dataset")
	}
	if run.Adopt || shownTable(t) == emptyTable(run.Stream) {
		return nil
	}
	return sdk.Configuration(fmt.Errorf("the view %s exists, and its labels hold no record of Penstock", view),
		"set adopt = true to take it over, move it away, or use another dataset; if its labels were removed by mistake, restore them")
}

// labelled returns a change that adds labels or replaces their values.
func labelled(labels map[string]string) cloud.TableMetadataToUpdate {
	var change cloud.TableMetadataToUpdate
	for name, value := range labels {
		change.SetLabel(name, value)
	}
	return change
}

// setQuery is the query of a view that shows a table of a set.
func (s *service) setQuery(stream sdk.Stream, table string) string {
	return "SELECT " + names(columnsOf(stream)) + " FROM " + s.config.quoted(table)
}

// commitSet switches the view to the attempt's table.
func (d *destination) commitSet(ctx context.Context, a *attempt, receipt sdk.Receipt) error {
	row := totals(a.run, a.table, a.started, receipt)
	row.jobs = a.loaded.jobs
	if err := d.keepTable(ctx, a, row.exported); err != nil {
		return err
	}
	if err := d.switchView(ctx, a, row); err != nil {
		return err
	}
	d.log.Info("run committed", "pipeline", a.run.Pipeline, "run", a.run.Number, "rows", row.exported, "table", a.table,
		"load_jobs", a.loaded.jobs, "bytes_loaded", a.loaded.bytes)
	// The run is committed. The next run repeats the steps below if they fail.
	if err := d.logSet(ctx, logStem(row.run), row); err != nil {
		d.log.Warn("the export log has no row for a run yet; will retry with the next run", "run", a.run.Number, "error", err)
	}
	if err := d.dropGenerations(ctx, a); err != nil {
		d.log.Warn("earlier tables were not dropped; will retry with the next run", "error", err)
	}
	return nil
}

// keepTable removes the expiration of the attempt's table, before readers see it, and
// compares its rows with those that were sent: a copy of the catalog gives equal fences,
// and its attempt may have deleted the table after the loads.
func (d *destination) keepTable(ctx context.Context, a *attempt, rows uint64) error {
	_, err := d.patch(ctx, a.table, cloud.TableMetadataToUpdate{ExpirationTime: cloud.NeverExpire}, "")
	if isNotFound(err) {
		return sdk.Retryable(fmt.Errorf("the table %s was deleted", a.table), 0)
	}
	if err != nil {
		return d.classify("keep table "+a.table, err)
	}
	t, err := d.getTable(ctx, a.table)
	if err == nil && (t == nil || t.NumRows != rows) {
		err = sdk.Retryable(fmt.Errorf("the table %s does not have the %d rows that were sent", a.table, rows), 0)
	}
	return err
}

// isShown reports whether the view of a set shows the attempt's table, which an attempt
// with an equal fence and equal content may have committed.
func (d *destination) isShown(ctx context.Context, a *attempt) (bool, error) {
	if a.run.Mode != sdk.Replace {
		return false, nil
	}
	t, err := d.getTable(ctx, viewName(dataTable(a.run.Stream)))
	return t != nil && shownTable(t) == a.table, err
}

// switchView makes the view show the attempt's table, if it still holds the fence.
func (d *destination) switchView(ctx context.Context, a *attempt, row logRow) error {
	name := viewName(dataTable(a.run.Stream))
	labels := row.labels()
	labels[labelRun], labels[labelContent] = strconv.FormatInt(a.run.Number, 10), label(a.run.Content)
	change := labelled(labels)
	for name := range a.view.Labels {
		if _, stays := labels[name]; strings.HasPrefix(name, labelChanged) && !stays {
			change.DeleteLabel(name)
		}
	}
	change.ViewQuery = d.setQuery(a.run.Stream, a.table)
	etag := a.view.ETag
	for range setTries {
		_, err := d.patch(ctx, name, change, etag)
		if err == nil {
			return nil
		}
		t, readErr := d.getTable(ctx, name)
		if readErr != nil {
			return errors.Join(readErr, d.classify("switch "+name, err))
		}
		if t == nil {
			return sdk.Permanent(fmt.Errorf("switch %s: the view was deleted", name))
		}
		r := parseRecord(t.Labels)
		if done, err := r.holds(a.run); done || err != nil {
			return err
		}
		if !hasCode(err, http.StatusPreconditionFailed) {
			return d.classify("switch "+name, err)
		}
		etag = t.ETag // a person has changed the view; the fence is still this attempt's
	}
	return sdk.Retryable(fmt.Errorf("the view %s keeps changing", name), 0)
}

// holds reports whether a run is committed. Its error is that of an attempt that no
// longer holds the set.
func (r setRecord) holds(run sdk.Run) (bool, error) {
	if !r.isOf(run) {
		return false, sdk.Configuration(fmt.Errorf("pipeline %s (id %s) has adopted the set", r.pipeline, r.pipelineID), "set adopt = true to take it back, or use another dataset")
	}
	if r.fence > run.Fence {
		return false, ledgers.Fenced(r.fence, run.Fence) // also if the newer attempt has committed the run
	}
	if done, err := r.last.Holds(run); done || err != nil {
		return done, err
	}
	if r.fence == run.Fence && r.holder != label(run.Content) {
		return false, ledgers.SameFence(run.Fence)
	}
	return false, nil
}

// setStatus reads the state of a run from the view's labels.
func (d *destination) setStatus(ctx context.Context, run sdk.Run) (sdk.Status, error) {
	t, err := d.getTable(ctx, viewName(dataTable(run.Stream)))
	if isMissingDataset(err) {
		return sdk.Status{State: sdk.Absent}, nil
	}
	if err != nil || t == nil {
		return sdk.Status{State: sdk.Absent}, err
	}
	r := parseRecord(t.Labels)
	s := sdk.Status{Last: r.lastOf(run)}
	if r.isOf(run) {
		s.Fence = r.fence
	}
	return s, nil
}

// logSet adds a row to the export log. The id of its job is that of the run, so that
// it is added once.
func (d *destination) logSet(ctx context.Context, stem string, row logRow) error {
	_, err := d.run(ctx, stem, claimLimit, statement{d.insertLogOnce(), row.parameters(), runLabels(row.run, "log")})
	return d.classify("add to "+exportLog, err)
}

// logStem names the jobs that add a run of a set to the export log, for every attempt
// alike.
func logStem(run sdk.Run) string {
	return fmt.Sprintf("log_%s_%s_%08d_%s", run.Stream, run.PipelineID, run.Number, short(run.Content))
}

// labels returns the labels of a view that keep the row until it is in the export log.
func (r logRow) labels() map[string]string {
	labels := map[string]string{
		labelStarted: strconv.FormatInt(r.started.UnixMilli(), 10),
		labelRows:    strconv.FormatUint(r.exported, 10), labelRejected: strconv.FormatUint(r.rejected, 10),
	}
	for reason, rows := range r.changed {
		labels[labelChanged+label(reason)] = strconv.FormatUint(rows, 10)
	}
	return labels
}

// shownRow returns the row of the export log of the run that a view shows, from its
// labels. It is not found if the view shows another run's table, or lacks a label.
func shownRow(view *cloud.TableMetadata, run sdk.Run) (row logRow, found bool) {
	row = logRow{run: run, table: shownTable(view), changed: make(map[string]uint64), days: make(map[string]uint64)}
	if id, number, ok := parseGeneration(dataTable(run.Stream), row.table); !ok || id != run.PipelineID || number != run.Number {
		return row, false
	}
	started, err1 := strconv.ParseInt(view.Labels[labelStarted], 10, 64)
	exported, err2 := strconv.ParseUint(view.Labels[labelRows], 10, 64)
	rejected, err3 := strconv.ParseUint(view.Labels[labelRejected], 10, 64)
	row.started, row.exported, row.rejected = time.UnixMilli(started), exported, rejected
	for _, reason := range unusual.AllReasons() {
		if rows, err := strconv.ParseUint(view.Labels[labelChanged+label(reason)], 10, 64); err == nil {
			row.changed[reason] = rows
		}
	}
	return row, errors.Join(err1, err2, err3) == nil
}

// completeLog adds the last committed run to the export log if the attempt that
// committed it ended before it did.
func (d *destination) completeLog(ctx context.Context, run sdk.Run, r setRecord, view *cloud.TableMetadata) {
	if !r.isOf(run) || r.last.Number == 0 {
		return
	}
	committed := run
	committed.Number, committed.Content = r.last.Number, r.last.Content
	row, found := shownRow(view, committed)
	if !found {
		return
	}
	stem := logStem(committed)
	scoped, err := d.inScope(ctx, stem)
	if err != nil {
		return
	}
	id := jobID(scoped, 1)
	j, err := d.job(ctx, id)
	switch {
	case isNotFound(err):
	case err == nil && isDone(j) && failureOf(id, j) != nil && !failureOf(id, j).mayPass():
		stem = fmt.Sprintf("%s_f%08d", stem, run.Fence) // the id is used; the statement adds no row twice
	default:
		return
	}
	if err := d.logSet(ctx, stem, row); err != nil {
		d.log.Warn("the export log has no row for a run yet; will retry with the next run", "run", committed.Number, "error", err)
	}
}

// shownTable returns the table that a view of a set shows.
func shownTable(view *cloud.TableMetadata) string {
	query := strings.TrimSuffix(strings.TrimSpace(view.ViewQuery), "`")
	return query[strings.LastIndexByte(query, '.')+1:]
}

// generation is a table of a replaced set.
type generation struct {
	name string
	run  int64
}

// dropGenerations deletes tables of earlier runs of the pipeline, except the latest
// keep_generations of them. Tables that expire belong to attempts, and are left to
// their expiration.
func (d *destination) dropGenerations(ctx context.Context, a *attempt) error {
	var earlier []generation
	set := dataTable(a.run.Stream)
	tables, err := d.listTables(ctx)
	if err != nil {
		return err
	}
	for _, name := range tables {
		id, run, ok := parseGeneration(set, name)
		if !ok || id != a.run.PipelineID || run >= a.run.Number {
			continue
		}
		t, err := d.getTable(ctx, name)
		if err != nil {
			return err
		}
		if t != nil && t.ExpirationTime.IsZero() {
			earlier = append(earlier, generation{name, run})
		}
	}
	slices.SortFunc(earlier, func(x, y generation) int { return strings.Compare(y.name, x.name) })
	for _, g := range earlier[min(len(earlier), d.config.KeepGenerations):] {
		if err := d.deleteTable(ctx, g.name); err != nil {
			return err
		}
	}
	return nil
}

// listTables returns the names of the dataset's tables.
func (s *service) listTables(ctx context.Context) ([]string, error) {
	var found []string
	err := s.call(ctx, func(ctx context.Context, api *clients) error {
		found = nil
		for tables := api.Dataset(s.config.Dataset).Tables(ctx); ; {
			t, err := tables.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			found = append(found, t.TableID)
		}
	})
	return found, s.classify("list the tables of dataset "+s.config.Dataset, err)
}
