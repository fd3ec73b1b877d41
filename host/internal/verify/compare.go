package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Input are the four sides of a comparison.
type Input struct {
	// Replaced: each run replaces the set of the run before.
	Replaced bool
	// From and To are the dates that were asked for; empty: no limit.
	From, To string
	// Before is the last run that the catalog had as committed before the
	// destination was asked. Later ones may not be in Items.
	Before int64
	// Runs are the catalog's committed runs, ascending, read after the destination
	// was asked; of a replaced set the last one.
	Runs []Run
	// Open is the catalog's run that is not done; nil: there is none. The
	// destination may have committed it already.
	Open *Run
	// Journal are the rows of the journal in the pipeline's range, by date.
	Journal map[string]Journal
	// CannotRepair: the destination's plugin has no repair.
	CannotRepair bool
	// Items are the destination's inventory.
	Items []protocol.InventoryItem
}

// Run is a committed run as the catalog knows it.
type Run struct {
	Number  int64
	Content string // empty: not kept
	Parts   []Part
}

// Part is one date of a run, or the whole of a set.
type Part struct {
	Date      string
	Committed Amount // of the catalog's receipt
	Rejected  int64
	// Planned: the destination kept no receipt, and Committed is the plan.
	Planned bool
	// Journal are the part's rows as the journal lists them; nil: it does not hold
	// all of them, for the reason Gone.
	Journal *batch.Totals
	Gone    string
}

// Journal is one date of the journal.
type Journal struct {
	Amount
	Waiting int64 // rows that are in no run yet
	Skipped int64 // rows that are in no run, although the pipeline has passed them
	Twice   int64 // rows that are in two committed runs
}

// MaxRemove is the largest number of objects that one plan removes.
const MaxRemove = protocol.MaxRemove

// MaxItems is the largest number of items of one comparison, which holds them in
// memory: about 0.9 KiB each.
const MaxItems = 300_000

// comparison is the state of one Compare.
type comparison struct {
	in      Input
	record  protocol.InventoryItem
	runs    map[int64]Run                    // of the catalog
	records map[int64]protocol.InventoryItem // of runs, at the destination
	broken  map[int64]bool                   // runs whose record must be written again
	named   map[identity]string              // recorded objects by their bytes
	parts   map[partKey]*recordedPart
	days    map[string]*Day
	damaged map[int64]*Send
	remove  []string
	totals  bool
	restore bool // the destination's record of the pipeline
	found   []Difference
	notes   []string
}

// identity tells whether two objects have the same bytes.
type identity struct {
	size     uint64
	checksum string
}

type partKey struct {
	run  int64
	date string
}

// recordedPart sums up the recorded objects of one run and date, in the order of
// their names, which is that of their rows.
type recordedPart struct {
	totals batch.Totals
	stored Amount
}

// isTable reports whether a part is rows of a table, of which a record has no bytes.
func (p *recordedPart) isTable() bool { return p.stored.Rows > 0 && p.stored.StoredBytes == 0 }

// Compare returns the days, differences, notes and plan of a report.
func Compare(in Input) Report {
	c := &comparison{
		in: in, runs: map[int64]Run{}, records: map[int64]protocol.InventoryItem{}, broken: map[int64]bool{},
		named: map[identity]string{}, parts: map[partKey]*recordedPart{}, days: map[string]*Day{}, damaged: map[int64]*Send{},
	}
	c.index()
	c.journal()
	c.committed()
	if c.readable() {
		c.histories()
		c.receipts()
		c.objects()
		c.dates()
	}
	return c.report()
}

// index prepares the lists for lookups.
func (c *comparison) index() {
	for _, r := range c.in.Runs {
		c.runs[r.Number] = r
	}
	slices.SortStableFunc(c.in.Items, func(a, b protocol.InventoryItem) int {
		return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Object, b.Object))
	})
	for _, i := range c.in.Items {
		switch i.Kind {
		case protocol.InventoryRecord:
			c.record = i
		case protocol.InventoryRun:
			c.records[i.Run] = i
		case protocol.InventoryObject:
			if i.Recorded != nil {
				c.name(i)
			}
		}
	}
}

