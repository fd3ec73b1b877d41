package standin_test

import (
	"net/http"
	"testing"

	"cloud.google.com/go/auth/credentials"

	"github.com/penstock-io/penstock/test/standin"
)

// The stand-in for BigQuery demands a bearer that the token server knows, and follows
// the controls.
func TestBigQueryDemandsABearer(t *testing.T) {
	bq := standin.StartBigQuery(t, standin.BigQueryOptions{})
	c, err := credentials.NewCredentialsFromJSON(credentials.ServiceAccount, []byte(bq.KeyFile()), &credentials.DetectOptions{
		Scopes: []string{"https://www.googleapis.com/auth/bigquery"},
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get := func(bearer string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, bq.URL+"/bigquery/v2/projects/"+bq.Project+"/datasets", nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	for bearer, want := range map[string]int{"": http.StatusUnauthorized, "forged": http.StatusUnauthorized, token.Value: http.StatusOK} {
		if got := get(bearer); got != want {
			t.Errorf("with the bearer %q: status %d, want %d", bearer, got, want)
		}
	}
	bq.API("bigquery.googleapis.com", false)
	if got := get(token.Value); got != http.StatusForbidden {
		t.Errorf("without the API: status %d, want 403", got)
	}
}
