package config

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

func (l *loader) decodePipelines() {
	seen := map[string]hcl.Range{}
	for _, raw := range l.ofType("pipeline") {
		if l.labelled(raw, pipelineBlock.labels) && l.named(seen, raw) {
			l.decodePipeline(raw)
		}
	}
	l.refuseOverlaps()
}

func (l *loader) decodePipeline(raw *hclsyntax.Block) {
	b := l.read(raw, pipelineBlock)
	p := &Pipeline{
		Place: b.place(), Name: raw.Labels[0], Project: b.project("project"), Destination: b.destination(), To: pipeline.Forever,
		Order: pipeline.Order(b.text("backfill_order")), MaxRun: b.integer("max_run"),
		Paused: b.flag("paused"), LeaveLate: !b.flag("sync"), RateLimit: b.integer("rate_limit"), Adopt: b.flag("adopt"), AllowShrink: b.flag("allow_shrink"),
	}
	p.Schedule = b.schedule(p.Project)
	// An unknown name was refused, and leaves the zero value.
	p.Stream, _ = batch.ParseStream(b.text("stream"))
	if p.Stream == batch.Events && !b.isIntended("from_date") {
		l.fail(raw.DefRange().Ptr(), "Missing attribute", "%s needs \"from_date\": the first day to export, written \"YYYY-MM-DD\", or \"earliest\".", b.what)
	}
	if b.text("stream") != "" {
		b.refuseOfOtherStreams(p.Stream)
	}
	if p.Stream == batch.Identity && p.Project != nil && p.Project.Identity == schema.Legacy {
		at := b.place().AttributeRange("stream")
		l.fail(&at, "No identity mappings", "project %q has identity = \"legacy\": an alias counts for later events only, and is applied when they are collected. "+
			"There is nothing to export: leave the pipeline out.", p.Project.Name)
	}
	from, hasFrom := b.from(p.Name)
	to, hasTo := b.date("to_date")
	p.From = from
	if hasTo {
		p.To = to
	}
	if hasFrom {
		l.checkDates(p)
	}
	undated := p.Stream == batch.Events && !hasFrom
	p.Incomplete = b.isIncomplete()
	l.unsure[p] = b.isMistaken("to_date") || p.Project == nil || p.Destination == nil || b.text("stream") == "" || undated || b.has("to_date") && !hasTo || p.To < p.From
	l.config.Pipelines = append(l.config.Pipelines, p)
}

// leastInterval is the shortest min_interval of a pipeline.
const leastInterval = time.Second

// schedule is when a pipeline's runs are due.
func (b *body) schedule(p *Project) pipeline.Schedule {
	s := pipeline.Schedule{Cadence: pipeline.Cadence(b.text("frequency"))}
	if p != nil {
		s.Zone = p.TimeZone
	}
	if s.MinInterval = time.Duration(b.integer("min_interval")); b.has("min_interval") && b.get("min_interval") != nil && s.MinInterval < leastInterval {
		b.l.fail(b.at("min_interval"), "Value out of range", "min_interval must be at least \"%s\".", leastInterval)
	}
	at, minuteOnly, ok := parseClock(b.text("at"))
	switch {
	case !b.has("at") || !ok: // a wrong text was reported
		s.At = map[pipeline.Cadence]time.Duration{pipeline.Daily: pipeline.DailyAt, pipeline.Hourly: pipeline.HourlyAt}[s.Cadence]
		return s
	case b.isMistaken("frequency"): // the time of day may be right for the one that was meant
	case s.Cadence == pipeline.Continuous:
		b.l.fail(b.at("at"), "Attribute of another frequency", "A continuous pipeline has no time of day: leave \"at\" out; \"min_interval\" is the time between runs.")
	case s.Cadence == pipeline.Hourly && !minuteOnly:
		b.l.fail(b.at("at"), "Wrong value", "The pipeline runs every hour: write the minute alone, such as \":30\".")
	case s.Cadence == pipeline.Daily && minuteOnly:
		b.l.fail(b.at("at"), "Wrong value", "The pipeline runs once a day: write the time of day, such as \"03:00\".")
	}
	s.At = at
	return s
}

