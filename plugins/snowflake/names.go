package snowflake

import (
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// The names that readers use.
const (
	eventsView    = "MP_MASTER_EVENT"
	peopleView    = "MP_PEOPLE_DATA"
	identityView  = "MP_IDENTITY_MAPPINGS_DATA"
	resolvedTable = "MP_MASTER_EVENT_RESOLVED"
)

// Names of Penstock's own.
const (
	internalStageName = "PENSTOCK_STAGE"
	externalStageName = "PENSTOCK_EXTERNAL_STAGE"
	ledgerPrefix      = "PENSTOCK_LEDGER_"
	loadPrefix        = "PENSTOCK_LOAD_"
	checkPrefix       = "PENSTOCK_CHECK_"
)

// viewOf returns the view that shows a stream's rows.
func viewOf(s sdk.Stream) string {
	switch s {
	case sdk.People:
		return peopleView
	case sdk.Identity:
		return identityView
	default:
		return eventsView
	}
}

// rawTable returns the table that holds a stream's rows, one VARIANT each.
func rawTable(s sdk.Stream) string { return viewOf(s) + "_RAW" }

func ledgerTable(s sdk.Stream) string { return ledgerPrefix + viewOf(s) }

// attemptOf names an attempt among those of its pipeline: by run, fence, and the first
// characters of the content, since two copies of a catalog give equal fences.
func attemptOf(run sdk.Run) string {
	content := run.Content
	if content == "" {
		content = "none"
	}
	return fmt.Sprintf("%08d_%08d_%s", run.Number, run.Fence, content[:min(len(content), 8)])
}

// pipelineDir is the directory in the stage that holds the attempts of a pipeline. A
// location is a prefix: without the slash at the end a name would match longer ones.
func pipelineDir(run sdk.Run) string { return run.Stream.String() + "/" + run.PipelineID + "/" }

// attemptDir is the directory in the stage that holds an attempt's files.
func attemptDir(run sdk.Run) string { return pipelineDir(run) + attemptOf(run) + "/" }

func partName(number int) string { return fmt.Sprintf("part-%05d.json.gz", number) }

// identifier returns a name of the configuration as a quoted identifier: names without
// quotes are upper case, as in SQL.
func identifier(name string) string {
	if strings.HasPrefix(name, `"`) {
		return name
	}
	return `"` + strings.ToUpper(name) + `"`
}

// in returns the full name of a table, view or stage.
func (c config) in(name string) string {
	return c.schemaName() + `."` + name + `"`
}

func (c config) schemaName() string { return identifier(c.Database) + "." + identifier(c.Schema) }

// stagePath returns a place in a stage, as PUT, LIST, REMOVE and COPY take it.
func (c config) stagePath(stage, dir string) string { return literal("@" + c.in(stage) + "/" + dir) }

// literal returns a text as a string constant of SQL.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}
