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

// callOf returns the call of a request in path style, as S3's list of actions for
// IAM policies has it.
func callOf(r *http.Request) call {
	q := r.URL.Query()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	object, onList := call{resource: "arn:aws:s3:::" + bucket + "/" + key}, call{resource: "arn:aws:s3:::" + bucket, prefix: q.Get("prefix")}
	switch {
	case key == "" && q.Has("uploads"):
		onList.action = "s3:ListBucketMultipartUploads"
		return onList
	case key == "" && q.Has("list-type"):
		onList.action = "s3:ListBucket"
		return onList
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		object.action = "s3:AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		object.action = "s3:DeleteObject"
	case r.Method == http.MethodPut, r.Method == http.MethodPost && (q.Has("uploads") || q.Has("uploadId")):
		object.action = "s3:PutObject"
	case r.Method == http.MethodGet && !q.Has("uploadId"), r.Method == http.MethodHead:
		object.action = "s3:GetObject"
	default:
		object.action = "unknown: " + r.Method + " " + r.URL.String()
	}
	return object
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

func policyFor(t *testing.T, c config, projects ...sdk.Project) readPolicy {
	t.Helper()
	text, err := json.Marshal(c.policy(projects))
	if err != nil {
		t.Fatal(err)
	}
	var p readPolicy
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
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

	policy, other := policyFor(t, conf, sdk.Project{ID: 7}), policyFor(t, conf, sdk.Project{ID: 8})
	used := map[string]bool{}
	for _, r := range gate.seen(func(*http.Request) bool { return true }) {
		c := callOf(r)
		used[c.action] = true
		if !policy.allows(c) {
			t.Errorf("the policy does not allow %+v", c)
		}
		if other.allows(c) {
			t.Errorf("the policy of another project allows %+v", c)
		}
	}
	for _, action := range append(actions(onObjects), actions(onBucket)...) {
		if !used[action] {
			t.Errorf("no request needed %s", action)
		}
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
		if p.on == onBucket {
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
