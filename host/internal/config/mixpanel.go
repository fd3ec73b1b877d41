package config

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Mixpanel is a source block of type mixpanel.
type Mixpanel struct {
	Place
	Name      string
	Project   *Project
	Region    string   // us, eu, in
	Endpoint  string   // URL without a slash at its end; "": the region's
	Account   *Account // nil: APISecret is used
	APISecret Secret
	From      journal.Day // of today, when from_date is left out: it lies max_backfill back
	Lookback  time.Duration
	// People says that the source writes the project's profiles.
	People bool
	// Local says that dates and times are those of the project's zone.
	Local                     bool
	ExportLimit, ProfileLimit Limit
}

// Limit is how many requests an API takes. Zero: there is no such limit.
type Limit struct{ PerHour, PerSecond, Concurrent int }

// Reference is how other blocks and cursors name the source.
func (m *Mixpanel) Reference() string { return "mixpanel." + m.Name }

func (l *loader) decodeMixpanel(raw *hclsyntax.Block) {
	b := l.read(raw, mixpanelBlock)
	m := &Mixpanel{
		Place: b.place(), Name: raw.Labels[1], Project: b.project("project"), Region: b.text("region"), Endpoint: strings.TrimRight(b.text("endpoint"), "/"),
		APISecret: Secret(b.text("api_secret")), Local: b.text("data_timezone") == "project", People: b.flag("people"),
	}
	m.Lookback = time.Duration(b.integer("lookback"))
	if from, ok := b.date("from_date"); ok {
		m.From = from
	} else {
		m.From = l.config.Host.MaxBackfill.Before(l.options.Now)
	}
	accounts := b.blocks["service_account"]
	switch {
	case b.has("api_secret") && len(accounts) > 0:
		l.fail(b.at("api_secret"), "Attributes exclude each other", "%s has \"api_secret\" and a block \"service_account\": use one of them.", b.what)
	case !b.isIntended("api_secret") && !b.meant["service_account"] && len(accounts) == 0:
		l.fail(b.raw.DefRange().Ptr(), "Missing attribute", "%s needs credentials: a block service_account with username and secret, or \"api_secret\".", b.what)
	case b.has("api_secret"):
		l.warn(b.at("api_secret"), "Project secrets end", "Mixpanel ends project secrets on 2027-03-03: use a block service_account.")
	}
	for _, inner := range accounts {
		m.Account = &Account{Username: inner.text("username"), Secret: Secret(inner.text("secret"))}
	}
	m.ExportLimit, m.ProfileLimit = b.limit("export_limit", Limit{60, 3, 100}), b.limit("profile_limit", Limit{60, 0, 5})
	if p := m.Project; p != nil && m.People && !p.ProfilesPulled {
		if b.has("people") && !p.Incomplete {
			l.fail(b.at("people"), "Profiles have one authority", "Profiles of the project %q are those of its collector: set profiles_from = \"mixpanel\" in the project to have this source write them, or people = false.", p.Name)
		}
		m.People = false
	}
	l.config.Mixpanel = append(l.config.Mixpanel, m)
}

// limit reads a block of limits; without it they are the published ones.
func (b *body) limit(name string, published Limit) Limit {
	for _, inner := range b.blocks[name] {
		return Limit{PerHour: int(inner.integer("per_hour")), PerSecond: int(inner.integer("per_second")), Concurrent: int(inner.integer("concurrent"))}
	}
	return published
}

// checkAuthorities checks that one kind of source writes the profiles of each
// project.
func (l *loader) checkAuthorities() {
	writers := map[*Project]*Mixpanel{}
	for _, m := range l.config.Mixpanel {
		if m.Project == nil || !m.People {
			continue
		}
		if other := writers[m.Project]; other != nil {
			at := m.AttributeRange("people")
			l.fail(&at, "Profiles have one authority", "source \"mixpanel\" %q reads the profiles of the project %q, too: set people = false in one of them.", other.Name, m.Project.Name)
		}
		writers[m.Project] = m
	}
	for _, s := range l.config.Sources {
		if s.Project != nil && s.Project.ProfilesPulled && s.Records == batch.People {
			at := s.AttributeRange("records")
			l.fail(&at, "Profiles have one authority", "The project %q has profiles_from = \"mixpanel\": operations on profiles out of files would have no effect.", s.Project.Name)
		}
	}
	unsure := slices.ContainsFunc(l.config.Mixpanel, func(m *Mixpanel) bool { return m.Incomplete })
	for _, p := range l.config.Projects {
		if unsure || !p.ProfilesPulled || writers[p] != nil || l.partial {
			continue
		}
		at := p.AttributeRange("profiles_from")
		l.fail(&at, "Profiles have one authority", "No source \"mixpanel\" of the project %q reads profiles: add one, or set profiles_from = \"collector\".", p.Name)
	}
}
