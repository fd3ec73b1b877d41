package collector

import (
	"io"
	"net/http"
	"time"
)

// pace reads a body that has to come at a minimum rate: the next paceBytes of
// it, or its rest, within a time. A client that sends no more loses its
// connection then, and not only when the time for a whole body is over.
type pace struct {
	body    io.Reader
	control *http.ResponseController // of the connection's deadline
	now     func() time.Time
	step    time.Duration // for the next paceBytes
	end     time.Time     // for the whole body
	left    int64         // bytes of this step that are still to come; 0: a step begins
}

// paceBytes is how much of a body has to come in each step.
const paceBytes = 16 << 10

func newPace(w http.ResponseWriter, r *http.Request, o *Options, end time.Duration) *pace {
	// Deadlines are of the machine's clock.
	return &pace{body: r.Body, control: http.NewResponseController(w), now: time.Now, step: o.BodyStep, end: time.Now().Add(end)}
}

// Read implements io.Reader.
func (p *pace) Read(b []byte) (int, error) {
	if p.left <= 0 {
		deadline := p.now().Add(p.step)
		if deadline.After(p.end) {
			deadline = p.end
		}
		// Where there are no deadlines, as in tests, bodies take their time.
		_ = p.control.SetReadDeadline(deadline)
		p.left = paceBytes
	}
	n, err := p.body.Read(b)
	p.left -= int64(n)
	if err == io.EOF {
		// The connection is read on for the client's end of it.
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
