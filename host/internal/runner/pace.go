package runner

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// pace holds the attempts of one pipeline to its rate_limit, stops them between two
// blocks when the pipeline is paused, and measures them.
type pace struct {
	now  func() time.Time
	wait func(context.Context, time.Duration) error

	held *atomic.Bool // the pipeline is paused
	rate int64        // bytes per second; 0: no limit
	free time.Time    // when the bytes that were sent are paid for; used by the attempt alone

	mu      sync.Mutex    // guards the rest
	run     int64         // that an attempt works on; 0: none does
	began   time.Time     // of the attempt
	rows    int64         // that the attempt has sent
	bytes   int64         // that the attempt has sent
	earlier int64         // bytes that earlier attempts have sent
	worked  time.Duration // in earlier attempts
}

// longestWait is how long an attempt waits until it looks again whether its pipeline was
// paused.
const longestWait = time.Second

// next waits until n bytes may be sent. The error is pipeline.ErrPaused if the pipeline
// was paused.
func (p *pace) next(ctx context.Context, n int) error {
	for {
		if p.held.Load() {
			return pipeline.ErrPaused
		}
		now := p.now()
		if p.rate == 0 || !p.free.After(now) {
			p.pay(now, n)
			return nil
		}
		if err := p.wait(ctx, min(p.free.Sub(now), longestWait)); err != nil {
			return err
		}
	}
}

// pay notes n bytes that are sent now. A clock that was set back makes no pause.
func (p *pace) pay(now time.Time, n int) {
	if p.rate > 0 {
		p.free = now.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	}
}

// begin notes an attempt at a run.
func (p *pace) begin(run int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run, p.began, p.rows, p.bytes = run, p.now(), 0, 0
}

// sent notes how much the attempt has sent.
func (p *pace) sent(rows, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows, p.bytes = rows, bytes
}

// end notes that the attempt has ended.
func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.earlier += p.bytes
	p.worked += max(0, p.now().Sub(p.began))
	p.run, p.rows, p.bytes = 0, 0, 0
}

// measured returns what the present attempt has sent, and the bytes per second of all
// attempts of this host; 0: not known.
func (p *pace) measured() (run, rows, bytes, perSecond int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, worked := p.earlier+p.bytes, p.worked
	if p.run > 0 {
		worked += max(0, p.now().Sub(p.began))
	}
	if worked > 0 {
		perSecond = int64(float64(all) / worked.Seconds())
	}
	return p.run, p.rows, p.bytes, perSecond
}
