package bigquery

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	cloud "cloud.google.com/go/bigquery"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// inventoryLimit is the largest number of days of runs that one inventory holds in
	// memory, about 100 bytes each.
	inventoryLimit = 250_000
	// inventoryTries is how often an inventory begins again because a run was opened or
	// committed while it read.
	inventoryTries = 5
)

// The days that a partition can have: loads write more of them than statements do.
const (
	earliestDay = "0001-01-01"
	latestDay   = "9999-12-31"
)

// Inventory implements sdk.Inventorier. Rows do not tell the run that has written them:
// the rows of a day are compared with what all runs have recorded of it.
func (d *destination) Inventory(ctx context.Context, q sdk.InventoryQuery, yield func(sdk.InventoryItem) error) error {
	var items []sdk.InventoryItem
	var err error
	if q.Run.Stream == sdk.Events {
		items, err = d.eventsInventory(ctx, q)
	} else {
		items, err = d.setInventory(ctx, q)
	}
	for _, i := range items {
		if err == nil {
			err = yield(i)
		}
	}
	return err
}

// eventsInventory reads ledger, export log and days, all of them between two changes of
// the ledger.
func (d *destination) eventsInventory(ctx context.Context, q sdk.InventoryQuery) ([]sdk.InventoryItem, error) {
	record := sdk.InventoryItem{Kind: sdk.InventoryRecord, Object: ledgerTable}
	for range inventoryTries {
		l, err := d.readLedger(ctx)
		if errors.Is(err, errDamaged) {
			record.Problem = err.Error()
			return []sdk.InventoryItem{record}, nil
		}
		if err != nil {
			return nil, err
		}
		if l == nil {
			record.Problem = "the ledger does not exist, or has no rows"
			return []sdk.InventoryItem{record}, nil
		}
		last := l.of(q.Run).Last
		record.Run, record.Content = last.Number, last.Content
		v := &inventory{destination: d, query: q, runs: make(map[int64]*loggedRun), all: make(map[string]uint64)}
		if held, appended := heldBy(l.of(q.Run), q.Run); appended && held.Number > last.Number {
			v.loading = held.Number
		}
		if err := v.read(ctx); err != nil {
			return nil, err
		}
		after, err := d.readLedger(ctx)
		if err != nil {
			return nil, err
		}
		if after != nil && after.version == l.version {
			return append([]sdk.InventoryItem{record}, v.items()...), nil
		}
	}
	return nil, sdk.Retryable(errors.New("runs are opened and committed faster than the table is compared"), 0)
}

// inventory compares the days of the table of events with the export log.
type inventory struct {
	*destination
	query sdk.InventoryQuery

	runs  map[int64]*loggedRun // of the query's pipeline
	pairs int                  // days of runs in them
	all   map[string]uint64    // rows by day as all pipelines have recorded them
	found map[string]dayRows
	// loading is the run that has begun to load rows without a transaction and is not
	// committed; 0: there is none.
	loading int64
}

// loggedRun is a run in the export log.
type loggedRun struct {
	content string
	rows    uint64
	days    map[string]uint64 // those that the query selects
	problem string
}

// dayRows are the rows of a day in the table.
type dayRows struct {
	rows uint64
	// doubled are the rows that another one equals in the four fields that identify an
	// event. They are counted by a deep inventory.
	doubled uint64
}

func (v *inventory) read(ctx context.Context) error {
	if err := v.eachRow(ctx, exportLog, v.logged); err != nil {
		return err
	}
	if v.query.Deep {
		return v.count(ctx, "", "")
	}
	if err := v.metadata(ctx); err != nil {
		return err
	}
	// Metadata that differ from the record may be old: rows are counted before they are
	// reported as missing.
	first, last := v.doubtful()
	if first == "" {
		return nil
	}
	return v.count(ctx, first, last)
}

