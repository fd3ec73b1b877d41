package mixpanelserver

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipFrom is from how many bytes on a body is compressed.
const gzipFrom = 1400

// query describes the events that a request asks for.
type query struct {
	from, to time.Time // dates, both included
	names    []string  // nil: all
	selects  func(Event) bool
	limit    int // of lines; -1: none
	inMillis bool
}

// parseQuery reads the parameters of a request. An error has the text of the refusal.
func (s *Server) parseQuery(r *http.Request) (q query, err error) {
	from, err := time.ParseInLocation(time.DateOnly, r.FormValue("from_date"), s.o.Zone)
	to, err2 := time.ParseInLocation(time.DateOnly, r.FormValue("to_date"), s.o.Zone)
	switch {
	case err != nil || err2 != nil:
		return q, errors.New("from_date and to_date are required, in the format yyyy-mm-dd")
	case to.Before(from):
		return q, errors.New("from_date cannot be later than to_date")
	case to.Format(time.DateOnly) > s.o.Now().In(s.o.Zone).Format(time.DateOnly):
		return q, errors.New("to_date cannot be later than today")
	}
	q = query{from: from, to: to, limit: -1, inMillis: r.FormValue("time_in_ms") == "true"}
	if q.selects, err = parseSelector(r.FormValue("where")); err != nil {
		return q, err
	}
	if text := r.FormValue("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > 100000 {
			return q, errors.New("limit must be at most 100000")
		}
	}
	if text := r.FormValue("event"); text != "" && json.Unmarshal([]byte(text), &q.names) != nil {
		return q, errors.New("event must be a JSON array")
	}
	return q, nil
}

