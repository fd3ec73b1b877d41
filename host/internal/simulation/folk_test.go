//go:build !race

package simulation_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// folk are the people of a world: the operations on profiles and the identity links that
// were sent, and the sets that came to places.
type folk struct {
	sent   []journal.Row     // without their places in a chunk
	texts  []string          // of sent
	count  map[string]int    // by text: 1 for a row that was sent, 2 for one that is sealed
	links  map[string]string // text by day, verb and ids: the journal keeps one of each
	sealed []change          // in the order of the journal
	sets   []*set            // that were committed, and not explained yet
	last   map[string]int64  // by place: the sequence of its latest set
	clock  int64             // of the latest row, in seconds

	runs, rows, refused int64 // sets, their rows, and links that did not hold
}

// change is a sealed operation or link.
type change struct {
	seq  int64
	kind journal.Kind
	text string
}

// set is a set that a pipeline has brought to a place.
type set struct {
	line  *line
	run   int64
	seq   int64 // that the run says it stands for
	floor int64 // sequence of the journal before the run was planned
	rows  map[string]string
}

func newFolk() folk {
	return folk{count: map[string]int{}, links: map[string]string{}, last: map[string]int64{}}
}

// changes makes operations and links: in order and not, of now and late, and some again
// that were sent before. Sources date their rows as they read them, so that no row is dated
// before an earlier one, and one that is sent again on another day is kept out by the
// cursor of its source: keys are kept by day.
func (w *world) changes(put func(text string, row journal.Row)) {
	f := &w.folk
	f.clock = max(f.clock, w.now().Unix())
	for range w.rng.IntN(5) {
		var text string
		row := journal.Row{Time: f.clock}
		if w.rng.IntN(3) > 0 {
			text, row.Kind = w.operation(), journal.KindProfiles
			row.Key = schema.OperationKey([]byte(text), []byte(text))
		} else {
			l := w.link(row.Time)
			text, row.Kind, row.Key = string(schema.AppendLink(nil, l)), journal.KindLinks, l.Key()
			key := fmt.Sprint(journal.DayOf(l.Time), l.Verb, l.AnonymousID, ">", l.IdentifiedID)
			if f.links[key] == "" {
				f.links[key] = text
			} else if f.count[text] == 0 {
				put(text, row) // the journal has the link already
				continue
			}
		}
		if f.count[text] > 0 {
			continue
		}
		f.count[text] = 1
		f.sent, f.texts = append(f.sent, row), append(f.texts, text)
		put(text, row)
	}
	for range w.rng.IntN(3) {
		if n := len(f.sent); n > 0 {
			again := n - 1 - w.rng.IntN(min(n, 8))
			if journal.DayOf(f.sent[again].Time) == journal.DayOf(f.clock) {
				put(f.texts[again], f.sent[again])
			}
		}
	}
}

// operation makes an operation on one of a few profiles. Its own time is up to a month
// before now.
func (w *world) operation() string {
	o := schema.Operation{
		DistinctID: fmt.Sprintf("person %d", w.rng.IntN(9)), LastSeen: w.rng.IntN(2) == 0,
		Time: w.now().UnixMilli() - int64(w.rng.IntN(30*24))*int64(w.rng.IntN(2))*time.Hour.Milliseconds() + int64(w.rng.IntN(1000)),
	}
	name, n := string(rune('a'+w.rng.IntN(4))), w.rng.IntN(5)
	switch w.rng.IntN(10) {
	case 0, 1:
		o.Verb, o.Value = schema.Set, fmt.Appendf(nil, `{%q:%d}`, name, n)
	case 2:
		o.Verb, o.Value = schema.Set, fmt.Appendf(nil, `{%q:"text %d","z":[%d]}`, name, n, n)
	case 3:
		o.Verb, o.Value = schema.SetOnce, fmt.Appendf(nil, `{%q:%d}`, name, n)
	case 4:
		o.Verb, o.Value = schema.Add, fmt.Appendf(nil, `{%q:%d}`, name, n-1)
	case 5:
		o.Verb, o.Value = schema.Append, fmt.Appendf(nil, `{%q:%d}`, name, n)
	case 6:
		o.Verb, o.Value = schema.Union, fmt.Appendf(nil, `{%q:[%d,%d]}`, name, n, n/2)
	case 7:
		o.Verb, o.Value = schema.Remove, fmt.Appendf(nil, `{%q:%d}`, name, n)
	case 8:
		o.Verb, o.Value = schema.Unset, fmt.Appendf(nil, `[%q]`, name)
	default:
		o.Verb, o.Value = schema.Delete, []byte(`""`)
		if w.rng.IntN(2) == 0 {
			o.Verb, o.Value = schema.Set, fmt.Appendf(nil, `{%q:null}`, name)
		}
	}
	return string(schema.AppendOperation(nil, o))
}

