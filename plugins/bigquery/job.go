package bigquery

import (
	"context"
	"fmt"
	"net/http"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// maxJobTries is how often a job that failed for a transient reason is tried by a
	// new id.
	maxJobTries = 6
	// firstPoll and longestPoll are pauses between questions for a job's state.
	firstPoll   = 100 * time.Millisecond
	longestPoll = 3 * time.Second
)

// The longest waits for a job's end. A job that takes longer goes on: the state of
// the run tells its outcome.
const (
	claimLimit  = 5 * time.Minute
	loadLimit   = time.Hour
	scriptLimit = 90 * time.Minute
)

// jobID names the n-th try, from 1, of a job. An id that was used is never used for
// anything else: stem holds everything that the job depends on.
func jobID(stem string, n int) string { return fmt.Sprintf("%s_t%d", stem, n) }

// statement is a script with its parameters.
type statement struct {
	text       string
	parameters []*bq.QueryParameter
}

// parameter returns a named parameter of a script. Values never become SQL text.
func parameter(name string, value any) *bq.QueryParameter {
	kind, text := "STRING", ""
	switch v := value.(type) {
	case string:
		text = v
	case int64:
		kind, text = "INT64", fmt.Sprint(v)
	case time.Time:
		kind, text = "TIMESTAMP", v.UTC().Format("2006-01-02 15:04:05.999999+00:00")
	}
	return &bq.QueryParameter{
		Name: name, ParameterType: &bq.QueryParameterType{Type: kind},
		ParameterValue: &bq.QueryParameterValue{Value: text, ForceSendFields: []string{"Value"}},
	}
}

// script returns the configuration of a job that runs a script.
func (s *service) script(st statement, labels map[string]string) *bq.JobConfiguration {
	standard := false
	q := &bq.JobConfigurationQuery{Query: st.text, UseLegacySql: &standard, Priority: "INTERACTIVE"}
	if len(st.parameters) > 0 {
		q.ParameterMode, q.QueryParameters = "NAMED", st.parameters
	}
	if s.config.MaximumBilled > 0 {
		q.MaximumBytesBilled = s.config.MaximumBilled
	}
	return &bq.JobConfiguration{Query: q, Labels: labels}
}

// run runs a job to its end, by a new id after each transient failure, and returns
// it. The error of a job that has failed is a *jobFailure; any other means that its
// outcome is not known.
func (s *service) run(ctx context.Context, stem string, limit time.Duration, build func() *bq.JobConfiguration) (*bq.Job, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return nil, err
	}
	pause := firstPause
	for n := 1; ; n++ {
		id := jobID(stem, n)
		err := s.submit(ctx, id, build())
		var j *bq.Job
		if err == nil {
			j, err = s.end(ctx, id, limit)
		}
		f := failureOfBoth(j, err)
		if f == nil {
			return j, err
		}
		if n == maxJobTries || !f.mayPass() {
			return j, f
		}
		s.log.Debug("job failed and is tried by a new id", "job", id, "reason", f.reason, "message", f.message)
		if err := s.sleep(ctx, pause); err != nil {
			return j, err
		}
		pause = min(2*pause, longestPause)
	}
}

// failureOfBoth returns the failure of a job that has ended, or of one that the
// service refused as an invalid statement; else nil.
func failureOfBoth(j *bq.Job, err error) *jobFailure {
	if err == nil {
		return failureOf(j)
	}
	if e := answer(err); e != nil && e.Code == http.StatusBadRequest && len(e.Errors) > 0 {
		return &jobFailure{job: "not started", reason: e.Errors[0].Reason, message: e.Message}
	}
	return nil
}

// mayPass reports whether the same job by another id may succeed.
func (f *jobFailure) mayPass() bool {
	for _, r := range transientReasons {
		if f.reason == r {
			return true
		}
	}
	return isConflict(f.message)
}

// submit starts a job. If the id is used it is the same job, which an earlier
// request, whose answer was lost, has started.
func (s *service) submit(ctx context.Context, id string, c *bq.JobConfiguration) error {
	location, err := s.place(ctx)
	if err != nil {
		return err
	}
	err = s.call(ctx, func(ctx context.Context, api *bq.Service) error {
		_, err := api.Jobs.Insert(s.config.Project, &bq.Job{Configuration: c, JobReference: s.reference(id, location)}).Context(ctx).Do()
		return err
	})
	return s.submitted(ctx, id, err)
}

// submitted returns nil if a job exists after a request to start it that ended with
// an error: its id is used, or its answer was lost.
func (s *service) submitted(ctx context.Context, id string, err error) error {
	switch {
	case err == nil || hasCode(err, http.StatusConflict):
		return nil
	case !isTransient(err):
		return err
	}
	if _, asked := s.job(ctx, id); asked != nil {
		return err
	}
	return nil
}

func (s *service) reference(id, location string) *bq.JobReference {
	return &bq.JobReference{ProjectId: s.config.Project, JobId: id, Location: location}
}

// job asks for a job. The service finds jobs of other locations than its default
// only with the location.
func (s *service) job(ctx context.Context, id string) (*bq.Job, error) {
	location, err := s.place(ctx)
	if err != nil {
		return nil, err
	}
	var j *bq.Job
	err = s.call(ctx, func(ctx context.Context, api *bq.Service) (err error) {
		j, err = api.Jobs.Get(s.config.Project, id).Location(location).Context(ctx).Do()
		return err
	})
	return j, err
}

// isDone reports whether a job has ended. A job with an error has ended too if its
// state says so: the error alone decides nothing.
func isDone(j *bq.Job) bool { return j.Status != nil && j.Status.State == "DONE" }

// errUnfinished is the error of a job that runs for longer than its limit.
type errUnfinished struct {
	id    string
	limit time.Duration
}

func (e errUnfinished) Error() string {
	return fmt.Sprintf("job %s has not ended within %s", e.id, e.limit)
}

// end waits for the end of a job.
func (s *service) end(ctx context.Context, id string, limit time.Duration) (*bq.Job, error) {
	pause, waited := firstPoll, time.Duration(0)
	for {
		j, err := s.job(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("state of job %s: %w", id, err)
		}
		if isDone(j) {
			return j, nil
		}
		if waited >= limit {
			return nil, sdk.Retryable(errUnfinished{id, limit}, 0)
		}
		if err := s.sleep(ctx, pause); err != nil {
			return nil, err
		}
		waited += pause
		pause = min(pause*3/2, longestPoll)
	}
}

// unfinished reports whether a job of a stem may still be running. A try exists
// only if the one before has ended.
func (s *service) unfinished(ctx context.Context, stem string) (bool, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return false, err
	}
	for n := 1; n <= maxJobTries; n++ {
		j, err := s.job(ctx, jobID(stem, n))
		if isNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, s.classify("state of job "+jobID(stem, n), err)
		}
		if !isDone(j) {
			return true, nil
		}
	}
	return false, nil
}
