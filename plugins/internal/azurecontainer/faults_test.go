package azurecontainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// operations are the kinds of requests, and a call of the store for each.
var operations = []struct {
	name  string
	match faultproxy.Match
	call  func(ctx context.Context, s *store, name string) error
}{
	{"Put Blob", faultproxy.Match{Method: http.MethodPut}, func(ctx context.Context, s *store, name string) error {
		return laketest.Put(ctx, s, name, laketest.Steps(1000))
	}},
	{"Put Block", faultproxy.Match{Method: http.MethodPut, Query: "comp=block"}, func(ctx context.Context, s *store, name string) error {
		return laketest.Put(ctx, s, name, laketest.Steps(blockSize+1))
	}},
	{"Put Block List", faultproxy.Match{Method: http.MethodPut, Query: "comp=blocklist"}, func(ctx context.Context, s *store, name string) error {
		return laketest.Put(ctx, s, name, laketest.Steps(blockSize+1))
	}},
	{"Get Blob", faultproxy.Match{Method: http.MethodGet}, func(ctx context.Context, s *store, name string) error {
		data, _, err := s.Read(ctx, "there", 1<<20)
		if err == nil && !bytes.Equal(data, laketest.Steps(1000)) {
			err = fmt.Errorf("%d other bytes were read", len(data))
		}
		return errors.Join(err, laketest.Put(ctx, s, name, laketest.Steps(1000)))
	}},
	{"List Blobs", faultproxy.Match{Method: http.MethodGet, Query: "comp=list"}, func(ctx context.Context, s *store, name string) error {
		n := 0
		err := s.List(ctx, "there", true, func(lake.Object) error { n++; return nil })
		if err == nil && n != 1 {
			err = fmt.Errorf("%d blobs are listed", n)
		}
		return errors.Join(err, laketest.Put(ctx, s, name, laketest.Steps(1000)))
	}},
	{"Get Blob Properties", faultproxy.Match{Method: http.MethodHead}, func(ctx context.Context, s *store, name string) error {
		if err := laketest.Put(ctx, s, name, laketest.Steps(1000)); err != nil {
			return err
		}
		_, err := s.Fence(ctx, name, lake.NewAttempt(1, 1))
		return err
	}},
	{"Get Block List", faultproxy.Match{Method: http.MethodGet, Query: "comp=blocklist"}, func(ctx context.Context, s *store, name string) error {
		if err := laketest.Put(ctx, s, name, laketest.Steps(1000)); err != nil {
			return err
		}
		_, err := s.Fence(ctx, name, lake.NewAttempt(1, 1))
		return err
	}},
	{"Set Blob Properties", faultproxy.Match{Method: http.MethodPut, Query: "comp=properties"}, func(ctx context.Context, s *store, name string) error {
		if err := laketest.Put(ctx, s, name, laketest.Steps(1000)); err != nil {
			return err
		}
		_, err := s.Fence(ctx, name, lake.NewAttempt(1, 1))
		return err
	}},
	{"Delete Blob", faultproxy.Match{Method: http.MethodDelete}, func(ctx context.Context, s *store, name string) error {
		if err := errors.Join(laketest.Put(ctx, s, name+"x", laketest.Steps(10)), s.Delete(ctx, []string{name + "x"})); err != nil {
			return err
		}
		return laketest.Put(ctx, s, name, laketest.Steps(1000))
	}},
}

// transient are the faults that a call comes through by itself.
func transient() map[string]faultproxy.Fault {
	return map[string]faultproxy.Fault{
		"429":           refusal(http.StatusTooManyRequests, "TooManyRequests", "Slow down."),
		"500":           refusal(http.StatusInternalServerError, "OperationTimedOut", "Operation could not be completed within the specified time."),
		"503":           refusal(http.StatusServiceUnavailable, "ServerBusy", "The server is busy."),
		"503 by a host": faultproxy.Answer(http.StatusServiceUnavailable, nil, "<html>"),
		"slow":          faultproxy.Delay(30 * time.Millisecond),
		"cut before":    faultproxy.CutBefore(),
		"cut answer":    faultproxy.CutAnswer(0),
		"lost answer":   faultproxy.LoseAnswer(),
	}
}