// link makes an identity link: many of them contradict others.
func (w *world) link(at int64) schema.Link {
	id := func() string {
		if n := w.rng.IntN(24); n < 16 {
			return fmt.Sprintf("$device:%08x-0000-4000-8000-%012x", n, n)
		} else {
			return fmt.Sprintf("person %d", n)
		}
	}
	verbs := []schema.LinkVerb{schema.VerbLink}
	if w.shop.Identity == schema.Original {
		verbs = []schema.LinkVerb{schema.VerbIdentify, schema.VerbAlias, schema.VerbMerge, schema.VerbLink}
	}
	return schema.Link{AnonymousID: id(), IdentifiedID: id(), Time: at, Verb: verbs[w.rng.IntN(len(verbs))]}
}

// sealedChange notes a row of people or links that is new in the journal.
func (w *world) sealedChange(seq int64, kind journal.Kind, text string) {
	switch f := &w.folk; {
	case f.count[text] == 0 && kind == journal.KindProfiles, kind == journal.KindLinks && !w.isLink(text):
		w.errorf("the journal has %q, which was never sent", text)
	case f.count[text] == 2:
		w.errorf("the journal has %q twice: now in seal %d, index of kind %d", text, seq, kind)
	default:
		f.count[text] = 2
		f.sealed = append(f.sealed, change{seq, kind, text})
	}
}

// isLink reports whether the journal may keep a link: the first of its day.
func (w *world) isLink(text string) bool {
	l, err := schema.ParseLink([]byte(text))
	w.must(err)
	return w.folk.links[fmt.Sprint(journal.DayOf(l.Time), l.Verb, l.AnonymousID, ">", l.IdentifiedID)] == text
}

// lookAtFolk reads the operations and links that were sealed since the last look, and
// explains the sets that have come to places.
func (w *world) lookAtFolk(after, to int64) {
	for _, kind := range []journal.Kind{journal.KindProfiles, journal.KindLinks} {
		var found []pipeline.Extent
		w.must(w.life.catalog.Extents(w.ctx, w.shop.ID, kind, after, to, func(_ int64, extents []pipeline.Extent) error {
			found = append(found, extents...)
			return nil
		}))
		for _, e := range found {
			w.must(w.life.project.Journal.Reader().Extent(w.ctx, e.Ref, func(b journal.Block) error {
				rows, err := segment.Decode(nil, b)
				for l := range bytes.Lines(rows) {
					w.sealedChange(e.Ref.Seq, kind, string(l))
				}
				return err
			}))
		}
	}
	slices.SortStableFunc(w.folk.sealed, func(a, b change) int { return cmp.Compare(a.seq, b.seq) })
	w.mu.Lock()
	sets := w.folk.sets
	w.folk.sets = nil
	w.mu.Unlock()
	for _, s := range sets {
		w.explain(s, to)
	}
}

// explain checks a set that has come to a place: it is the one that all changes up to
// some time make, that time is not before the run was planned, and not before that of the
// set that was there.
func (w *world) explain(s *set, sealed int64) {
	name, f := s.line.cfg.Name, &w.folk
	f.runs++
	f.rows += int64(len(s.rows))
	if s.seq > sealed {
		w.errorf("run %d of %s stands for seal %d, and there are %d", s.run, name, s.seq, sealed)
	}
	if s.seq < s.floor {
		w.errorf("run %d of %s stands for seal %d, and was planned after seal %d", s.run, name, s.seq, s.floor)
	}
	if s.seq < f.last[s.line.place.name] {
		w.errorf("run %d of %s brings the set of seal %d, and that of seal %d was there", s.run, name, s.seq, f.last[s.line.place.name])
	}
	f.last[s.line.place.name] = s.seq
	if want := w.model(s.line.cfg.Stream, s.seq); !maps.Equal(s.rows, want) {
		w.errorf("run %d of %s brings a set that the changes up to seal %d do not explain:\n%s", s.run, name, s.seq, differ(s.rows, want))
	}
}

