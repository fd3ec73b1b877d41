package snowflake

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// Check implements sdk.Checker. It makes the steps of a run on a temporary table and
// one small file, and creates and drops an object of each kind that is still missing.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	c := &checking{d: d, ctx: ctx, name: checkPrefix + strings.ToUpper(rand.Text()), stage: d.stage.name()}
	x, err := d.open(ctx, "penstock check")
	c.try("log in", func() error { return err })
	if err != nil {
		return c.results
	}
	c.session = x
	defer func() { c.session.close() }()
	c.try("compare parameters", c.parameters)
	c.try("use the warehouse", c.warehouse)
	if !c.try("read the schema", c.lookUp) {
		return c.results
	}
	for _, kind := range c.missing {
		c.try("create a "+strings.ToLower(kind), func() error { return c.create(kind) })
	}
	c.try("write to the spool", c.spool)
	if c.try("create a temporary table", c.createTable) {
		c.transfer()
		c.drops = append(c.drops, "DROP TABLE IF EXISTS "+d.config.in(c.name)) // it ends with the session at the latest
	}
	c.clean()
	for _, stream := range c.found {
		c.try("use the tables of "+stream.String(), func() error { return c.tables(stream) })
	}
	return c.results
}

// clean drops the objects that the check has created, also when its context has ended or
// its session is lost: nothing else removes them.
func (c *checking) clean() {
	if len(c.drops) == 0 {
		return
	}
	whole := c.ctx
	defer func() { c.ctx = whole }()
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithTimeout(context.WithoutCancel(whole), restoreTime)
	defer cancel()
	if c.session.lost {
		x, err := c.d.open(c.ctx, "penstock check")
		if err != nil {
			c.try("log in again", func() error { return err })
			return
		}
		c.session.close()
		c.session = x
	}
	for _, drop := range c.drops {
		c.try("drop a "+strings.ToLower(strings.Fields(drop)[1]), func() error { return c.run(drop, "") })
	}
}

type checking struct {
	d       *destination
	ctx     context.Context
	session *session
	name    string   // of the objects that are created
	stage   string   // that the file is uploaded to
	file    string   // in the spool
	size    int64    // of the file
	missing []string // kinds of objects of which one does not exist yet
	found   []sdk.Stream
	drops   []string // statements that remove what the check has created
	results []sdk.CheckResult
}

func (c *checking) try(action string, f func() error) bool {
	r := sdk.CheckResult{Action: action, OK: true}
	if err := f(); err != nil {
		r.OK, r.Detail = false, lake.Detail(err)
	}
	c.results = append(c.results, r)
	return r.OK
}

// run runs a statement, and classifies its error with the grant that it needs.
func (c *checking) run(text, grant string) error {
	return c.d.classify("run "+strings.Fields(text)[0], grant, c.session.run(c.ctx, text))
}

// parameters refuses parameters of the account or the user under which statements have
// another meaning.
func (c *checking) parameters() error {
	const name = "QUOTED_IDENTIFIERS_IGNORE_CASE"
	rows, err := c.session.rows(c.ctx, "SHOW PARAMETERS LIKE '"+name+"' IN SESSION")
	if err != nil {
		return c.d.classify("read parameters", "", err)
	}
	for _, r := range rows {
		if r["key"] == name && strings.EqualFold(r["value"], "true") {
			return sdk.Configuration(fmt.Errorf("the parameter %s is TRUE (level %s): quoted names in lower case are taken for others", name, r["level"]),
				"ALTER USER "+literalUser(c.d.config)+" SET "+name+" = FALSE")
		}
	}
	return nil
}

func (c *checking) warehouse() error {
	_, err := c.session.rows(c.ctx, "SELECT COUNT(*) FROM (SELECT 1)")
	return c.d.classify("run a query", c.d.config.grantOn("USAGE", "WAREHOUSE", identifier(c.d.config.Warehouse)), err)
}

// lookUp finds out what exists already: without the right to create it, it can still
// be used.
func (c *checking) lookUp() error {
	missing := make(map[string]bool)
	look := func(kind, name string) (bool, error) {
		found, err := c.d.exists(c.ctx, c.session, kind, name)
		missing[kind] = missing[kind] || err == nil && !found
		return found, err
	}
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People, sdk.Identity} {
		raw, err := look("TABLE", rawTable(stream))
		if err != nil {
			return err
		}
		ledger, err := look("TABLE", ledgerTable(stream))
		if err != nil {
			return err
		}
		if raw && ledger {
			c.found = append(c.found, stream)
		}
		if _, err := look("VIEW", viewOf(stream)); err != nil {
			return err
		}
	}
	described, err := c.d.look(c.ctx, c.session, "STAGE", c.stage)
	if err != nil {
		return err
	}
	if described == nil {
		missing["STAGE"], c.stage = true, c.name
	} else if err := c.d.stage.compare(described); err != nil {
		return err
	}
	for _, kind := range []string{"TABLE", "VIEW", "STAGE"} {
		if missing[kind] {
			c.missing = append(c.missing, kind)
		}
	}
	return nil
}

