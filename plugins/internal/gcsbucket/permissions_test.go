package gcsbucket

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/gcptoken"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

// checked runs the check of a destination, and returns the details of operations
// that failed.
func checked(t *testing.T, s *store, region string) map[string]string {
	t.Helper()
	d := &destination{store: s, config: config{Bucket: "lake", Region: region}, project: sdk.Project{ID: 7}}
	failed := map[string]string{}
	for _, r := range d.Check(t.Context()) {
		if !r.OK {
			failed[r.Action] = r.Detail
		}
	}
	return failed
}

// The check finds each permission that is missing, names it with a command that
// grants it, and leaves nothing that it may delete.
func TestCheckFindsEachMissingPermission(t *testing.T) {
	for _, p := range permissions {
		t.Run(p.name, func(t *testing.T) {
			server, s := newServer(t, func(g *gcsserver.Server, _ *config) { g.Denied = []string{p.name} })
			failed := checked(t, s, "us-central1")
			if len(failed) == 0 {
				t.Fatal("every operation succeeded")
			}
			for action, detail := range failed {
				if !strings.Contains(detail, p.name) || !strings.Contains(detail, "`gcloud storage buckets add-iam-policy-binding gs://lake --member=serviceAccount:export@acme.iam.gserviceaccount.com --role="+p.role+"`") {
					t.Errorf("%s: %s", action, detail)
				}
			}
			left := server.Objects()
			if p.name != "storage.objects.delete" && p.name != "storage.objects.list" && len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if said := strings.Join(details(failed), " "); len(left) > 0 && !strings.Contains(said, "has left") {
				t.Errorf("%v are left, and the check says %s", left, said)
			}
		})
	}
	server, s := newServer(t)
	if failed := checked(t, s, "us-central1"); len(failed) > 0 || len(server.Objects()) > 0 {
		t.Errorf("with all permissions: %v, left %v", failed, server.Objects())
	}
}

func details(failed map[string]string) []string {
	var found []string
	for _, d := range failed {
		found = append(found, d)
	}
	return found
}

// A run needs no other permission: with any other one denied it succeeds.
func TestARunNeedsNoOtherPermission(t *testing.T) {
	needed := config{}.permissions()
	var others []string
	for _, p := range []string{"storage.buckets.get", "storage.buckets.update", "storage.objects.setIamPolicy", "storage.objects.getIamPolicy", "storage.multipartUploads.create"} {
		if !slices.Contains(needed, p) {
			others = append(others, p)
		}
	}
	_, s := newServer(t, func(g *gcsserver.Server, _ *config) { g.Denied = others })
	l := lake.New(lake.Options{Store: s})
	for n := range int64(2) {
		for _, mode := range []sdk.Mode{sdk.Append, sdk.Replace} {
			run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.Events, Mode: mode, Number: n + 1, Fence: n + 1}
			days := laketest.Days{"2026-06-01": 2}
			if mode == sdk.Replace {
				run.Stream, days = sdk.People, laketest.Days{"": 2}
			}
			if _, err := laketest.Export(t.Context(), l, run, days); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// toStandIn sends the requests for IAM Credentials to the server that stands in
// for it.
type toStandIn struct{ url string }

func (s toStandIn) RoundTrip(r *http.Request) (*http.Response, error) {
	to, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = to.Scheme, to.Host, to.Host
	return http.DefaultTransport.RoundTrip(r)
}

// newImpersonating makes a store that acts as another account than its key's.
func newImpersonating(t *testing.T) (*gcptoken.Server, *store) {
	t.Helper()
	tokens := gcptoken.Start(t)
	key, err := tokens.KeyFile()
	if err != nil {
		t.Fatal(err)
	}
	_, s := newServer(t, func(g *gcsserver.Server, c *config) {
		c.Credentials, c.Impersonate, c.iam = key, "lake@acme.iam.gserviceaccount.com", toStandIn{tokens.URL}
		g.Authorize = func(token string) bool {
			found, ok := tokens.Issued(token)
			return ok && found.Account == c.Impersonate && slices.Equal(found.Scopes, []string{scope})
		}
	})
	return tokens, s
}

// Requests carry a token of the account of attribute impersonate, and one token
// is used for many.
func TestImpersonation(t *testing.T) {
	tokens, s := newImpersonating(t)
	tokens.Grant("lake@acme.iam.gserviceaccount.com")
	for range 3 {
		if err := laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := tokens.Count("lake@acme.iam.gserviceaccount.com"); n != 1 {
		t.Errorf("%d tokens were handed out, want 1", n)
	}
}

// A missing grant is a matter of configuration, and the hint has the command that
// grants it.
func TestImpersonationThatIsNotGranted(t *testing.T) {
	tokens, s := newImpersonating(t)
	err := laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(10))
	const want = "gcloud iam service-accounts add-iam-policy-binding lake@acme.iam.gserviceaccount.com"
	if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), want) || !strings.Contains(hintOf(err), "--member=serviceAccount:"+tokens.Account) {
		t.Errorf("class %v, hint %q of %v", protocol.ClassOf(err), hintOf(err), err)
	}
	if strings.Contains(err.Error()+hintOf(err), "PRIVATE KEY") {
		t.Errorf("the error shows the key: %v", err)
	}
}
