package bigquery

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// The names that readers use.
const (
	eventsTable   = "mp_master_event"
	resolvedTable = "mp_master_event_resolved"
	exportLog     = "mp_nessie_export_log"

	peopleTable   = "mp_people_data"
	identityTable = "mp_identity_mappings_data"
)

// Names of Penstock's own.
const (
	ledgerTable   = "penstock_ledger_" + eventsTable
	stagingPrefix = "penstock_staging_"
	checkPrefix   = "penstock_check_"
)

// viewName returns the name of the view of a replaced set.
func viewName(set string) string { return set + "_view" }

// dataTable returns the table that a stream's rows are in, or whose name begins
// that of the tables of a replaced set.
func dataTable(s sdk.Stream) string {
	switch s {
	case sdk.People:
		return peopleTable
	case sdk.Identity:
		return identityTable
	default:
		return eventsTable
	}
}

// attemptName names an attempt among those at all runs of all pipelines: by id,
// run, fence, and the first characters of the content, since two copies of a
// catalog give equal fences.
func attemptName(run sdk.Run) string {
	return fmt.Sprintf("%s_%08d_%08d_%s", run.PipelineID, run.Number, run.Fence, short(run.Content))
}

// short returns the first eight characters of a content.
func short(content string) string {
	if content == "" {
		return "none"
	}
	return content[:min(len(content), 8)]
}

// stagingName names the staging table of an attempt.
func stagingName(run sdk.Run) string { return stagingPrefix + attemptName(run) }

// generationName names the table of a replaced set that an attempt writes.
func generationName(run sdk.Run) string { return dataTable(run.Stream) + "_" + attemptName(run) }

var generationForm = regexp.MustCompile(`^_([a-z0-9]+)_([0-9]{8,})_([0-9]{8,})_([0-9a-z]{1,8})$`)

// parseGeneration returns the pipeline's id and the run of a generation's table.
func parseGeneration(set, table string) (id string, run int64, ok bool) {
	rest, found := strings.CutPrefix(table, set)
	m := generationForm.FindStringSubmatch(rest)
	if !found || m == nil {
		return "", 0, false
	}
	run, err := strconv.ParseInt(m[2], 10, 64)
	return m[1], run, err == nil
}

// label makes a text a label's value: up to 63 lower-case letters, digits, hyphens
// and underscores.
func label(text string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(text))
	return out[:min(len(out), 63)]
}

// quoted returns a table's name as SQL refers to it. Its parts were checked to hold
// no character that SQL would take for another.
func (c config) quoted(table string) string {
	return "`" + c.Project + "." + c.Dataset + "." + table + "`"
}
