package bigquery

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/bigquery/v2"
	"google.golang.org/api/googleapi"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
)

const (
	// chunkSize is the size of one request of a resumable upload, in bytes. The client
	// takes as much memory for each upload, however few bytes it has.
	chunkSize = 4 << 20
	// chunkTimeout bounds one request of a resumable upload, chunkDeadline the request
	// with its retries.
	chunkTimeout  = time.Minute
	chunkDeadline = 2 * time.Minute
	// uploadLimit bounds the upload of one part.
	uploadLimit = 2 * time.Hour
)

// load returns the configuration of a job that appends NDJSON to a table, which must
// exist. One bad line fails the job as a whole.
func (s *service) load(table string, labels map[string]string) *bigquery.JobConfiguration {
	return &bigquery.JobConfiguration{
		Labels: labels,
		Load: &bigquery.JobConfigurationLoad{
			DestinationTable: &bigquery.TableReference{ProjectId: s.config.Project, DatasetId: s.config.Dataset, TableId: table}, SourceFormat: "NEWLINE_DELIMITED_JSON", Encoding: "UTF-8",
			CreateDisposition: "CREATE_NEVER", WriteDisposition: "WRITE_APPEND",
		},
	}
}

// loadRequest is a load and its tries.
type loadRequest struct {
	stem   string
	first  int // number of the first try, from 1: ids of earlier ones are used
	config *bigquery.JobConfiguration
	size   int64            // bytes of what open returns
	open   func() io.Reader // called for each try; nil: the job reads objects of a bucket
	turn   turn             // to ask for the job's state
}

// turn is held while the state of one job is asked for again and again, by one of several goroutines whose jobs
// are all waited for, and which hold no memory. nil: each asks when it likes. Without turns the 30 jobs
// of 30 days were asked for at a time, for as long as they ran.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// endInTurn waits for its turn, and then for the end of a load job.
func (s *service) endInTurn(ctx context.Context, t turn, id string) (*cloud.JobStatus, error) {
	if t != nil {
		select {
		case t <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		defer func() { <-t }()
		if j, err := s.job(ctx, id); err == nil && isDone(j) {
			return j, nil // while others had their turns
		}
	}
	return s.end(ctx, id, loadLimit)
}

// loadJob loads the bytes of a request to their end, and returns the job. A try whose outcome is not known keeps
// its id, so that the bytes cannot be loaded twice; after a job that has failed the next try has a new one.
func (s *service) loadJob(ctx context.Context, l loadRequest) (*cloud.JobStatus, error) {
	stem, err := s.inScope(ctx, l.stem)
	if err != nil {
		return nil, err
	}
	pause := firstPause
	for try, n := 1, l.first; ; try++ {
		id := jobID(stem, n)
		var data io.Reader
		if l.open != nil {
			data = l.open()
		}
		err := s.start(ctx, id, l.config, data, chunkFor(l.size))
		var j *cloud.JobStatus
		if err == nil {
			j, err = s.endInTurn(ctx, l.turn, id)
		}
		again := err != nil && isTransient(err)
		if f := failureOfBoth(id, j, err); f != nil {
			if f.job == id {
				n++ // the id is used; without a gap the tries of a stem can be found
			}
			again, err = f.mayPass(), f
		}
		if err == nil {
			return j, nil
		}
		if !again || try == maxJobTries {
			return nil, err
		}
		if err := s.sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, longestPause)
	}
}

// chunkFor returns the size of the chunks for an upload of size bytes. One that fits a
// chunk and leaves room is one request.
func chunkFor(size int64) int { return int(min(size+1, chunkSize)) }

// start begins a load job with the bytes of data, once; data is nil if it reads objects of
// a bucket. An error of nil means that the job exists.
func (s *service) start(ctx context.Context, id string, c *bigquery.JobConfiguration, data io.Reader, chunk int) error {
	location, err := s.place(ctx)
	if err != nil {
		return err
	}
	api, err := s.connect(ctx)
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, uploadLimit)
	defer cancel()
	insert := api.uploads.Jobs.Insert(s.config.Project, &bigquery.Job{
		Configuration: c, JobReference: &bigquery.JobReference{ProjectId: s.config.Project, JobId: id, Location: location},
	})
	if data != nil {
		insert.Media(data, googleapi.ContentType("application/octet-stream"), googleapi.ChunkSize(chunk),
			googleapi.ChunkTransferTimeout(chunkTimeout), googleapi.ChunkRetryDeadline(chunkDeadline))
	}
	_, err = insert.Context(sending).Do()
	return s.submitted(ctx, id, uploadError(err))
}

// uploadError returns the error of an upload without the id of its session. If the
// service has lost the session the upload may be made again.
func uploadError(err error) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, http.StatusGone), isNotFound(err) && !isMissingDataset(err) && !isMissingProject(err):
		return fmt.Errorf("the upload was lost: %s", gcp.WithoutSession(err))
	}
	return gcp.WithoutSession(err)
}
