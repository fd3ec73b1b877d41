package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
)

// Pulls are the sources that pull.
type Pulls struct{ all []*Mixpanel }

// openPulls opens the sources that pull. It asks Mixpanel nothing.
func openPulls(ctx context.Context, o *Options) (*Pulls, error) {
	s := &Pulls{}
	budgets := map[string]*mixpanel.Budget{}
	for _, c := range o.Config.Mixpanel {
		p, err := openPull(ctx, o, c, budgets)
		if err != nil {
			for _, opened := range s.all {
				opened.Close()
			}
			return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
		}
		s.all = append(s.all, p)
	}
	return s, nil
}

// byName returns the source of a name.
func (s *Pulls) byName(name string) (*Mixpanel, error) {
	for _, p := range s.all {
		if p.Name() == name || p.config.Name == name {
			return p, nil
		}
	}
	if len(s.all) == 0 {
		return nil, errors.New("the configuration has no source that pulls: source \"mixpanel\" NAME { … }")
	}
	return nil, fmt.Errorf("no source that pulls is named %q; there is %s", name, s.all[0].Name())
}

// Pull pulls the events of some dates, whether or not they are due. An error of the
// service is in the summary. alone means that no other source writes.
func (s *Pulls) Pull(ctx context.Context, name, from, to string, alone bool) (*operation.SourceSummary, error) {
	p, days, err := s.requested(name, from, to)
	if err != nil {
		return nil, err
	}
	done := newPulled(p, alone)
	err = p.source.PullDays(ctx, days[0], days[1], events{p}.reportWait, events{p}.store(done))
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
	check := &operation.SourceCheck{Source: p.Name(), Server: region(p.config).Export, Days: []operation.SourceDay{}}
	counts, err := p.source.Check(ctx, days[0], days[1], times(p.config.Project, p.config.Local))
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
			return nil, days, fmt.Errorf("%q is not a date, written YYYY-MM-DD", text)
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
		return nil, days, fmt.Errorf("--to %s lies before --from %s", days[1], days[0])
	case days[1] > today:
		return nil, days, fmt.Errorf("%s has not begun: today is %s", days[1], today)
	}
	return p, days, nil
}
