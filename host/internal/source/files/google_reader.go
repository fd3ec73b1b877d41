package files

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// googleReader reads one version of an object from a position on. A connection that
// breaks is replaced by another one, from where it broke. An object that is read from
// its beginning is compared with the checksum that the server has of it.
type googleReader struct {
	ctx    context.Context
	bucket *googleBucket
	object string // URL

	body       io.ReadCloser
	at         int64 // next position
	broke      int64 // position at which the last connection broke
	generation string
	whole      bool    // it is read from the beginning
	sum        uint32  // of the bytes so far
	want       *uint32 // checksum of the object; nil: not known
}

// begin asks for the object from the present position on.
func (r *googleReader) begin() error {
	// The bytes as they are stored: the server decompresses nothing.
	header := http.Header{"Accept-Encoding": {"gzip"}}
	if r.at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", r.at))
	}
	address := r.object
	if r.generation != "" {
		address += "&generation=" + url.QueryEscape(r.generation)
	}
	answer, err := r.bucket.get(r.ctx, address, header)
	if err != nil {
		return err
	}
	r.body = answer.Body
	switch {
	case answer.StatusCode == http.StatusRequestedRangeNotSatisfiable: // it ends there, or before
		r.body = http.NoBody
		return answer.Body.Close()
	case r.at > 0 && answer.StatusCode != http.StatusPartialContent:
		return errors.Join(errors.New("the server does not answer parts of an object"), r.body.Close())
	}
	if r.generation == "" {
		r.generation = answer.Header.Get("X-Goog-Generation")
		r.want = checksumOf(answer.Header)
	}
	return nil
}

// checksumOf returns the CRC-32C in the headers of an answer; nil: it has none.
func checksumOf(h http.Header) *uint32 {
	for _, line := range h.Values("X-Goog-Hash") {
		for part := range strings.SplitSeq(line, ",") {
			text, ok := strings.CutPrefix(strings.TrimSpace(part), "crc32c=")
			if sum, err := base64.StdEncoding.DecodeString(text); ok && err == nil && len(sum) == 4 {
				n := binary.BigEndian.Uint32(sum)
				return &n
			}
		}
	}
	return nil
}

func (r *googleReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.at += int64(n)
	if r.whole {
		r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		if r.whole && r.want != nil && *r.want != r.sum {
			return n, fmt.Errorf("the bytes that came have the checksum %08x, and the object has %08x", r.sum, *r.want)
		}
		return n, io.EOF
	case r.ctx.Err() != nil:
		return n, context.Cause(r.ctx)
	case r.at == r.broke || r.generation == "": // nothing came since the last time
		return n, err
	}
	r.broke = r.at
	_ = r.body.Close() // it is broken already
	return n, r.begin()
}

// Close ends reading.
func (r *googleReader) Close() error { return r.body.Close() }
