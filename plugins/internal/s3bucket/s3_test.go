package s3bucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

func eventsRun(number, fence int64) sdk.Run {
	return sdk.Run{
		ProjectID: 7, Pipeline: "events_to_lake", PipelineID: "c0ffee", Stream: sdk.Events, Mode: sdk.Append,
		Number: number, Fence: fence,
	}
}

func peopleRun(number, fence int64) sdk.Run {
	r := eventsRun(number, fence)
	r.Stream, r.Mode = sdk.People, sdk.Replace
	return r
}

func lakeOf(s *store) *lake.Lake {
	return lake.New(lake.Options{Store: s, Logger: hclog.NewNullLogger()})
}

// export does one run of two days, or of one set.
func export(ctx context.Context, l *lake.Lake, run sdk.Run, batches int) error {
	if _, err := l.Open(ctx, run); err != nil {
		return err
	}
	dates := []string{"2026-06-01", "2026-06-02"}
	if run.Mode == sdk.Replace {
		dates = []string{""}
	}
	var receipt sdk.Receipt
	for i, date := range dates {
		p, err := l.Write(ctx, run, sdk.Partition{Index: i, Date: date}, laketest.Reader(date+fmt.Sprint(run.Number), batches, 1000))
		if err != nil {
			return err
		}
		receipt.Partitions = append(receipt.Partitions, p)
	}
	if err := l.Prepare(ctx, run, receipt); err != nil {
		return err
	}
	return l.Commit(ctx, run, receipt)
}

