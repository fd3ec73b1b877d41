package server

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"
)

// locations are those where datasets can be
// (https://docs.cloud.google.com/bigquery/docs/locations).
var locations = strings.Fields("US EU us-central1 us-west1 us-west2 us-west3 us-west4 us-east1 us-east4 us-east5 us-south1 northamerica-northeast1 northamerica-northeast2 northamerica-south1 southamerica-east1 southamerica-west1 europe-west1 europe-west2 europe-west3 europe-west4 europe-west6 europe-west8 europe-west9 europe-west10 europe-west12 europe-north1 europe-north2 europe-central2 europe-southwest1 asia-east1 asia-east2 asia-south1 asia-south2 asia-southeast1 asia-southeast2 asia-northeast1 asia-northeast2 asia-northeast3 australia-southeast1 australia-southeast2 me-central1 me-central2 me-west1 africa-south1")

var validDataset = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

func (d *dataset) etag() string {
	return etagOf(d.meta.DatasetReference.DatasetId, d.meta.CreationTime, d.version)
}

func (d *dataset) resource(self string) *bq.Dataset {
	r := clone(d.meta)
	ref := r.DatasetReference
	r.Kind, r.Etag, r.Id = "bigquery#dataset", d.etag(), ref.ProjectId+":"+ref.DatasetId
	r.SelfLink = self + "/projects/" + ref.ProjectId + "/datasets/" + ref.DatasetId
	r.LastModifiedTime = millis(d.modified)
	r.Type = "DEFAULT"
	if r.MaxTimeTravelHours == 0 {
		r.MaxTimeTravelHours = 168
	}
	return r
}

func (s *Server) createDataset(user string, meta *bq.Dataset) error {
	ref := meta.DatasetReference
	if ref == nil || !validDataset.MatchString(ref.DatasetId) {
		id := ""
		if ref != nil {
			id = ref.DatasetId
		}
		return fail("invalid", "Invalid dataset ID %q. Dataset IDs must be alphanumeric (plus underscores) and must be at most 1024 characters long.", id)
	}
	if err := s.allowProject(user, "bigquery.datasets.create", ref.ProjectId); err != nil {
		return err
	}
	if meta.Location = canonicalLocation(meta.Location); meta.Location == "" {
		meta.Location = "US"
	}
	if !slices.Contains(locations, meta.Location) {
		return fail("invalid", "Invalid location: %s", meta.Location)
	}
	if err := checkLabels(meta.Labels); err != nil {
		return err
	}
	if s.unbilled.Load() { // https://docs.cloud.google.com/bigquery/docs/sandbox
		const sixtyDays = 60 * 24 * 3600 * 1000
		if meta.DefaultTableExpirationMs == 0 || meta.DefaultTableExpirationMs > sixtyDays {
			meta.DefaultTableExpirationMs, meta.DefaultPartitionExpirationMs = sixtyDays, sixtyDays
		}
	}
	if ms := meta.DefaultTableExpirationMs; ms != 0 && ms < 3600000 {
		return fail("invalid", "Invalid value for defaultTableExpirationMs: the minimum is 3600000 milliseconds (one hour)")
	}
	if len(meta.Access) == 0 {
		meta.Access = []*bq.DatasetAccess{
			{Role: "WRITER", SpecialGroup: "projectWriters"}, {Role: "OWNER", SpecialGroup: "projectOwners"},
			{Role: "OWNER", UserByEmail: user}, {Role: "READER", SpecialGroup: "projectReaders"},
		}
	}
	c := s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	id := key(ref.ProjectId, ref.DatasetId)
	if c.datasets[id] != nil {
		return fail("duplicate", "Already Exists: Dataset %s:%s", ref.ProjectId, ref.DatasetId)
	}
	now := c.now()
	meta.CreationTime = millis(now)
	c.datasets[id] = &dataset{meta: meta, version: 1, tables: map[string]*table{}, modified: now}
	return nil
}

func (q *request) insertDataset() error {
	var meta bq.Dataset
	if err := q.decode(&meta); err != nil {
		return err
	}
	if meta.DatasetReference != nil && meta.DatasetReference.ProjectId == "" {
		meta.DatasetReference.ProjectId = q.path("project")
	}
	if err := q.s.createDataset(q.user, &meta); err != nil {
		return err
	}
	return q.withDataset(meta.DatasetReference.DatasetId, func(d *dataset) (any, error) { return d.resource(q.self), nil })
}

