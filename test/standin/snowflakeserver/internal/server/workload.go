package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// workload is an identity outside of Snowflake that a user logs in as
// (https://docs.snowflake.com/en/user-guide/workload-identity-federation).
type workload struct {
	issuer  string // of OIDC and Azure
	subject string // or the ARN of AWS
}

// audience is the audience of identity tokens that GCP and OIDC providers issue.
const audience = "snowflakecomputing.com"

// setWorkload reads WORKLOAD_IDENTITY of a user.
func (u *user) setWorkload(options map[string]snowsql.Option) error {
	provider := strings.ToUpper(options["TYPE"].Text)
	needed := map[string][]string{"AWS": {"ARN"}, "GCP": {"SUBJECT"}, "AZURE": {"ISSUER", "SUBJECT"}, "OIDC": {"ISSUER", "SUBJECT"}}[provider]
	if needed == nil {
		return refuse(1506, "22023", "SQL compilation error:\nmissing TYPE of WORKLOAD_IDENTITY")
	}
	for _, name := range needed {
		if options[name].Text == "" {
			return refuse(1506, "22023", "SQL compilation error:\nmissing %s of WORKLOAD_IDENTITY", name)
		}
	}
	w := workload{issuer: options["ISSUER"].Text, subject: options["SUBJECT"].Text}
	if provider == "AWS" {
		w.subject = options["ARN"].Text
	}
	u.workload[provider] = w
	return nil
}

// byWorkload takes the attestation of a provider. The account's lock is held.
func (srv *Server) byWorkload(r *loginRequest) (*user, error) {
	provider := strings.ToUpper(r.Data.Provider)
	found, ok := srv.attested(provider, r.Data.Token)
	if !ok {
		return nil, denied("394600", "Workload identity authentication failed: the attestation of the provider %s is not valid", r.Data.Provider)
	}
	for _, u := range srv.account.users {
		if w, has := u.workload[provider]; has && w.subject == found.subject && (w.issuer == "" || w.issuer == found.issuer) {
			return u, nil
		}
	}
	return nil, denied("394600", "Workload identity authentication failed: no user with a matching workload identity of the provider %s", r.Data.Provider)
}

// attested returns the identity of an attestation: of a JWT, whose signature is not
// verified, or of a signed request for AWS's GetCallerIdentity.
func (srv *Server) attested(provider, token string) (workload, bool) {
	if provider == "AWS" {
		return srv.account.callerIdentity(token)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return workload{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Iss, Sub string
		Aud      any
		Exp      int64
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Sub == "" || !srv.now().Before(time.Unix(claims.Exp, 0)) {
		return workload{}, false
	}
	if provider != "AZURE" && claims.Aud != audience {
		return workload{}, false
	}
	return workload{claims.Iss, claims.Sub}, true
}

// awsKey is an access key of AWS that the server knows.
type awsKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	ARN    string `json:"arn"`
}

// stsURL is the request that an attestation of AWS signs.
var (
	stsURL     = regexp.MustCompile(`^https://sts\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?\?Action=GetCallerIdentity&Version=2011-06-15$`)
	credential = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/[0-9]{8}/([a-z0-9-]+)/sts/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$`)
)

// callerIdentity verifies the signature of a request for GetCallerIdentity, as AWS does
// when Snowflake sends it. The account's lock is held.
func (a *account) callerIdentity(token string) (workload, bool) {
	raw, err := base64.StdEncoding.DecodeString(token)
	var request struct {
		URL, Method string
		Headers     map[string]string
	}
	if err != nil || json.Unmarshal(raw, &request) != nil || request.Method != http.MethodPost {
		return workload{}, false
	}
	m, c := stsURL.FindStringSubmatch(request.URL), credential.FindStringSubmatch(request.Headers["Authorization"])
	at, err := time.Parse("20060102T150405Z", request.Headers["X-Amz-Date"])
	if m == nil || c == nil || err != nil || m[1] != c[2] || request.Headers["X-Snowflake-Audience"] != audience || !slices.Contains(strings.Split(c[3], ";"), "x-snowflake-audience") {
		return workload{}, false
	}
	key, known := a.awsKeys[c[1]]
	u, err := url.Parse(request.URL)
	if !known || err != nil {
		return workload{}, false
	}
	again := &http.Request{Method: request.Method, URL: u, Host: u.Host, Header: http.Header{}}
	for name, v := range request.Headers {
		if name != "Authorization" && name != "X-Amz-Date" && name != "X-Amz-Security-Token" {
			again.Header.Set(name, v)
		}
	}
	empty := sha256.Sum256(nil)
	credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: request.Headers["X-Amz-Security-Token"]}
	if v4.NewSigner().SignHTTP(again.Context(), credentials, again, hex.EncodeToString(empty[:]), "sts", c[2], at) != nil || again.Header.Get("Authorization") != request.Headers["Authorization"] {
		return workload{}, false
	}
	return workload{subject: key.ARN}, true
}