// create creates an object of a kind. The stage is used for the file.
func (c *checking) create(kind string) error {
	conf := c.d.config
	name := c.name
	if kind != "STAGE" {
		name += "_" + kind
	}
	text := map[string]string{
		"TABLE": "CREATE TABLE " + conf.in(name) + ` ("DATA" VARIANT)`,
		"VIEW":  "CREATE VIEW " + conf.in(name) + ` ("A") AS SELECT 1`,
		"STAGE": c.d.stage.create(name),
	}[kind]
	if err := c.run(text, conf.grantCreate(kind)); err != nil {
		return err
	}
	c.drops = append(c.drops, "DROP "+kind+" "+conf.in(name))
	return nil
}

func (c *checking) createTable() error {
	return c.run("CREATE TEMPORARY TABLE "+c.d.config.in(c.name)+` ("DATA" VARIANT)`, c.d.config.grantCreate("TABLE"))
}

// putTime bounds the upload of the check's file. A host gives a check up after one minute,
// and has no results then.
const putTime = 20 * time.Second

// errPutTime is the error of an upload that has lasted for too long.
var errPutTime = errors.New("the storage of the stage has not answered in time")

// checkedRow is the row that the check loads.
const checkedRow = `{"device_id":null,"distinct_id":"check","event_name":"check","insert_id":"check","properties":{"a":[1]},"time":1780272000,"user_id":null}` + "\n"

// spool writes the file that is uploaded.
func (c *checking) spool() error {
	dir, err := c.d.spool.path()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = io.WriteString(w, checkedRow)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("compress a row: %w", err)
	}
	c.file, c.size = filepath.Join(dir, c.name+".json.gz"), int64(b.Len())
	return spoolError(os.WriteFile(c.file, b.Bytes(), 0o600))
}

// transfer uploads the file, loads it in a transaction, and removes it.
func (c *checking) transfer() {
	if c.file == "" {
		return
	}
	defer os.Remove(c.file)
	conf := c.d.config
	dir := "check/" + c.name + "/"
	grant := c.d.stage.grants(c.stage)
	if !c.try("upload a file", func() error {
		uploading, cancel := context.WithTimeoutCause(c.ctx, c.d.putFor, errPutTime)
		defer cancel()
		err := c.d.stage.put(uploading, c.session, c.file, c.stage, dir)
		if err != nil && c.ctx.Err() == nil && uploading.Err() != nil {
			err = fmt.Errorf("%w (%s): %w", errPutTime, c.d.putFor, err)
		}
		return c.d.classify("upload a file", grant, err)
	}) {
		return
	}
	c.try("load in a transaction", func() error {
		err := c.session.transact(c.ctx, func(string) error {
			return conf.load(c.ctx, c.session, c.name, c.stage, dir, []file{{name: filepath.Base(c.file), rows: 1}})
		})
		return c.d.classify("load a file", grant, err)
	})
	c.try("list a stage", func() error {
		listed, err := c.d.list(c.ctx, c.session, c.stage, dir)
		if err == nil {
			f := file{name: filepath.Base(c.file)}
			if c.d.stage.outside() {
				f.size = c.size
			}
			err = compareFiles(listed, dir, []file{f})
		}
		return c.d.classify("list a stage", grant, err)
	})
	c.try("remove a file", func() error {
		return c.d.classify("remove a file", grant, c.d.stage.remove(c.ctx, c.session, c.stage, dir))
	})
}

// tables tries, on the tables that exist, the statements of a commit. They change no
// row.
func (c *checking) tables(stream sdk.Stream) error {
	l := c.d.ledgerOf(stream)
	if _, err := c.session.change(c.ctx, `UPDATE `+l.table+` SET "VERSION" = "VERSION" WHERE "PIPELINE_ID" = 'penstock check'`); err != nil {
		return c.d.classify("update the ledger "+l.name, l.grant(c.d.config), err)
	}
	raw := c.d.config.in(rawTable(stream))
	_, err := c.session.change(c.ctx, `INSERT INTO `+raw+` ("DATA") SELECT "DATA" FROM `+raw+` WHERE FALSE`)
	return c.d.classify("insert into "+rawTable(stream), c.d.config.grantOn("SELECT, INSERT, TRUNCATE", "TABLE", raw), err)
}