// withDataset answers with the result of f, which runs under the catalog's lock.
func (q *request) withDataset(id string, f func(d *dataset) (any, error)) error {
	c := q.s.catalog
	c.mu.Lock()
	d, err := c.dataset(q.path("project"), id)
	var v any
	if err == nil {
		v, err = f(d)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return q.answer(v)
}

func (q *request) getDataset() error {
	if err := q.s.allowDataset(q.user, "bigquery.datasets.get", q.path("project"), q.path("dataset")); err != nil {
		return err
	}
	return q.withDataset(q.path("dataset"), func(d *dataset) (any, error) { return d.resource(q.self), nil })
}

func (q *request) listDatasets() error {
	c := q.s.catalog
	c.mu.Lock()
	list := &bq.DatasetList{Kind: "bigquery#datasetList"}
	for _, d := range c.datasets {
		r := d.resource(q.self)
		if r.DatasetReference.ProjectId != q.path("project") || !q.s.access.may(q.user, "bigquery.datasets.get", r.DatasetReference.ProjectId, r.Id) {
			continue
		}
		list.Datasets = append(list.Datasets, &bq.DatasetListDatasets{
			Kind: "bigquery#dataset", Id: r.Id, DatasetReference: r.DatasetReference, Location: r.Location, Labels: r.Labels, FriendlyName: r.FriendlyName,
		})
	}
	c.mu.Unlock()
	slices.SortFunc(list.Datasets, func(a, b *bq.DatasetListDatasets) int { return strings.Compare(a.Id, b.Id) })
	from, to, next, err := q.page(len(list.Datasets), 50)
	if err != nil {
		return err
	}
	list.Datasets, list.NextPageToken = list.Datasets[from:to], next
	entries := make([]map[string]any, len(list.Datasets))
	for n, d := range list.Datasets {
		text, err := json.Marshal(d)
		if err == nil {
			err = json.Unmarshal(text, &entries[n])
		}
		if err != nil {
			return err
		}
		entries[n]["type"] = "DEFAULT" // the client's type lacks it
	}
	return q.answer(map[string]any{"kind": list.Kind, "etag": etagOf(list.Datasets), "datasets": entries, "nextPageToken": list.NextPageToken})
}

// page returns the range of a list that a request asks for.
func (q *request) page(n, size int) (from, to int, next string, err error) {
	query := q.r.URL.Query()
	if text := query.Get("maxResults"); text != "" {
		if size, err = strconv.Atoi(text); err != nil || size < 0 {
			return 0, 0, "", fail("invalid", "Invalid value for maxResults: %s", text)
		}
	}
	if token := query.Get("pageToken"); token != "" {
		if from, err = strconv.Atoi(strings.TrimPrefix(token, "page")); err != nil || from > n {
			return 0, 0, "", fail("invalid", "Invalid page token: %s", token)
		}
	}
	if to = from + size; to < n {
		return from, to, "page" + strconv.Itoa(to), nil
	}
	return from, n, "", nil
}

func (q *request) patchDataset() error {
	if err := q.s.allowDataset(q.user, "bigquery.datasets.update", q.path("project"), q.path("dataset")); err != nil {
		return err
	}
	var patch map[string]any
	if err := q.decode(&patch); err != nil {
		return err
	}
	return q.withDataset(q.path("dataset"), func(d *dataset) (any, error) {
		if err := q.ifMatch(d.etag()); err != nil {
			return nil, err
		}
		meta, err := patched(d.meta, patch, q.r.Method)
		if err == nil {
			err = checkLabels(meta.Labels)
		}
		if err == nil && canonicalLocation(meta.Location) != d.meta.Location {
			err = fail("invalid", "Cannot change the location of a dataset")
		}
		if err != nil {
			return nil, err
		}
		meta.DatasetReference, meta.CreationTime = d.meta.DatasetReference, d.meta.CreationTime
		d.meta = meta
		d.version++
		d.modified = q.s.now()
		return d.resource(q.self), nil
	})
}

func (q *request) removeDataset() error {
	if err := q.s.deleteDataset(q.user, q.path("project"), q.path("dataset"), q.r.URL.Query().Get("deleteContents") == "true"); err != nil {
		return err
	}
	return q.noContent()
}

func (s *Server) deleteDataset(user, project, id string, contents bool) error {
	if err := s.allowDataset(user, "bigquery.datasets.delete", project, id); err != nil {
		return err
	}
	c := s.catalog
	c.mu.Lock()
	d, err := c.dataset(project, id)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	if len(d.tables) > 0 && !contents {
		c.mu.Unlock()
		return fail("resourceInUse", "Dataset %s:%s is still in use", project, id)
	}
	delete(c.datasets, key(project, id))
	c.mu.Unlock()
	for _, t := range d.tables {
		if t.physical != "" {
			if _, err := s.engine.db.Exec("DROP TABLE IF EXISTS " + t.physical); err != nil {
				return err
			}
		}
	}
	return nil
}
