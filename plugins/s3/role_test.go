package s3

import (
	"encoding/pem"
	"net/http"
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
	}, sts, gate
}

func TestRoleIsAssumedWithTheProjectsToken(t *testing.T) {
	c, sts, _ := roleConfig(t)
	if err := export(t.Context(), lakeOf(newStore(t, c)), eventsRun(1, 1), 1); err != nil {
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
	s := newStore(t, c)
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
		err := export(t.Context(), lakeOf(newStore(t, c)), eventsRun(1, 1), 1)
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), "AssumeRole") {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(sts.granted()); n != 0 {
			t.Errorf("%s: %d sessions were granted", name, n)
		}
	}
}

func TestSTSThatIsDownIsWaitedFor(t *testing.T) {
	c, sts, _ := roleConfig(t)
	sts.Down = true
	err := export(t.Context(), lakeOf(newStore(t, c)), eventsRun(1, 1), 1)
	if protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("with STS down: %v", err)
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
		err := export(t.Context(), lakeOf(newStore(t, c)), eventsRun(1, 1), 1)
		if (err == nil) != set {
			t.Errorf("AWS_CA_BUNDLE set %v: %v", set, err)
		}
	}
}
