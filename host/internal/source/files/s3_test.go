package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/test/standin"
)

// s3Bucket is a bucket of a running server.
type s3Bucket struct {
	*testing.T
	server *standin.S3
	client *s3.Client
}

// newS3Bucket starts a server and has this process know its credentials, and
// nothing of the machine's.
func newS3Bucket(t *testing.T) *s3Bucket {
	t.Helper()
	server := standin.StartS3(t, "lake")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	b := &s3Bucket{T: t, server: server}
	transport := &http.Transport{}
	b.client = s3.New(s3.Options{
		BaseEndpoint: aws.String(server.Endpoint), Region: "us-east-1", UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	t.Cleanup(transport.CloseIdleConnections)
	return b
}

func (b *s3Bucket) put(key, data string) {
	b.Helper()
	_, err := b.client.PutObject(b.Context(), &s3.PutObjectInput{Bucket: aws.String("lake"), Key: aws.String(key), Body: strings.NewReader(data)})
	if err != nil {
		b.Fatal(err)
	}
}

// address is a pattern as an operator writes it.
func (b *s3Bucket) address(pattern string) string {
	q := url.Values{"endpoint": {b.server.Endpoint}, "use_path_style": {"true"}}
	return "s3://lake/" + pattern + "?" + q.Encode()
}

// texts are records without their positions.
func texts(records []string) []string {
	found := make([]string, len(records))
	for i, r := range records {
		found[i], _, _ = strings.Cut(r, "@")
	}
	slices.Sort(found)
	return found
}

// More objects than one page of a listing has, and keys that need escaping.
func TestS3ObjectsAreFound(t *testing.T) {
	b := newS3Bucket(t)
	var want []string
	add := func(key, format string, n int) {
		record := fmt.Sprintf(`{"n":%d}`, n)
		want = append(want, record)
		data := record + "\n"
		switch format {
		case "gz":
			data = gz(data)
		case "zst":
			data = zst(data)
		}
		b.put(key, data)
	}
	for n := range 1100 {
		// Behind the server's back, which is faster.
		write(t, filepath.Join(b.server.Dir, "lake"), fmt.Sprintf("in/many/%04d.ndjson", n), fmt.Sprintf("{\"n\":%d}\n", n))
		want = append(want, fmt.Sprintf(`{"n":%d}`, n))
	}
	for n, key := range []string{
		"in/a b+c.ndjson", "in/ünï/✓.ndjson", "in/per%20cent.ndjson", "in/plus&amp=1;x,y.ndjson", "in/2026-06-01/deep/er.ndjson", "in/'quote\"d'.ndjson",
	} {
		add(key, "", 2000+n)
	}
	add("in/x.ndjson.gz", "gz", 3000)
	add("in/x.ndjson.zst", "zst", 3001)
	b.put("in/empty.ndjson", "")
	b.put("in/other.txt", "no record")
	b.put("outside.ndjson", "no record")
	b.put("inn/er.ndjson", "no record")
	slices.Sort(want)

	address := b.address("in/**/*.{ndjson,ndjson.gz,ndjson.zst}")
	first := readAll(t, address, nil, pieceSize)
	if diff := cmp.Diff(want, texts(first.records)); diff != "" || len(first.refused) > 0 {
		t.Errorf("records (-want +got), and %v refused:\n%s", first.refused, diff)
	}
	if first.last()["s3://lake/in/ünï/✓.ndjson"] == nil {
		t.Error("an object's cursor is not named by its address")
	}
	if again := readAll(t, address, first.last(), pieceSize); len(again.records)+len(again.refused) > 0 {
		t.Errorf("read again: %v %v", again.records, again.refused)
	}
	if one := readAll(t, b.address("in/per%2520cent.ndjson"), nil, pieceSize); len(one.records) != 1 {
		t.Errorf("an escaped key: %v", one.records)
	}
}

// Objects do not grow: they are put again. One that begins as before is read on
// where it was left, another is read from its beginning.
func TestS3ObjectsThatArePutAgain(t *testing.T) {
	b := newS3Bucket(t)
	b.put("in/grown.ndjson", "{\"g\":1}\n{\"g\":2}\n")
	b.put("in/grown.ndjson.gz", gz("{\"z\":1}\n"))
	b.put("in/other.ndjson", "{\"o\":1}\n")
	b.put("in/same.ndjson", "{\"s\":1}\n")
	address := b.address("in/*")
	first := readAll(t, address, nil, pieceSize)
	b.put("in/grown.ndjson", "{\"g\":1}\n{\"g\":2}\n{\"g\":3}\n")
	b.put("in/grown.ndjson.gz", gz("{\"z\":1}\n{\"z\":2}\n"))
	b.put("in/other.ndjson", "{\"o\":2}\n") // as long as before, within the same second
	b.put("in/same.ndjson", "{\"s\":1}\n")
	second := readAll(t, address, first.last(), pieceSize)
	// Objects are compared by their uncompressed bytes.
	want := []string{`{"g":3}@16`, `{"z":2}@8`, `{"o":2}@0`}
	if diff := cmp.Diff(want, second.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A reading goes on within an object, where the last seal has left it.
func TestS3ReadingGoesOn(t *testing.T) {
	b := newS3Bucket(t)
	var data strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&data, "{\"n\":%d,\"x\":%q}\n", n, strings.Repeat("x", 1000))
	}
	b.put("in/a.ndjson", data.String())
	// Other content than a's: the same content under two names is read once.
	b.put("in/b.ndjson.gz", gz(strings.ReplaceAll(data.String(), "x", "y")))
	address := b.address("in/*")
	whole := readAll(t, address, nil, 100_000)
	if len(whole.records) != 4000 {
		t.Fatalf("%d records", len(whole.records))
	}
	for _, at := range []int{0, 1, 7, len(whole.cursors) / 2, len(whole.cursors) - 2} {
		before := &reading{}
		s := open(t, Options{Pattern: address}, 100_000)
		for range at + 1 {
			p, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before.take(t, p)
		}
		rest := readAll(t, address, before.last(), 100_000)
		if diff := cmp.Diff(whole.records, append(before.records, rest.records...)); diff != "" {
			t.Errorf("behind piece %d (-want +got):\n%s", at, diff)
		}
	}
}

// A server that goes away in the middle of an object is an error of the source,
// not the end or damage of the object.
func TestS3ServerGoesAway(t *testing.T) {
	b := newS3Bucket(t)
	var data strings.Builder
	for n := range 30_000 {
		fmt.Fprintf(&data, "{\"n\":%d,\"x\":%q}\n", n, strings.Repeat("x", 1000))
	}
	b.put("in/large.ndjson", data.String()) // more than sockets hold
	address := b.address("in/*")
	r := &reading{}
	s := open(t, Options{Pattern: address}, pieceSize)
	p, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.take(t, p)
	b.server.Stop()
	for err == nil {
		if p, err = s.Next(t.Context()); err == nil {
			r.take(t, p)
		}
	}
	if err == io.EOF || len(r.refused) > 0 || len(r.records) == 30_000 || !strings.Contains(err.Error(), "s3://lake/in/large.ndjson") {
		t.Fatalf("%d records, %v refused, then %v", len(r.records), r.refused, err)
	}
	b.server.Start()
	rest := readAll(t, address, r.last(), pieceSize)
	if n := len(r.records) + len(rest.records); n != 30_000 || len(rest.refused) > 0 {
		t.Errorf("%d records in all, %v refused", n, rest.refused)
	}
}

// A connection that breaks is replaced by another one, unless the object has changed.
func TestS3ConnectionBreaks(t *testing.T) {
	b := newS3Bucket(t)
	var data strings.Builder
	for n := range 30_000 {
		fmt.Fprintf(&data, "{\"n\":%d,\"x\":%q}\n", n, strings.Repeat("x", 1000))
	}
	for name, test := range map[string]struct {
		change func()
		broken bool
	}{
		"breaks":  {func() {}, false},
		"changes": {func() { b.put("in/large.ndjson", data.String()[:20<<20]) }, true},
	} {
		b.put("in/large.ndjson", data.String()) // more than sockets hold
		r := &reading{}
		s := open(t, Options{Pattern: b.address("in/*")}, pieceSize)
		p, err := s.Next(t.Context())
		for n := 0; err == nil; n++ {
			r.take(t, p)
			if n == 0 {
				b.server.Stop()
				b.server.Start()
				test.change()
			}
			p, err = s.Next(t.Context())
		}
		if errors.Is(err, io.EOF) && p != nil {
			r.take(t, p)
		}
		if broken := !errors.Is(err, io.EOF); broken != test.broken || len(r.refused) > 0 || !broken && len(r.records) != 30_000 {
			t.Errorf("%s: %d records, %v refused, then %v", name, len(r.records), r.refused, err)
		}
	}
}

// Errors are reported without the parameters that may hold secrets.
func TestS3Mistakes(t *testing.T) {
	b := newS3Bucket(t)
	b.put("in/a.ndjson", "{}\n")
	fails := func(address string, want ...string) {
		t.Helper()
		s, err := Open(context.Background(), Options{Name: "files.test", Pattern: address})
		if err == nil {
			_, err = s.Next(t.Context())
			_ = s.Close() // it was only opened
		}
		for _, text := range want {
			if err == nil || err == io.EOF || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want %q", address, err, text)
			}
		}
	}
	fails(strings.Replace(b.address("in/*"), "s3://lake", "s3://pond", 1), "s3://pond/in/", "NoSuchBucket")
	fails(b.address("in/*")+"&regionn=x", "s3://lake", "regionn")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
	fails(b.address("in/*"), "s3://lake/in/", "SignatureDoesNotMatch")
	b.server.Stop()
	fails(b.address("in/*"), "s3://lake/in/", "connection refused")
}
