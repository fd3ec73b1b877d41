package bigquery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// checkLife is how long the tables of a check live if it cannot delete them.
const checkLife = time.Hour

// Check implements sdk.Checker. It makes the steps of a run on a small table: create,
// load, commit in a transaction, read, update, list, delete.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	c := &checking{d: d, ctx: ctx, unique: strings.ToLower(rand.Text())}
	c.name = checkPrefix + c.unique
	c.try("read the dataset", func() error { return d.ensureDataset(ctx) })
	c.expirations()
	c.try("run a job", c.job)
	c.created = c.try("create a table", c.create)
	if c.created {
		c.try("load", c.load)
		c.try("commit in a transaction", c.commit)
		c.try("read", c.read)
		c.try("update a table", c.update)
	}
	c.try("list tables", func() error { _, err := d.listTables(ctx); return err })
	if c.created {
		c.try("delete a table", c.remove)
	}
	return c.results
}

type checking struct {
	d       *destination
	ctx     context.Context
	unique  string
	name    string // of the table
	created bool
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

// expirations warns of defaults that would delete days soon after they were
// exported. Tables are created without them; a table that exists may have one.
func (c *checking) expirations() {
	t, err := c.d.getTable(c.ctx, eventsTable)
	if err != nil || t == nil {
		return // the other operations report the error
	}
	for _, e := range []struct {
		what string
		set  bool
	}{{"partitions", t.TimePartitioning != nil && t.TimePartitioning.Expiration != 0}, {"the table", !t.ExpirationTime.IsZero()}} {
		if e.set {
			c.results = append(c.results, sdk.CheckResult{
				Action: "compare expirations", Detail: fmt.Sprintf("%s of %s expire: days of a backfill that are older vanish after they were exported; remove it with ALTER TABLE … SET OPTIONS (partition_expiration_days = NULL, expiration_timestamp = NULL)", e.what, eventsTable),
			})
		}
	}
}

func (c *checking) job() error {
	_, err := c.d.run(c.ctx, "check_job_"+c.unique, claimLimit, statement{text: "SELECT 1", labels: jobLabels("check")})
	return c.d.classify("run a query", err)
}

func (c *checking) create() error {
	t := c.d.table(columnsOf(sdk.Events), "")
	t.TimePartitioning = dayPartitions()
	return c.d.createBrief(c.ctx, c.name, t, checkLife)
}

func (c *checking) load() error {
	line := `{"device_id":null,"distinct_id":"check","event_name":"check","insert_id":"check","properties":{"a":[1]},"time":1780272000,"user_id":null}` + "\n"
	if c.d.config.stages() {
		return c.stagedLine(line)
	}
	_, err := c.d.loadJob(c.ctx, loadRequest{stem: "check_load_" + c.unique, first: 1, config: c.d.load(decorated(c.name, "2026-06-01"), jobLabels("check")),
		size: int64(len(line)), open: func() io.Reader { return strings.NewReader(line) }})
	return c.d.classify("load a row", err)
}

// stagedLine loads a line through the staging bucket, as a check.
func (c *checking) stagedLine(line string) error {
	d, object := c.d, c.d.config.stagedIn()+"check_"+c.unique+".json"
	if err := d.stage(c.ctx, object, strings.NewReader(line), chunkFor(int64(len(line)))); err != nil {
		return d.classifyStaging("upload "+d.config.uri(object), err)
	}
	config := fromBucket(d.load(decorated(c.name, "2026-06-01"), jobLabels("check")), d.config.uri(object))
	_, err := d.loadJob(c.ctx, loadRequest{stem: "check_load_" + c.unique, first: 1, config: config})
	listed := d.listStaged(c.ctx, object, func(string) error { return nil })
	return errors.Join(d.classify("load from "+d.config.uri(object), err), listed, d.deleteStaged(c.ctx, object))
}

// commit runs a transaction with the statements of a commit: one that conflicts with
// other writers, and one that names the partition.
func (c *checking) commit() error {
	table := c.d.config.quoted(c.name)
	columns := names(columnsOf(sdk.Events))
	text := "BEGIN TRANSACTION;\nUPDATE " + table + " SET user_id = 'checked' WHERE distinct_id = 'check';\nASSERT @@row_count = 1 AS 'penstock: the row that was loaded is not there';\n" +
		"INSERT INTO " + table + " (_PARTITIONTIME, " + columns + ") SELECT TIMESTAMP_ADD(_PARTITIONTIME, INTERVAL 1 DAY), " + columns + " FROM " + table + ";\nCOMMIT TRANSACTION;"
	_, err := c.d.run(c.ctx, "check_commit_"+c.unique, claimLimit, statement{text: text, labels: jobLabels("check")})
	return c.d.classify("run a transaction", err)
}

func (c *checking) read() error {
	rows, err := c.d.rows(c.ctx, c.name)
	if err != nil {
		return c.d.classify("read rows", err)
	}
	if len(rows) != 2 {
		return fmt.Errorf("the table has %d rows after the transaction, and should have 2", len(rows))
	}
	return nil
}

func (c *checking) update() error {
	t, err := c.d.getTable(c.ctx, c.name)
	if err != nil {
		return err
	}
	if t == nil {
		return errors.New("the table is not there any more")
	}
	_, err = c.d.patch(c.ctx, c.name, labelled(map[string]string{"penstock": "check"}), t.ETag)
	return c.d.classify("change the labels of a table", err)
}

func (c *checking) remove() error {
	if err := c.d.deleteTable(c.ctx, c.name); err != nil {
		return fmt.Errorf("%w; the check has left the table %s, which expires in %s", err, c.name, checkLife)
	}
	return nil
}