// complete checks that the set at the place of a pipeline is that of all changes.
func (w *world) complete(l *line) {
	for _, text := range w.folk.texts {
		if w.folk.count[text] != 2 {
			w.errorf("%q was sent, and is not in the journal", text)
		}
	}
	if want := w.model(l.cfg.Stream, w.seen); !maps.Equal(l.place.set, want) {
		w.errorf("%s has left a set that is not the latest:\n%s", l.cfg.Name, differ(l.place.set, want))
	}
}

func differ(got, want map[string]string) string {
	var b strings.Builder
	for id := range maps.All(got) {
		if want[id] != got[id] {
			fmt.Fprintf(&b, "  %s: is %s, want %s\n", id, got[id], want[id])
		}
	}
	for id := range maps.All(want) {
		if got[id] == "" {
			fmt.Fprintf(&b, "  %s: is not there, want %s\n", id, want[id])
		}
	}
	return b.String()
}

// model returns the set that the changes up to a seal make, by id. It shares no code with
// the folds.
func (w *world) model(stream batch.Stream, seq int64) map[string]string {
	result := map[string]string{}
	if stream == batch.People {
		profiles := profiles{}
		for _, c := range w.folk.sealed {
			if c.kind == journal.KindProfiles && c.seq <= seq {
				profiles.apply(c.text)
			}
		}
		for id, p := range profiles {
			result[id] = p.text()
		}
		return result
	}
	people := clusters{of: map[string]*cluster{}}
	w.folk.refused = 0
	for _, c := range w.folk.sealed {
		if c.kind != journal.KindLinks || c.seq > seq {
			continue
		}
		var l struct {
			Anonymous  string `json:"anonymous_id"`
			Identified string `json:"identified_id"`
			Verb       string
		}
		w.must(json.Unmarshal([]byte(c.text), &l))
		holds := people.link
		if w.shop.Identity == schema.Original {
			holds = people.join
		}
		if !holds(l.Identified, l.Anonymous, l.Verb) {
			w.folk.refused++
		}
	}
	for id, c := range people.of {
		if id != c.head {
			result[id] = c.head
		}
	}
	return result
}

// profiles are a naive model of profiles.
type profiles map[string]profile

type profile map[string]any

func (p profile) text() string {
	text, _ := json.Marshal(p) // sorted by name
	return string(text)
}

