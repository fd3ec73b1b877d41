package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
)

// bigQueryBlock returns the body of the destination block. The stand-in asks for no
// bearer.
func bigQueryBlock(s *server) string {
	return fmt.Sprintf("  gcp_project    = \"acme\"\n  dataset        = \"bench\"\n  region         = \"US\"\n  create_dataset = true\n  endpoint       = %q\n", s.endpoint)
}

// startBigQuery starts a stand-in for BigQuery, which keeps all rows in memory, twice
// while a run is committed.
func startBigQuery(ctx context.Context, root, dir string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, addr, "", []string{"TMPDIR=" + dir}, filepath.Join(root, ".cache", "bin", "bigquery-standin"), "-listen", addr)
}

// countBigQuery returns the number of rows of the table of events.
func countBigQuery(ctx context.Context, s *server) (int, error) {
	body := []byte(`{"query":"SELECT COUNT(*) FROM bench.mp_master_event","useLegacySql":false,"location":"US","timeoutMs":600000}`)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint+"/bigquery/v2/projects/acme/queries", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var result struct {
		Rows []struct {
			F []struct{ V string }
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	if len(result.Rows) != 1 || len(result.Rows[0].F) != 1 {
		return 0, fmt.Errorf("count rows: %s", answer.Status)
	}
	return strconv.Atoi(result.Rows[0].F[0].V)
}
