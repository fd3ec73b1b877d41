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

// loadJob loads the bytes of open to its end, and returns the job. There are size of
// them. open is called for each try; nil: the job reads objects of a bucket. A try whose outcome is not known keeps its id, so that the bytes cannot
// be loaded twice; after a job that has failed the next try has a new one. first is the number of the first try.
func (s *service) loadJob(ctx context.Context, stem string, first int, c *bigquery.JobConfiguration, size int64, open func() io.Reader) (*cloud.JobStatus, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return nil, err
	}
	pause := firstPause
	for try, n := 1, first; ; try++ {
		id := jobID(stem, n)
		var data io.Reader
		if open != nil {
			data = open()
		}
		err := s.start(ctx, id, c, data, chunkFor(size))
		var j *cloud.JobStatus
		if err == nil {
			j, err = s.end(ctx, id, loadLimit)
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
