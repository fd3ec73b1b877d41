package bigquery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func TestKeepsNumber(t *testing.T) {
	for number, want := range map[string]bool{
		"18446744073709551615": true, "18446744073709551616": false, "18446744073709551617": false,
		"-9223372036854775808": true, "-9223372036854775809": false, "9007199254740993": true, "123456789012345678901234567890": false,
		"1e400": false, "0.1": true, "0.1234567890123456789": false, "0.30000000000000004": true, "1e21": true, "1e-400": false,
	} {
		if got := keepsNumber([]byte(number)); got != want {
			t.Errorf("%s: %v, want %v", number, got, want)
		}
	}
}

// Two attempts never have a name in common, and a label holds only characters that the service
// takes.
func TestNames(t *testing.T) {
	run := sdk.Run{Pipeline: "events", PipelineID: "k7q2m9x4", Stream: sdk.People, Number: 12, Fence: 34, Content: "0123456789abcdef0123456789abcdef"}
	other := run
	other.Content = "fedcba9876543210fedcba9876543210"
	if generationName(run) == generationName(other) || stagingName(run) == stagingName(other) {
		t.Error("two copies of a catalog have tables in common")
	}
	id, number, ok := parseGeneration(peopleTable, generationName(run))
	if !ok || id != run.PipelineID || number != 12 {
		t.Errorf("the generation %s is read as %s, %d, %v", generationName(run), id, number, ok)
	}
	for _, name := range []string{"mp_people_data_view", "mp_people_data_empty", "mp_people_data_20240101", "mp_people_data_20240101_20241231", "mp_people_data"} {
		if _, _, ok := parseGeneration(peopleTable, name); ok {
			t.Errorf("%s is taken for a generation of Penstock's", name)
		}
	}
	if got := label("Ä b.c/" + strings.Repeat("x", 100)); len(got) != 63 || strings.ContainsFunc(got, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_-", r) }) {
		t.Errorf("label %q", got)
	}
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCE_METADATA_HOST", "CLOUDSDK_CONFIG"} {
		if !slices.ContainsFunc(Plugin().Environment, func(entry string) bool { return protocol.MatchesEnvironment(entry, name) }) {
			t.Errorf("%s is not declared", name)
		}
	}
}

// Days beyond the range of statements are rejected, the days at its ends are not.
func TestBeyondDML(t *testing.T) {
	for date, want := range map[string]bool{"": false, "1969-12-31": true, "1970-01-01": false, "2159-12-31": false, "2160-01-01": true, "0001-01-01": true} {
		if got := beyondDML(date) != ""; got != want {
			t.Errorf("%q: %v, want %v", date, got, want)
		}
	}
}