// name takes a recorded object.
func (c *comparison) name(i protocol.InventoryItem) {
	if i.Recorded.Checksum != "" {
		c.named[identity{i.Recorded.StoredBytes, i.Recorded.Checksum}] = i.Object
	}
	key := partKey{i.Run, i.Date}
	if c.parts[key] == nil {
		c.parts[key] = &recordedPart{}
	}
	p := c.parts[key]
	p.totals.Append(batch.Totals{Rows: i.Recorded.Rows, RowsBytes: i.Recorded.RowsBytes, RowsCRC32: i.Recorded.RowsCRC32})
	p.stored.add(amount(i.Recorded, 1))
}

func amount(f *protocol.InventoryFacts, objects int64) Amount {
	return Amount{Rows: int64(f.Rows), RowsBytes: int64(f.RowsBytes), StoredBytes: int64(f.StoredBytes), Objects: objects}
}

func (c *comparison) day(date string) *Day {
	if c.days[date] == nil {
		c.days[date] = &Day{Date: date}
	}
	return c.days[date]
}

func (c *comparison) holds(date string) bool {
	return protocol.InventoryQuery{From: c.in.From, To: c.in.To}.Holds(date)
}

func (c *comparison) differ(d Difference) { c.found = append(c.found, d) }

// journal takes the journal's days.
func (c *comparison) journal() {
	for date, j := range c.in.Journal {
		if !c.holds(date) {
			continue
		}
		d := c.day(date)
		d.Journal, d.Waiting = j.Amount, j.Waiting
		if j.Skipped > 0 {
			c.differ(Difference{
				Kind: Skipped, Date: date, Detail: fmt.Sprintf("the journal holds %d rows that no run has exported, and the pipeline has passed them", j.Skipped),
				Left: "'penstock pipelines recover' can send the rows after an earlier run again",
			})
		}
		if j.Twice > 0 {
			c.differ(Difference{
				Kind: Twice, Date: date, Detail: fmt.Sprintf("%d rows of the journal are in two committed runs", j.Twice),
				Left: "the catalog was changed by hand, or restored in parts",
			})
		}
	}
}

// committed takes the catalog's receipts.
func (c *comparison) committed() {
	for _, r := range c.in.Runs {
		for _, p := range r.Parts {
			if !c.holds(p.Date) {
				continue
			}
			d := c.day(p.Date)
			d.Committed.add(p.Committed)
			d.Rejected += p.Rejected
			if p.Journal == nil {
				d.Gone += p.Committed.Rows + p.Rejected
			} else if c.in.Replaced {
				d.Journal.add(Amount{Rows: int64(p.Journal.Rows), RowsBytes: int64(p.Journal.RowsBytes), StoredBytes: int64(p.Journal.PayloadBytes)})
			}
		}
	}
}

// readable reports whether the destination's record can be read. Without it no
// object can be told from a foreign one, and nothing but the record is repaired.
func (c *comparison) readable() bool {
	isEmpty := c.record.Restorable && c.record.Run == 0 && c.in.Before > 0
	if c.record.Problem == "" && !isEmpty {
		return true
	}
	if len(c.in.Runs) > 0 {
		c.lostRecord()
	}
	for _, i := range c.in.Items {
		if i.Kind == protocol.InventoryObject && i.Found != nil && !i.Foreign {
			c.store(i, false)
		}
	}
	return false
}

