package s3bucket

import (
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/test/standin"
)

// call is a request as IAM decides it.
type call struct{ action, resource, prefix string }

// callOf returns the call of a request in path style.
func callOf(r *http.Request) call {
	of := standin.S3Request(r.Method, r.URL.Path, r.URL.Query())
	return call{of.Action, of.Resource, of.Context["s3:prefix"]}
}

// readPolicy is a policy as its readers have it.
type readPolicy struct {
	Version   string
	Statement []struct {
		Effect           string
		Action, Resource []string
		Condition        map[string]map[string][]string
	}
}

// allows reports whether a policy allows a call. Patterns have one "*" at their
// end, if any.
func (p readPolicy) allows(c call) bool {
	like := func(patterns []string, value string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			begin, wild := strings.CutSuffix(pattern, "*")
			return value == pattern || wild && strings.HasPrefix(value, begin)
		})
	}
	for _, s := range p.Statement {
		prefixes := s.Condition["StringLike"]["s3:prefix"]
		if s.Effect == "Allow" && slices.Contains(s.Action, c.action) && like(s.Resource, c.resource) && (prefixes == nil || like(prefixes, c.prefix)) {
			return true
		}
	}
	return false
}

// The policy that setup prints allows every request of runs, of a retry after a
// zombie, of the check and of an inventory, and has no action that none of them
// needs. It allows nothing in another project.
func TestThePolicyAllowsExactlyTheCalls(t *testing.T) {
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	conf := configFor(server)
	conf.Endpoint, conf.Prefix = gate.URL, "exports/mixpanel"
	s := storeFor(t, conf)
	l := lake.New(lake.Options{Store: s, Root: conf.Prefix})
	for _, run := range []sdk.Run{eventsRun(1, 1), peopleRun(1, 1), peopleRun(2, 2)} {
		if err := export(t.Context(), l, run, 6); err != nil {
			t.Fatal(err)
		}
	}
	abandoned := peopleRun(3, 3)
	if _, err := l.Open(t.Context(), abandoned); err != nil {
		t.Fatal(err)
	}
	retried := lake.New(lake.Options{Store: s, Root: conf.Prefix})
	abandoned.Fence++
	if err := export(t.Context(), retried, abandoned, 6); err != nil {
		t.Fatal(err)
	}
	if err := retried.Abort(t.Context(), eventsRun(2, 5), true); err != nil {
		t.Fatal(err)
	}
	d := &destination{Lake: l, store: s, config: conf, project: sdk.Project{ID: 7}, root: conf.Prefix}
	for _, r := range d.Check(t.Context()) {
		if !r.OK {
			t.Errorf("%s: %s", r.Action, r.Detail)
		}
	}

	needed := requestsOf(gate)
	refused := append(others(needed, "/7/", "/8/"), others(needed, "exports/mixpanel/", "exports/")...)
	for _, action := range []string{"s3:PutBucketPolicy", "s3:DeleteBucket", "s3:PutLifecycleConfiguration", "s3:ListBucketVersions", "s3:GetBucketPolicy"} {
		refused = append(refused, caller(standin.IAMRequest{Action: action, Resource: "arn:aws:s3:::lake"}))
	}
	for _, action := range []string{"s3:GetObjectVersion", "s3:DeleteObjectVersion", "s3:PutObjectAcl", "s3:BypassGovernanceRetention"} {
		refused = append(refused, caller(standin.IAMRequest{Action: action, Resource: "arn:aws:s3:::lake/exports/mixpanel/7/mp_people_data/x"}))
	}
	standin.IAMExact(t, []json.RawMessage{policyText(t, conf)}, needed, refused)

	const key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"
	conf.Encryption, conf.KMSKeyID = "kms", key
	// The key's own policy leaves the decision to IAM.
	open := json.RawMessage(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}`)
	onKeys := func(action, key string) standin.IAMRequest {
		return caller(standin.IAMRequest{Action: action, Resource: key, ResourcePolicy: open})
	}
	for _, action := range actions(onKey) {
		needed = append(needed, onKeys(action, key))
		refused = append(refused, onKeys(action, strings.Replace(key, "/1", "/2", 1)))
	}
	standin.IAMExact(t, []json.RawMessage{policyText(t, conf)}, needed, append(refused, onKeys("kms:Encrypt", key)))
}

// caller completes a request with the principal and the account.
func caller(r standin.IAMRequest) standin.IAMRequest {
	r.Principal, r.Account = "arn:aws:iam::123456789012:role/export", "123456789012"
	return r
}

// requestsOf returns the requests that a gate has seen.
func requestsOf(gate *gate) []standin.IAMRequest {
	var found []standin.IAMRequest
	for _, r := range gate.seen(func(*http.Request) bool { return true }) {
		found = append(found, caller(standin.S3Request(r.Method, r.URL.Path, r.URL.Query())))
	}
	return found
}

// others returns requests with another text in place of one in their objects and
// prefixes.
func others(requests []standin.IAMRequest, of, by string) []standin.IAMRequest {
	var found []standin.IAMRequest
	for _, r := range requests {
		r.Resource = strings.Replace(r.Resource, of, by, 1)
		if r.Action == "s3:ListBucketMultipartUploads" {
			continue // it is granted on the whole bucket
		}
		if prefix, ok := r.Context["s3:prefix"]; ok {
			r.Context = map[string]string{"s3:prefix": strings.Replace(prefix, of, by, 1)}
		}
		found = append(found, r)
	}
	return found
}

func policyText(t *testing.T, c config) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(c.policy([]sdk.Project{{ID: 7}}))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The trust policy that setup prints lets identities of the role's account assume it
// that have the printed policy, with the external id of a project.
func TestTheTrustPolicyAsksForTheExternalID(t *testing.T) {
	conf := config{Bucket: "lake", Region: "us-east-1", RoleARN: roleOfTest}
	r, _ := conf.role()
	trust, err := json.Marshal(conf.trust(r, []string{"tok", "tok2"}))
	if err != nil {
		t.Fatal(err)
	}
	assume, err := json.Marshal(Policy(Statement([]string{"sts:AssumeRole"}, []string{roleOfTest}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	request := func(account, external string, policies ...json.RawMessage) standin.IAMCase {
		c := standin.IAMCase{Policies: policies, IAMRequest: standin.IAMRequest{
			ResourcePolicy: trust,
			Principal:      "arn:aws:iam::" + account + ":role/host", Account: "123456789012", Action: "sts:AssumeRole", Resource: roleOfTest,
		}}
		if external != "" {
			c.Context = map[string]string{"sts:ExternalId": external}
		}
		return c
	}
	got := standin.IAMAllows(t, []standin.IAMCase{
		request("123456789012", "tok", assume), request("123456789012", "tok2", assume),
		request("123456789012", "guess", assume), request("123456789012", "", assume),
		request("210987654321", "tok", assume), request("123456789012", "tok"),
	})
	if want := []bool{true, true, false, false, false, false}; !slices.Equal(got, want) {
		t.Errorf("decisions %v, want %v", got, want)
	}
}

// The hint of each refusal has a statement that allows the call, for the policy of
// the identity; it can be pasted.
func TestHintsHoldAStatementThatAllowsTheCall(t *testing.T) {
	conf := config{Bucket: "lake", Region: "us-west-2"}
	s := &store{bucket: "lake", arn: conf.bucketARN()}
	for _, p := range permissions {
		if p.on == onKey {
			continue
		}
		name := path.Join("exports", "7", "mp_people_data", "p-1.json.gz")
		hint := s.hint(p.action, name, "AccessDenied", http.StatusForbidden)
		begin, end := strings.Index(hint, "{"), strings.LastIndex(hint, "}")
		if begin < 0 || end < begin {
			t.Errorf("%s: %s", p.action, hint)
			continue
		}
		var policy readPolicy
		if err := json.Unmarshal([]byte(`{"Statement":[`+hint[begin:end+1]+`]}`), &policy); err != nil {
			t.Errorf("%s: %v in %s", p.action, err, hint)
			continue
		}
		c := call{action: p.action, resource: "arn:aws:s3:::lake/" + name}
		if p.on == onBucket || p.on == onUploads {
			c.resource = "arn:aws:s3:::lake"
		}
		if !policy.allows(c) {
			t.Errorf("%s: the statement does not allow it: %s", p.action, hint)
		}
	}
}

// A check whose upload cannot be aborted says that it left one.
func TestCheckSaysThatItLeftAnUpload(t *testing.T) {
	server := standin.StartS3(t, "lake")
	gate := startGate(t, server)
	gate.refuse = func(_ int, r *http.Request) (int, string) {
		if callOf(r).action == "s3:AbortMultipartUpload" {
			return http.StatusForbidden, "AccessDenied"
		}
		return 0, ""
	}
	conf := configFor(server)
	conf.Endpoint = gate.URL
	d := &destination{store: storeFor(t, conf), config: conf, project: sdk.Project{ID: 7}}
	said := ""
	for _, r := range d.Check(t.Context()) {
		if !r.OK {
			said += r.Detail + "\n"
		}
	}
	if !strings.Contains(said, "the check has left an unfinished replacement of 7/_penstock/mp_master_event/check-set-") {
		t.Errorf("it says: %s", said)
	}
	if left := objects(t, server); len(left) > 0 {
		t.Errorf("objects are left: %d", len(left))
	}
}

// A key that the identity may not use is named with the actions on it.
func TestAKeyThatMayNotBeUsedIsNamed(t *testing.T) {
	const key = "arn:aws:kms:us-west-2:210987654321:key/11111111-2222-4333-8444-555555555555"
	s := &store{bucket: "lake", arn: "arn:aws:s3:::lake"}
	err := s.classifyCode("s3:PutObject", "7/a", "AccessDenied", http.StatusForbidden, errors.New("User: arn:aws:sts::123456789012:assumed-role/export/penstock-7 is not authorized to perform: kms:GenerateDataKey on resource: "+key+" because no identity-based policy allows the kms:GenerateDataKey action"))
	var e *sdk.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, `{"Effect":"Allow","Action":["kms:GenerateDataKey","kms:Decrypt"],"Resource":["`+key+`"]}`) {
		t.Errorf("%v", err)
	}
}

// The name of a bucket, which the message holds, does not change the hint.
func TestANameIsNotTheRefusal(t *testing.T) {
	s := &store{bucket: "checksum-lake", arn: "arn:aws:s3:::checksum-lake", sums: newSums(checksumNone)}
	err := s.classifyCode("s3:PutObject", "7/a", "AccessDenied", http.StatusForbidden, errors.New("User: arn:aws:iam::123456789012:user/export is not authorized to perform: s3:PutObject on resource: \"arn:aws:s3:::checksum-lake/7/a\""))
	var e *sdk.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "grant s3:PutObject on arn:aws:s3:::checksum-lake/") {
		t.Errorf("%v", err)
	}
}
