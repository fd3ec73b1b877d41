package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// job is one job. Its id is never used again, also when it has failed.
type job struct {
	id, project, location string
	parent                *job
	user                  string
	config                *bq.JobConfiguration
	dryRun                bool
	cancel                context.CancelFunc
	done                  chan struct{} // closed when the state is DONE

	mu       sync.Mutex // guards the fields below
	state    string
	created  time.Time
	started  time.Time
	ended    time.Time
	failure  *failure
	warnings []*bq.ErrorProto
	stats    bq.JobStatistics
	result   *result
	children int
	deleted  bool
}

// jobs are all jobs that ever were.
type jobs struct {
	mu   sync.Mutex
	byID map[string]*job
	all  []*job
}

func (j *jobs) add(n *job) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	id := key(n.project, n.location, n.id)
	if j.byID[id] != nil {
		return fail("duplicate", "Already Exists: Job %s:%s.%s", n.project, n.location, n.id)
	}
	j.byID[id] = n
	j.all = append(j.all, n)
	return nil
}

// find returns a job. Without a location only the multi-regions are searched.
func (j *jobs) find(project, location, id string) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	places := []string{location}
	shown := location
	if location == "" {
		places, shown = []string{"US", "EU"}, "US"
	}
	for _, place := range places {
		if found := j.byID[key(project, canonicalLocation(place), id)]; found != nil && !found.isDeleted() {
			return found, nil
		}
	}
	return nil, fail("notFound", "Not found: Job %s:%s.%s", project, canonicalLocation(shown), id)
}

func (j *jobs) list() []*job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]*job(nil), j.all...)
}

// canonicalLocation writes a location as BigQuery does: multi-regions in upper case.
func canonicalLocation(l string) string {
	switch u := strings.ToUpper(l); u {
	case "US", "EU", "":
		return u
	}
	return strings.ToLower(l)
}

func newID(prefix string) string {
	return prefix + strings.ToLower(rand.Text())
}

func (j *job) isDeleted() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.deleted
}

// begin marks the job as running.
func (j *job) begin(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state, j.started = "RUNNING", now
}

// finish marks the job as done.
func (j *job) finish(now time.Time, r *result, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state, j.ended, j.result = "DONE", now, r
	if err != nil {
		j.failure = asFailure(err)
	}
	close(j.done)
}

func (j *job) outcome() (*result, *failure, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.result, j.failure, j.state == "DONE"
}

// update changes the statistics of the job.
func (j *job) update(f func(s *bq.JobStatistics)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.stats)
}

func (j *job) query() *bq.JobStatistics2 {
	if j.stats.Query == nil {
		j.stats.Query = &bq.JobStatistics2{}
	}
	return j.stats.Query
}

// resource returns the job as jobs.get has it.
func (j *job) resource(self string) *bq.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	stats := j.stats
	stats.CreationTime = j.created.UnixMilli()
	if !j.started.IsZero() {
		stats.StartTime = j.started.UnixMilli()
	}
	if !j.ended.IsZero() {
		stats.EndTime = j.ended.UnixMilli()
		stats.FinalExecutionDurationMs = j.ended.Sub(j.started).Milliseconds()
	}
	if j.parent != nil {
		stats.ParentJobId = j.parent.id
	}
	stats.NumChildJobs = int64(j.children)
	r := &bq.Job{
		Kind: "bigquery#job", Id: fmt.Sprintf("%s:%s.%s", j.project, j.location, j.id), UserEmail: j.user,
		SelfLink:         self + "/projects/" + j.project + "/jobs/" + j.id + "?location=" + j.location,
		JobReference:     &bq.JobReference{ProjectId: j.project, JobId: j.id, Location: j.location},
		Configuration:    clone(j.config),
		Statistics:       &stats,
		Status:           &bq.JobStatus{State: j.state},
		PrincipalSubject: "serviceAccount:" + j.user,
	}
	stats.ForceSendFields = []string{"TotalBytesProcessed"}
	if q := r.Configuration.Query; q != nil && q.DestinationTable == nil && stats.Query != nil && stats.Query.StatementType == "SELECT" {
		// The results of a query are a table with a name of its own.
		q.DestinationTable = &bq.TableReference{ProjectId: j.project, DatasetId: "_" + etagOf(j.user), TableId: "anon" + etagOf(j.id)}
		q.CreateDisposition, q.WriteDisposition = "CREATE_IF_NEEDED", "WRITE_TRUNCATE"
	}
	if stats.Query != nil {
		q := *stats.Query
		q.ForceSendFields = append([]string{"TotalBytesProcessed", "TotalBytesBilled", "CacheHit"}, q.ForceSendFields...)
		if j.dryRun {
			q.TotalBytesProcessedAccuracy = "PRECISE"
		}
		stats.Query = &q
	}
	r.JobCreationReason = &bq.JobCreationReason{Code: "REQUESTED"}
	r.Etag = etagOf(r.Id, j.state)
	if j.failure != nil {
		r.Status.ErrorResult = j.failure.proto()
		r.Status.Errors = append([]*bq.ErrorProto{j.failure.proto()}, j.warnings...)
	}
	return r
}
