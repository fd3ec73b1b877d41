package files

import (
	"context"
	"errors"
	"io"

	"gocloud.dev/blob"
)

// bucketReader reads one version of an object. A connection that breaks is replaced by
// another one, from where it broke: servers end those from which nothing is read for a
// while, as when rows come faster than they can be stored.
type bucketReader struct {
	ctx    context.Context
	bucket *bucket
	key    string

	body  *blob.Reader
	at    int64 // next position
	broke int64 // position at which the last connection broke; -1: none has
}

func (r *bucketReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.at += int64(n)
	switch {
	case err == nil || errors.Is(err, io.EOF) || r.ctx.Err() != nil:
		return n, err
	case r.at == r.broke || !r.replace(): // nothing came since the last time
		return n, err
	}
	return n, nil
}

// replace makes a new connection, and reports whether it gives the rest of the object.
func (r *bucketReader) replace() bool {
	r.broke = r.at
	body, err := r.bucket.read(r.ctx, r.key, r.at)
	if err != nil {
		return false // of the errors the first one tells more
	}
	if !body.ModTime().Equal(r.body.ModTime()) || body.Size() != r.body.Size() {
		_ = body.Close() // it is another version
		return false
	}
	_ = r.body.Close() // it is broken already
	r.body = body
	return true
}

// Close ends reading.
func (r *bucketReader) Close() error { return r.body.Close() }