// logged takes a row of the export log.
func (v *inventory) logged(row map[string]cloud.Value) error {
	if row["data_source"] != sdk.Events.String() {
		return nil
	}
	name, _ := row["export_id"].(string)
	id, run, ok := parseExportID(name)
	if !ok {
		return nil // it is not Penstock's
	}
	days, problem := daysOf(row)
	maps.DeleteFunc(days, func(date string, _ uint64) bool { return !v.query.Holds(date) })
	for date, rows := range days {
		v.all[date] += rows
	}
	if id != v.query.Run.PipelineID {
		return nil
	}
	r := &loggedRun{days: days, problem: problem}
	r.content, _ = row["content"].(string)
	if total, ok := row["rows_exported"].(int64); ok {
		r.rows = uint64(total)
	}
	if _, twice := v.runs[run]; twice {
		r.problem = "the export log has the run twice"
	}
	v.runs[run] = r
	if v.pairs += len(days); v.pairs > inventoryLimit {
		return sdk.Configuration(fmt.Errorf("more than %d days of runs are recorded", inventoryLimit), "compare fewer days at a time, with --from and --to")
	}
	return nil
}

// parseExportID returns the pipeline's id and the run of a row of the export log.
func parseExportID(text string) (id string, run int64, ok bool) {
	rest, number, found := cutLast(text)
	_, id, named := cutLast(rest)
	run, err := strconv.ParseInt(number, 10, 64)
	return id, run, found && named && err == nil
}

// cutLast cuts a text at its last hyphen.
func cutLast(text string) (before, after string, found bool) {
	at := strings.LastIndexByte(text, '-')
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}

// daysOf returns the rows of each day of a row of the export log. problem is not empty if
// it does not tell them.
func daysOf(row map[string]cloud.Value) (days map[string]uint64, problem string) {
	days = make(map[string]uint64)
	text, has := row["rows_by_day"].(string)
	if has {
		if err := json.Unmarshal([]byte(text), &days); err != nil {
			return make(map[string]uint64), "its row in the export log is damaged: rows_by_day: " + err.Error()
		}
		return days, ""
	}
	rows, _ := row["rows_exported"].(int64)
	from, to := fmt.Sprint(row["from_date"]), fmt.Sprint(row["to_date"])
	if rows > 0 && from == to && row["from_date"] != nil {
		days[from] = uint64(rows)
	} else if rows > 0 {
		problem = "its row in the export log has no rows_by_day: an earlier version has written it"
	}
	return days, problem
}

// metadata reads how many rows each partition has. No row is read for it.
func (v *inventory) metadata(ctx context.Context) error {
	v.found = make(map[string]dayRows)
	text := "SELECT partition_id, total_rows FROM " + v.config.quoted("INFORMATION_SCHEMA.PARTITIONS") +
		" WHERE table_name = @table_name AND partition_id BETWEEN @first AND @last"
	st := statement{text, []cloud.QueryParameter{
		parameter("table_name", eventsTable), parameter("first", strings.ReplaceAll(cmp.Or(v.query.From, earliestDay), "-", "")),
		parameter("last", strings.ReplaceAll(cmp.Or(v.query.To, latestDay), "-", "")),
	}, jobLabels("inventory")}
	return v.selectRows(ctx, st, func(row []cloud.Value) error {
		id, _ := row[0].(string)
		rows, ok := row[1].(int64)
		if len(id) != len("20060102") || !ok {
			return nil
		}
		date := id[:4] + "-" + id[4:6] + "-" + id[6:]
		v.found[date] = dayRows{rows: v.found[date].rows + uint64(rows)}
		return nil
	})
}

// doubtful returns the first and the last day whose rows are not those that are
// recorded; empty: there is none.
func (v *inventory) doubtful() (first, last string) {
	for _, date := range v.dates() {
		if v.found[date].rows == v.all[date] {
			continue
		}
		first, last = cmp.Or(first, date), date
	}
	return first, last
}

// dates are the days that have rows or are recorded.
func (v *inventory) dates() []string {
	dates := maps.Clone(v.all)
	for date := range v.found {
		dates[date] = 0
	}
	return slices.Sorted(maps.Keys(dates))
}

