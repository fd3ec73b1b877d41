package bigquery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	cloud "cloud.google.com/go/bigquery"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
)

// ledgerColumns are those of the ledger of events. It has one row for each pipeline
// that has ever opened a run, and one with an empty id, the lock, which every change
// updates: statements that change rows of one table conflict with each other, and
// statements that only insert rows conflict with nothing.
var ledgerColumns = cloud.Schema{
	column("pipeline_id", "STRING", "empty: the lock"),
	column("pipeline", "STRING", ""),
	column("project_id", "INTEGER", "the Mixpanel project whose events the table holds"),
	column("version", "INTEGER", "of the lock: grows with every change"),
	column("fence", "INTEGER", "of the attempt that may commit"),
	column("holder", "STRING", "content of the run that holds the fence"),
	column("former", "BOOLEAN", "another pipeline has adopted the table"),
	column("run", "INTEGER", "last committed run"),
	column("content", "STRING", "of the last committed run"),
	column("receipt", "STRING", "of the last committed run, as JSON"),
	column("updated_at", "TIMESTAMP", ""),
}

// ledger is the content of the ledger table.
type ledger struct {
	projectID int64                    // whose events the table holds
	version   int64                    // of the lock
	entries   map[string]ledgers.Entry // by pipeline id
}

// of returns the entry of a run's pipeline; the zero value if there is none.
func (l *ledger) of(run sdk.Run) ledgers.Entry { return l.entries[run.PipelineID] }

// eventsTarget is the target of the ledger in errors.
var eventsTarget = ledgers.Target{Name: "the table " + eventsTable, Place: "dataset", Ledger: ledgerTable}

