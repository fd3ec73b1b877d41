package intake

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
)

// Pulls are the sources that pull.
type Pulls struct{ set *Set }

// byName returns the source of a name.
func (s *Pulls) byName(name string) (*Mixpanel, error) {
	all := s.set.now.Load().pulls
	for _, p := range all {
		if p.Name() == name || p.block().Name == name {
			return p, nil
		}
	}
	if len(all) == 0 {
		return nil, operation.Faultf(operation.UnknownSource, "the configuration has no source that pulls: source \"mixpanel\" NAME { … }")
	}
	return nil, operation.Faultf(operation.UnknownSource, "no source that pulls is named %q; there is %s", name, all[0].Name())
}

// errPullRemoved is the error of a pull during which a reload has removed the source: no
// further query is begun.
var errPullRemoved = errors.New("a reload has removed the source: some of the dates are perhaps not pulled")

// Pull pulls the events of some dates, whether or not they are due. An error of the
// service is in the summary. alone means that no other source writes.
func (s *Pulls) Pull(ctx context.Context, name, from, to string, alone bool) (*operation.SourceSummary, error) {
	p, days, err := s.requested(name, from, to)
	if err != nil {
		return nil, err
	}
	done := newPulled(p, alone)
	err = p.source.PullDays(ctx, days[0], days[1], events{p}.reportWait, events{p}.store(done))
	if err == nil && isClosed(p.source.Retired()) {
		err = errPullRemoved
	}
	summary := done.result()
	if err != nil {
		summary.Error = err.Error()
	}
	return &summary, nil
}

// Check asks a source that pulls for the events of some dates, counts them and stores
// nothing.
func (s *Pulls) Check(ctx context.Context, name, from, to string) (*operation.SourceCheck, error) {
	p, days, err := s.requested(name, from, to)
	if err != nil {
		return nil, err
	}
	check := &operation.SourceCheck{Source: p.Name(), Server: region(p.block()).Export, Days: []operation.SourceDay{}}
	counts, err := p.source.Check(ctx, days[0], days[1], times(p.block().Project, p.block().Local))
	if err != nil {
		check.Error = err.Error()
		check.Kind = mixpanel.KindOf(err).String()
	}
	for _, c := range counts {
		check.Days = append(check.Days, operation.SourceDay(c))
	}
	return check, nil
}

// requested returns a source and the dates that a person asks for.
func (s *Pulls) requested(name, from, to string) (*Mixpanel, [2]journal.Day, error) {
	var days [2]journal.Day
	p, err := s.byName(name)
	if err != nil {
		return nil, days, err
	}
	today := p.source.Status().Today
	days = [2]journal.Day{today - 1, today - 1}
	for i, text := range [2]string{from, to} {
		if text == "" {
			continue
		}
		if days[i], err = journal.ParseDay(text); err != nil {
			return nil, days, operation.Faultf(operation.InvalidParameter, "%q is not a date, written YYYY-MM-DD", text)
		}
	}
	if to == "" {
		days[1] = max(days[0], days[1])
	}
	if from == "" {
		days[0] = days[1]
	}
	switch {
	case days[1] < days[0]:
		return nil, days, operation.Faultf(operation.InvalidParameter, "--to %s lies before --from %s", days[1], days[0])
	case days[1] > today:
		return nil, days, operation.Faultf(operation.InvalidParameter, "%s has not begun: today is %s", days[1], today)
	}
	return p, days, nil
}