// count counts the rows of the days from first to last; empty: those of the query. It
// is billed for the pseudo-column of partitions, and if the inventory is deep for the
// four fields that identify an event.
func (v *inventory) count(ctx context.Context, first, last string) error {
	doubled := "0"
	if v.query.Deep {
		v.found = make(map[string]dayRows)
		// Events without an insert id are told apart by all their bytes.
		doubled = "COUNTIF(insert_id IS NOT NULL) - COUNT(DISTINCT IF(insert_id IS NULL, NULL, TO_JSON_STRING(STRUCT(event_name, time, distinct_id, insert_id))))"
	}
	text := "SELECT CAST(DATE(_PARTITIONTIME) AS STRING) AS day, COUNT(*) AS row_total, " + doubled + " AS doubled FROM " + v.config.quoted(eventsTable) +
		" WHERE _PARTITIONTIME >= TIMESTAMP(@first) AND _PARTITIONTIME <= TIMESTAMP(@last) GROUP BY day"
	st := statement{text, []cloud.QueryParameter{
		parameter("first", cmp.Or(first, v.query.From, earliestDay)), parameter("last", cmp.Or(last, v.query.To, latestDay)),
	}, jobLabels("inventory")}
	for date := range v.found {
		if date >= first && date <= last {
			delete(v.found, date)
		}
	}
	return v.selectRows(ctx, st, func(row []cloud.Value) error {
		date, _ := row[0].(string)
		rows, ok1 := row[1].(int64)
		doubled, ok2 := row[2].(int64)
		if !ok1 || !ok2 {
			return fmt.Errorf("the count of %s is %v", date, row)
		}
		v.found[date] = dayRows{rows: uint64(rows), doubled: uint64(doubled)}
		return nil
	})
}

// selectRows runs a query of an inventory. Its job has an id of its own.
func (d *destination) selectRows(ctx context.Context, st statement, f func([]cloud.Value) error) error {
	j, err := d.query(ctx, "inventory_"+strings.ToLower(rand.Text()), st, f)
	if err != nil {
		return d.classify("count rows", err)
	}
	if q, ok := statistics[*cloud.QueryStatistics](j); ok {
		d.log.Info("rows counted", "bytes_billed", q.TotalBytesBilled)
	}
	return nil
}

// items are the runs, the totals of days, and a part for each day of a run.
func (v *inventory) items() []sdk.InventoryItem {
	var runs, parts []sdk.InventoryItem
	totals := make(map[string]*sdk.InventoryFacts)
	byDay := make(map[string][]int64)
	for _, number := range slices.Sorted(maps.Keys(v.runs)) {
		r := v.runs[number]
		runs = append(runs, sdk.InventoryItem{
			Kind: sdk.InventoryRun, Run: number, Object: exportLog, Content: r.content, Problem: r.problem,
			Recorded: &sdk.InventoryFacts{Rows: r.rows, Objects: uint64(len(r.days))},
		})
		for date, rows := range r.days {
			byDay[date] = append(byDay[date], number)
			if totals[date] == nil {
				totals[date] = &sdk.InventoryFacts{}
			}
			totals[date].Rows += rows
			totals[date].Objects++
		}
	}
	for _, date := range v.dates() {
		if t := totals[date]; t != nil {
			runs = append(runs, sdk.InventoryItem{Kind: sdk.InventoryTotals, Date: date, Object: exportLog, Recorded: t})
		}
		parts = append(parts, v.day(date, byDay[date])...)
	}
	return append(runs, parts...)
}

// day returns a part for each run of a day, ascending. Rows that are missing or too
// many are laid to the last of them: no row tells its run.
func (v *inventory) day(date string, runs []int64) []sdk.InventoryItem {
	there := v.found[date]
	partition := decorated(eventsTable, date)
	problem := ""
	found := there.rows
	switch {
	case there.doubled > 0:
		problem = fmt.Sprintf("the partition has %d rows, of which %d are copies of others, and all runs together have recorded %d", there.rows, there.doubled, v.all[date])
		if there.rows <= v.all[date] {
			found -= there.doubled
		}
	case there.rows != v.all[date]:
		problem = fmt.Sprintf("the partition has %d rows, and all runs together have recorded %d", there.rows, v.all[date])
	}
	if v.loading > 0 && there.rows > v.all[date] {
		problem += fmt.Sprintf("; run %d is being loaded without a transaction, or was given up: its rows are among them", v.loading)
	}
	if len(runs) == 0 {
		if problem == "" || there.rows == 0 {
			return nil // the rows of other pipelines
		}
		return []sdk.InventoryItem{{Kind: sdk.InventoryObject, Date: date, Object: partition, Found: counted(there.rows), Problem: problem}}
	}
	more, less := uint64(0), uint64(0)
	if found > v.all[date] {
		more = found - v.all[date]
	} else {
		less = v.all[date] - found
	}
	var items []sdk.InventoryItem
	for n, number := range slices.Backward(runs) {
		rows := v.runs[number].days[date]
		i := sdk.InventoryItem{
			Kind: sdk.InventoryObject, Date: date, Run: number, Object: fmt.Sprintf("%s run %08d", partition, number),
			Recorded: &sdk.InventoryFacts{Rows: rows}, Found: counted(rows),
		}
		if gone := min(less, rows); gone > 0 {
			less -= gone
			i.Problem, i.Found.Rows = problem, rows-gone
		}
		if n == len(runs)-1 && more > 0 {
			i.Problem, i.Found.Rows = problem, rows+more
		}
		items = append(items, i)
	}
	slices.Reverse(items)
	return items
}

