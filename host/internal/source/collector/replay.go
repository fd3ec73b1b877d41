package collector

import (
	"context"
	"net/http"
	"strconv"
)

// Replay takes a record again that an endpoint has refused; accepted is false
// when it is refused again, and then nothing was done. project is that which
// the record was for, or 0: it goes to the one that its token names. With the
// same Random and Now in Options the same record becomes the same rows.
func (c *Collector) Replay(ctx context.Context, endpoint string, project int64, record []byte) (accepted bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/"+endpoint, http.NoBody)
	if err != nil {
		return false, err
	}
	q := c.begin(ctx, nil, r, endpoint)
	defer q.end()
	q.seenRule = true // and is not strict
	q.grant.project = q.settings.byID[strconv.FormatInt(project, 10)]
	q.text, q.decoded = record, isJSON(record)
	if err := q.makeRoom(); err != nil {
		return false, err
	}
	if f := q.collect(); f != nil {
		return false, f.err
	}
	if len(q.rejects) > 0 || q.verbs > 0 {
		return false, nil
	}
	if err := q.keep(); err != nil {
		return false, err
	}
	c.counts.add(q.tally)
	return true, nil
}