// lostRecord reports that the destination has no record of the pipeline, or one in
// which nothing is committed.
func (c *comparison) lostRecord() {
	last := c.in.Runs[len(c.in.Runs)-1]
	d := Difference{Kind: Record, Object: c.record.Object, Detail: c.record.Problem, Repair: repairRecord}
	if d.Detail == "" {
		d.Detail = fmt.Sprintf("the destination's record says that nothing is committed, and the catalog has run %d as committed", last.Number)
	}
	gone := ""
	if c.in.Replaced {
		gone = firstGone(last.Parts)
	}
	switch {
	case !c.record.Restorable:
		d.Repair, d.Left = "", "without it no object can be told from a foreign one: restore it from a copy or an earlier version; "+
			"if there is none, 'penstock pipelines recover --resend' sends all rows again"
	case gone != "":
		d.Repair, d.Left = "", gone
	case c.in.Replaced:
		c.send(last, -1).Record, c.restore = true, true
	default:
		c.restore = true
	}
	c.differ(d)
}

// histories compares which runs are committed.
func (c *comparison) histories() {
	for _, r := range c.in.Runs {
		if r.Number > c.record.Run && r.Number <= c.in.Before {
			c.differ(Difference{
				Kind: Lost, Run: r.Number, Object: c.record.Object,
				Detail: fmt.Sprintf("the catalog has run %d as committed, and the last one in the destination's record is run %d", r.Number, c.record.Run),
				Left:   "'penstock pipelines recover --resend' sends lost runs again",
			})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(c.records)) {
		i := c.records[number]
		r, ok := c.runs[number]
		switch {
		case !ok && c.isOpen(i):
			c.note(fmt.Sprintf("run %d is committed at the destination, and not recorded in the catalog yet", number))
		case !ok:
			c.differ(Difference{
				Kind: Unknown, Run: number, Object: i.Object,
				Detail: fmt.Sprintf("the destination has committed run %d, and the catalog has no such run", number),
				Left:   "another host, or this one before its data directory was restored, has written it; rows that the pipeline sends again after 'recover' are there twice",
			})
		case ok && r.Content != "" && i.Content != "" && r.Content != i.Content:
			c.differ(Difference{
				Kind: Unknown, Run: number, Object: i.Object,
				Detail: fmt.Sprintf("the destination has committed run %d with content %s, and that of the catalog has content %s", number, i.Content, r.Content),
				Left:   "another host writes to the same place, or the data directory was restored: see 'penstock pipelines recover'",
			})
			delete(c.runs, number) // it is not this catalog's run
		}
	}
}

// isOpen reports whether a run at the destination is the one that the catalog is
// about to record.
func (c *comparison) isOpen(i protocol.InventoryItem) bool {
	open := c.in.Open
	return open != nil && open.Number == i.Run && (i.Content == "" || i.Content == open.Content)
}

func (c *comparison) note(text string) {
	if !slices.Contains(c.notes, text) {
		c.notes = append(c.notes, text)
	}
}

// receipts compares the destination's record of each run with the catalog and
// the journal.
func (c *comparison) receipts() {
	for _, r := range c.in.Runs {
		if _, ok := c.runs[r.Number]; !ok || r.Number > c.record.Run || c.in.Replaced && r.Number < c.record.Run {
			continue
		}
		i, ok := c.records[r.Number]
		problem := i.Problem
		if !ok {
			problem = "the destination has no record of the run"
		}
		for _, p := range r.Parts {
			if problem != "" {
				break
			}
			if c.holds(p.Date) {
				problem = c.part(r, p)
			}
		}
		if problem == "" {
			continue
		}
		d := Difference{Kind: Record, Run: r.Number, Object: i.Object, Detail: problem, Repair: repairRecord}
		if gone := firstGone(r.Parts); gone != "" {
			d.Repair, d.Left = "", gone
		}
		c.broken[r.Number] = true
		c.differ(d)
		if d.Repair != "" {
			c.send(r, -1).Record = true
		}
	}
}

// part compares one recorded part with the catalog and the journal; "" when they
// agree.
func (c *comparison) part(r Run, p Part) string {
	recorded := c.parts[partKey{r.Number, p.Date}]
	if recorded == nil {
		recorded = &recordedPart{}
	}
	of := "the record of the run"
	if p.Date != "" {
		of += " has of " + p.Date
	} else {
		of += " has"
	}
	switch j := p.Journal; {
	case recorded.stored.Rows != p.Committed.Rows && (!p.Planned || recorded.stored.Rows > p.Committed.Rows):
		return fmt.Sprintf("%s %d rows, and the catalog's receipt %d", of, recorded.stored.Rows, p.Committed.Rows)
	case !p.Planned && p.Committed.StoredBytes > 0 && recorded.stored.StoredBytes != p.Committed.StoredBytes && !recorded.isTable():
		return fmt.Sprintf("%s objects of %d bytes, and the catalog's receipt %d", of, recorded.stored.StoredBytes, p.Committed.StoredBytes)
	case j != nil && p.Rejected == 0 && recorded.totals.RowsBytes > 0 && (recorded.totals.RowsBytes != j.RowsBytes || recorded.totals.RowsCRC32 != j.RowsCRC32):
		return fmt.Sprintf("%s rows of %d bytes with checksum %08x, and the journal %d with %08x",
			of, recorded.totals.RowsBytes, recorded.totals.RowsCRC32, j.RowsBytes, j.RowsCRC32)
	}
	return ""
}

// firstGone returns why a run cannot be sent as a whole; "" when it can.
func firstGone(parts []Part) string {
	for _, p := range parts {
		if p.Journal == nil {
			return p.Gone
		}
	}
	return ""
}

// objects compares each object with its record.
func (c *comparison) objects() {
	for _, i := range c.in.Items {
		if i.Kind != protocol.InventoryObject {
			continue
		}
		switch {
		case i.Foreign:
			c.foreign(i)
		case i.Unfinished:
			c.store(i, false)
			c.unfinished(i)
		case i.Recorded == nil:
			c.store(i, false)
			c.unnamed(i)
		default:
			c.day(i.Date).Recorded.add(amount(i.Recorded, 1))
			c.recorded(i)
		}
	}
}

// store counts an object that is there.
func (c *comparison) store(i protocol.InventoryItem, whole bool) {
	d := c.day(i.Date)
	a := amount(i.Found, 1)
	switch {
	case i.Found.Counted:
	case whole:
		a.Rows, a.RowsBytes = int64(i.Recorded.Rows), int64(i.Recorded.RowsBytes)
	default:
		a.Rows, a.RowsBytes = 0, 0
		d.Uncounted++
	}
	d.Stored.add(a)
}

// recorded compares a recorded object with the stored one.
func (c *comparison) recorded(i protocol.InventoryItem) {
	kind, detail := damage(i)
	if i.Found != nil {
		c.store(i, kind == "")
	}
	if kind == "" {
		return
	}
	d := Difference{Kind: kind, Date: i.Date, Run: i.Run, Object: i.Object, Detail: detail}
	r, ok := c.runs[i.Run]
	part := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Date == i.Date })
	switch {
	case !ok || part < 0:
		d.Left = "the catalog does not have the run, so that its rows are not known"
	case r.Parts[part].Journal == nil:
		d.Left = r.Parts[part].Gone
	default:
		d.Repair = repairSend
		s := c.send(r, part)
		s.Objects = append(s.Objects, i.Object)
	}
	c.differ(d)
}