// refuseOfOtherStreams refuses attributes that a pipeline of this stream has no
// use for.
func (b *body) refuseOfOtherStreams(s batch.Stream) {
	names, why := []string{"from_date", "to_date", "backfill_order"}, "each run replaces all of %s at the destination"
	if s == batch.Events {
		names, why = []string{"allow_shrink"}, "rows of %s are added and replace nothing"
	}
	if s != batch.Events && !b.flag("sync") {
		b.l.fail(b.at("sync"), "Attribute of another stream", "%s has stream = %q and takes no sync = false: "+why+". Leave it out.", b.what, s.String(), s)
	}
	for _, name := range names {
		if b.has(name) && b.get(name) != false {
			at := b.place().AttributeRange(name)
			b.l.fail(&at, "Attribute of another stream", "%s has stream = %q and takes no %s: "+why+". Leave it out.", b.what, s.String(), name, s)
		}
	}
}

// from is the from_date of a pipeline. "earliest" is resolved: to the date with
// which the pipeline is registered, or to that of a registration now.
func (b *body) from(pipeline string) (journal.Day, bool) {
	if b.text("from_date") != earliest {
		return b.date("from_date")
	}
	h := b.l.config.Host
	if day, ok := b.l.options.Registered(h.DataDir, pipeline); ok {
		return day, true
	}
	return h.MaxBackfill.Before(b.l.options.Now), true
}

// date is an attribute as a date.
func (b *body) date(name string) (journal.Day, bool) {
	text, ok := b.get(name).(string)
	if !ok {
		return 0, false
	}
	day, err := journal.ParseDay(text)
	return day, err == nil
}

// checkDates checks the order of the dates, and how far back they reach
// unless the pipeline was registered before.
func (l *loader) checkDates(p *Pipeline) {
	at := p.AttributeRange("from_date")
	if p.To < p.From {
		to := p.AttributeRange("to_date")
		l.fail(&to, "Dates out of order", "to_date %s lies before from_date %s. Exchange them, or leave to_date out to go on for ever.", p.To, p.From)
	}
	if today := journal.DayOf(l.options.Now.Unix()); p.From > today {
		l.warn(&at, "Date in the future", "from_date is %s and today is %s: nothing is exported until there is an event of that day.", p.From, today)
	}
	if l.config.Host.Incomplete {
		return // max_backfill, and the pipelines in data_dir, may be others than those that were meant
	}
	first := l.config.Host.MaxBackfill.Before(l.options.Now)
	if _, registered := l.options.Registered(l.config.Host.DataDir, p.Name); p.From < first && !registered {
		l.fail(&at, "Date out of range", "from_date %s is more than %s back: today the earliest is %s. Write from_date = \"earliest\" "+
			"to begin there, or raise max_backfill in the host block to reach further.", p.From, l.config.Host.MaxBackfill.Text, first)
	}
}

// refuseOverlaps refuses two pipelines that would write the same dates of the
// same stream to the same destination.
func (l *loader) refuseOverlaps() {
	for i, p := range l.config.Pipelines {
		for _, q := range l.config.Pipelines[:i] {
			same := p.Project == q.Project && p.Stream == q.Stream && p.Destination == q.Destination
			if common, ok := (pipeline.Days{From: p.From, To: p.To}).Common(pipeline.Days{From: q.From, To: q.To}); same && ok && !l.unsure[p] && !l.unsure[q] {
				text := fmt.Sprintf("The pipelines %%q (%%s:%%d) and %%q export the same dates of %%s to %%s, %s: each row would be there twice.", common)
				if p.Stream != batch.Events {
					text = "The pipelines %q (%s:%d) and %q both replace %s in %s: one is enough."
				}
				l.fail(p.Range.Ptr(), "Pipelines overlap", text,
					q.Name, q.Range.Filename, q.Range.Start.Line, p.Name, p.Stream, p.Destination.Reference())
			}
		}
	}
}
