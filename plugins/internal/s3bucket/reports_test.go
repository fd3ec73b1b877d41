package s3bucket

import (
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

// Each test below is a public report about a program that writes to S3.

// exportAll does a run of events and one of people, and a set of several parts
// that is replaced.
func exportAll(t *testing.T, s *store) {
	t.Helper()
	for _, run := range []sdk.Run{eventsRun(1, 1), peopleRun(1, 1), peopleRun(2, 2)} {
		if err := export(t.Context(), lakeOf(s), run, 2); err != nil {
			t.Fatalf("%s run %d: %v", run.Stream, run.Number, err)
		}
	}
	by := lake.NewAttempt(1, 1)
	r, err := s.Replace(t.Context(), "7/big/set", "", by)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(make([]byte, 2*partSize+1)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Seal(t.Context()), r.Switch(t.Context())); err != nil {
		t.Fatal(err)
	}
	u, err := s.Create(t.Context(), "7/big/part", by)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 2*partSize+1)); err != nil {
		t.Fatal(err)
	}
	if err := u.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range manyDeletes {
		names = append(names, fmt.Sprint("7/big/", i))
	}
	if err := s.Delete(t.Context(), append(names, "7/big/set", "7/big/part")); err != nil {
		t.Fatal(err)
	}
}

// apache/opendal 6741: a 409 means that another write is in progress, not that
// another writer's object exists.
func TestConflictOfAManifestIsTriedAgain(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for _, suffix := range []string{".json", ".target.json"} {
		gate := startGate(t, server)
		refused := false
		gate.refuse = func(_ int, r *http.Request) (int, string) {
			if !refused && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, suffix) {
				refused = true
				return http.StatusConflict, "ConditionalRequestConflict"
			}
			return 0, ""
		}
		c := configFor(server)
		c.Endpoint = gate.URL
		run := eventsRun(1, 1)
		run.PipelineID += strings.Trim(suffix, ".")[:4]
		run.Adopt = true
		if err := export(t.Context(), lakeOf(storeFor(t, c)), run, 1); err != nil {
			t.Errorf("after a 409 of %s: %v", suffix, err)
		}
		if !refused {
			t.Errorf("nothing ends in %s", suffix)
		}
	}
}

// After a 409 of CompleteMultipartUpload the upload is gone: the attempt ends with
// a retryable error, and the next attempt uploads the set again.
func TestConflictOfASetBeginsAnew(t *testing.T) {
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	refused := 0
	gate.refuse = func(_ int, r *http.Request) (int, string) {
		if refused == 0 && r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			refused++
			return http.StatusConflict, "ConditionalRequestConflict"
		}
		return 0, ""
	}
	c := configFor(server)
	c.Endpoint = gate.URL
	s := storeFor(t, c)
	err := export(t.Context(), lakeOf(s), peopleRun(1, 1), 2)
	if protocol.ClassOf(err) != protocol.Retryable || refused != 1 {
		t.Errorf("after a 409: %v", err)
	}
	if err := export(t.Context(), lakeOf(s), peopleRun(1, 2), 2); err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(t, objects(t, server)["7/mp_people_data/events_to_lake-c0ffee.json.gz"]); n != 2000 {
		t.Errorf("the set has %d rows", n)
	}
}

