package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
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
	parameters []cloud.QueryParameter
	labels     map[string]string
}

// parameter returns a named parameter of a script: a string, an int64 or a
// time.Time. Values never become SQL text.
func parameter(name string, value any) cloud.QueryParameter {
	return cloud.QueryParameter{Name: name, Value: value}
}

// run runs a script to its end, by a new id after each transient failure, and returns
// its status. The error of a job that has failed is a *jobFailure; any other means that its
// outcome is not known.
func (s *service) run(ctx context.Context, stem string, limit time.Duration, st statement) (*cloud.JobStatus, error) {
	_, j, err := s.runNamed(ctx, stem, limit, st)
	return j, err
}

// query runs a query and calls f with each row of its result.
func (s *service) query(ctx context.Context, stem string, st statement, f func([]cloud.Value) error) (*cloud.JobStatus, error) {
	id, j, err := s.runNamed(ctx, stem, scriptLimit, st)
	if err != nil {
		return j, err
	}
	location, err := s.place(ctx)
	if err != nil {
		return j, err
	}
	var result [][]cloud.Value
	err = s.call(ctx, func(ctx context.Context, api *clients) error {
		job, err := api.JobFromIDLocation(ctx, id, location)
		if err != nil {
			return err
		}
		rows, err := job.Read(ctx)
		if err == nil {
			result, err = allRows(rows)
		}
		return err
	})
	for _, row := range result {
		if err == nil {
			err = f(row)
		}
	}
	return j, err
}

// runNamed is run that returns the id of the last job too.
func (s *service) runNamed(ctx context.Context, stem string, limit time.Duration, st statement) (string, *cloud.JobStatus, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return "", nil, err
	}
	pause := firstPause
	for try, n := 1, 1; ; try++ {
		id := jobID(stem, n)
		err := s.submit(ctx, id, st)
		var j *cloud.JobStatus
		if err == nil {
			j, err = s.end(ctx, id, limit)
		}
		f := failureOfBoth(id, j, err)
		if f == nil {
			return id, j, err
		}
		if try == maxJobTries || !f.mayPass() {
			return id, j, f
		}
		if f.job == id {
			n++ // the id is used
		}
		s.log.Debug("job failed and is tried again", "job", id, "reason", f.reason, "message", f.message)
		if err := s.sleep(ctx, pause); err != nil {
			return id, j, err
		}
		pause = min(2*pause, longestPause)
	}
}

// notStarted stands for the id of a job that the service refused: its id is not used.
const notStarted = "not started"

// failureOfBoth returns the failure of a job that has ended, or of one that the
// service refused as an invalid statement; else nil.
func failureOfBoth(id string, j *cloud.JobStatus, err error) *jobFailure {
	if err == nil {
		return failureOf(id, j)
	}
	if e := gcp.Answer(err); e != nil && e.Code == http.StatusBadRequest && len(e.Errors) > 0 {
		return &jobFailure{job: notStarted, reason: e.Errors[0].Reason, message: e.Message}
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

// submit starts a script. If the id is used it is the same job, which an earlier
// request, whose answer was lost, has started.
func (s *service) submit(ctx context.Context, id string, st statement) error {
	location, err := s.place(ctx)
	if err != nil {
		return err
	}
	err = s.call(ctx, func(ctx context.Context, api *clients) error {
		q := api.Query(st.text)
		q.JobIDConfig = cloud.JobIDConfig{JobID: id, Location: location}
		q.Parameters, q.Labels, q.MaxBytesBilled = st.parameters, st.labels, s.config.MaximumBilled
		_, err := q.Run(ctx)
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

// job asks for the status of a job. The service finds jobs of other locations than
// its default only with the location.
func (s *service) job(ctx context.Context, id string) (*cloud.JobStatus, error) {
	location, err := s.place(ctx)
	if err != nil {
		return nil, err
	}
	var j *cloud.JobStatus
	err = s.call(ctx, func(ctx context.Context, api *clients) error {
		found, err := api.JobFromIDLocation(ctx, id, location)
		if err == nil {
			j = found.LastStatus()
		}
		return err
	})
	return j, err
}

// isDone reports whether a job has ended. A job with an error has ended too if its
// state says so: the error alone decides nothing.
func isDone(j *cloud.JobStatus) bool { return j != nil && j.Done() }

// errUnfinished is the error of a job that runs for longer than its limit.
type errUnfinished struct {
	id    string
	limit time.Duration
}

func (e errUnfinished) Error() string {
	return fmt.Sprintf("job %s has not ended within %s", e.id, e.limit)
}

// end waits for the end of a job that was just started, or asked about: it pauses before
// it asks.
func (s *service) end(ctx context.Context, id string, limit time.Duration) (*cloud.JobStatus, error) {
	pause, waited := firstPoll, time.Duration(0)
	for {
		if err := s.sleep(ctx, pause); err != nil {
			return nil, err
		}
		j, err := s.job(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("state of job %s: %w", id, err)
		}
		if isDone(j) {
			return j, nil
		}
		if waited += pause; waited >= limit {
			return nil, sdk.Retryable(errUnfinished{id, limit}, 0)
		}
		pause = min(pause*3/2, longestPoll)
	}
}

// hasCommitted reports whether the COMMIT of a script of a stem has succeeded, whatever
// became of the script: its statements are jobs of their own. Without the permission
// to list jobs it reports false.
func (s *service) hasCommitted(ctx context.Context, stem string) (bool, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return false, err
	}
	for n := 1; n <= maxJobTries; n++ {
		id := jobID(stem, n)
		_, err := s.job(ctx, id)
		if isNotFound(err) {
			return false, nil
		}
		committed := false
		if err == nil {
			committed, err = s.childCommitted(ctx, id)
		}
		if hasCode(err, http.StatusForbidden) {
			return false, nil
		}
		if committed || err != nil {
			return committed, s.classify("statements of job "+id, err)
		}
	}
	return false, nil
}

// childCommitted reports whether a script's job has a child that is a COMMIT without
// error.
func (s *service) childCommitted(ctx context.Context, id string) (bool, error) {
	found := false
	err := s.call(ctx, func(ctx context.Context, api *clients) error {
		children := api.Jobs(ctx)
		children.ParentJobID = id
		for {
			child, err := children.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			j := child.LastStatus()
			q, ok := statistics[*cloud.QueryStatistics](j)
			if ok && q.StatementType == "COMMIT_TRANSACTION" && isDone(j) && j.Err() == nil {
				found = true
				return nil
			}
		}
	})
	return found, err
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