// damage compares the stored state of an object with its record; "" when it is
// whole.
func damage(i protocol.InventoryItem) (kind Kind, detail string) {
	want, got := i.Recorded, i.Found
	if want.StoredBytes == 0 {
		return tableDamage(i)
	}
	switch {
	case got == nil:
		return Missing, fmt.Sprintf("an object of %d rows and %d bytes is not there", want.Rows, want.StoredBytes)
	case got.StoredBytes < want.StoredBytes:
		return Truncated, fmt.Sprintf("it has %d bytes, recorded are %d", got.StoredBytes, want.StoredBytes)
	case got.StoredBytes > want.StoredBytes:
		return Size, fmt.Sprintf("it has %d bytes, recorded are %d", got.StoredBytes, want.StoredBytes)
	case algorithm(got.Checksum) == algorithm(want.Checksum) && got.Checksum != want.Checksum:
		return Changed, fmt.Sprintf("its checksum is %s, recorded is %s", got.Checksum, want.Checksum)
	case i.Problem != "":
		return Changed, "it cannot be read: " + i.Problem
	case got.Counted && (got.Rows != want.Rows || got.RowsBytes != want.RowsBytes || got.RowsCRC32 != want.RowsCRC32):
		return Changed, fmt.Sprintf("it has %d rows of %d bytes with checksum %08x, recorded are %d of %d with %08x",
			got.Rows, got.RowsBytes, got.RowsCRC32, want.Rows, want.RowsBytes, want.RowsCRC32)
	}
	return "", ""
}