// Each refusal has its class, and its hint names the next step.
func TestRefusals(t *testing.T) {
	s := newService(config{Project: "acme-1", Dataset: "mixpanel", Impersonate: "e@acme-1.iam.gserviceaccount.com"}, nil)
	for _, c := range []struct {
		status          int
		reason, message string
		class           protocol.Class
		hint            string
	}{
		{403, "accessDenied", "Access Denied: Project acme-1: User does not have bigquery.jobs.create permission in project acme-1.", protocol.Configuration, "gcloud projects add-iam-policy-binding acme-1 --member=serviceAccount:e@acme-1.iam.gserviceaccount.com --role=roles/bigquery.jobUser"},
		{403, "accessDenied", "Access Denied: Table acme-1:mixpanel.t: Permission bigquery.tables.getData denied on table acme-1:mixpanel.t (or it may not exist).", protocol.Configuration, "GRANT `roles/bigquery.dataEditor` ON SCHEMA `acme-1.mixpanel` TO \"serviceAccount:e@acme-1.iam.gserviceaccount.com\"'; or the table or dataset does not exist, or the dataset is in another location"},
		{404, "notFound", "Not found: Dataset acme-1:mixpanel", protocol.Configuration, "create_dataset"},
		{403, "billingNotEnabled", "Billing has not been enabled for this project. DML queries are not allowed in the free tier.", protocol.Configuration, "enable billing for project acme-1"},
		{403, "accessNotConfigured", "BigQuery API has not been used in project 1 before or it is disabled.", protocol.Configuration, "gcloud services enable bigquery.googleapis.com --project=acme-1"},
		{400, "invalidQuery", "Transaction is aborted due to concurrent update against table acme-1:mixpanel.t. Transaction ID: x", protocol.Retryable, ""},
		{400, "invalidQuery", "Transaction is aborted due to concurrent update against table acme-sandbox:mixpanel.t. Transaction ID: x", protocol.Retryable, ""},
		{403, "rateLimitExceeded", "Exceeded rate limits: too many concurrent jobs in project acme-sandbox.", protocol.Retryable, ""},
		{400, "invalidQuery", "Assertion failed: " + miscounted, protocol.Retryable, ""},
		{400, "notFound", "Not found: Table acme-1:mixpanel.penstock_staging_k7 was not found in location EU", protocol.Retryable, ""},
		{404, "notFound", "Not found: Job acme-1:EU.penstock_1_load", protocol.Retryable, ""},
		{400, "notFound", "Not found: Dataset acme-1:mixpanel was not found in location EU", protocol.Configuration, "create the dataset"},
		{400, "invalidQuery", "Syntax error: Unexpected end of script", protocol.Permanent, ""},
		{403, "rateLimitExceeded", "Exceeded rate limits: too many table update operations for this table.", protocol.Retryable, ""},
		{403, "quotaExceeded", "Quota exceeded: Your table exceeded quota for imports or query appends per table.", protocol.Retryable, ""},
		{400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 10485760. 20971520 or higher required.", protocol.Configuration, "maximum_bytes_billed"},
		{500, "backendError", "Error encountered during execution. Retrying may solve the problem.", protocol.Retryable, ""},
		{401, "authError", "Request had invalid authentication credentials.", protocol.Configuration, "credentials"},
		{400, "invalid", "Error while reading data, error message: JSON parsing error in row starting at position 0", protocol.Permanent, ""},
	} {
		var errs []error
		errs = append(errs, &googleapi.Error{Code: c.status, Message: c.message, Errors: []googleapi.ErrorItem{{Reason: c.reason, Message: c.message}}})
		if c.status != http.StatusUnauthorized && c.status != http.StatusNotFound {
			errs = append(errs, &jobFailure{job: "j", reason: c.reason, message: c.message})
		}
		for _, err := range errs {
			got := new(sdk.Error)
			if !errors.As(s.classify("act", err), &got) || got.Class != c.class || !strings.Contains(got.Hint, c.hint) {
				t.Errorf("%T %d %s: class %v, hint %q; want %v and %q", err, c.status, c.reason, got.Class, got.Hint, c.class, c.hint)
			}
		}
	}
}

// The id of an upload's session lets anybody write to it: no error shows it.
func TestErrorsOfUploads(t *testing.T) {
	sent := &url.Error{Op: "Post", URL: "https://bigquery.googleapis.com/upload/bigquery/v2/projects/acme/jobs?uploadType=resumable&upload_id=ABg5-UxSecret&x=1", Err: io.ErrUnexpectedEOF}
	for _, cause := range []error{sent, fmt.Errorf("final error: %w", sent)} {
		err := uploadError(cause)
		if text := err.Error(); strings.Contains(text, "Secret") || !strings.Contains(text, "upload_id=…&x=1") || !errors.Is(err, io.ErrUnexpectedEOF) || !isTransient(err) {
			t.Errorf("%v", err)
		}
	}
	for _, c := range []struct {
		status    int
		message   string
		transient bool
	}{
		{404, "", true}, {410, "", true}, {404, "Not found: Dataset acme:d", false}, {404, "Not found: Project acme", false}, {400, "", false}, {503, "", true},
	} {
		if err := uploadError(&googleapi.Error{Code: c.status, Message: c.message}); isTransient(err) != c.transient {
			t.Errorf("%d %s: transient %v", c.status, c.message, !c.transient)
		}
	}
}

// An upload takes no more memory than its bytes need, and one that fits its chunk with
// a byte to spare is one request.
func TestChunks(t *testing.T) {
	for size, want := range map[int64]int{0: 1, 20: 21, chunkSize - 1: chunkSize, chunkSize: chunkSize, 5 << 20: chunkSize} {
		if got := chunkFor(size); got != want {
			t.Errorf("%d bytes: chunks of %d, want %d", size, got, want)
		}
	}
}

// No window of 10 s has more loads than its number, and no load waits longer than that.
func TestPace(t *testing.T) {
	now := time.Unix(0, 0)
	d := &destination{service: newService(config{}, nil)}
	d.now = func() time.Time { return now }
	d.sleep = func(_ context.Context, wait time.Duration) error { now = now.Add(wait); return nil }
	a := &attempt{ctx: t.Context()}
	var begun []time.Time
	for i := range 400 {
		if err := d.pace(a); err != nil {
			t.Fatal(err)
		}
		begun = append(begun, now)
		if i >= loadsPerWindow && now.Sub(begun[i-loadsPerWindow]) < loadWindow {
			t.Fatalf("load %d begins %s after load %d", i, now.Sub(begun[i-loadsPerWindow]), i-loadsPerWindow)
		}
		now = now.Add(time.Duration(i%7) * 10 * time.Millisecond) // the rows of a day arrive
	}
	if took, most := now.Sub(begun[0]), 9*loadWindow; took > most {
		t.Errorf("400 loads take %s, want at most %s", took, most)
	}
}

// A part that is held can be read again and again; a larger one is read once, while
// it is written. The blocks of both go back.
func TestParts(t *testing.T) {
	for _, size := range []int{0, 1, blockSize, heldBlocks * blockSize, heldBlocks*blockSize + blockSize/2, 40*blockSize + 7} {
		b := newBlocks()
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		var got []byte
		var readErr error
		var reading sync.WaitGroup
		var p *part
		p = newPart(t.Context(), b, func() {
			reading.Go(func() {
				got, readErr = io.ReadAll(p)
				p.stopReading()
			})
		})
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 300_000)
			if _, err := p.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := p.close(nil); err != nil {
			t.Fatal(err)
		}
		reading.Wait()
		if !p.large {
			for range 2 {
				if got, readErr = io.ReadAll(p.reader()); readErr != nil || !bytes.Equal(got, data) {
					t.Errorf("size %d: read %d bytes, %v", size, len(got), readErr)
				}
			}
			p.release()
		} else if readErr != nil || !bytes.Equal(got, data) {
			t.Errorf("size %d: read %d bytes, %v", size, len(got), readErr)
		}
		if n := b.lent(); n != 0 {
			t.Errorf("size %d: %d blocks did not come back", size, n)
		}
	}
}

