package server

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// ifMatch refuses a request whose If-Match names another version.
func (q *request) ifMatch(etag string) error {
	want := q.r.Header.Get("If-Match")
	if want == "" || want == "*" || strings.Trim(want, `"`) == etag {
		return nil
	}
	f := fail("conditionNotMet", "Precondition Failed")
	f.location = "If-Match"
	return f
}

// patched applies a JSON merge patch; PUT replaces all that a client may set.
func patched[T any](old *T, patch map[string]any, method string) (*T, error) {
	text, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	current := map[string]any{}
	if err := json.Unmarshal(text, &current); err != nil {
		return nil, err
	}
	if method == "PUT" {
		current = map[string]any{}
	}
	merge(current, patch)
	if text, err = json.Marshal(current); err != nil {
		return nil, err
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fail("invalid", "%v", err)
	}
	return out, nil
}

// merge follows RFC 7386.
func merge(into, patch map[string]any) {
	for name, v := range patch {
		sub, isObject := v.(map[string]any)
		old, wasObject := into[name].(map[string]any)
		switch {
		case v == nil:
			delete(into, name)
		case isObject && wasObject:
			merge(old, sub)
		case isObject:
			fresh := map[string]any{}
			merge(fresh, sub)
			into[name] = fresh
		default:
			into[name] = v
		}
	}
}

func (q *request) findTable() (*table, error) {
	c := q.s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table(q.path("project"), q.path("dataset"), q.path("table"))
}

func (q *request) getTable() error {
	name := q.path("project") + ":" + q.path("dataset") + "." + q.path("table")
	if !q.s.access.may(q.user, "bigquery.tables.get", q.path("project"), q.path("project")+":"+q.path("dataset")) {
		return fail("accessDenied", "Access Denied: Table %s: Permission bigquery.tables.get denied on table %s (or it may not exist).", name, name)
	}
	t, err := q.findTable()
	if err != nil {
		return err
	}
	return q.answerTable(t)
}

func (q *request) answerTable(t *table) error {
	if err := q.s.catalog.expirePartitions(t); err != nil {
		return err
	}
	if err := q.s.catalog.measure(q.r.Context(), t); err != nil {
		return err
	}
	q.s.catalog.mu.Lock()
	r := t.resource(q.self)
	q.s.catalog.mu.Unlock()
	return q.answer(r)
}

