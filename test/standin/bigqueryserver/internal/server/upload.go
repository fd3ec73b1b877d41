package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	bq "google.golang.org/api/bigquery/v2"
)

// uploads are the sessions of resumable uploads.
type uploads struct {
	mu   sync.Mutex
	open map[string]*upload
}

// upload is one session. Its file grows with each chunk.
type upload struct {
	mu       sync.Mutex
	file     *os.File
	size     int64
	job      *bq.Job
	finished *job
}

// upload is jobs.insert with media.
func (q *request) upload() error {
	switch kind := q.r.URL.Query().Get("uploadType"); {
	case q.r.Method == http.MethodPut || q.r.URL.Query().Get("upload_id") != "":
		return q.continueUpload()
	case kind == "multipart":
		return q.multipart()
	case kind == "resumable":
		return q.beginUpload()
	default:
		return fail("badRequest", "Invalid upload type: %s", kind)
	}
}

func (q *request) beginUpload() error {
	var j bq.Job
	if err := q.decode(&j); err != nil {
		return err
	}
	if err := q.checkLoad(&j); err != nil {
		return err
	}
	f, err := q.s.tempFile()
	if err != nil {
		return err
	}
	id := newID("")
	q.s.uploads.mu.Lock()
	q.s.uploads.open[id] = &upload{file: f, job: &j}
	q.s.uploads.mu.Unlock()
	q.w.Header().Set("Location", "http://"+q.r.Host+"/upload/bigquery/v2/projects/"+q.path("project")+"/jobs?uploadType=resumable&upload_id="+id)
	q.w.Header().Set("X-GUploader-UploadID", id)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) continueUpload() error {
	id := q.r.URL.Query().Get("upload_id")
	q.s.uploads.mu.Lock()
	u := q.s.uploads.open[id]
	q.s.uploads.mu.Unlock()
	if u == nil {
		return fail("notFound", "Not found: upload session %s", id)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.finished != nil { // its answer was lost
		return q.answer(u.finished.resource(q.self))
	}
	from, to, total, err := contentRange(q.r.Header.Get("Content-Range"), q.r.ContentLength)
	if err != nil {
		return err
	}
	if from >= 0 {
		if from > u.size {
			return q.incomplete(u)
		}
		if err := q.chunk(u, from, to); err != nil {
			return err
		}
	}
	if total < 0 || u.size < total {
		return q.incomplete(u)
	}
	if u.finished, err = q.finishUpload(u.job, u.file); err != nil {
		return err
	}
	return q.answer(u.finished.resource(q.self))
}

// chunk writes a chunk at its place. The bytes that arrived stay, also when the
// connection breaks.
func (q *request) chunk(u *upload, from, to int64) error {
	if _, err := u.file.Seek(from, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(u.file, q.r.Body)
	u.size = max(u.size, from+n)
	if err != nil {
		return fail("backendError", "the upload broke off: %v", err)
	}
	if to >= 0 && n != to-from+1 {
		return fail("badRequest", "Content-Range names %d bytes, the body has %d", to-from+1, n)
	}
	return nil
}

func (q *request) incomplete(u *upload) error {
	if u.size > 0 {
		q.w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", u.size-1))
	}
	if q.r.Header.Get("X-GUploader-No-308") == "yes" {
		q.w.Header().Set("X-Http-Status-Code-Override", "308")
		q.w.WriteHeader(http.StatusOK)
		return nil
	}
	q.w.WriteHeader(http.StatusPermanentRedirect)
	return nil
}

// contentRange reads "bytes 0-9/100", "bytes 0-9/*" and "bytes */100". from is -1
// without bytes, total when it is not known.
func contentRange(header string, length int64) (from, to, total int64, err error) {
	if header == "" {
		return 0, -1, length, nil
	}
	bad := fail("badRequest", "Invalid Content-Range: %s", header)
	rest, ok := strings.CutPrefix(header, "bytes ")
	span, size, slash := strings.Cut(rest, "/")
	if !ok || !slash {
		return 0, 0, 0, bad
	}
	total = -1
	if size != "*" {
		if total, err = strconv.ParseInt(size, 10, 64); err != nil {
			return 0, 0, 0, bad
		}
	}
	if span == "*" {
		return -1, -1, total, nil
	}
	a, b, _ := strings.Cut(span, "-")
	from, err = strconv.ParseInt(a, 10, 64)
	if err == nil {
		to, err = strconv.ParseInt(b, 10, 64)
	}
	if err != nil || to < from {
		return 0, 0, 0, bad
	}
	return from, to, total, nil
}

func (q *request) multipart() error {
	kind, params, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/related" || params["boundary"] == "" {
		return fail("badRequest", "Media multipart upload must have Content-Type multipart/related, got %q", q.r.Header.Get("Content-Type"))
	}
	parts := multipart.NewReader(q.r.Body, params["boundary"])
	head, err := parts.NextPart()
	if err != nil {
		return fail("badRequest", "Malformed multipart body.")
	}
	var j bq.Job
	if err := json.NewDecoder(head).Decode(&j); err != nil {
		return fail("badRequest", "Parse Error: %v", err)
	}
	if err := q.checkLoad(&j); err != nil {
		return err
	}
	media, err := parts.NextPart()
	if err != nil {
		return fail("badRequest", "Malformed multipart body.")
	}
	f, err := q.s.tempFile()
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, media); err != nil {
		return errors.Join(fail("badRequest", "Malformed multipart body."), f.Close(), os.Remove(f.Name()))
	}
	if _, err := parts.NextPart(); err != io.EOF {
		return errors.Join(fail("badRequest", "Media multipart upload must have exactly two parts."), f.Close(), os.Remove(f.Name()))
	}
	done, err := q.finishUpload(&j, f)
	if err != nil {
		return err
	}
	return q.answer(done.resource(q.self))
}

// finishUpload starts the job of an upload.
func (q *request) finishUpload(in *bq.Job, f *os.File) (*job, error) {
	if err := f.Close(); err != nil {
		return nil, err
	}
	j, err := q.createLoad(in)
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	q.s.start(j, func(ctx context.Context) (*result, error) {
		defer func() { _ = os.Remove(f.Name()) }()
		return nil, q.s.load(ctx, j, f.Name())
	})
	q.settle(j)
	return j, nil
}
