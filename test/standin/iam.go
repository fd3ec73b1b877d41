package standin

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed iamsimulate/decide.mjs
var decide string

// IAMRequest is a call as IAM decides it: an action of a principal on one resource.
// A call on several resources is a request for each.
type IAMRequest struct {
	Principal string            `json:"principal"`
	Account   string            `json:"account"` // of the resource
	Action    string            `json:"action"`
	Resource  string            `json:"resource"`
	Context   map[string]string `json:"context,omitempty"`
	// ResourcePolicy is the policy of the resource: a role's trust policy, a key's
	// policy. nil: it has none.
	ResourcePolicy json.RawMessage `json:"resource_policy,omitempty"`
}

// IAMCase is a request with the policies of its principal.
type IAMCase struct {
	IAMRequest
	Policies []json.RawMessage `json:"policies"`
}

// IAMAllows reports for each case whether IAM allows the request. A simulator that is
// not part of this project decides, as a process of its own; without it the test ends
// as with Binary.
func IAMAllows(t testing.TB, cases []IAMCase) []bool {
	t.Helper()
	dir := filepath.Dir(installed(t, filepath.Join("iamsimulate", ".installed")))
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node is not installed: run `make tools`")
	}
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	command := exec.CommandContext(t.Context(), node, "--input-type=module", "--eval", decide)
	command.Dir, command.Stdin, command.Stdout, command.Stderr = dir, bytes.NewReader(in), &out, &said
	if err := command.Run(); err != nil {
		t.Fatalf("simulate IAM: %v\n%s", err, said.String())
	}
	var allowed []bool
	if err := json.Unmarshal(out.Bytes(), &allowed); err != nil || len(allowed) != len(cases) {
		t.Fatalf("simulate IAM: %d decisions on %d cases, %v", len(allowed), len(cases), err)
	}
	return allowed
}

// IAMExact fails the test unless policies allow all requests that are needed and none
// of those that are refused, and unless each action and each resource of each
// statement is needed: without it some request would be denied.
func IAMExact(t testing.TB, policies []json.RawMessage, needed, refused []IAMRequest) {
	t.Helper()
	needed = distinct(needed)
	var cases []IAMCase
	add := func(requests []IAMRequest, of []json.RawMessage) {
		for _, r := range requests {
			cases = append(cases, IAMCase{IAMRequest: r, Policies: of})
		}
	}
	add(needed, policies)
	add(refused, policies)
	less := lesser(t, policies)
	for i := range less {
		less[i].tried = less[i].concerned(needed)
		add(less[i].tried, less[i].policies)
	}
	allowed := IAMAllows(t, cases)
	for i, r := range slices.Concat(needed, refused) {
		switch isNeeded := i < len(needed); {
		case isNeeded && !allowed[i]:
			t.Errorf("the policies do not allow %+v", r)
		case !isNeeded && allowed[i]:
			t.Errorf("the policies allow %+v", r)
		}
	}
	rest := allowed[len(needed)+len(refused):]
	for _, l := range less {
		if !slices.Contains(rest[:len(l.tried)], false) {
			t.Errorf("no request needs the %s %s", l.member, l.value)
		}
		rest = rest[len(l.tried):]
	}
}

// lessPolicies are policies without one action or resource.
type lessPolicies struct {
	member, value string // that is missing
	actions       []any  // of its statement
	policies      []json.RawMessage
	tried         []IAMRequest
}

// mostTried is the largest number of requests that are tried without one value.
const mostTried = 20

// concerned returns some of the requests that the missing value allows.
func (l lessPolicies) concerned(requests []IAMRequest) []IAMRequest {
	var found []IAMRequest
	for _, r := range requests {
		of := r.Resource
		if l.member == "Action" {
			of = r.Action
		}
		if slices.Contains(l.actions, any(r.Action)) && strings.HasPrefix(of, strings.TrimSuffix(l.value, "*")) && len(found) < mostTried {
			found = append(found, r)
		}
	}
	return found
}

// lesser returns the policies without each of their actions, and without each of
// their resources.
func lesser(t testing.TB, policies []json.RawMessage) (found []lessPolicies) {
	t.Helper()
	for i, text := range policies {
		var p struct{ Statement []map[string]any }
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		for j, s := range p.Statement {
			actions, _ := s["Action"].([]any)
			for _, member := range []string{"Action", "Resource"} {
				values, ok := s[member].([]any)
				if !ok {
					t.Fatalf("%s of a statement is %v, want a list", member, s[member])
				}
				for k, value := range values {
					found = append(found, lessPolicies{member: member, value: fmt.Sprint(value), actions: actions, policies: slices.Clone(policies)})
					found[len(found)-1].policies[i] = without(t, text, j, member, k)
				}
			}
		}
	}
	return found
}

// without returns a policy without one value of a statement's member. A statement
// without values is left out.
func without(t testing.TB, policy json.RawMessage, statement int, member string, value int) json.RawMessage {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(policy, &p); err != nil {
		t.Fatal(err)
	}
	statements, _ := p["Statement"].([]any)
	s, _ := statements[statement].(map[string]any)
	values, _ := s[member].([]any)
	if s[member] = slices.Delete(values, value, value+1); len(values) == 1 {
		p["Statement"] = slices.Delete(statements, statement, statement+1)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// distinct returns the requests without repetitions.
func distinct(requests []IAMRequest) []IAMRequest {
	var found []IAMRequest
	seen := make(map[string]bool)
	for _, r := range requests {
		if key := fmt.Sprint(r); !seen[key] {
			seen[key] = true
			found = append(found, r)
		}
	}
	return found
}

// S3Request returns the request of S3 that IAM decides, of one in path style: method,
// path as it was sent but decoded, and query.
func S3Request(method, path string, query map[string][]string) IAMRequest {
	has := func(name string) bool { _, ok := query[name]; return ok }
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	r := IAMRequest{Resource: "arn:aws:s3:::" + bucket + "/" + key}
	switch {
	case key == "" && (has("uploads") || has("list-type")):
		r.Action, r.Resource = "s3:ListBucket", "arn:aws:s3:::"+bucket
		if has("uploads") {
			r.Action = "s3:ListBucketMultipartUploads"
		}
		r.Context = map[string]string{"s3:prefix": strings.Join(query["prefix"], "")}
	case method == http.MethodDelete && has("uploadId"):
		r.Action = "s3:AbortMultipartUpload"
	case method == http.MethodDelete, method == http.MethodPost && has("delete"):
		r.Action = "s3:DeleteObject"
	case method == http.MethodPut, method == http.MethodPost && (has("uploads") || has("uploadId")):
		r.Action = "s3:PutObject"
	case method == http.MethodGet && !has("uploadId"), method == http.MethodHead:
		r.Action = "s3:GetObject"
	default:
		r.Action = "s3:Unknown:" + method + " " + path
	}
	return r
}