// A client that loses the answer to CompleteMultipartUpload sends it again and
// gets NoSuchUpload, although the object exists.
func TestLostAnswerOfAnUploadIsFoundDone(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for i, checksums := range []string{checksumCRC32, checksumNone, checksumCRC32, checksumNone} {
		gate := startGate(t, server)
		lost := false
		complete := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
		gate.lose = func(r *http.Request) bool {
			is := complete(r) && !lost
			lost = lost || is
			return is
		}
		gate.refuse = func(_ int, r *http.Request) (int, string) {
			if i >= 2 && lost && complete(r) { // as Amazon answers; the stand-in says 200
				return http.StatusNotFound, "NoSuchUpload"
			}
			return 0, ""
		}
		c := configFor(server)
		c.Endpoint, c.Checksums = gate.URL, checksums
		u, err := storeFor(t, c).Create(t.Context(), fmt.Sprint("big-", i), lake.NewAttempt(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(make([]byte, 2*partSize+1)); err != nil {
			t.Fatal(err)
		}
		if err := u.Finish(t.Context()); err != nil || !lost {
			t.Errorf("%s: after a lost answer: %v", checksums, err)
		}
	}
}

// aws/aws-sdk-go-v2 3007, aws-sdk-js-v3 6810: servers that refuse the newer
// checksums, with any of several words.
func TestServersThatRefuseChecksums(t *testing.T) {
	server := standin.StartS3(t, "lake")
	newer := func(r *http.Request) bool {
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Checksum-") || strings.HasPrefix(name, "X-Amz-Sdk-Checksum") {
				return true
			}
		}
		return strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked")
	}
	anything := func(r *http.Request) bool { return newer(r) || r.Header.Get("Content-Md5") != "" }
	for _, c := range []struct {
		name    string
		refuses func(*http.Request) bool
		status  int
		code    string
		works   []string
	}{
		{"R2", newer, http.StatusNotImplemented, "NotImplemented", []string{checksumMD5, checksumNone}},
		{"an old Ceph", newer, http.StatusBadRequest, "InvalidArgument", []string{checksumMD5, checksumNone}},
		{"one that knows none", anything, http.StatusNotImplemented, "NotImplemented", []string{checksumNone}},
	} {
		for _, checksums := range []string{checksumCRC32, checksumMD5, checksumNone} {
			t.Run(c.name+", "+checksums, func(t *testing.T) {
				gate := startGate(t, server)
				gate.message = "Header 'x-amz-checksum-crc32' with value '…' not implemented"
				gate.refuse = func(_ int, r *http.Request) (int, string) {
					if c.refuses(r) {
						return c.status, c.code
					}
					return 0, ""
				}
				conf := configFor(server)
				conf.Endpoint, conf.Checksums = gate.URL, checksums
				s := storeFor(t, conf)
				if slices.Contains(c.works, checksums) {
					clearBucket(t, server)
					exportAll(t, s)
					for _, r := range lake.Check(t.Context(), s, "", 7, "1") {
						if !r.OK {
							t.Errorf("%s: %s", r.Action, r.Detail)
						}
					}
					return
				}
				err := export(t.Context(), lakeOf(s), eventsRun(1, 1), 1)
				var e *sdk.Error
				if !errors.As(err, &e) || e.Class != protocol.Configuration || !strings.Contains(e.Hint, "checksums = ") {
					t.Errorf("the run ended with %v", err)
				}
				if r := lake.Check(t.Context(), s, "", 7, "1")[0]; r.OK || !strings.Contains(r.Detail, "checksums = ") {
					t.Errorf("check says %+v", r)
				}
			})
		}
	}
}

// aws/aws-sdk-go-v2 3469, AccessControlListNotSupported: neither trailers nor
// ACLs are sent, over TLS either, where the SDK would.
func TestNoRequestHasATrailerOrAnACL(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for _, secure := range []bool{false, true} {
		for checksums, header := range map[string]string{checksumCRC32: "X-Amz-Checksum-Crc32", checksumMD5: "Content-Md5", checksumNone: ""} {
			gate := startGateAt(t, server, "", secure)
			t.Setenv("AWS_CA_BUNDLE", "")
			if secure {
				bundle := filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gate.Certificate}), 0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv("AWS_CA_BUNDLE", bundle)
			}
			conf := configFor(server)
			conf.Endpoint, conf.Checksums = gate.URL, checksums
			exportAll(t, storeFor(t, conf))
			all := gate.seen(func(*http.Request) bool { return true })
			for _, r := range all {
				checkHeaders(t, r, checksums, header)
			}
			clearBucket(t, server)
		}
	}
}

func checkHeaders(t *testing.T, r *http.Request, checksums, header string) {
	t.Helper()
	for name := range r.Header {
		for _, never := range []string{"X-Amz-Trailer", "Trailer", "X-Amz-Acl", "X-Amz-Grant-", "X-Amz-Decoded-Content-Length"} {
			if strings.HasPrefix(name, never) {
				t.Errorf("%s: %s %s has %s", checksums, r.Method, r.URL, name)
			}
		}
		if checksums != checksumCRC32 && strings.Contains(name, "Checksum") {
			t.Errorf("%s: %s %s has %s", checksums, r.Method, r.URL, name)
		}
	}
	if len(r.TransferEncoding) > 0 || strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
		t.Errorf("%s: %s %s is chunked", checksums, r.Method, r.URL)
	}
	if header != "" && r.Method == http.MethodPut && r.Header.Get(header) == "" {
		t.Errorf("%s: %s %s has no %s", checksums, r.Method, r.URL, header)
	}
}