// Every kind of request comes through every transient fault, and the blob is there
// once and whole.
func TestEveryRequestComesThroughTransientFaults(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	if err := laketest.Put(t.Context(), storeFor(t, configFor(server)), "there", laketest.Steps(1000)); err != nil {
		t.Fatal(err)
	}
	for i, op := range operations {
		for fault, f := range transient() {
			proxy, s := proxied(t, server)
			proxy.Add(faultproxy.Rule{Match: op.match, Fault: f})
			name := fmt.Sprintf("o%d/%s", i, strings.ReplaceAll(fault, " ", "-"))
			if err := op.call(t.Context(), s, name); err != nil {
				t.Errorf("%s, %s: %v", op.name, fault, err)
				continue
			}
			data, _, err := s.Read(t.Context(), name, 1<<30)
			if err != nil || len(data) != 1000 && len(data) != blockSize+1 {
				t.Errorf("%s, %s: %d bytes are there, %v", op.name, fault, len(data), err)
			}
		}
	}
}

// A fault that stays ends the call after a bounded number of requests, with an error
// that the host retries, and whose text names the request and no address.
func TestFaultsThatStay(t *testing.T) {
	for fault, f := range transient() {
		if fault == "slow" || fault == "cut answer" || fault == "lost answer" {
			continue // they have no server here
		}
		for _, op := range operations[:1] {
			proxy, s := newRefusing(t, f)
			err := op.call(t.Context(), s, "a")
			if protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("%s: class %v of %v", fault, protocol.ClassOf(err), err)
			}
			if text := fmt.Sprint(err); !strings.Contains(text, op.name) || strings.Contains(text, "http://") || strings.Contains(text, "\n") {
				t.Errorf("%s: %q", fault, text)
			}
			if n := len(proxy.Requests()); n != maxRetries+1 {
				t.Errorf("%s: %d requests, want %d", fault, n, maxRetries+1)
			}
		}
	}
}

// A throttled call tells the host to wait.
func TestThrottling(t *testing.T) {
	for _, f := range []faultproxy.Fault{
		refusal(http.StatusServiceUnavailable, "ServerBusy", "The server is busy."),
		refusal(http.StatusTooManyRequests, "", "Slow down."),
	} {
		_, s := newRefusing(t, f)
		_, _, err := s.Read(t.Context(), "a", 1)
		if class := protocol.ClassOf(err); class != protocol.Retryable || retryAfter(err) != throttleDelay {
			t.Errorf("class %v, after %v: %v", class, retryAfter(err), err)
		}
	}
}

func retryAfter(err error) time.Duration {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// A server that never answers holds a call no longer than its context.
func TestAServerThatNeverAnswers(t *testing.T) {
	for _, op := range operations[:3] {
		proxy, s := newRefusing(t, faultproxy.Hang())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- op.call(ctx, s, "a") }()
		proxy.Await(faultproxy.Match{})
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s succeeded", op.name)
		}
	}
}

// A body that breaks off is read on from there, of the same version.
func TestABodyThatBreaksOff(t *testing.T) {
	proxy, _, s := newProxied(t)
	if err := laketest.Put(t.Context(), s, "a", laketest.Steps(300_000)); err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodGet}, Fault: faultproxy.CutAnswer(100_000)})
	data, _, err := s.Read(t.Context(), "a", 1<<20)
	if err != nil || !bytes.Equal(data, laketest.Steps(300_000)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	requests := proxy.Requests(faultproxy.Match{Method: http.MethodGet})
	if last := requests[len(requests)-1]; last.Header.Get("If-Match") == "" {
		t.Errorf("%s has no condition", last)
	}
}

// A conditional write whose answer is lost is sent again and refused by its own
// success. The caller hears of a conflict, and reads the blob back.
func TestAConditionalWriteThatWasItsOwn(t *testing.T) {
	proxy, _, s := newProxied(t)
	lose := func(query string) {
		proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPut, Query: query}, Fault: faultproxy.LoseAnswer()})
	}
	lose("")
	if _, err := s.WriteIf(t.Context(), "m", []byte("mine"), ""); !errors.Is(err, lake.ErrConflict) {
		t.Errorf("first write: %v, want ErrConflict", err)
	}
	data, v, err := s.Read(t.Context(), "m", 10)
	if err != nil || string(data) != "mine" {
		t.Fatalf("%q, %v", data, err)
	}
	lose("")
	if _, err := s.WriteIf(t.Context(), "m", []byte("again"), v); !errors.Is(err, lake.ErrConflict) {
		t.Errorf("second write: %v, want ErrConflict", err)
	}
	lose("comp=blocklist")
	if err := replace(t.Context(), s, set, lake.NewAttempt(1, 1), []byte("set")); !errors.Is(err, lake.ErrConflict) {
		t.Errorf("switch: %v, want ErrConflict", err)
	}
	if data, _, err := s.Read(t.Context(), set, 10); err != nil || string(data) != "set" {
		t.Errorf("%q, %v", data, err)
	}
	if left := uncommitted(t, s, set); left != 0 {
		t.Errorf("%d blocks are left", left)
	}
}

