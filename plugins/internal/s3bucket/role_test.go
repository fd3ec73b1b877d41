package s3bucket

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

// roleConfig assumes a role at a fake STS and uses the session at a gate.
func roleConfig(t *testing.T) (config, *fakeSTS, *gate) {
	t.Helper()
	server := standin.StartS3(t, "lake")
	sts, gate := startSTS(t), startGate(t, server)
	gate.sessions = sts
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	return config{
		Bucket: "lake", Endpoint: gate.URL, Region: "us-east-1", RoleARN: sts.RoleARN,
		AccessKeyID: sts.Caller.AccessKeyID, SecretAccessKey: sts.Caller.SecretAccessKey,
		maxBackoff: time.Millisecond,
	}, sts, gate
}

func TestRoleIsAssumedWithTheProjectsToken(t *testing.T) {
	c, sts, _ := roleConfig(t)
	if err := export(t.Context(), lakeOf(storeFor(t, c)), eventsRun(1, 1), 1); err != nil {
		t.Fatal(err)
	}
	sessions := sts.granted()
	if len(sessions) != 1 {
		t.Errorf("%d sessions were taken for one run", len(sessions))
	}
	for _, s := range sessions {
		if s.used < 5 {
			t.Errorf("the session was used %d times", s.used)
		}
	}
}

func TestSessionsAreRenewedBeforeTheyEnd(t *testing.T) {
	c, sts, gate := roleConfig(t)
	sts.Lifetime = time.Minute // shorter than what is left when one is renewed
	s := storeFor(t, c)
	for number := range int64(3) {
		if err := export(t.Context(), lakeOf(s), eventsRun(number+1, number+1), 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(sts.granted()); n < 3 {
		t.Errorf("%d sessions were taken", n)
	}
	if len(gate.seen(func(*http.Request) bool { return true })) == 0 {
		t.Error("nothing passed the gate")
	}
}

func TestRoleThatIsNotGranted(t *testing.T) {
	for name, change := range map[string]func(*config){
		"another external id": func(c *config) { c.ExternalID = "guess" },
		"another role":        func(c *config) { c.RoleARN = "arn:aws:iam::123456789012:role/other" },
		"a wrong caller":      func(c *config) { c.SecretAccessKey = "wrong" },
	} {
		c, sts, _ := roleConfig(t)
		change(&c)
		err := export(t.Context(), lakeOf(storeFor(t, c)), eventsRun(1, 1), 1)
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), "AssumeRole") {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(sts.granted()); n != 0 {
			t.Errorf("%s: %d sessions were granted", name, n)
		}
	}
}

// An outage of STS has many forms: no server, no answer, a throttled request. None
// of them is the caller's fault.
func TestSTSThatIsDownIsWaitedFor(t *testing.T) {
	for name, down := range map[string]func(*fakeSTS){
		"503":           func(f *fakeSTS) { f.fault = http.StatusServiceUnavailable },
		"429":           func(f *fakeSTS) { f.fault = http.StatusTooManyRequests },
		"throttled":     func(f *fakeSTS) { f.fault, f.code = http.StatusBadRequest, "Throttling" },
		"no connection": func(f *fakeSTS) { f.stop() },
		"cut":           func(f *fakeSTS) { f.fault = -1 },
	} {
		c, sts, _ := roleConfig(t)
		down(sts)
		err := export(t.Context(), lakeOf(storeFor(t, c)), eventsRun(1, 1), 1)
		if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "get credentials") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A metadata service that does not answer or is overloaded is a transient error;
// one that has no role is a configuration error.
func TestInstanceMetadata(t *testing.T) {
	server := standin.StartS3(t, "lake")
	for status, want := range map[int]protocol.Class{
		http.StatusServiceUnavailable: protocol.Retryable,
		0:                             protocol.Retryable,
		http.StatusNotFound:           protocol.Configuration,
	} {
		imds := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			if r.Method == http.MethodPut && status == http.StatusNotFound { // the session's token
				w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
				_, _ = w.Write([]byte("token"))
				return
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(imds.Close)
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.URL)
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
			t.Setenv(name, "")
		}
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
		t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
		c := configFor(server)
		c.AccessKeyID, c.SecretAccessKey, c.maxBackoff = "", "", time.Millisecond
		err := export(t.Context(), lakeOf(storeFor(t, c)), eventsRun(1, 1), 1)
		if got := protocol.ClassOf(err); got != want || !strings.Contains(err.Error(), "get credentials") {
			t.Errorf("metadata answers %d: class %v, %v", status, got, err)
		}
	}
}

func TestOwnCertificateAuthority(t *testing.T) {
	server := standin.StartS3TLS(t, "lake")
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	c := configFor(server)
	c.Endpoint = server.Endpoint
	for _, set := range []bool{false, true} {
		value := ""
		if set {
			value = bundle
		}
		t.Setenv("AWS_CA_BUNDLE", value)
		err := export(t.Context(), lakeOf(storeFor(t, c)), eventsRun(1, 1), 1)
		if (err == nil) != set {
			t.Errorf("AWS_CA_BUNDLE set %v: %v", set, err)
		}
	}
}
