package snowflake

import (
	"context"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// column is a column of a view, and the expression over DATA that fills it.
type column struct{ name, expression string }

// columnsOf returns the columns of the view of a stream. Every value has a cast: the type
// that a VARIANT gets in a comparison depends on parameters of the account.
func columnsOf(stream sdk.Stream) []column {
	text := func(name, key string) column { return column{name, `"DATA":` + key + "::VARCHAR"} }
	properties := column{"PROPERTIES", `"DATA":properties::VARIANT`}
	switch stream {
	case sdk.People:
		return []column{text("DISTINCT_ID", "distinct_id"), properties}
	case sdk.Identity:
		return []column{text("DISTINCT_ID", "distinct_id"), text("RESOLVED_DISTINCT_ID", "resolved_distinct_id")}
	}
	return []column{
		text("DEVICE_ID", "device_id"), text("DISTINCT_ID", "distinct_id"), text("EVENT_NAME", "event_name"), text("INSERT_ID", "insert_id"),
		properties, {"TIME", `TO_TIMESTAMP_NTZ("DATA":time::NUMBER)`}, text("USER_ID", "user_id"),
	}
}

// createRaw creates the table of a stream's rows. Events are clustered by their day in
// the project's time zone.
func (c config) createRaw(stream sdk.Stream, zone string) string {
	text := "CREATE TABLE IF NOT EXISTS " + c.in(rawTable(stream)) + ` ("DATA" VARIANT)`
	if stream == sdk.Events && c.Clustering {
		text += " CLUSTER BY (TO_DATE(CONVERT_TIMEZONE('UTC', " + literal(zone) + `, TO_TIMESTAMP_NTZ("DATA":time::NUMBER))))`
	}
	return text + " COMMENT = 'Rows of Mixpanel, written by Penstock. Read the view " + viewOf(stream) + ".'"
}

// createView creates the view of a stream, once: a view that is replaced loses its
// grants.
func (c config) createView(stream sdk.Stream) string {
	var names, values []string
	for _, col := range columnsOf(stream) {
		names = append(names, `"`+col.name+`"`)
		values = append(values, col.expression)
	}
	return "CREATE VIEW IF NOT EXISTS " + c.in(viewOf(stream)) + " (" + strings.Join(names, ", ") + ") AS SELECT " + strings.Join(values, ", ") + " FROM " + c.in(rawTable(stream))
}

// createResolved creates the view of events without duplicates, with the distinct ids
// that the mappings resolve to.
func (c config) createResolved() string {
	var own, names []string
	for _, col := range columnsOf(sdk.Events) {
		own = append(own, `e."`+col.name+`"`)
		names = append(names, `"`+col.name+`"`)
	}
	return "CREATE VIEW IF NOT EXISTS " + c.in(resolvedTable) + " (" + strings.Join(names, ", ") + `, "RESOLVED_DISTINCT_ID") AS SELECT ` + strings.Join(own, ", ") +
		`, COALESCE(m."RESOLVED_DISTINCT_ID", e."DISTINCT_ID") FROM (SELECT ` + strings.Join(names, ", ") + " FROM " + c.in(eventsView) +
		` QUALIFY ROW_NUMBER() OVER (PARTITION BY "EVENT_NAME", "TIME", "DISTINCT_ID", "INSERT_ID" ORDER BY "TIME") = 1) AS e LEFT JOIN ` +
		c.in(identityView) + ` AS m ON m."DISTINCT_ID" = e."DISTINCT_ID"`
}

// look returns an object of a kind as SHOW describes it; nil: it is not there, or not
// visible to the role. It needs no warehouse. CREATE … IF NOT EXISTS needs the privilege
// to create also when the object exists, so that objects are looked for first.
func (s *service) look(ctx context.Context, x *session, kind, name string) (row, error) {
	// The pattern's underscores match any character.
	found, err := x.rows(ctx, "SHOW "+kind+"S LIKE "+literal(name)+" IN SCHEMA "+s.config.schemaName())
	if err != nil {
		return nil, s.classify("look for "+strings.ToLower(kind)+" "+name, "", err)
	}
	for _, r := range found {
		if r["name"] == name {
			return r, nil
		}
	}
	return nil, nil
}

// exists reports whether an object of a kind is there, and visible to the role.
func (s *service) exists(ctx context.Context, x *session, kind, name string) (bool, error) {
	found, err := s.look(ctx, x, kind, name)
	return found != nil, err
}

// ensure creates an object that does not exist. It reports whether it existed.
func (s *service) ensure(ctx context.Context, x *session, kind, name, create string) (existed bool, err error) {
	if found, err := s.exists(ctx, x, kind, name); found || err != nil {
		return found, err
	}
	err = x.run(ctx, create)
	if existed = hasNumber(err, existingObject); err != nil && !existed {
		return false, s.classify("create "+strings.ToLower(kind)+" "+name, s.config.grantCreate(kind), err)
	}
	// Another process may have created it since. IF NOT EXISTS also succeeds, and does
	// nothing, when the name is taken by an object of another kind.
	found, err := s.exists(ctx, x, kind, name)
	if err == nil && !found {
		err = sdk.Configuration(fmt.Errorf("%s is not a %s, or one that the role may not see", name, strings.ToLower(kind)),
			"move away what has this name, or use another schema; or, if it is Penstock's own, run as its owner: "+s.config.grantOn("OWNERSHIP", kind, s.config.in(name))+" COPY CURRENT GRANTS")
	}
	return existed, err
}

// ensureTarget creates what a run of the stream needs and does not exist. All of it
// happens outside of transactions, which statements that create something would
// commit.
func (d *destination) ensureTarget(ctx context.Context, x *session, run sdk.Run) error {
	stream := run.Stream
	ledgerExists, err := d.exists(ctx, x, "TABLE", ledgerTable(stream))
	if err != nil {
		return err
	}
	rawExists, err := d.exists(ctx, x, "TABLE", rawTable(stream))
	if err != nil {
		return err
	}
	if rawExists {
		if err := d.checkRaw(ctx, x, run, !ledgerExists); err != nil {
			return err
		}
	}
	if !ledgerExists {
		if _, err := d.ensure(ctx, x, "TABLE", ledgerTable(stream), d.config.createLedger(stream, run.ProjectID)); err != nil {
			return err
		}
	}
	if !rawExists {
		if _, err := d.ensure(ctx, x, "TABLE", rawTable(stream), d.config.createRaw(stream, d.project.TimeZone)); err != nil {
			return err
		}
	}
	if _, err := d.ensure(ctx, x, "VIEW", viewOf(stream), d.config.createView(stream)); err != nil {
		return err
	}
	return d.ensureStage(ctx, x)
}

// ensureStage creates the stage if it does not exist, and refuses one that has another
// place than the configuration.
func (d *destination) ensureStage(ctx context.Context, x *session) error {
	name := d.stage.name()
	found, err := d.look(ctx, x, "STAGE", name)
	if err != nil {
		return err
	}
	if found == nil {
		if _, err := d.ensure(ctx, x, "STAGE", name, d.stage.create(name)); err != nil {
			return err
		}
		if found, err = d.look(ctx, x, "STAGE", name); err != nil {
			return err
		}
	}
	return d.stage.compare(found)
}

// checkRaw refuses a table that exists in another form, and one of a set whose rows
// another program has written: a run would replace them.
func (d *destination) checkRaw(ctx context.Context, x *session, run sdk.Run, withoutLedger bool) error {
	name := rawTable(run.Stream)
	columns, err := x.rows(ctx, "DESCRIBE TABLE "+d.config.in(name))
	if err != nil {
		return d.classify("describe table "+name, d.config.grantOn("SELECT, INSERT", "TABLE", d.config.in(name)), err)
	}
	if len(columns) != 1 || columns[0]["name"] != "DATA" || !strings.HasPrefix(columns[0]["type"], "VARIANT") {
		return sdk.Configuration(fmt.Errorf("table %s exists, and is not one column DATA of type VARIANT", name), "move the table away, or use another schema: Penstock creates the table")
	}
	if withoutLedger && run.Mode == sdk.Replace && !run.Adopt {
		return sdk.Configuration(fmt.Errorf("table %s exists, and Penstock has no record of it", name), "set adopt = true to replace its rows, move it away, or use another schema")
	}
	return nil
}

// ensureResolved creates the view MP_MASTER_EVENT_RESOLVED if the configuration wants
// it and the views that it reads exist.
func (d *destination) ensureResolved(ctx context.Context, x *session) error {
	if !d.config.wantsResolved() {
		return nil
	}
	for _, name := range []string{eventsView, identityView} {
		if found, err := d.exists(ctx, x, "VIEW", name); err != nil || !found {
			return err
		}
	}
	_, err := d.ensure(ctx, x, "VIEW", resolvedTable, d.config.createResolved())
	return err
}
