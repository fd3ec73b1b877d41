package snowflake

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// identityToken returns a JWT with claims and a made-up signature.
func identityToken(issuer, subject string, expires time.Time) string {
	part := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	return part(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." +
		part(map[string]any{"iss": issuer, "sub": subject, "aud": "snowflakecomputing.com", "exp": expires.Unix()}) + "." + base64.RawURLEncoding.EncodeToString([]byte("signature"))
}

// metadata answers the requests to a cloud's metadata service; others go to the network.
type metadata struct {
	http.RoundTripper
	answers map[string]string // by host and path
	seen    []*http.Request
}

func (m *metadata) RoundTrip(r *http.Request) (*http.Response, error) {
	for place, body := range m.answers {
		if r.URL.Host+r.URL.Path == place {
			m.seen = append(m.seen, r)
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		}
	}
	if r.URL.Hostname() != "127.0.0.1" {
		return nil, errors.New("no route to " + r.URL.Host)
	}
	return m.RoundTripper.RoundTrip(r)
}

const (
	gcpIdentity   = "metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity"
	gcpAccess     = "metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
	azureIdentity = "169.254.169.254/metadata/identity/oauth2/token"
	entraIssuer   = "https://login.microsoftonline.com/tenant/v2.0"
	clusterIssuer = "https://oidc.example.com/cluster"
	hostRole      = "arn:aws:iam::123456789012:role/host"
)

// workloadUsers makes a user for each kind of workload identity.
func (w *warehouse) workloadUsers() {
	for name, identity := range map[string]string{
		"GCP": "SUBJECT = '1234567890'", "AZURE": "ISSUER = '" + entraIssuer + "' SUBJECT = 'object-id'", "OIDC": "ISSUER = '" + clusterIssuer + "' SUBJECT = 'system:serviceaccount:a:b'", "AWS": "ARN = '" + hostRole + "'",
	} {
		w.SQL("CREATE USER WORKLOAD_"+name+" TYPE = SERVICE WORKLOAD_IDENTITY = (TYPE = "+name+" "+identity+") DEFAULT_ROLE = "+w.Role, "GRANT ROLE "+w.Role+" TO USER WORKLOAD_"+name)
	}
	w.AddAWSKey("AKIAHOST", "secret-of-the-host", hostRole)
}

// workload returns a configuration that logs in with a workload identity.
func (w *warehouse) workload(kind string, more map[string]any) map[string]any {
	c := w.config()
	delete(c, "private_key")
	delete(c, "user")
	c["workload_identity"] = kind
	maps.Copy(c, more)
	return c
}

func (m *metadata) attach(d *destination) {
	m.RoundTripper = d.connector.transport
	d.connector.transport = m
}

// Each kind of workload identity logs in without a user: with the attestation of the
// machine's cloud, or the token of a file, which is read at each login.
func TestWorkloadIdentities(t *testing.T) {
	w := startWarehouse(t)
	w.workloadUsers()
	inAnHour := time.Now().Add(time.Hour)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(identityToken(clusterIssuer, "system:serviceaccount:a:b", inAnHour)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAHOST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-host")
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("IDENTITY_ENDPOINT", "")
	azureToken := `{"access_token":"` + identityToken(entraIssuer, "object-id", inAnHour) + `"}`
	for name, tt := range map[string]struct {
		kind    string
		more    map[string]any
		answers map[string]string
		sees    string // in the requests to the metadata service
	}{
		"aws":   {kind: "aws"},
		"gcp":   {kind: "gcp", answers: map[string]string{gcpIdentity: identityToken("https://accounts.google.com", "1234567890", inAnHour)}, sees: "audience=snowflakecomputing.com"},
		"azure": {kind: "azure", answers: map[string]string{azureIdentity: azureToken}, sees: "resource=api://fd3f753b-eed3-462c-b6a7-a4b5bb650aad"},
		"oidc":  {kind: "oidc", more: map[string]any{"token_file": file}},
		"azure with a resource": {
			kind: "azure", more: map[string]any{"workload_identity_resource": "api://acme"}, answers: map[string]string{azureIdentity: azureToken}, sees: "resource=api://acme",
		},
		"gcp as another account": {
			kind: "gcp", more: map[string]any{"workload_identity_impersonation": []string{"export@acme.iam.gserviceaccount.com"}}, sees: "/export@acme.iam.gserviceaccount.com:generateIdToken",
			answers: map[string]string{
				gcpAccess: `{"access_token":"access"}`,
				"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/export@acme.iam.gserviceaccount.com:generateIdToken": `{"token":"` + identityToken("https://accounts.google.com", "1234567890", inAnHour) + `"}`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := &metadata{answers: tt.answers}
			d := openAt(t, w.workload(tt.kind, tt.more), cloud.attach)
			if _, err := d.Open(t.Context(), testRun(sdk.Events, 1, 1)); err != nil {
				t.Fatal(err)
			}
			if tt.sees != "" && !slices.ContainsFunc(cloud.seen, func(r *http.Request) bool { return strings.Contains(r.URL.String(), tt.sees) }) {
				t.Errorf("no request of %d has %s", len(cloud.seen), tt.sees)
			}
			_, logins := w.Statements()
			last := logins[len(logins)-1]
			if last.Authenticator != "WORKLOAD_IDENTITY" || last.User != "" {
				t.Errorf("the login was %+v", last)
			}
		})
	}
}

// Identities that the service refuses are a mistake in the configuration, with the
// statement that corrects it; a machine without an identity is named as such. Neither
// shows the token.
func TestRefusedWorkloadIdentities(t *testing.T) {
	w := startWarehouse(t)
	w.workloadUsers()
	file := filepath.Join(t.TempDir(), "token")
	inAnHour := time.Now().Add(time.Hour)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAHOST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("IDENTITY_ENDPOINT", "")
	for name, tt := range map[string]struct {
		kind, token string
		answers     map[string]string
		class       protocol.Class
		text        string
	}{
		"aws with a wrong secret": {kind: "aws", class: protocol.Configuration, text: "WORKLOAD_IDENTITY = (TYPE = AWS"},
		"gcp with another account": {
			kind: "gcp", answers: map[string]string{gcpIdentity: identityToken("https://accounts.google.com", "other", inAnHour)}, class: protocol.Configuration, text: "WORKLOAD_IDENTITY = (TYPE = GCP",
		},
		"oidc of another issuer":  {kind: "oidc", token: identityToken("https://other", "system:serviceaccount:a:b", inAnHour), class: protocol.Configuration, text: "WORKLOAD_IDENTITY = (TYPE = OIDC"},
		"oidc that has expired":   {kind: "oidc", token: identityToken(clusterIssuer, "system:serviceaccount:a:b", time.Unix(1, 0)), class: protocol.Configuration, text: "WORKLOAD_IDENTITY = (TYPE = OIDC"},
		"oidc that is not a JWT":  {kind: "oidc", token: "secret-text", class: protocol.Retryable, text: "a JWT with iss and sub"},
		"no metadata service":     {kind: "gcp", class: protocol.Retryable, text: "must run with a service account"},
		"no managed identity":     {kind: "azure", class: protocol.Retryable, text: "must run with a managed identity"},
		"a token that is missing": {kind: "oidc", class: protocol.Configuration, text: "read token_file"},
	} {
		t.Run(name, func(t *testing.T) {
			more := map[string]any{}
			if tt.kind == "oidc" {
				more["token_file"] = file
				_ = os.Remove(file)
				if tt.token != "" {
					if err := os.WriteFile(file, []byte(tt.token), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			cloud := &metadata{answers: tt.answers}
			_, err := openAt(t, w.workload(tt.kind, more), cloud.attach).Open(t.Context(), testRun(sdk.Events, 1, 1))
			e := new(sdk.Error)
			if !errors.As(err, &e) || e.Class != tt.class || !strings.Contains(err.Error()+e.Hint, tt.text) {
				t.Errorf("the error is %v, its hint %q; want %v with %q", err, e.Hint, tt.class, tt.text)
			}
			for _, secret := range append(slices.Collect(maps.Values(tt.answers)), tt.token, "another-secret") {
				if secret != "" && strings.Contains(err.Error()+e.Hint, secret) {
					t.Errorf("the error shows the credential: %v", err)
				}
			}
		})
	}
}

func TestMistakesOfWorkloadIdentities(t *testing.T) {
	for name, tt := range map[string]struct {
		c    config
		want []string
	}{
		"aws":                    {config{Workload: "aws", Impersonation: []string{hostRole}}, nil},
		"gcp":                    {config{Workload: "gcp", Impersonation: []string{"a@acme.iam.gserviceaccount.com", "b@acme.iam.gserviceaccount.com"}}, nil},
		"azure":                  {config{Workload: "azure", Resource: "api://acme"}, nil},
		"an account for aws":     {config{Workload: "aws", Impersonation: []string{"a@acme.iam.gserviceaccount.com"}}, []string{"workload_identity_impersonation"}},
		"a role for azure":       {config{Workload: "azure", Impersonation: []string{hostRole}}, []string{"workload_identity_impersonation"}},
		"a resource for gcp":     {config{Workload: "gcp", Resource: "api://acme"}, []string{"workload_identity_resource"}},
		"without workload":       {config{Resource: "api://acme", Impersonation: []string{hostRole}, OAuthToken: "x"}, []string{"workload_identity_resource", "workload_identity_impersonation"}},
		"a key and a workload":   {config{Workload: "aws", Token: "x"}, []string{"workload_identity"}},
		"oidc without its token": {config{Workload: "oidc"}, []string{"token_file"}},
	} {
		m := &mistakes{}
		tt.c.checkLogin(m)
		var got []string
		for _, d := range m.found {
			got = append(got, d.Attribute)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: mistakes in %q, want %q", name, got, tt.want)
		}
	}
}
