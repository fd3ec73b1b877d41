package collector

import (
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// outcome holds the results of a request's records: rows to be stored, refusals,
// and the content of the answer. It is a value that is replaced whole, by
// discarded, when the body turns out to be refused after some of its records
// were taken.
type outcome struct {
	rendered []byte         // rows, one after another, in the request's room
	marks    []rowmark.Mark // of rows of events, as places in rendered
	parts    []rowlog.Part
	tally    []Count
	rejects  []Reject
	failed   []failedRecord // of /import: the client is told
	asked    []askedLink    // links that events ask for
	links    []linkKey      // to be remembered once they are in the log
	linkRows []byte         // rows of links, one after another
	pending  []pendingLink  // these rows
	aliases  []Alias        // to be known once they are in the log
	verbs    int            // events that make a simplified project refuse all of /import
	good     int            // records that the answer counts as taken
	problem  string         // with the first record that was refused
	// unresolved is why an id could not be looked up: the request is refused.
	unresolved error
}

// failedRecord is a record that /import names in its answer.
type failedRecord struct {
	Index    int    `json:"index"`
	InsertID string `json:"insert_id"`
	Field    string `json:"field"`
	Message  string `json:"message"`
}

// discarded is an outcome of nothing, with the memory of o: that of rows goes
// back to c.
func (o outcome) discarded(c *Collector) outcome {
	for _, p := range o.parts {
		c.rows.Put(&p.Rows)
	}
	return outcome{
		rendered: o.rendered[:0], marks: o.marks[:0], parts: emptied(o.parts), tally: emptied(o.tally), rejects: emptied(o.rejects),
		failed: emptied(o.failed), asked: emptied(o.asked), links: emptied(o.links), linkRows: o.linkRows[:0], pending: emptied(o.pending), aliases: emptied(o.aliases),
	}
}

// emptied keeps a slice's memory, and nothing that its elements refer to.
func emptied[E any](s []E) []E {
	clear(s)
	return s[:0]
}

// count counts a record's outcome.
func (q *request) count(p *Project, outcome string) {
	id := int64(0)
	if p != nil {
		id = p.ID
	}
	for i := range q.tally {
		if t := &q.tally[i]; t.Project == id && t.Outcome == outcome {
			t.Records++
			return
		}
	}
	q.tally = append(q.tally, Count{Project: id, Endpoint: q.endpoint, Outcome: outcome, Records: 1})
}

// part is where a project's rows go.
func (q *request) part(p *Project) *rowlog.Part {
	for i := range q.parts {
		if q.parts[i].Project == p.ID {
			return &q.parts[i]
		}
	}
	part := rowlog.Part{Project: p.ID}
	if rows, _ := q.collector.rows.Get().(*[]journal.Row); rows != nil {
		part.Rows = (*rows)[:0]
	}
	q.parts = append(q.parts, part)
	return &q.parts[len(q.parts)-1]
}

// append adds the row that lies from start to the end of rendered.
func (q *request) append(project *Project, kind journal.Kind, start int, r journal.Row) {
	p := q.part(project)
	r.Kind, r.Offset, r.Length = kind, start, len(q.rendered)-start
	p.Rows = append(p.Rows, r)
}

// refuse records a refusal: the answer names the record, or the quarantine keeps
// it.
func (q *request) refuse(p *schema.Collector, project *Project, r *schema.Refused) {
	q.count(project, string(r.Reason))
	if q.problem == "" {
		q.problem = r.Detail
	}
	if q.contract() {
		q.failed = append(q.failed, failedRecord{Index: p.Count() - 1, InsertID: r.InsertID, Field: r.Field, Message: r.Detail})
		return
	}
	reject := Reject{Endpoint: q.endpoint, Reason: r.Reason, Detail: r.Detail, Record: p.Record()}
	if project != nil {
		reject.Project = project.ID
	}
	q.rejects = append(q.rejects, reject)
}
