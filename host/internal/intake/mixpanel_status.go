package intake

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Describe implements Source.
func (p *Mixpanel) Describe(_ context.Context, status *operation.Status, counts map[string]quarantine.Count) error {
	s := p.status()
	s.Quarantined = totals(counts)
	status.Pulls = append(status.Pulls, s)
	return nil
}

// status describes a source that pulls.
func (p *Mixpanel) status() operation.PullStatus {
	now := p.source.Status()
	s := operation.PullStatus{
		Name: p.Name(), Project: p.block().Project.Name, From: now.From.String(), Done: now.Done, Missing: now.Forecast.Days,
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

// Unread implements Source: the days that a pipeline of events waits for.
func (p *Mixpanel) Unread(_ context.Context, of *config.Pipeline) (*operation.Unread, error) {
	s := p.source.Status()
	if of.Project != p.block().Project || of.Stream == batch.People || s.Forecast.Days == 0 {
		return nil, nil
	}
	u := &operation.Unread{Source: p.Name(), Days: s.Forecast.Days}
	if !s.Forecast.At.IsZero() {
		at := s.Forecast.At.UTC().Truncate(time.Second)
		u.CaughtUpAt = &at
	}
	return u, nil
}
