package config

import (
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// blockTypes are the blocks that a configuration may hold.
var blockTypes = []string{"host", "project", "source", "destination", "pipeline", "locals"}

func (l *loader) refuseUnknownBlocks() {
	for _, b := range l.blocks {
		known := false
		for _, t := range blockTypes {
			known = known || b.Type == t
		}
		if !known {
			l.fail(b.TypeRange.Ptr(), "Unknown block", "There is no block %q.%s", b.Type, suggestion(b.Type, blockTypes))
		}
	}
}

// ofType are the blocks of a type, in order.
func (l *loader) ofType(typ string) []*hclsyntax.Block {
	var found []*hclsyntax.Block
	for _, b := range l.blocks {
		if b.Type == typ {
			found = append(found, b)
		}
	}
	return found
}

func (l *loader) decodeHost() {
	l.config.Host = Host{
		DataDir: "/var/lib/penstock", PluginDir: "/usr/libexec/penstock/plugins", Memory: 64 << 20,
		MaxBackfill: Backfill{Months: 6, Text: "6 months"}, LogLevel: "info", LogFormat: "text",
	}
	blocks := l.ofType("host")
	for i, raw := range blocks {
		if i > 0 {
			l.fail(raw.DefRange().Ptr(), "Block defined twice", "A configuration has one host block; another is at %s:%d.", blocks[0].DefRange().Filename, blocks[0].DefRange().Start.Line)
			continue
		}
		if !l.labels(raw) {
			continue
		}
		b := l.block("host block", raw)
		h := &l.config.Host
		h.DataDir = b.path("data_dir", h.DataDir, false)
		h.PluginDir = b.path("plugin_dir", h.PluginDir, false)
		h.Memory = b.size("memory", "64MiB", 4<<20)
		h.MaxBackfill = b.backfill("max_backfill", h.MaxBackfill)
		h.LogLevel = b.oneOf("log_level", "info", "debug", "info", "warn", "error")
		h.LogFormat = b.oneOf("log_format", "text", "text", "json")
		b.unavailable("catalog", "The catalog is the SQLite file in data_dir.")
		b.unavailable("blobs", "Segments lie in data_dir/blobs.")
		b.unavailable("retention", "Segments are kept.")
		b.unavailable("api", "Commands reach a running host through the socket in data_dir.")
		b.finish()
	}
}

// unavailable refuses what the contract names and this version does not do.
func (b *block) unavailable(name, instead string) {
	b.asked[name] = true
	if a := b.body.Attributes[name]; a != nil {
		b.l.fail(a.NameRange.Ptr(), "Not available in this version", "%q is planned and not there yet. %s", name, instead)
	}
	for _, inner := range b.body.Blocks {
		if inner.Type == name {
			b.l.fail(inner.DefRange().Ptr(), "Not available in this version", "The block %q is planned and not there yet. %s", name, instead)
		}
	}
}

var months = regexp.MustCompile(`^([0-9]{1,3}) months?$`)

// backfill reads "6 months" or a duration such as "90d".
func (b *block) backfill(name string, otherwise Backfill) Backfill {
	text := b.text(name, false, "")
	if text == "" {
		return otherwise
	}
	if m := months.FindStringSubmatch(text); m != nil {
		n, _ := new(big.Int).SetString(m[1], 10)
		return Backfill{Months: int(n.Int64()), Text: text}
	}
	d, err := schema.ParseDuration(text)
	if err != nil {
		b.l.fail(b.body.Attributes[name].Expr.Range().Ptr(), "Wrong value", "%q is %q: write it as \"6 months\", or as a duration such as \"90d\".", name, text)
		return otherwise
	}
	return Backfill{Time: d, Text: text}
}

func (l *loader) decodeProjects() {
	seen, ids := map[string]hcl.Range{}, map[int64]string{}
	for _, raw := range l.ofType("project") {
		if !l.labels(raw, `"NAME"`) || !l.named(seen, "project", raw.Labels[0], raw.DefRange()) {
			continue
		}
		b := l.block("project", raw)
		p := &Project{Name: raw.Labels[0], Range: raw.DefRange()}
		p.ID = b.integer("id")
		p.Token = b.quietText("token")
		p.TimeZone = b.zone("timezone")
		p.Identity = b.oneOf("identity", "simplified", "simplified", "original", "legacy")
		b.oneOf("profiles_from", "collector", "collector", "mixpanel")
		b.finish()
		if other, ok := ids[p.ID]; ok && p.ID > 0 {
			l.fail(raw.DefRange().Ptr(), "Project id used twice", "The project %q has the id %d too. Ids name the directories at destinations, and must differ.", other, p.ID)
		}
		ids[p.ID] = p.Name
		l.config.Projects = append(l.config.Projects, p)
	}
}

// integer reads a required positive integer.
func (b *block) integer(name string) int64 {
	a := b.attribute(name, true)
	if a == nil {
		return 0
	}
	v, ok := b.read(a, cty.Number, false)
	if !ok {
		return 0
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != big.Exact || n <= 0 {
		b.wrong(a, false, v, "it must be a positive integer")
		return 0
	}
	return n
}

func (l *loader) decodeSources() {
	seen := map[string]hcl.Range{}
	types := []string{"files", "collector", "mixpanel", "kafka"}
	for _, raw := range l.ofType("source") {
		if !l.labels(raw, `"TYPE"`, `"NAME"`) || !l.named(seen, "source", strings.Join(raw.Labels, "."), raw.DefRange()) {
			continue
		}
		switch typ := raw.Labels[0]; typ {
		case "files":
			l.decodeFiles(raw)
		case "collector", "mixpanel", "kafka":
			l.fail(raw.LabelRanges[0].Ptr(), "Not available in this version", "Sources of type %q are planned and not there yet. This version reads files: source \"files\".", typ)
		default:
			l.fail(raw.LabelRanges[0].Ptr(), "Unknown source type", "There is no source type %q.%s", typ, suggestion(typ, types))
		}
	}
}

func (l *loader) decodeFiles(raw *hclsyntax.Block) {
	b := l.block(`source "files"`, raw)
	s := &Source{Name: raw.Labels[1], Range: raw.DefRange()}
	s.Project = b.project()
	s.Pattern = b.text("path", true, "")
	if a := raw.Body.Attributes["path"]; a != nil && s.Pattern != "" && !strings.Contains(s.Pattern, "://") {
		s.Pattern = absolute(dirOf(a), s.Pattern)
	}
	s.Follow = b.flag("follow")
	if records := b.oneOf("records", "events", "events", "people"); records == "people" {
		l.fail(raw.Body.Attributes["records"].Expr.Range().Ptr(), "Not available in this version", "This version reads events.")
	}
	b.finish()
	l.config.Sources = append(l.config.Sources, s)
}

// project reads a reference to a project.
func (b *block) project() *Project {
	name := b.text("project", true, "")
	if name == "" {
		return nil
	}
	var names []string
	for _, p := range b.l.config.Projects {
		if p.Name == name {
			return p
		}
		names = append(names, p.Name)
	}
	b.l.fail(b.body.Attributes["project"].Expr.Range().Ptr(), "Unknown project", "No project %q is defined.%s", name, suggestion(name, names))
	return nil
}

func (l *loader) decodePipelines() {
	seen := map[string]hcl.Range{}
	for _, raw := range l.ofType("pipeline") {
		if l.labels(raw, `"NAME"`) && l.named(seen, "pipeline", raw.Labels[0], raw.DefRange()) {
			l.decodePipeline(raw)
		}
	}
	l.refuseOverlaps()
}

var frequencies = map[string]time.Duration{"daily": 24 * time.Hour, "hourly": time.Hour}

func (l *loader) decodePipeline(raw *hclsyntax.Block) {
	b := l.block("pipeline", raw)
	p := &Pipeline{Name: raw.Labels[0], Range: raw.DefRange(), FromRange: raw.DefRange(), To: pipeline.Forever}
	p.Project = b.project()
	p.Stream = b.stream()
	p.Destination = b.destination()
	from, fromKnown := b.date("from_date", true)
	p.From = from
	if to, ok := b.date("to_date", false); ok {
		p.To = to
	}
	frequency := b.oneOf("frequency", "daily", "daily", "hourly", "continuous")
	p.Frequency = frequencies[frequency]
	if frequency == "continuous" {
		l.fail(raw.Body.Attributes["frequency"].Expr.Range().Ptr(), "Not available in this version", "Use \"hourly\" or \"daily\".")
	}
	p.Order = pipeline.Order(b.oneOf("backfill_order", "oldest", "oldest", "newest"))
	p.MaxRun = b.size("max_run", "1GiB", 1<<20)
	p.Paused = b.flag("paused")
	p.Adopt = b.flag("adopt")
	if a := raw.Body.Attributes["sync"]; a != nil && !b.flag("sync") {
		l.fail(a.Expr.Range().Ptr(), "Not available in this version", "This version exports late data always: sync = true.")
	}
	b.asked["sync"] = true
	for _, name := range []string{"min_interval", "at", "rate_limit", "allow_shrink"} {
		b.unavailable(name, "Leave it out.")
	}
	b.finish()
	if fromKnown {
		p.FromRange = raw.Body.Attributes["from_date"].Expr.Range()
		l.checkDates(p)
	}
	l.config.Pipelines = append(l.config.Pipelines, p)
}

// checkDates checks the order of the dates, and how far back they reach
// unless the pipeline was registered before.
func (l *loader) checkDates(p *Pipeline) {
	if p.To < p.From {
		l.fail(p.FromRange.Ptr(), "Dates out of order", "from_date %s lies behind to_date %s.", p.From, p.To)
	}
	if l.options.Registered(l.config.Host.DataDir, p.Name) {
		return
	}
	if earliest := l.config.Host.MaxBackfill.Before(l.options.Now); p.From < earliest {
		l.fail(p.FromRange.Ptr(), "Date out of range", "from_date %s is more than %s back: the earliest is %s. "+
			"To reach further, raise max_backfill in the host block.", p.From, l.config.Host.MaxBackfill.Text, earliest)
	}
}

func (b *block) stream() batch.Stream {
	text := b.text("stream", true, "")
	if text == "" {
		return 0
	}
	s, err := batch.ParseStream(text)
	at := b.body.Attributes["stream"].Expr.Range()
	if err != nil {
		streams := []string{"events", "people", "identity"}
		b.l.fail(at.Ptr(), "Wrong value", "\"stream\" is %q: it must be one of %s.%s", text, strings.Join(streams, ", "), suggestion(text, streams))
	} else if s != batch.Events {
		b.l.fail(at.Ptr(), "Not available in this version", "This version exports the stream \"events\".")
	}
	return s
}

// destination reads a reference to a destination.
func (b *block) destination() *Destination {
	a := b.attribute("destination", true)
	if a == nil {
		return nil
	}
	var names []string
	for _, d := range b.l.config.Destinations {
		names = append(names, d.Reference())
	}
	given := ""
	if traversal, diagnostics := hcl.AbsTraversalForExpr(a.Expr); !diagnostics.HasErrors() && traversal.RootName() == "destination" {
		// Written as a reference: evaluating it would speak of objects and
		// attributes to whoever misspelt it.
		var steps []string
		for _, step := range traversal[1:] {
			if s, ok := step.(hcl.TraverseAttr); ok {
				steps = append(steps, s.Name)
			}
		}
		given = strings.Join(steps, ".")
	} else if v, ok := b.read(a, cty.String, false); ok {
		given = v.AsString()
	} else {
		return nil
	}
	for _, d := range b.l.config.Destinations {
		if d.Reference() == given {
			return d
		}
	}
	b.l.fail(a.Expr.Range().Ptr(), "Unknown destination", "No destination %q is defined.%s", given, suggestion(given, names))
	return nil
}

// refuseOverlaps refuses two pipelines that would write the same dates of the
// same stream to the same destination.
func (l *loader) refuseOverlaps() {
	for i, p := range l.config.Pipelines {
		for _, q := range l.config.Pipelines[:i] {
			same := p.Project != nil && p.Project == q.Project && p.Stream == q.Stream && p.Destination != nil && p.Destination == q.Destination
			if same && p.From <= q.To && q.From <= p.To {
				l.fail(p.Range.Ptr(), "Pipelines overlap", "The pipelines %q and %q export the same dates of %s to %s: each row would be there twice.",
					q.Name, p.Name, p.Stream, p.Destination.Reference())
			}
		}
	}
}