// readLedger reads the ledger. It returns nil if the table does not exist or has no
// rows.
func (s *service) readLedger(ctx context.Context) (*ledger, error) {
	rows, err := s.rows(ctx, ledgerTable)
	if isNotFound(err) && !isMissingDataset(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.classify("read the ledger "+ledgerTable, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return parseLedger(rows)
}

// errDamaged is the error of a ledger whose rows cannot be those that Penstock has written.
var errDamaged = errors.New("the ledger " + ledgerTable + " is damaged")

func parseLedger(rows [][]cloud.Value) (*ledger, error) {
	l := &ledger{entries: make(map[string]ledgers.Entry)}
	locks := 0
	for _, r := range rows {
		e, version, err := parseEntry(r)
		if err != nil {
			return nil, sdk.Permanent(fmt.Errorf("%w: %w; restore it with time travel (FOR SYSTEM_TIME AS OF)", errDamaged, err))
		}
		if e.PipelineID == "" {
			l.projectID, l.version = e.ProjectID, version
			locks++
			continue
		}
		if _, twice := l.entries[e.PipelineID]; twice {
			return nil, sdk.Permanent(fmt.Errorf("%w: it has pipeline %s twice", errDamaged, e.PipelineID))
		}
		l.entries[e.PipelineID] = e
	}
	if locks != 1 {
		return nil, sdk.Permanent(fmt.Errorf("%w: it has %d rows with an empty id, and must have one", errDamaged, locks))
	}
	return l, nil
}

// parseEntry returns a row of the ledger, and its version.
func parseEntry(r []cloud.Value) (e ledgers.Entry, version int64, err error) {
	if len(r) < len(ledgerColumns) {
		return e, 0, fmt.Errorf("a row has %d columns", len(r))
	}
	for i, into := range []any{&e.PipelineID, &e.Pipeline, &e.ProjectID, &version, &e.Fence, &e.Holder, &e.Former, &e.Last.Number, &e.Last.Content, &e.Receipt} {
		ok := false
		switch into := into.(type) {
		case *string:
			*into, ok = r[i].(string)
		case *int64:
			*into, ok = r[i].(int64)
		case *bool:
			*into, ok = r[i].(bool)
		}
		if !ok {
			return e, 0, fmt.Errorf("its column %s has %v", ledgerColumns[i].Name, r[i])
		}
	}
	return e, version, nil
}

// createLedger creates the ledger with its lock. The row is loaded on condition that
// the table is empty, by a job whose id holds the table's time of creation: only one
// of several that start at a time can load it.
func (s *service) createLedger(ctx context.Context, projectID int64) error {
	t, err := s.ensureTable(ctx, ledgerTable, s.table(ledgerColumns, "Penstock's record of the runs that are committed to "+eventsTable+". Do not change it."))
	if err != nil {
		return err
	}
	line := fmt.Sprintf(`{"pipeline_id":"","pipeline":"","project_id":%d,"version":1,"fence":0,"holder":"","former":false,"run":0,"content":"","receipt":"","updated_at":0}`+"\n", projectID)
	c := s.load(ledgerTable, jobLabels("ledger"))
	c.Load.WriteDisposition = "WRITE_EMPTY"
	stem := fmt.Sprintf("ledger_%d", t.CreationTime.UnixMilli())
	_, err = s.loadJob(ctx, loadRequest{stem: stem, first: 1, config: c, size: int64(len(line)), open: func() io.Reader { return strings.NewReader(line) }})
	var f *jobFailure
	if errors.As(err, &f) && f.reason == "duplicate" {
		return nil
	}
	return s.classify("create the ledger", err)
}

// claimTries is how often a claim is made again because another one came between.
const claimTries = 10

// claim makes the run's pipeline the holder of the target with the run's fence, and
// returns its last committed run. No attempt with an older fence can commit from
// then on.
func (s *service) claim(ctx context.Context, run sdk.Run) (sdk.LastRun, error) {
	for range claimTries {
		l, err := s.readLedger(ctx)
		if err != nil {
			return sdk.LastRun{}, err
		}
		if l == nil {
			if err := s.createLedger(ctx, run.ProjectID); err != nil {
				return sdk.LastRun{}, err
			}
			continue
		}
		if err := eventsTarget.Admit(l.projectID, l.entries, run); err != nil {
			return sdk.LastRun{}, err
		}
		mine := l.of(run)
		if mine.Fence == run.Fence && mine.Holder == s.config.holder(run) && mine.Pipeline == run.Pipeline && !mine.Former {
			return mine.Last, nil // claimed by an earlier request, whose answer was lost
		}
		stem := fmt.Sprintf("claim_%s_v%d", attemptName(run), l.version)
		_, err = s.run(ctx, stem, claimLimit, s.claimStatement(l, run))
		if err != nil && !isOvertaken(err) {
			return sdk.LastRun{}, s.classify("claim "+eventsTable, err)
		}
		// The next turn reads the ledger again, whichever claim was first.
	}
	return sdk.LastRun{}, sdk.Retryable(fmt.Errorf("the ledger %s keeps changing: other writers were faster in every attempt", ledgerTable), 0)
}

// overtaken is the text of the assertions that fail when another attempt was faster.
const overtaken = "penstock: the ledger has changed"

// miscounted is the text of the assertion that fails when a staging table lacks rows,
// or has rows that were not sent. The next attempt has a table of its own.
const miscounted = "penstock: the staging table has another number of rows than were sent"

// isOvertaken reports whether a script has ended at such an assertion.
func isOvertaken(err error) bool {
	var f *jobFailure
	return errors.As(err, &f) && strings.Contains(f.message, overtaken)
}

// claimStatement changes the ledger on condition that it is as l.
func (s *service) claimStatement(l *ledger, run sdk.Run) statement {
	table := s.config.quoted(ledgerTable)
	_, known := l.entries[run.PipelineID]
	lines := []string{
		"BEGIN TRANSACTION;",
		"UPDATE " + table + " SET version = version + 1, updated_at = CURRENT_TIMESTAMP() WHERE pipeline_id = '' AND version = @version;",
		"ASSERT @@row_count = 1 AS '" + overtaken + "';",
	}
	parameters := []cloud.QueryParameter{
		parameter("version", l.version), parameter("pipeline_id", run.PipelineID), parameter("pipeline", run.Pipeline),
		parameter("fence", run.Fence), parameter("content", s.config.holder(run)),
	}
	if known {
		lines = append(lines, "UPDATE "+table+" SET pipeline = @pipeline, fence = @fence, holder = @content, former = FALSE, updated_at = CURRENT_TIMESTAMP() WHERE pipeline_id = @pipeline_id;")
	} else {
		lines = append(lines, "INSERT INTO "+table+" ("+names(ledgerColumns)+") VALUES (@pipeline_id, @pipeline, @project_id, 0, @fence, @content, FALSE, 0, '', '', CURRENT_TIMESTAMP());")
		parameters = append(parameters, parameter("project_id", run.ProjectID))
	}
	if run.Adopt && !known {
		lines = append(lines, "UPDATE "+table+" SET former = TRUE WHERE pipeline_id NOT IN ('', @pipeline_id);")
	}
	lines = append(lines, "COMMIT TRANSACTION;")
	return statement{strings.Join(lines, "\n"), parameters, runLabels(run, "claim")}
}

// jobLabels are the labels of a job that belongs to no run.
func jobLabels(purpose string) map[string]string {
	return map[string]string{"penstock": label(purpose)}
}

// runLabels are the labels of a run's job.
func runLabels(run sdk.Run, purpose string) map[string]string {
	return map[string]string{
		"penstock": label(purpose), "penstock_pipeline": label(run.Pipeline), "penstock_pipeline_id": label(run.PipelineID),
		"penstock_run": strconv.FormatInt(run.Number, 10), "penstock_fence": strconv.FormatInt(run.Fence, 10),
	}
}

// logRow are the values of a row of the export log.
type logRow struct {
	run      sdk.Run
	table    string
	from, to string // the first and the last day of events; empty: the run has none
	started  time.Time
	exported uint64
	rejected uint64
	changed  map[string]uint64 // rows by reason; not nil
	jobs     int               // load jobs; 0 of a run whose row is added later
	days     map[string]uint64 // rows by date of a run of events; not nil

	// Of a run of events: the staging table, empty if there are no rows, and the
	// receipt as JSON.
	stagedIn, receipt string
}

// parameters returns the parameters of insertLog.
func (r logRow) parameters() []cloud.QueryParameter {
	changed, _ := json.Marshal(r.changed) // a map of counts has a JSON text
	days := ""
	if r.run.Stream == sdk.Events {
		text, _ := json.Marshal(r.days)
		days = string(text)
	}
	return []cloud.QueryParameter{
		parameter("export_id", exportID(r.run)), parameter("pipeline", r.run.Pipeline), parameter("data_source", r.run.Stream.String()),
		parameter("table_name", r.table), parameter("from_date", r.from), parameter("to_date", r.to), parameter("started_at", r.started),
		parameter("row_total", int64(r.exported)), parameter("rejected", int64(r.rejected)), parameter("changed", string(changed)), parameter("content", r.run.Content),
		parameter("days", days), parameter("load_jobs", int64(r.jobs)),
	}
}

// exportID names a run in the export log.
func exportID(run sdk.Run) string {
	return fmt.Sprintf("%s-%s-%08d", run.Pipeline, run.PipelineID, run.Number)
}

// logValues are the values of a row of the export log, in the order of its columns.
const logValues = "@export_id, @pipeline, @data_source, @table_name, CAST(NULLIF(@from_date, '') AS DATE), CAST(NULLIF(@to_date, '') AS DATE), @started_at, CURRENT_TIMESTAMP(), @row_total, 'succeeded', @rejected, PARSE_JSON(@changed), @content, PARSE_JSON(NULLIF(@days, '')), @load_jobs"

// insertLog is the statement that adds a row to the export log.
func (s *service) insertLog() string {
	return "INSERT INTO " + s.config.quoted(exportLog) + " (" + names(logColumns) + ") VALUES (" + logValues + ");"
}

// insertLogOnce is the same for a run that may be in the log.
func (s *service) insertLogOnce() string {
	table := s.config.quoted(exportLog)
	return "INSERT INTO " + table + " (" + names(logColumns) + ") SELECT " + logValues +
		" FROM (SELECT 1) WHERE NOT EXISTS (SELECT 1 FROM " + table + " WHERE export_id = @export_id AND content = @content);"
}

// commitStatement is the script that commits a run of events: the ledger first,
// whose update conflicts with every other attempt, then the rows, the export log.
func (s *service) commitStatement(r logRow) statement {
	table := s.config.quoted(ledgerTable)
	lines := []string{
		"BEGIN TRANSACTION;",
		"UPDATE " + table + " SET version = version + 1, run = IF(pipeline_id = '', run, @run), content = IF(pipeline_id = '', content, @content), receipt = IF(pipeline_id = '', receipt, @receipt), updated_at = CURRENT_TIMESTAMP()" +
			" WHERE pipeline_id = '' OR (pipeline_id = @pipeline_id AND fence = @fence AND holder = @holder AND run < @run AND former = FALSE);",
		"ASSERT @@row_count = 2 AS '" + overtaken + "';",
	}
	if r.stagedIn != "" {
		columns := names(columnsOf(sdk.Events))
		lines = append(lines,
			"INSERT INTO "+s.config.quoted(eventsTable)+" (_PARTITIONTIME, "+columns+") SELECT _PARTITIONTIME, "+columns+" FROM "+s.config.quoted(r.stagedIn)+";",
			"ASSERT @@row_count = @row_total AS '"+miscounted+"';")
	}
	lines = append(lines, s.insertLog(), "COMMIT TRANSACTION;")
	return statement{strings.Join(lines, "\n"), append(r.parameters(),
		parameter("run", r.run.Number), parameter("receipt", r.receipt), parameter("holder", s.config.holder(r.run)), parameter("pipeline_id", r.run.PipelineID), parameter("fence", r.run.Fence)), runLabels(r.run, "commit")}
}
