package rowlog

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// leastFragment is how many bytes of rows of a place are compressed before they are logged.
// Fewer are logged as they are, and compressed together with those of other requests: a
// fragment by itself takes more bytes than its part of a block of 1 MiB, in events of 1 KB
//
//	16 KiB   1.9 times      64 KiB   1.24 times      256 KiB   1.05 times
//	32 KiB   1.5 times     128 KiB   1.12 times      512 KiB   1.02 times
//
// where gzip of level 1 takes 1.25 times in 1 MiB.
const leastFragment = 128 << 10

// packers lends packers to requests: at a time as many as there are processors.
type packers struct {
	zone  func(project int64) *time.Location
	care  *journal.Care
	least int           // bytes of rows of a place that are compressed
	turn  chan struct{} // holds a value for each packer that is lent

	mu   sync.Mutex
	idle []*packer
}

// packer is a packer for projects of a zone.
type packer struct {
	*journal.Packer
	zone *time.Location
}

func newPackers(zone func(project int64) *time.Location, care *journal.Care) *packers {
	return &packers{zone: zone, care: care, least: leastFragment, turn: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// pack makes fragments of rows of places that have many. The caller's rows are changed.
func (p *packers) pack(ctx context.Context, project int64, c *journal.Chunk) error {
	bytes := 0
	for i := range c.Rows {
		bytes += c.Rows[i].Length
	}
	if bytes < p.least {
		return nil
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	lent := p.take(p.zone(project))
	defer p.put(lent)
	return lent.Pack(c)
}

// take returns an idle packer for a zone, or a new one.
func (p *packers) take(zone *time.Location) *packer {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.idle, func(k *packer) bool { return k.zone.String() == zone.String() })
	if i >= 0 {
		k := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		return k
	}
	return &packer{journal.NewPacker(journal.PackOptions{Zone: zone, Least: p.least, Care: p.care}), zone}
}

// put keeps a packer. Of packers that are idle the latest are kept, as many as can be lent.
func (p *packers) put(k *packer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, k)
	if len(p.idle) > cap(p.turn) {
		p.idle = slices.Delete(p.idle, 0, 1)
	}
}