// A signature that expires in the middle of a run is a matter of configuration; no
// text shows it.
func TestASignatureThatExpires(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	now := time.Now()
	all := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}
	token := server.SAS("lake", all, now.Add(-15*time.Minute), now.Add(time.Hour))
	for _, mark := range []string{"", "?"} {
		proxy, s := proxied(t, server, func(c *config) { c.AccountKey, c.SASToken = "", mark+token })
		if err := laketest.Put(t.Context(), s, "a", laketest.Steps(blockSize+1)); err != nil {
			t.Fatalf("with %q before the signature: %v", mark, err)
		}
		proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPut, Query: "comp=block"}, Nth: 2, Fault: faultproxy.Expire(
			http.StatusForbidden, http.Header{"X-Ms-Error-Code": {"AuthenticationFailed"}},
			"<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate the request.\nTime</Message><AuthenticationErrorDetail>Signature not valid in the specified time frame</AuthenticationErrorDetail></Error>",
		)})
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(3*blockSize))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), "generate-sas") || !strings.Contains(hintOf(err), now.Add(time.Hour).UTC().Format("2006-01-02")) {
			t.Errorf("class %v of %v, hint %q", protocol.ClassOf(err), err, hintOf(err))
		}
		if text := fmt.Sprint(err, hintOf(err)); strings.Contains(text, "sig=") || !strings.Contains(text, "time frame") {
			t.Errorf("%s", text)
		}
	}
}

// A signature that the server itself refuses: expired, not valid yet, of another
// container, without a permission.
func TestSignaturesThatTheServerRefuses(t *testing.T) {
	server := standin.StartAzurite(t, "lake", "other")
	now := time.Now()
	all := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}
	for name, token := range map[string]string{
		"expired":           server.SAS("lake", all, now.Add(-2*time.Hour), now.Add(-time.Hour)),
		"not valid yet":     server.SAS("lake", all, now.Add(time.Hour), now.Add(2*time.Hour)),
		"another container": server.SAS("other", all, now.Add(-time.Hour), now.Add(time.Hour)),
	} {
		c := configFor(server)
		c.AccountKey, c.SASToken = "", token
		s := storeFor(t, c)
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), "generate-sas") {
			t.Errorf("%s: class %v of %v, hint %q", name, protocol.ClassOf(err), err, hintOf(err))
		}
		if strings.Contains(fmt.Sprint(err, hintOf(err)), "sig=") {
			t.Errorf("%s: the signature is shown: %v", name, err)
		}
	}
}

// Errors of the connection hold the address in the client's text, and with it the
// signature; ours do not.
func TestErrorsOfTheConnectionHideTheSignature(t *testing.T) {
	c := config{
		StorageAccount: "acmelake", Container: "lake", SASToken: goodSAS, maxBackoff: time.Millisecond,
		Endpoint: "http://127.0.0.1:1",
	}
	s := storeFor(t, c)
	for _, op := range operations {
		err := op.call(t.Context(), s, "a")
		text := fmt.Sprint(err)
		if protocol.ClassOf(err) != protocol.Retryable || strings.Contains(text, "s3cr") || strings.Contains(text, "sig=") || !strings.Contains(text, "refused") {
			t.Errorf("%s: class %v of %q", op.name, protocol.ClassOf(err), text)
		}
	}
}

// An account that does not exist has no address. That may be an outage of the name
// service too, so the run is retried; the text says what else it can be.
func TestAnAccountThatDoesNotExist(t *testing.T) {
	s := storeFor(t, config{
		StorageAccount: "acmelake", Container: "lake", AccountKey: "a2V5", maxBackoff: time.Millisecond,
		Endpoint: "https://acmelake.invalid",
	})
	_, _, err := s.Read(t.Context(), "a", 1)
	if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(fmt.Sprint(err), `no storage account "acmelake"`) {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
}
