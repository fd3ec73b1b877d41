package server

import (
	"time"
)

// Quotas, by the names that tests set them with
// (https://docs.cloud.google.com/bigquery/quotas).
const (
	metadataUpdates       = "metadata_updates_per_10s"
	partitionedUpdates    = "partitioned_metadata_updates_per_10s"
	tableModifications    = "table_modifications_per_day"
	partitionModification = "partition_modifications_per_day"
	queuedDML             = "mutating_dml_queued"
)

func defaultQuotas() map[string]int64 {
	return map[string]int64{metadataUpdates: 5, partitionedUpdates: 50, tableModifications: 1500, partitionModification: 11000, queuedDML: maxQueued}
}

func (s *Server) quota(name string) int64 {
	s.quotasMu.Lock()
	defer s.quotasMu.Unlock()
	return s.quotas[name]
}

// metadataUpdate counts an update of a table's metadata.
func (s *Server) metadataUpdate(t *table) error {
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	limit := s.quota(metadataUpdates)
	if t.partitioned() {
		limit = s.quota(partitionedUpdates)
	}
	now := s.now()
	recent := t.metaTimes[:0]
	for _, at := range t.metaTimes {
		if now.Sub(at) < 10*time.Second {
			recent = append(recent, at)
		}
	}
	t.metaTimes = recent
	if int64(len(recent)) >= limit {
		return fail("rateLimitExceeded", "Exceeded rate limits: too many table update operations for this table. For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas")
	}
	t.metaTimes = append(t.metaTimes, now)
	return nil
}

// modification counts a job that appends to or replaces a table, also when the job
// fails later.
func (s *Server) modification(t *table, to *target) error {
	if err := s.metadataUpdate(t); err != nil {
		return err
	}
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	return s.countModification(t, to)
}

// countModification counts a modification of a table. The catalog's lock is held.
func (s *Server) countModification(t *table, to *target) error {
	name := tableModifications
	if t.partitioned() {
		name = partitionModification
	}
	if t.daily == nil {
		t.daily = map[string]int64{}
	}
	day := s.now().UTC().Format(time.DateOnly)
	if t.daily[day] >= s.quota(name) {
		if name == partitionModification {
			return fail("quotaExceeded", "Quota exceeded: Your table exceeded quota for Number of partition modifications to a column partitioned table. For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas")
		}
		return fail("quotaExceeded", "Quota exceeded: Your table exceeded quota for imports or query appends per table. For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas")
	}
	t.daily[day]++
	return nil
}
