package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// access holds the roles of accounts. An account without roles may do everything:
// tests of permissions grant it some.
type access struct {
	mu       sync.Mutex
	tokens   map[string]token
	roles    map[string]map[string][]string // by account and resource
	disabled map[string]bool                // APIs
}

type token struct {
	account string
	scopes  []string
	expires time.Time
}

func newAccess() *access {
	return &access{tokens: map[string]token{}, roles: map[string]map[string][]string{}, disabled: map[string]bool{}}
}

// Roles and their permissions
// (https://docs.cloud.google.com/bigquery/docs/access-control), as far as they are
// used here.
var permissions = map[string][]string{
	"roles/bigquery.jobUser":        {"bigquery.jobs.create"},
	"roles/bigquery.user":           {"bigquery.jobs.create", "bigquery.jobs.list", "bigquery.datasets.create", "bigquery.datasets.get", "bigquery.tables.list"},
	"roles/bigquery.metadataViewer": {"bigquery.datasets.get", "bigquery.tables.get", "bigquery.tables.list"},
	"roles/bigquery.dataViewer":     {"bigquery.datasets.get", "bigquery.tables.get", "bigquery.tables.list", "bigquery.tables.getData"},
	"roles/bigquery.dataEditor": {
		"bigquery.datasets.get", "bigquery.tables.get", "bigquery.tables.list", "bigquery.tables.getData", "bigquery.tables.create", "bigquery.tables.update",
		"bigquery.tables.updateData", "bigquery.tables.delete",
	},
	"roles/bigquery.dataOwner": {
		"bigquery.datasets.get", "bigquery.datasets.update", "bigquery.datasets.delete", "bigquery.tables.get", "bigquery.tables.list", "bigquery.tables.getData",
		"bigquery.tables.create", "bigquery.tables.update", "bigquery.tables.updateData", "bigquery.tables.delete",
	},
	"roles/bigquery.admin": nil, // everything
}

// account returns the account of a bearer.
func (a *access) account(ctx context.Context, info, authorization string) (string, error) {
	bearer, ok := strings.CutPrefix(authorization, "Bearer ")
	if info == "" {
		return "anonymous@acme.iam.gserviceaccount.com", nil
	}
	if !ok {
		return "", fail("required", "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
	}
	a.mu.Lock()
	t, known := a.tokens[bearer]
	a.mu.Unlock()
	if !known || time.Now().After(t.expires) {
		var err error
		if t, err = lookUp(ctx, info, bearer); err != nil {
			return "", err
		}
		a.mu.Lock()
		a.tokens[bearer] = t
		a.mu.Unlock()
	}
	if !slices.ContainsFunc(t.scopes, func(s string) bool {
		return s == "https://www.googleapis.com/auth/bigquery" || s == "https://www.googleapis.com/auth/cloud-platform"
	}) {
		return "", &failure{http.StatusForbidden, "insufficientPermissions", "Request had insufficient authentication scopes.", ""}
	}
	return t.account, nil
}

func lookUp(ctx context.Context, info, bearer string) (token, error) {
	invalid := fail("authError", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, info+"?access_token="+url.QueryEscape(bearer), nil)
	if err != nil {
		return token{}, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return token{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	var t struct {
		Email, Scope string
		ExpiresIn    int64 `json:"expires_in,string"`
	}
	if answer.StatusCode != http.StatusOK {
		return token{}, invalid
	}
	if err := json.NewDecoder(answer.Body).Decode(&t); err != nil {
		return token{}, err
	}
	return token{t.Email, strings.Fields(t.Scope), time.Now().Add(time.Duration(t.ExpiresIn) * time.Second)}, nil
}

// enabled refuses requests to an API that is switched off.
func (a *access) enabled(project string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.disabled["bigquery.googleapis.com"] {
		return fail("accessNotConfigured", "BigQuery API has not been used in project %s before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/bigquery.googleapis.com/overview?project=%s then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.", project, project)
	}
	return nil
}

// grant sets the roles of an account on a project or dataset.
func (a *access) grant(account, resource string, roles []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.roles[account] == nil {
		a.roles[account] = map[string][]string{}
	}
	a.roles[account][resource] = roles
}

// may reports whether an account has a permission on one of the resources.
func (a *access) may(account, permission string, resources ...string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	granted, restricted := a.roles[account]
	if !restricted {
		return true
	}
	for _, resource := range resources {
		for _, role := range granted[resource] {
			if list := permissions[role]; role == "roles/bigquery.admin" || slices.Contains(list, permission) {
				return true
			}
		}
	}
	return false
}

// allow refuses an account that has not a permission on a table. The message leaves open
// that the table exists.
func (s *Server) allow(user, permission string, d *dataset, table string) error {
	ref := d.meta.DatasetReference
	if ref == nil || s.access.may(user, permission, ref.ProjectId, ref.ProjectId+":"+ref.DatasetId) {
		return nil
	}
	switch permission {
	case "bigquery.tables.getData":
		return fail("accessDenied", "Access Denied: Table %s: User does not have permission to query table %s, or perhaps it does not exist.", table, table)
	case "bigquery.tables.create":
		return fail("accessDenied", "Access Denied: Dataset %s:%s: Permission bigquery.tables.create denied on dataset %s:%s (or it may not exist).", ref.ProjectId, ref.DatasetId, ref.ProjectId, ref.DatasetId)
	}
	return fail("accessDenied", "Access Denied: Table %s: Permission %s denied on table %s (or it may not exist).", table, permission, table)
}

// allowDataset refuses an account that has not a permission on a dataset.
func (s *Server) allowDataset(user, permission, project, dataset string) error {
	if s.access.may(user, permission, project, project+":"+dataset) {
		return nil
	}
	return fail("accessDenied", "Access Denied: Dataset %s:%s: Permission %s denied on dataset %s:%s (or it may not exist).", project, dataset, permission, project, dataset)
}

// allowProject refuses an account that has not a permission on a project.
func (s *Server) allowProject(user, permission, project string) error {
	if s.access.may(user, permission, project) {
		return nil
	}
	return fail("accessDenied", "Access Denied: Project %s: User does not have %s permission in project %s.", project, permission, project)
}
