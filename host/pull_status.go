package host

import (
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/sdk/batch"
)

// pullStatus describes the sources that pull.
func (h *Host) pullStatus() ([]operation.PullStatus, error) {
	counts, err := h.quarantine.Counts()
	if err != nil {
		return nil, err
	}
	list := []operation.PullStatus{}
	for _, p := range h.pulls {
		s := p.status()
		s.Quarantined = refusedTotals(counts[s.Name])
		list = append(list, s)
	}
	return list, nil
}

// status describes a source that pulls.
func (p *puller) status() operation.PullStatus {
	now := p.source.Status()
	s := operation.PullStatus{
		Name: p.config.Reference(), Project: p.config.Project.Name, From: now.From.String(), Done: now.Done, Missing: now.Forecast.Days,
		InFlight: now.InFlight.String(), Fetched: now.InFlight.Bytes, Next: now.Next.String(), Why: now.Next.Why.String(), NextAt: now.NextAt, WaitsForLimit: now.Waits, QueriesLeft: now.Left,
		CatchUpQueries: now.Forecast.Queries, Profiles: now.Profiles, SelectsLate: now.Late.Selects, NotSelected: now.Late.Reason,
	}
	if now.Forecast.Days > 0 && !now.Forecast.At.IsZero() {
		s.CaughtUpAt = &now.Forecast.At
	}
	if now.Err != nil {
		s.Error = now.Err.Error()
	}
	if !now.ProfilesAt.IsZero() {
		s.ProfilesAt = &now.ProfilesAt
	}
	return s
}

// unpulled returns the days of a source that a pipeline of events waits for; nil if
// there are none.
func (p *puller) unpulled(of *config.Pipeline) *operation.Unread {
	s := p.source.Status()
	if of.Project != p.config.Project || of.Stream == batch.People || s.Forecast.Days == 0 {
		return nil
	}
	u := &operation.Unread{Source: p.config.Reference(), Days: s.Forecast.Days}
	if !s.Forecast.At.IsZero() {
		at := s.Forecast.At.UTC().Truncate(time.Second)
		u.CaughtUpAt = &at
	}
	return u
}