// tableDamage compares the rows of a part of a table with its record, which has no
// bytes.
func tableDamage(i protocol.InventoryItem) (kind Kind, detail string) {
	want, got := i.Recorded.Rows, uint64(0)
	if i.Found != nil {
		got = i.Found.Rows
	}
	detail = fmt.Sprintf("%d rows are there, recorded are %d", got, want)
	if i.Problem != "" {
		detail += ": " + i.Problem
	}
	switch {
	case i.Found == nil || got < want:
		return Missing, detail
	case got > want:
		return Doubled, detail
	case i.Problem != "":
		return Changed, detail
	}
	return "", ""
}

func algorithm(checksum string) string {
	name, _, _ := strings.Cut(checksum, ":")
	return name
}

// foreign takes an object that has none of the pipeline's names. It counts only
// if it is a copy.
func (c *comparison) foreign(i protocol.InventoryItem) {
	of := c.copyOf(i)
	if of == "" {
		return
	}
	c.differ(Difference{
		Kind: Doubled, Date: i.Date, Object: i.Object, Detail: "it is a copy of " + of + ": a query counts its rows twice",
		Left: "its name is not one of the pipeline's own: remove it yourself",
	})
}

// copyOf returns the recorded object whose bytes an object has; "" when there is
// none.
func (c *comparison) copyOf(i protocol.InventoryItem) string {
	if i.Found == nil || i.Found.Checksum == "" {
		return ""
	}
	return c.named[identity{i.Found.StoredBytes, i.Found.Checksum}]
}

func (c *comparison) unfinished(i protocol.InventoryItem) {
	c.note(fmt.Sprintf("run %d is not committed yet, and some of its objects are there", i.Run))
}

// comingRuns is the number of runs after the last one whose names a repair
// keeps.
const comingRuns = 8

// unnamed takes an object with a name of the pipeline that no commit names.
func (c *comparison) unnamed(i protocol.InventoryItem) {
	if c.broken[i.Run] {
		c.note(fmt.Sprintf("objects of run %d are compared once its record is restored", i.Run))
		return
	}
	if c.isLater(i.Run) {
		c.note(fmt.Sprintf("run %d was carried out while the destination was asked: verify again to compare its objects", i.Run))
		return
	}
	d := Difference{Kind: Foreign, Date: i.Date, Run: i.Run, Object: i.Object, Detail: "no commit names it", Repair: repairRemove}
	if of := c.copyOf(i); of != "" {
		d.Kind, d.Detail = Doubled, "no commit names it, and it is a copy of "+of+": a query counts its rows twice"
	}
	switch {
	case i.Run > c.record.Run && i.Run <= c.record.Run+comingRuns:
		d.Repair, d.Left = "", fmt.Sprintf("its name is that of run %d, which is still to come: verify again after that run", i.Run)
	case len(c.remove) == MaxRemove:
		d.Repair, d.Left = "", fmt.Sprintf("one repair removes %d objects: repair again after it", MaxRemove)
	default:
		c.remove = append(c.remove, i.Object)
	}
	c.differ(d)
}

