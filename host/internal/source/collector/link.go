package collector

import (
	"encoding/binary"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// linkKey is a link of a project on a day.
type linkKey [2]uint64

// linked remembers links that are in the log: clients send the same two ids
// with each event, and one row a day is enough. Links that it has
// forgotten are logged again, which is harmless.
type linked struct {
	mu    sync.Mutex
	slots []linkKey
}

// linkSlots takes a MiB.
const linkSlots = 1 << 16

func (l *linked) has(k linkKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots != nil && l.slots[k[0]%linkSlots] == k
}

func (l *linked) add(k linkKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots == nil {
		l.slots = make([]linkKey, linkSlots)
	}
	l.slots[k[0]%linkSlots] = k
}

// fewLinks is among how many links of a request an equal one is looked for.
const fewLinks = 64

// link takes a link, unless it is known to be there, and counts it if it links
// something.
func (q *request) link(project *Project, l schema.Link, links bool) {
	l.Time = q.received.Unix()
	key := l.Key()
	var text [32]byte
	binary.LittleEndian.PutUint64(text[:], uint64(project.ID))
	binary.LittleEndian.PutUint64(text[8:], uint64(l.Time/86400))
	copy(text[16:], key[:])
	sum := xxh3.Hash128(text[:])
	k := linkKey{sum.Lo, sum.Hi}
	if q.collector.linked.has(k) {
		return
	}
	for _, earlier := range q.links[max(0, len(q.links)-fewLinks):] {
		if earlier == k {
			return
		}
	}
	start := len(q.rendered)
	q.rendered = schema.AppendLink(q.rendered, l)
	flags := schema.TextFlags(len(q.rendered)-start, l.AnonymousID, l.IdentifiedID)
	q.append(project, journal.KindLinks, start, journal.Row{Time: l.Time, Key: key, Flags: flags})
	q.links = append(q.links, k)
	if links {
		q.count(project, Links)
	}
}