func clearBucket(t *testing.T, server *standin.S3) {
	t.Helper()
	s := storeFor(t, configFor(server))
	var names []string
	err := s.List(t.Context(), "", true, func(o lake.Object) error {
		names = append(names, o.Name)
		return nil
	})
	if err == nil {
		err = s.Delete(t.Context(), names)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// apache/iceberg 10874: an error in the middle never completes an upload.
func TestErrorInTheMiddleCompletesNothing(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for _, kind := range []func(int64, int64) sdk.Run{eventsRun, peopleRun} {
		gate := startGate(t, server)
		conf := configFor(server)
		conf.Endpoint = gate.URL
		l := lakeOf(storeFor(t, conf))
		run := kind(1, 1)
		if _, err := l.Open(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		date := map[bool]string{true: "2026-06-01"}[run.Mode == sdk.Append]
		broken := errors.New("the stream was cut")
		sent := 0
		_, err := l.Write(t.Context(), run, sdk.Partition{Date: date}, batch.NewReader(func() (*batch.Batch, error) {
			if sent += 1 << 20; sent > 3*partSize {
				return nil, broken
			}
			return incompressible(1 << 20), nil
		}, nil))
		if !errors.Is(err, broken) {
			t.Errorf("write: %v", err)
		}
		if err := l.Abort(t.Context(), run, false); err != nil {
			t.Fatal(err)
		}
		begun := gate.seen(func(r *http.Request) bool { return r.URL.Query().Has("uploads") && r.Method == http.MethodPost })
		completed := gate.seen(func(r *http.Request) bool { return r.URL.Query().Has("uploadId") && r.Method == http.MethodPost })
		aborted := gate.seen(func(r *http.Request) bool { return r.URL.Query().Has("uploadId") && r.Method == http.MethodDelete })
		if len(begun) != 1 || len(completed) != 0 || len(aborted) == 0 { // a slow server is asked to abort again
			t.Errorf("%d uploads begun, %d completed, %d aborted", len(begun), len(completed), len(aborted))
		}
		if left := objects(t, server); len(left) != 0 {
			t.Errorf("%d objects are there", len(left))
		}
	}
}

// incompressible returns a batch of n bytes whose payload is never inflated.
func incompressible(n int) *batch.Batch {
	return &batch.Batch{Rows: 1, RowsBytes: n, Payload: append(make([]byte, n), 0, 0, 0xff, 0xff)}
}

// rudderlabs/rudder-server 6037: a run that dies between its objects and comes
// again has the same objects, and no others.
func TestRetryAfterAKillHasTheSameObjects(t *testing.T) {
	undisturbed, server := standin.StartS3(t, "lake"), standin.StartS3(t, "lake")
	write := func(l *lake.Lake, run sdk.Run, days int) (receipt sdk.Receipt) {
		if _, err := l.Open(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		for i := range days {
			date := fmt.Sprintf("2026-06-%02d", i+1)
			p, err := l.Write(t.Context(), run, sdk.Partition{Index: i, Date: date}, laketest.Reader(date, 2, 500))
			if err != nil {
				t.Fatal(err)
			}
			receipt.Partitions = append(receipt.Partitions, p)
		}
		return receipt
	}
	all := func(l *lake.Lake, run sdk.Run) {
		receipt := write(l, run, 5)
		if err := errors.Join(l.Prepare(t.Context(), run, receipt), l.Commit(t.Context(), run, receipt)); err != nil {
			t.Fatal(err)
		}
	}
	all(lakeOf(storeFor(t, configFor(undisturbed))), eventsRun(1, 1))
	killed := lakeOf(storeFor(t, configFor(server)))
	write(killed, eventsRun(1, 1), 3)
	if err := killed.Prepare(t.Context(), eventsRun(1, 1), sdk.Receipt{}); err != nil { // the three objects are there
		t.Fatal(err)
	}
	if n := len(objects(t, server)); n != 3 {
		t.Fatalf("%d objects before the kill", n)
	}
	all(lakeOf(storeFor(t, configFor(server))), eventsRun(1, 2))
	want, got := objects(t, undisturbed), objects(t, server)
	if len(got) != 5 || !maps.Equal(want, got) {
		t.Errorf("objects are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// Redpanda Connect 2025-12-23: endpoints with a slash at the end or a path.
func TestEndpointsWithAPath(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for _, path := range []string{"", "/storage/v1/s3"} {
		for _, slash := range []string{"", "/"} {
			gate := startGateAt(t, server, path, false)
			conf := configFor(server)
			conf.Endpoint = gate.URL + slash
			exportAll(t, storeFor(t, conf))
			wrong := gate.seen(func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, path+"/lake") })
			for _, r := range wrong {
				t.Errorf("endpoint %s: %s %s", conf.Endpoint, r.Method, r.URL)
			}
			clearBucket(t, server)
		}
	}
}

// With a wrong path in the endpoint, such as another bucket's name, the check must
// fail and leave no object, and no run may commit.
func TestWrongPathLeavesNothing(t *testing.T) {
	server := standin.StartS3(t, "lake")
	conf := configFor(server)
	conf.Bucket, conf.Endpoint = "exports", server.Endpoint+"/lake"
	s := storeFor(t, conf)
	failed := false
	for _, r := range lake.Check(t.Context(), s, "", 7, "1") {
		failed = failed || !r.OK
	}
	if !failed {
		t.Error("check is content")
	}
	if err := export(t.Context(), lakeOf(s), eventsRun(1, 1), 1); err == nil {
		t.Error("the run is committed")
	}
	err := filepath.WalkDir(filepath.Join(server.Dir, "lake"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Buckets with versioning, and with Object Lock, must list only live objects after
// several replacements.
func TestVersionedAndLockedBuckets(t *testing.T) {
	for _, locked := range []bool{false, true} {
		server := standin.StartS3Versioned(t)
		s := storeFor(t, configFor(server))
		_, err := s.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: s.target(), ObjectLockEnabledForBucket: &locked})
		if err != nil {
			t.Fatal(err)
		}
		if locked {
			_, err = s.client.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
				Bucket: s.target(), ObjectLockConfiguration: &types.ObjectLockConfiguration{
					ObjectLockEnabled: types.ObjectLockEnabledEnabled,
					Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Days: aws.Int32(1), Mode: types.ObjectLockRetentionModeCompliance}},
				},
			})
		} else {
			_, err = s.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
				Bucket: s.target(), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		exportAll(t, s)
		if err := export(t.Context(), lakeOf(s), peopleRun(3, 3), 1); err != nil {
			t.Fatal(err)
		}
		var live []string
		err = s.List(t.Context(), "7/mp_", true, func(o lake.Object) error {
			live = append(live, o.Name)
			return nil
		})
		want := []string{
			"7/mp_master_event/2026/06/01/events_to_lake-c0ffee-00000001-0001.json.gz",
			"7/mp_master_event/2026/06/02/events_to_lake-c0ffee-00000001-0001.json.gz",
			"7/mp_people_data/events_to_lake-c0ffee.json.gz",
		}
		if diff := cmp.Diff(want, live); diff != "" || err != nil {
			t.Errorf("locked %v: live objects, %v (-want +got):\n%s", locked, err, diff)
		}
		for _, r := range lake.Check(t.Context(), s, "", 7, "1") {
			if !r.OK {
				t.Errorf("locked %v: %s: %s", locked, r.Action, r.Detail)
			}
		}
	}
}

// Amazon refuses a PUT without a checksum to a bucket with Object Lock.
func TestLockedBucketAsksForAChecksum(t *testing.T) {
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	gate.message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
	gate.refuse = func(_ int, r *http.Request) (int, string) {
		if r.Method == http.MethodPut && r.Header.Get("Content-Md5") == "" && r.Header.Get("X-Amz-Checksum-Crc32") == "" {
			return http.StatusBadRequest, "InvalidRequest"
		}
		return 0, ""
	}
	for _, checksums := range []string{checksumCRC32, checksumMD5, checksumNone} {
		conf := configFor(server)
		conf.Endpoint, conf.Checksums = gate.URL, checksums
		run := eventsRun(1, 1)
		run.PipelineID, run.Adopt = checksums, true
		err := export(t.Context(), lakeOf(storeFor(t, conf)), run, 1)
		var e *sdk.Error
		if ok := errors.As(err, &e) && e.Class == protocol.Configuration && strings.Contains(e.Hint, `checksums = "crc32"`); ok != (checksums == checksumNone) {
			t.Errorf("%s: %v", checksums, err)
		}
	}
}