// A large part whose upload ends early fails its writer; one whose writer fails is
// cut for its reader. No block is lost.
func TestPartsThatAreCut(t *testing.T) {
	b := newBlocks()
	var reading sync.WaitGroup
	var p *part
	p = newPart(t.Context(), b, func() {
		reading.Go(func() {
			_, _ = io.ReadFull(p, make([]byte, 1000))
			p.stopReading()
		})
	})
	_, err := p.Write(make([]byte, 30*blockSize))
	if !errors.Is(err, errUploadEnded) {
		t.Errorf("a writer whose reader is gone: %v", err)
	}
	_ = p.close(err)
	p.release()
	reading.Wait()
	if n := b.lent(); n != 0 {
		t.Errorf("%d blocks did not come back", n)
	}

	cause := errors.New("cut")
	var readErr error
	p = newPart(t.Context(), b, func() {
		reading.Go(func() {
			_, readErr = io.Copy(io.Discard, p)
			p.stopReading()
		})
	})
	if _, err := p.Write(make([]byte, 10*blockSize+5)); err != nil {
		t.Fatal(err)
	}
	_ = p.close(cause)
	p.release()
	reading.Wait()
	if !errors.Is(readErr, cause) || b.lent() != 0 {
		t.Errorf("the reader of a part that was cut: %v; %d blocks did not come back", readErr, b.lent())
	}

	ctx, cancel := context.WithCancel(t.Context())
	var taken [][]byte
	for range blockCount {
		block, err := b.get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, block)
	}
	cancel()
	if _, err := newPart(ctx, b, nil).Write([]byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("a writer that waits for a block, cancelled: %v", err)
	}
	for _, block := range taken {
		b.put(block)
	}
}

// Parts of many pipelines, each of which needs another block, do not wait for each
// other.
func TestPartsOfManyPipelines(t *testing.T) {
	b := newBlocks()
	var reading sync.WaitGroup
	var parts []*part
	for range 2 * blockCount / heldBlocks {
		var p *part
		p = newPart(t.Context(), b, func() {
			reading.Go(func() {
				_, _ = io.Copy(io.Discard, p)
				p.stopReading()
			})
		})
		parts = append(parts, p)
	}
	for range heldBlocks + 2 {
		for _, p := range parts {
			kept := 0
			for _, other := range parts {
				kept += len(other.held)
			}
			if kept == blockCount {
				t.Fatal("all blocks are kept by parts that need more of them")
			}
			if _, err := p.Write(make([]byte, blockSize)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range parts {
		if err := p.close(nil); err != nil {
			t.Fatal(err)
		}
		p.release()
	}
	reading.Wait()
	if n := b.lent(); n != 0 || len(b.collecting) != 0 {
		t.Errorf("%d blocks did not come back, %d parts collect", n, len(b.collecting))
	}
}

func TestLedgerRows(t *testing.T) {
	row := func(id string, version, fence, run int64) []cloud.Value {
		return []cloud.Value{id, "events", int64(7), version, fence, "c", false, run, "d", `{"run":4,"partitions":[]}`, time.Time{}}
	}
	lock, mine := row("", 3, 0, 0), row("k7", 0, 5, 4)
	l, err := parseLedger([][]cloud.Value{lock, mine})
	if err != nil || l.version != 3 || l.projectID != 7 || l.entries["k7"].Last != (sdk.LastRun{Number: 4, Content: "d"}) || l.entries["k7"].Fence != 5 {
		t.Fatalf("%+v, %v", l, err)
	}
	wrong := slices.Clone(mine)
	wrong[4] = nil
	for name, rows := range map[string][][]cloud.Value{
		"no lock": {mine}, "two locks": {lock, lock}, "a pipeline twice": {lock, mine, mine}, "few columns": {lock, mine[:4]},
		"no fence": {lock, wrong},
	} {
		if _, err := parseLedger(rows); protocol.ClassOf(err) != protocol.Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
}