func counted(rows uint64) *sdk.InventoryFacts { return &sdk.InventoryFacts{Rows: rows, Counted: true} }

// setInventory compares the table that a view shows with the view's record.
func (d *destination) setInventory(ctx context.Context, q sdk.InventoryQuery) ([]sdk.InventoryItem, error) {
	view := viewName(dataTable(q.Run.Stream))
	record := sdk.InventoryItem{Kind: sdk.InventoryRecord, Object: view}
	t, err := d.getTable(ctx, view)
	if err != nil {
		return nil, err
	}
	if t == nil {
		record.Problem = "the view does not exist"
		return []sdk.InventoryItem{record}, nil
	}
	r := parseRecord(t.Labels)
	last := r.lastOf(q.Run)
	record.Run, record.Content = last.Number, last.Content
	if !r.isOf(q.Run) {
		if r.pipelineID != "" {
			record.Problem = fmt.Sprintf("pipeline %s (id %s) has the set", r.pipeline, r.pipelineID)
		}
		return []sdk.InventoryItem{record}, nil
	}
	if last.Number == 0 {
		return []sdk.InventoryItem{record}, nil
	}
	run := sdk.InventoryItem{Kind: sdk.InventoryRun, Run: last.Number, Content: last.Content, Object: view, Recorded: &sdk.InventoryFacts{Objects: 1}}
	part := sdk.InventoryItem{Kind: sdk.InventoryObject, Run: last.Number, Object: shownTable(t), Recorded: &sdk.InventoryFacts{}}
	committed := q.Run
	committed.Number, committed.Content = last.Number, last.Content
	row, ok := shownRow(t, committed)
	if !ok {
		run.Problem = fmt.Sprintf("the view shows the table %s, which is not that of its labels", part.Object)
	}
	run.Recorded.Rows, part.Recorded.Rows = row.exported, row.exported
	part.Found, part.Problem, err = d.setRows(ctx, q, part.Object, row.exported)
	return []sdk.InventoryItem{record, run, part}, err
}

// setRows counts the rows of a table of a set, from its metadata. A deep inventory counts
// different ids.
func (d *destination) setRows(ctx context.Context, q sdk.InventoryQuery, table string, recorded uint64) (found *sdk.InventoryFacts, problem string, err error) {
	t, err := d.getTable(ctx, table)
	if err != nil || t == nil {
		return nil, "", err
	}
	rows, distinct := t.NumRows, t.NumRows
	if q.Deep {
		st := statement{"SELECT COUNT(*) AS row_total, COUNT(DISTINCT distinct_id) AS ids FROM " + d.config.quoted(table), nil, jobLabels("inventory")}
		err = d.selectRows(ctx, st, func(row []cloud.Value) error {
			total, ok1 := row[0].(int64)
			ids, ok2 := row[1].(int64)
			if !ok1 || !ok2 {
				return fmt.Errorf("the count is %v", row)
			}
			rows, distinct = uint64(total), uint64(ids)
			return nil
		})
	}
	if rows != recorded {
		problem = fmt.Sprintf("the table has %d rows, recorded are %d", rows, recorded)
	}
	if rows != distinct {
		problem = fmt.Sprintf("the table has %d rows of %d ids, recorded are %d", rows, distinct, recorded)
		if rows <= recorded {
			rows = distinct
		}
	}
	return counted(rows), problem, err
}