func (all profiles) apply(text string) {
	var o struct {
		ID        string `json:"distinct_id"`
		Operation string
		Time      int64
		LastSeen  bool `json:"last_seen"`
		Value     any
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	p := all[o.ID]
	switch o.Operation {
	case "$delete":
		delete(all, o.ID)
		return
	case "$unset":
		for _, name := range o.Value.([]any) {
			delete(p, name.(string))
		}
	case "$remove":
		for name, value := range o.Value.(map[string]any) {
			if list, ok := p[name].([]any); ok {
				p[name] = slices.DeleteFunc(slices.Clone(list), func(x any) bool { return x == value })
			}
		}
	default:
		if p == nil {
			p = profile{}
			all[o.ID] = p
		}
		for name, value := range o.Value.(map[string]any) {
			p.change(o.Operation, name, value)
		}
	}
	if stamp := time.UnixMilli(o.Time).UTC().Format("2006-01-02T15:04:05"); p != nil && o.LastSeen {
		if seen, ok := p["$last_seen"].(string); !ok || seen < stamp {
			p["$last_seen"] = stamp
		}
	}
}

func (p profile) change(verb, name string, value any) {
	before, there := p[name]
	list, _ := before.([]any)
	list = slices.Clone(list)
	switch verb {
	case "$set":
		p[name] = value
	case "$set_once":
		if !there {
			p[name] = value
		}
	case "$add":
		if n, ok := before.(float64); ok || !there {
			p[name] = n + value.(float64)
		}
	case "$append":
		p[name] = append(list, value)
	case "$union":
		if list == nil {
			list = []any{}
		}
		for _, x := range value.([]any) {
			if !slices.Contains(list, x) {
				list = append(list, x)
			}
		}
		p[name] = list
	}
}

// clusters are a naive model of who is who.
type clusters struct {
	of    map[string]*cluster
	turns int
}

type cluster struct {
	head       string
	identified bool
	since      int
}

func (c *clusters) begin(head string) *cluster {
	c.turns++
	c.of[head] = &cluster{head: head, since: c.turns}
	return c.of[head]
}

// link holds by the simplified rules if the device is new, and the user does not stand for another one.
func (c *clusters) link(user, device, verb string) bool {
	of, known := c.of[device], c.of[user]
	switch {
	case verb != "link":
		return true
	case user == device || of == nil && known != nil && known.head != user || of != nil && of.head != user:
		return false
	case of != nil:
		return of.head != device
	case known == nil:
		known = c.begin(user)
	}
	c.of[device] = known
	return true
}

// join holds by the original rules unless an identified cluster would be taken over.
func (c *clusters) join(first, second, verb string) bool {
	a, b := c.of[first], c.of[second]
	switch {
	case verb == "link" || first == second && verb != "identify":
		return true
	case first == second, verb == "identify" && !strings.HasPrefix(second, "$device:"):
		return false
	case a != nil && a == b: // only who is the head may change
	case verb == "identify" && b != nil && b.identified, verb == "alias" && b != nil && b.head != second:
		return false
	default:
		c.merge(first, second)
	}
	if x := c.of[first]; verb == "identify" && !x.identified {
		c.turns++
		x.head, x.identified, x.since = first, true, c.turns
	}
	return true
}

// merge makes one cluster of those of two ids: of the two the identified one stays, else
// the older one.
func (c *clusters) merge(first, second string) {
	a, b := c.of[first], c.of[second]
	if a == nil && b == nil {
		a = c.begin(first)
	}
	switch {
	case a == nil:
		c.of[first] = b
	case b == nil:
		c.of[second] = a
	default:
		stays, goes := a, b
		if b.identified && !a.identified || b.identified == a.identified && b.since < a.since {
			stays, goes = b, a
		}
		for id, x := range c.of {
			if x == goes {
				c.of[id] = stays
			}
		}
	}
}

// rowsOf reads the rows of a set, by id.
func rowsOf(stream batch.Stream, lines [][]byte) (map[string]string, error) {
	rows := map[string]string{}
	for _, l := range lines {
		var row struct {
			ID         string  `json:"distinct_id"`
			Resolved   string  `json:"resolved_distinct_id"`
			Properties profile `json:"properties"`
		}
		if err := json.Unmarshal(l, &row); err != nil {
			return nil, err
		}
		text := row.Resolved
		if stream == batch.People {
			text = row.Properties.text()
		}
		if rows[row.ID] != "" {
			return nil, fmt.Errorf("%q is in the set twice", row.ID)
		}
		rows[row.ID] = text
	}
	return rows, nil
}

// registerSet adds a pipeline of people or of identity mappings, unless one is at work.
func (w *world) registerSet(stream batch.Stream) {
	p := w.places[stream.String()]
	l := &line{state: "live", place: p}
	for _, x := range w.lines {
		if x.place == p && (x.state == "live" || x.state == "paused") {
			return
		}
		if x.place == p {
			l.before = x
		}
	}
	l.cfg = &config.Pipeline{
		Name: fmt.Sprintf("p%d", len(w.byName)), Project: w.shop, Stream: stream, To: pipeline.Forever, MaxRun: 1 << 30, Order: pipeline.Oldest,
		Destination: w.blocks[p.name], Adopt: l.before != nil, AllowShrink: true, Schedule: w.schedule(),
	}
	w.try(l)
}