func (q *request) listTables() error {
	if err := q.s.allowDataset(q.user, "bigquery.tables.list", q.path("project"), q.path("dataset")); err != nil {
		return err
	}
	c := q.s.catalog
	c.mu.Lock()
	d, err := c.dataset(q.path("project"), q.path("dataset"))
	list := &bq.TableList{Kind: "bigquery#tableList"}
	if err == nil {
		for id := range d.tables {
			t, gone := c.table(q.path("project"), q.path("dataset"), id)
			if gone != nil {
				continue
			}
			r := t.resource(q.self)
			entry := &bq.TableListTables{
				Kind: "bigquery#table", Id: r.Id, TableReference: r.TableReference, Type: r.Type, CreationTime: r.CreationTime, ExpirationTime: r.ExpirationTime,
				Labels: r.Labels, TimePartitioning: r.TimePartitioning, Clustering: r.Clustering, FriendlyName: r.FriendlyName,
			}
			if r.View != nil {
				entry.View = &bq.TableListTablesView{UseLegacySql: false, ForceSendFields: []string{"UseLegacySql"}}
			}
			list.Tables = append(list.Tables, entry)
		}
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	slices.SortFunc(list.Tables, func(a, b *bq.TableListTables) int { return strings.Compare(a.Id, b.Id) })
	list.TotalItems = int64(len(list.Tables))
	list.ForceSendFields = []string{"TotalItems"}
	from, to, next, err := q.page(len(list.Tables), 50)
	if err != nil {
		return err
	}
	list.Tables, list.NextPageToken = list.Tables[from:to], next
	list.Etag = etagOf(list.Tables)
	return q.answer(list)
}

func (q *request) insertTable() error {
	var meta bq.Table
	if err := q.decode(&meta); err != nil {
		return err
	}
	ref := meta.TableReference
	if ref == nil {
		return fail("required", "Required parameter is missing: tableReference")
	}
	ref.ProjectId, ref.DatasetId = q.path("project"), q.path("dataset")
	c := q.s.catalog
	c.mu.Lock()
	d, err := c.dataset(ref.ProjectId, ref.DatasetId)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := q.s.allow(q.user, "bigquery.tables.create", d, ref.ProjectId+":"+ref.DatasetId+"."+ref.TableId); err != nil {
		return err
	}
	if meta.ExternalDataConfiguration != nil || meta.MaterializedView != nil || meta.SnapshotDefinition != nil || meta.CloneDefinition != nil || meta.RangePartitioning != nil || meta.EncryptionConfiguration != nil {
		return fail("notImplemented", "the stand-in does not know this kind of table")
	}
	if meta.View != nil {
		if err := q.s.analyzeView(q.r.Context(), q.user, d, &meta); err != nil {
			return err
		}
	}
	t, err := q.s.addTable(q.r.Context(), d, &meta)
	if err != nil {
		return err
	}
	return q.answerTable(t)
}

// addTable creates a table or view that must not exist.
func (s *Server) addTable(ctx context.Context, d *dataset, meta *bq.Table) (*table, error) {
	c, ref := s.catalog, meta.TableReference
	c.mu.Lock()
	t, err := c.newTable(d, meta)
	if old, _ := c.table(ref.ProjectId, ref.DatasetId, ref.TableId); old != nil {
		err = fail("duplicate", "Already Exists: Table %s", old.reference())
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	connection, err := s.engine.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	if err := t.create(ctx, connection); err != nil {
		return nil, err
	}
	c.mu.Lock()
	old := d.tables[ref.TableId]
	if old == nil {
		d.tables[ref.TableId] = t
	}
	c.mu.Unlock()
	if old == nil {
		return t, nil
	}
	// Another request came first.
	if !t.view() {
		if _, err := connection.exec(ctx, "DROP TABLE "+t.physical); err != nil {
			return nil, err
		}
	}
	return nil, fail("duplicate", "Already Exists: Table %s", old.reference())
}

// analyzeView sets the schema of a view, or refuses its query.
func (s *Server) analyzeView(ctx context.Context, user string, d *dataset, meta *bq.Table) error {
	if meta.View.UseLegacySql || !slices.Contains(meta.View.ForceSendFields, "UseLegacySql") && meta.View.UseLegacySql {
		return fail("invalidQuery", "the stand-in does not know legacy SQL")
	}
	statements, err := googlesql.Split(meta.View.Query)
	if err == nil && (len(statements) != 1 || statements[0].Type != "SELECT") {
		err = fail("invalidQuery", "View definition must be a single SELECT statement")
	}
	if err != nil {
		return err
	}
	connection, err := s.engine.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	j := &job{project: meta.TableReference.ProjectId, location: d.meta.Location, user: user, config: &bq.JobConfiguration{Query: &bq.JobConfigurationQuery{}}, dryRun: true}
	x := newExecution(s, j, connection, meta.View.Query)
	x.tr.Catalog = viewCatalog{x}
	x.clock()
	query, err := x.tr.Query(statements[0].Tokens)
	if err != nil {
		return x.located(err, statements[0])
	}
	columns, err := connection.describe(ctx, query)
	if err != nil {
		return err
	}
	meta.Schema = schemaOf(columns)
	return nil
}

func (q *request) patchTable() error {
	t, err := q.findTable()
	if err != nil {
		return err
	}
	if err := q.s.allow(q.user, "bigquery.tables.update", t.dataset, t.reference()); err != nil {
		return err
	}
	var patch map[string]any
	if err := q.decode(&patch); err != nil {
		return err
	}
	c := q.s.catalog
	c.mu.Lock()
	old, etag := t.meta, t.etag()
	meta, err := patched(old, patch, q.r.Method)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := q.ifMatch(etag); err != nil {
		return err
	}
	meta.TableReference, meta.CreationTime = old.TableReference, old.CreationTime
	if err := q.checkPatch(t, old, meta, patch); err != nil {
		return err
	}
	if err := q.s.metadataUpdate(t); err != nil {
		return err
	}
	added := meta.Schema
	if !t.view() {
		for _, f := range added.Fields[len(schemaFields(old.Schema)):] {
			if _, err := q.s.engine.db.Exec("ALTER TABLE " + t.physical + " ADD COLUMN " + googlesql.QuoteName(f.Name) + " " + googlesql.DuckType(sqlType(f))); err != nil {
				return refusal(err)
			}
		}
	}
	c.mu.Lock()
	if t.etag() != etag { // another request came first
		c.mu.Unlock()
		if q.r.Header.Get("If-Match") != "" {
			return q.ifMatch("")
		}
		c.mu.Lock()
	}
	t.meta = meta
	t.version++
	t.modified = c.now()
	t.expires = time.Time{}
	if meta.ExpirationTime > 0 {
		t.expires = time.UnixMilli(meta.ExpirationTime)
	}
	c.mu.Unlock()
	return q.answerTable(t)
}

// checkPatch refuses changes that a table cannot have.
func (q *request) checkPatch(t *table, old, meta *bq.Table, patch map[string]any) error {
	if t.view() {
		if meta.View == nil || meta.View.Query == "" {
			return fail("invalid", "Cannot remove the query of a view: %s", t.reference())
		}
		if meta.View.Query == old.View.Query {
			return checkLabels(meta.Labels)
		}
		if err := q.s.analyzeView(q.r.Context(), q.user, t.dataset, meta); err != nil {
			return err
		}
		return checkTable(meta)
	}
	if meta.View != nil {
		return fail("invalid", "Cannot change table %s into a view", t.reference())
	}
	if meta.ExpirationTime > 0 && meta.ExpirationTime < millis(q.s.now()) {
		return fail("invalid", "Expiration time %d is in the past for table %s", meta.ExpirationTime, t.reference())
	}
	if _, ok := patch["schema"]; !ok && q.r.Method == "PUT" {
		meta.Schema = old.Schema
	}
	if meta.Schema == nil {
		meta.Schema = &bq.TableSchema{}
	}
	was, now := schemaFields(old.Schema), schemaFields(meta.Schema)
	if len(now) < len(was) {
		return fail("invalid", "Provided Schema does not match Table %s. Field %s is missing in new schema", t.reference(), missingField(was, now))
	}
	for n, f := range was {
		if !strings.EqualFold(now[n].Name, f.Name) {
			return fail("invalid", "Provided Schema does not match Table %s. Field %s is missing in new schema", t.reference(), f.Name)
		}
		if sqlType(now[n]) != sqlType(f) {
			return fail("invalid", "Provided Schema does not match Table %s. Field %s has changed type from %s to %s", t.reference(), f.Name, f.Type, now[n].Type)
		}
	}
	for _, f := range now[len(was):] {
		if f.Mode == "REQUIRED" {
			return fail("invalid", "Provided Schema does not match Table %s. Cannot add required fields to an existing schema. (field: %s)", t.reference(), f.Name)
		}
	}
	before, after := old.TimePartitioning, meta.TimePartitioning
	if (before == nil) != (after == nil) || before != nil && !samePartitioning(after, before) {
		return fail("invalid", "Cannot change partitioning spec for a partitioned table.")
	}
	return checkTable(meta)
}

func missingField(was, now []*bq.TableFieldSchema) string {
	for _, f := range was {
		if !slices.ContainsFunc(now, func(o *bq.TableFieldSchema) bool { return strings.EqualFold(o.Name, f.Name) }) {
			return f.Name
		}
	}
	return ""
}

func (q *request) removeTable() error {
	t, err := q.findTable()
	if err != nil {
		return err
	}
	if _, day, found := strings.Cut(q.path("table"), "$"); found {
		if err := q.s.deletePartition(q.r.Context(), q.user, t, day); err != nil {
			return err
		}
		return q.noContent()
	}
	if err := q.s.deleteTable(q.user, t); err != nil {
		return err
	}
	return q.noContent()
}

func (s *Server) deletePartition(ctx context.Context, user string, t *table, text string) error {
	if err := s.allow(user, "bigquery.tables.delete", t.dataset, t.reference()); err != nil {
		return err
	}
	day, err := time.Parse("20060102", text)
	if err != nil || !t.ingestionTime() {
		return fail("invalid", "Invalid partition: %s$%s", t.reference(), text)
	}
	if err := s.mutations.wait(ctx, t, t, s.quota(queuedDML)); err != nil {
		return err
	}
	_, err = s.engine.db.ExecContext(ctx, "DELETE FROM "+t.physical+" WHERE "+partitionColumn(t)+" = "+timestampLiteral(day))
	s.mutations.release(t, err == nil)
	s.catalog.touch(map[*table]bool{t: true})
	return err
}

func (s *Server) deleteTable(user string, t *table) error {
	if err := s.allow(user, "bigquery.tables.delete", t.dataset, t.reference()); err != nil {
		return err
	}
	s.catalog.mu.Lock()
	delete(t.dataset.tables, t.meta.TableReference.TableId)
	s.catalog.mu.Unlock()
	if t.view() {
		return nil
	}
	_, err := s.engine.db.Exec("DROP TABLE IF EXISTS " + t.physical)
	return err
}

// tableAction is POST …/tables/ID:testIamPermissions.
func (q *request) tableAction() error {
	_, action, _ := strings.Cut(q.path("action"), ":")
	if action != "testIamPermissions" {
		return fail("notImplemented", "the stand-in does not know %s %s", q.r.Method, q.r.URL.Path)
	}
	var in bq.TestIamPermissionsRequest
	if err := q.decode(&in); err != nil {
		return err
	}
	out := &bq.TestIamPermissionsResponse{}
	for _, p := range in.Permissions {
		if q.s.access.may(q.user, p, q.path("project"), q.path("project")+":"+q.path("dataset")) {
			out.Permissions = append(out.Permissions, p)
		}
	}
	return q.answer(out)
}

// listRows is tabledata.list.
func (q *request) listRows() error {
	t, err := q.findTable()
	if err != nil {
		return err
	}
	if err := q.s.allow(q.user, "bigquery.tables.getData", t.dataset, t.reference()); err != nil {
		return err
	}
	if t.view() {
		return fail("invalid", "Cannot list a table of type VIEW.")
	}
	if err := q.s.catalog.expirePartitions(t); err != nil {
		return err
	}
	if err := q.s.catalog.measure(q.r.Context(), t); err != nil {
		return err
	}
	offset, limit, err := q.pageOfRows()
	if err != nil {
		return err
	}
	fields, err := q.selectedFields(t)
	if err != nil {
		return err
	}
	where, err := q.partitionCondition(t)
	if err != nil {
		return err
	}
	c, err := q.s.engine.connect(q.r.Context())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	names := make([]string, len(fields))
	for n, f := range fields {
		names[n] = googlesql.QuoteName(f.Name)
	}
	r, err := c.queryAs(q.r.Context(), "SELECT "+strings.Join(names, ", ")+" FROM "+t.physical+where+" ORDER BY rowid LIMIT "+strconv.FormatInt(limit, 10)+" OFFSET "+strconv.FormatInt(offset, 10), columnsOf(&bq.TableSchema{Fields: fields}))
	if err != nil {
		return err
	}
	total := t.rows
	list := map[string]any{"kind": "bigquery#tableDataList", "etag": t.etag(), "totalRows": strconv.FormatInt(total, 10)}
	if rows := q.rows(r, 0, len(r.rows)); len(rows) > 0 {
		list["rows"] = rows
	}
	if end := offset + int64(len(r.rows)); end < total && where == "" && len(r.rows) > 0 {
		list["pageToken"] = "page" + strconv.FormatInt(end, 10)
	}
	return q.answer(list)
}

// pageOfRows returns from which row on, and how many rows, a request asks for.
func (q *request) pageOfRows() (offset, limit int64, err error) {
	query := q.r.URL.Query()
	limit = 10000
	for name, into := range map[string]*int64{"startIndex": &offset, "maxResults": &limit} {
		if text := query.Get(name); text != "" {
			if *into, err = strconv.ParseInt(text, 10, 64); err != nil {
				return 0, 0, fail("invalid", "Invalid value for %s: %s", name, text)
			}
		}
	}
	if token := query.Get("pageToken"); token != "" {
		if offset, err = strconv.ParseInt(strings.TrimPrefix(token, "page"), 10, 64); err != nil {
			return 0, 0, fail("invalid", "Invalid page token: %s", token)
		}
	}
	return offset, limit, nil
}

// selectedFields returns the fields of a table that a request asks for: all, unless it
// names some.
func (q *request) selectedFields(t *table) ([]*bq.TableFieldSchema, error) {
	fields := schemaFields(t.meta.Schema)
	selected := q.r.URL.Query().Get("selectedFields")
	if selected == "" {
		return fields, nil
	}
	var chosen []*bq.TableFieldSchema
	for _, name := range strings.Split(selected, ",") {
		at := slices.IndexFunc(fields, func(f *bq.TableFieldSchema) bool { return strings.EqualFold(f.Name, name) })
		if at < 0 {
			return nil, fail("invalid", "Invalid field name: %s", name)
		}
		chosen = append(chosen, fields[at])
	}
	return chosen, nil
}

// partitionCondition returns DuckDB's condition on the rows of the partition that the
// path names, TABLE$20260601; "" if it names none.
func (q *request) partitionCondition(t *table) (string, error) {
	_, day, found := strings.Cut(q.path("table"), "$")
	if !found {
		return "", nil
	}
	part, err := time.Parse("20060102", day)
	if err != nil || !t.partitioned() {
		return "", fail("invalid", "Invalid partition: %s$%s", t.reference(), day)
	}
	return " WHERE " + partitionColumn(t) + " = " + timestampLiteral(part), nil
}