// objects reads the bucket's data objects from the server's directory.
func objects(t *testing.T, s *standin.S3) map[string]string {
	t.Helper()
	found := make(map[string]string)
	root := filepath.Join(s.Dir, "lake")
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".json.gz") {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		found[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func rowsOf(t *testing.T, object string) int {
	t.Helper()
	r := bytes.NewReader([]byte(object))
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	rows, err := io.ReadAll(z)
	if err != nil || r.Len() != 0 {
		t.Fatalf("not one gzip member: %v, %d bytes behind it", err, r.Len())
	}
	return bytes.Count(rows, []byte("\n"))
}

func TestRunsReachTheServer(t *testing.T) {
	server := standin.StartS3(t, "lake")
	l := lakeOf(storeFor(t, configFor(server)))
	for _, run := range []sdk.Run{eventsRun(1, 1), eventsRun(2, 2), peopleRun(1, 1), peopleRun(2, 2)} {
		if err := export(t.Context(), l, run, 3); err != nil {
			t.Fatal(err)
		}
	}
	got := make(map[string]int)
	for name, data := range objects(t, server) {
		got[name] = rowsOf(t, data)
	}
	want := map[string]int{
		"7/mp_master_event/2026/06/01/events_to_lake-c0ffee-00000001-0001.json.gz": 3000,
		"7/mp_master_event/2026/06/02/events_to_lake-c0ffee-00000001-0001.json.gz": 3000,
		"7/mp_master_event/2026/06/01/events_to_lake-c0ffee-00000002-0001.json.gz": 3000,
		"7/mp_master_event/2026/06/02/events_to_lake-c0ffee-00000002-0001.json.gz": 3000,
		"7/mp_people_data/events_to_lake-c0ffee.json.gz":                           3000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestZombieCannotSwitchBack(t *testing.T) {
	server := standin.StartS3(t, "lake")
	s := storeFor(t, configFor(server))
	for _, kind := range []func(int64, int64) sdk.Run{eventsRun, peopleRun} {
		zombie, newer := lakeOf(s), lakeOf(s)
		if _, err := zombie.Open(t.Context(), kind(1, 1)); err != nil {
			t.Fatal(err)
		}
		p, err := zombie.Write(t.Context(), kind(1, 1), sdk.Partition{Date: map[bool]string{true: "2026-06-01"}[kind(1, 1).Mode == sdk.Append]}, laketest.Reader("old", 1, 10))
		if err != nil {
			t.Fatal(err)
		}
		receipt := sdk.Receipt{Partitions: []sdk.PartitionReceipt{p}}
		if err := zombie.Prepare(t.Context(), kind(1, 1), receipt); err != nil {
			t.Fatal(err)
		}
		if err := export(t.Context(), newer, kind(1, 2), 2); err != nil {
			t.Fatal(err)
		}
		before := objects(t, server)
		if err := zombie.Commit(t.Context(), kind(1, 1), receipt); protocol.ClassOf(err) != protocol.Fenced {
			t.Errorf("commit with an older fence: %v", err)
		}
		if diff := cmp.Diff(before, objects(t, server)); diff != "" {
			t.Errorf("the zombie changed objects:\n%s", diff)
		}
	}
}

func TestServerStopsMidRun(t *testing.T) {
	t.Parallel()
	server := standin.StartS3(t, "lake")
	s := storeFor(t, configFor(server))
	l := lakeOf(s)
	run := eventsRun(1, 1)
	if _, err := l.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(t.Context(), run, sdk.Partition{Date: "2026-06-01"}, laketest.Reader("2026-06-011", 2, 1000)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	_, err := l.Write(t.Context(), run, sdk.Partition{Index: 1, Date: "2026-06-02"}, laketest.Reader("2026-06-021", 2, 1000))
	if err == nil {
		err = l.Prepare(t.Context(), run, sdk.Receipt{})
	}
	if protocol.ClassOf(err) != protocol.Retryable {
		t.Fatalf("with the server stopped: %v", err)
	}
	if err := l.Abort(t.Context(), run, false); err != nil {
		t.Fatal(err)
	}
	server.Start()
	if err := export(t.Context(), lakeOf(s), eventsRun(1, 2), 2); err != nil {
		t.Fatal(err)
	}

	undisturbed := standin.StartS3(t, "lake")
	if err := export(t.Context(), lakeOf(storeFor(t, configFor(undisturbed))), eventsRun(1, 1), 2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(objects(t, undisturbed), objects(t, server)); diff != "" {
		t.Errorf("objects differ from those of an undisturbed run:\n%s", diff)
	}
	if lent := s.buffers.Lent(); lent != 0 {
		t.Errorf("%d part buffers were not given back", lent)
	}
}

func TestShortOutagesPassUnnoticed(t *testing.T) {
	t.Parallel()
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	gate.refuse = func(n int, _ *http.Request) (int, string) {
		if n%3 == 1 {
			return http.StatusServiceUnavailable, "SlowDown"
		}
		return 0, ""
	}
	c := configFor(server)
	c.Endpoint, c.maxBackoff = gate.URL, time.Millisecond
	if err := export(t.Context(), lakeOf(storeFor(t, c)), eventsRun(1, 1), 2); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, server)); n != 2 {
		t.Errorf("%d objects", n)
	}
}

func TestEncryptionIsAskedForOnEveryObject(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for _, c := range []struct{ encryption, key, wantAlgorithm, wantKey string }{
		{"none", "", "", ""},
		{"aes", "", "AES256", ""},
		{"kms", "", "aws:kms", ""},
		{"kms", "alias/lake", "aws:kms", "alias/lake"},
	} {
		gate := startGate(t, server)
		conf := configFor(server)
		conf.Endpoint, conf.Encryption, conf.KMSKeyID, conf.Prefix = gate.URL, c.encryption, c.key, c.wantKey
		s := storeFor(t, conf)
		run := eventsRun(1, 1)
		run.PipelineID = "id" + c.encryption + fmt.Sprint(len(c.key))
		run.Adopt = true
		if err := export(t.Context(), lakeOf(s), run, 1); err != nil {
			t.Fatal(err)
		}
		run.Stream, run.Mode = sdk.Identity, sdk.Replace
		if err := export(t.Context(), lakeOf(s), run, 1); err != nil {
			t.Fatal(err)
		}
		creates := gate.seen(func(r *http.Request) bool {
			q := r.URL.Query()
			return r.Method == http.MethodPut && !q.Has("partNumber") || r.Method == http.MethodPost && q.Has("uploads")
		})
		if len(creates) < 6 {
			t.Errorf("%s: %d requests create objects", c.encryption, len(creates))
		}
		for _, r := range creates {
			got := []string{r.Header.Get("X-Amz-Server-Side-Encryption"), r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")}
			if diff := cmp.Diff([]string{c.wantAlgorithm, c.wantKey}, got); diff != "" {
				t.Errorf("%s: %s %s:\n%s", c.encryption, r.Method, r.URL, diff)
			}
		}
	}
}

func TestEveryRequestNamesTheExpectedOwner(t *testing.T) {
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	conf := configFor(server)
	conf.Endpoint, conf.ExpectedBucketOwner = gate.URL, "123456789012"
	_ = export(t.Context(), lakeOf(storeFor(t, conf)), eventsRun(1, 1), 1) // the stand-in's owner is another
	all := gate.seen(func(*http.Request) bool { return true })
	if len(all) == 0 {
		t.Error("no request was made")
	}
	for _, r := range all {
		if r.Header.Get("X-Amz-Expected-Bucket-Owner") != "123456789012" {
			t.Errorf("%s %s names no owner", r.Method, r.URL)
		}
	}
	err := export(t.Context(), lakeOf(storeFor(t, conf)), eventsRun(1, 1), 1)
	if protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("a bucket of another owner: %v", err)
	}
}

func TestPartsAreSmallAndChecked(t *testing.T) {
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	conf := configFor(server)
	conf.Endpoint = gate.URL
	s := storeFor(t, conf)
	u, err := s.Create(t.Context(), "big", lake.NewAttempt(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 3<<20)
	for range 20 {
		if _, err := u.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	parts := gate.seen(func(r *http.Request) bool { return r.URL.Query().Has("partNumber") })
	if len(parts) != 60<<20/partSize {
		t.Errorf("60 MiB went in %d parts", len(parts))
	}
	for _, r := range parts {
		if r.ContentLength > 16<<20 || r.Header.Get("X-Amz-Checksum-Crc32") == "" {
			t.Errorf("part of %d bytes with checksum %q", r.ContentLength, r.Header.Get("X-Amz-Checksum-Crc32"))
		}
	}
}

func TestCheckNamesTheMissingPermission(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for _, c := range []struct {
		action string
		match  func(*http.Request) bool
	}{
		{"s3:PutObject", func(r *http.Request) bool { return r.Method == http.MethodPut }},
		{"s3:GetObject", func(r *http.Request) bool {
			return r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && !r.URL.Query().Has("uploads")
		}},
		{"s3:ListBucket", func(r *http.Request) bool { return r.URL.Query().Has("list-type") }},
		{"s3:ListBucketMultipartUploads", func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("uploads") }},
		{"s3:DeleteObject", func(r *http.Request) bool { return r.Method == http.MethodDelete && !r.URL.Query().Has("uploadId") }},
		{"s3:AbortMultipartUpload", func(r *http.Request) bool { return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") }},
		{"", func(*http.Request) bool { return false }},
	} {
		gate := startGate(t, server)
		gate.refuse = func(_ int, r *http.Request) (int, string) {
			if c.match(r) {
				return http.StatusForbidden, "AccessDenied"
			}
			return 0, ""
		}
		conf := configFor(server)
		conf.Endpoint = gate.URL
		d := &destination{Lake: nil, store: storeFor(t, conf), config: conf, project: sdk.Project{ID: 7}}
		var failed []string
		for _, r := range d.Check(t.Context()) {
			if !r.OK {
				failed = append(failed, r.Detail)
			}
		}
		if ok := len(failed) == 0; ok != (c.action == "") || !ok && !slices.ContainsFunc(failed, func(d string) bool { return strings.Contains(d, "grant "+c.action+" on arn:aws:s3:::lake") }) {
			t.Errorf("without %s: %q", c.action, failed)
		}
	}
}

func TestMistakesOfPeople(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for name, change := range map[string]func(*config){
		"no such bucket":   func(c *config) { c.Bucket = "other" },
		"unknown key":      func(c *config) { c.AccessKeyID = "nobody" },
		"wrong secret key": func(c *config) { c.SecretAccessKey = "wrong" },
	} {
		conf := configFor(server)
		change(&conf)
		err := export(t.Context(), lakeOf(storeFor(t, conf)), eventsRun(1, 1), 1)
		if protocol.ClassOf(err) != protocol.Configuration {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), conf.SecretAccessKey) {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}

func TestTargets(t *testing.T) {
	uris := func(c config) string {
		d := &destination{config: c, project: sdk.Project{ID: 7}, root: c.Prefix}
		all := make(map[sdk.Stream]string)
		for _, target := range d.Targets() {
			all[target.Stream] = target.URI
		}
		if len(all) != 3 || len(slices.Compact(slices.Sorted(maps.Values(all)))) != 3 {
			t.Errorf("targets are %v", all)
		}
		return all[sdk.Events]
	}
	for want, c := range map[string]config{
		"s3://lake/7/mp_master_event/":                  {Bucket: "lake"},
		"s3://china/7/mp_master_event/":                 {Bucket: "china", Endpoint: "https://s3.cn-north-1.amazonaws.com.cn"},
		"s3://lake/a/b/7/mp_master_event/":              {Bucket: "lake", Prefix: "a/b", Endpoint: "https://s3.eu-west-1.amazonaws.com"},
		"s3://minio.local:9000/lake/7/mp_master_event/": {Bucket: "lake", Endpoint: "http://MINIO.local:9000/"},
		"s3://h/storage/v1/s3/lake/7/mp_master_event/":  {Bucket: "lake", Endpoint: "https://h/storage/v1/s3/"},
	} {
		if got := uris(c); got != want {
			t.Errorf("target is %s, want %s", got, want)
		}
	}
}