// isLater reports whether the catalog has a run that the destination's record did
// not have when it was read: a run that is in progress, or one that was committed
// since. An inventory that reads its objects may take longer than a run.
func (c *comparison) isLater(run int64) bool {
	if run <= c.record.Run {
		return false
	}
	_, committed := c.runs[run]
	return committed && run > c.in.Before || c.in.Open != nil && c.in.Open.Number == run
}

// send returns the plan to send a run, with one more part; all parts for -1.
func (c *comparison) send(r Run, part int) *Send {
	s := c.damaged[r.Number]
	if s == nil {
		s = &Send{Run: r.Number}
		c.damaged[r.Number] = s
	}
	for index := range r.Parts {
		if (part == index || part < 0) && !slices.Contains(s.Parts, index) {
			s.Parts = append(s.Parts, index)
		}
	}
	slices.Sort(s.Parts)
	return s
}

// dates compares the totals in the destination's record with its objects.
func (c *comparison) dates() {
	recorded := map[string]Amount{}
	for key, p := range c.parts {
		a := recorded[key.date]
		a.add(p.stored)
		recorded[key.date] = a
	}
	seen := map[string]bool{}
	for _, i := range c.in.Items {
		if i.Kind != protocol.InventoryTotals {
			continue
		}
		seen[i.Date] = true
		if got, want := amount(i.Recorded, int64(i.Recorded.Objects)), recorded[i.Date]; got != want {
			c.total(i.Date, fmt.Sprintf("the totals of the day are %d rows in %d objects of %d bytes, and its objects are recorded with %d in %d of %d",
				got.Rows, got.Objects, got.StoredBytes, want.Rows, want.Objects, want.StoredBytes))
		}
	}
	for _, date := range slices.Sorted(maps.Keys(recorded)) {
		if !seen[date] && recorded[date].Objects > 0 && !c.in.Replaced {
			c.total(date, "objects of the day are recorded, and totals are not")
		}
	}
}

// total reports totals that are wrong. They are computed from the records of the
// runs, all of which must be sound.
func (c *comparison) total(date, detail string) {
	if len(c.broken) > 0 {
		c.note("totals of days are compared once the records of all runs are restored")
		return
	}
	c.totals = true
	c.differ(Difference{Kind: Totals, Date: date, Object: c.record.Object, Detail: detail, Repair: repairRecord})
}

// leave gives up every repair.
func (c *comparison) leave() {
	for i := range c.found {
		if d := &c.found[i]; d.Repair != "" {
			d.Repair, d.Left = "", "the destination's plugin does not repair: its guide says how to"
		}
	}
	clear(c.damaged)
	c.remove, c.totals, c.restore = nil, false, false
}

// report returns the days and differences, sorted by date, run and object.
func (c *comparison) report() Report {
	if c.in.CannotRepair {
		c.leave()
	}
	r := Report{Days: []Day{}, Differences: c.found, Notes: c.notes}
	if r.Differences == nil {
		r.Differences = []Difference{}
	}
	for _, date := range slices.Sorted(maps.Keys(c.days)) {
		r.Days = append(r.Days, *c.days[date])
	}
	slices.SortStableFunc(r.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Object, b.Object))
	})
	plan := &Plan{Remove: c.remove, Totals: c.totals, Record: c.restore}
	for _, number := range slices.Sorted(maps.Keys(c.damaged)) {
		s, run := c.damaged[number], c.runs[number]
		for _, index := range s.Parts {
			if p := run.Parts[index]; p.Date != "" {
				s.Dates = append(s.Dates, p.Date)
			}
			s.Rows += int64(run.Parts[index].Journal.Rows)
		}
		plan.Sends = append(plan.Sends, *s)
	}
	if !plan.Empty() {
		r.Plan = plan
	}
	return r
}