// export answers a query for events.
func (s *Server) export(w *answer, r *http.Request, fault *Fault) {
	q, err := s.parseQuery(r)
	if err != nil {
		w.error(Export, http.StatusBadRequest, err.Error())
		return
	}
	if fault.IgnoreWhere {
		q.selects = everything
	}
	w.Header().Set("Content-Type", "text/plain")
	if fault.ContentType != "" {
		w.Header().Set("Content-Type", fault.ContentType)
	}
	b := &body{w: w, fault: fault, compress: strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")}
	half := s.count(q.from, q.to) / 2
	n := 0
	err = s.lines(q, fault.Lines, func(text []byte) error {
		if n == half && n > 0 && fault.Stall != nil {
			b.flush()
			select {
			case <-fault.Stall:
			case <-r.Context().Done():
				return r.Context().Err()
			}
		}
		if n == half && fault.Marker != "" {
			b.write([]byte(fault.Marker))
			return errEnd
		}
		if n++; q.limit >= 0 && n > q.limit {
			return errEnd
		}
		if n <= fault.Skip {
			return nil
		}
		b.write(text)
		b.write(newline)
		return b.err
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	b.close(err)
}

var newline = []byte{'\n'}

// errEnd ends the lines early.
var errEnd = errors.New("the answer ends here")

func (s *Server) count(from, to time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for d := from; !d.After(to); d = d.AddDate(0, 0, 1) {
		n += len(s.events[d.Format(time.DateOnly)])
	}
	return n
}

// lines calls fn with each line of a query's answer; extra lines come before the last
// one.
func (s *Server) lines(q query, extra []string, fn func([]byte) error) error {
	for d := q.from; !d.After(q.to); d = d.AddDate(0, 0, 1) {
		date := d.Format(time.DateOnly)
		s.mu.Lock()
		generate, events := s.generate, slices.Clone(s.events[date])
		s.mu.Unlock()
		if generate != nil {
			if err := generate(date, fn); err != nil {
				return err
			}
			continue
		}
		for i, e := range events {
			if i == len(events)-1 && !d.Before(q.to) {
				for _, x := range extra {
					if err := fn([]byte(x)); err != nil {
						return err
					}
				}
			}
			if q.names != nil && !slices.Contains(q.names, e.Name) || !q.selects(e) {
				continue
			}
			if err := fn([]byte(s.render(e, q.inMillis))); err != nil {
				return err
			}
		}
	}
	return nil
}

// processed is the property in which the export says when an event was processed.
const processed = "mp_processing_time_ms"

// comparison is a selector expression that the server evaluates.
var comparison = regexp.MustCompile(`^properties\["` + processed + `"\] *(>=|>|<=|<|==) *([0-9]+)$`)

func everything(Event) bool { return true }

// parseSelector returns the predicate of a selector expression: comparisons of
// mp_processing_time_ms with a number, joined by "and". An event without the property
// is not selected.
func parseSelector(text string) (func(Event) bool, error) {
	if text == "" {
		return everything, nil
	}
	var all []func(Event) bool
	for _, part := range strings.Split(text, " and ") {
		m := comparison.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("failed to parse selector: %s", part)
		}
		limit, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("failed to parse selector: %s", part)
		}
		wanted := map[string][]int{">=": {0, 1}, ">": {1}, "<=": {-1, 0}, "<": {-1}, "==": {0}}[m[1]]
		all = append(all, func(e Event) bool {
			return e.Processed != 0 && slices.Contains(wanted, cmp.Compare(e.Processed, limit))
		})
	}
	return func(e Event) bool {
		return !slices.ContainsFunc(all, func(selects func(Event) bool) bool { return !selects(e) })
	}, nil
}

// render returns an event as the export has it.
func (s *Server) render(e Event, inMilliseconds bool) string {
	_, offset := time.UnixMilli(e.Time).In(s.o.Zone).Zone()
	at := e.Time + int64(offset)*1000
	if !inMilliseconds {
		at /= 1000
	}
	s.mu.Lock()
	canonical, merged := s.merged[e.DistinctID]
	s.mu.Unlock()
	name, _ := json.Marshal(e.Name)
	id, before := e.DistinctID, ""
	if merged {
		text, _ := json.Marshal(e.DistinctID)
		id, before = canonical, `,"$distinct_id_before_identity":`+string(text)
	}
	text, _ := json.Marshal(id)
	properties := e.Properties
	if properties != "" {
		properties = "," + properties
	}
	if e.Processed != 0 {
		properties += fmt.Sprintf(`,"%s":%d`, processed, e.Processed)
	}
	return fmt.Sprintf(`{"event":%s,"properties":{"time":%d,"distinct_id":%s%s%s}}`, name, at, text, properties, before)
}

// body writes an answer's body: compressed if the client takes it and it is
// long enough, and cut where the fault says.
type body struct {
	w        *answer
	fault    *Fault
	compress bool

	begun  bool
	held   bytes.Buffer // until it is known whether to compress
	zipped *gzip.Writer
	lines  *bufio.Writer // before zipped
	out    *bufio.Writer
	sent   int
	err    error
}

func (b *body) write(text []byte) {
	if b.err != nil {
		return
	}
	if !b.begun {
		b.held.Write(text)
		if b.held.Len() > gzipFrom {
			b.begin(b.compress)
		}
		return
	}
	b.put(text)
}

func (b *body) put(text []byte) {
	if b.zipped != nil {
		_, b.err = b.lines.Write(text)
		return
	}
	_, b.err = b.out.Write(text)
}

func (b *body) begin(compress bool) {
	b.begun = true
	b.out = bufio.NewWriterSize(cutter{b}, 64<<10)
	if compress {
		b.w.Header().Set("Content-Encoding", "gzip")
		b.zipped, _ = gzip.NewWriterLevel(b.out, gzip.BestSpeed)
		b.lines = bufio.NewWriterSize(b.zipped, 64<<10)
	}
	b.put(b.held.Bytes())
}

// flush sends what was written.
func (b *body) flush() {
	if !b.begun {
		b.begin(b.compress && b.held.Len() > gzipFrom)
	}
	if b.zipped != nil {
		_ = b.lines.Flush()
		_ = b.zipped.Flush()
	}
	_ = b.out.Flush()
	_ = http.NewResponseController(b.w.ResponseWriter).Flush()
}

// close ends the body; with an error the connection is cut.
func (b *body) close(err error) {
	if !b.begun {
		b.begin(false)
	}
	if b.zipped != nil && err == nil && b.err == nil {
		b.err = errors.Join(b.lines.Flush(), b.zipped.Close())
	}
	if b.err == nil {
		b.err = b.out.Flush()
	}
	if err == nil {
		err = b.err
	}
	if err != nil && !(errors.Is(err, errEnd) && b.fault.End) {
		_ = http.NewResponseController(b.w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
}

// cutter writes to the client up to where the fault cuts.
type cutter struct{ b *body }

func (c cutter) Write(p []byte) (int, error) {
	b := c.b
	if b.fault.Reset == nil {
		return b.w.Write(p)
	}
	left := *b.fault.Reset - b.sent
	if left <= 0 {
		return 0, errEnd
	}
	n, err := b.w.Write(p[:min(left, len(p))])
	b.sent += n
	if err == nil && n < len(p) {
		err = errEnd
	}
	return n, err
}
