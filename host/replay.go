package host

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/collector"
)

// replayCollected replays records that a collector has refused, as of when they
// came.
func (h *Host) replayCollected(ctx context.Context, c *config.Collector, some []quarantine.Entry) (map[string]bool, error) {
	refused := map[string]bool{}
	for _, e := range some {
		accepted, err := h.replayOne(ctx, c, e)
		if err != nil {
			return nil, err
		}
		refused[e.ID] = !accepted
	}
	return refused, h.settle(ctx, c.Projects)
}

func (h *Host) replayOne(ctx context.Context, c *config.Collector, e quarantine.Entry) (bool, error) {
	o := collectorOptions(c)
	o.Log, o.Rejects, o.Now = straight{h, c.Reference()}, dropped{}, func() time.Time { return e.Time }
	// What is replayed twice, because of a crash, gets the same ids twice.
	o.Random = rand.NewChaCha8(sha256.Sum256(append([]byte(e.ID+"\n"), e.Bytes...)))
	var err error
	if o.Aliases, err = h.aliases(ctx, c.Projects); err != nil {
		return false, err
	}
	handler, err := collector.New(o)
	if err != nil {
		return false, err
	}
	endpoint, project := h.sentTo(e.Position)
	return handler.Replay(ctx, endpoint, project, e.Bytes)
}

// sentTo is the inverse of where refusedByCollector says that a record was sent
// to.
func (h *Host) sentTo(position string) (endpoint string, project int64) {
	endpoint, name, _ := strings.Cut(strings.TrimPrefix(position, "/"), forProject)
	for _, p := range h.config.Projects {
		if p.Name == name {
			project = p.ID
		}
	}
	return endpoint, project
}

// straight is a collector's log that is the journal itself.
type straight struct {
	host   *Host
	source string
}

// Append implements collector.Log.
func (s straight) Append(ctx context.Context, project int64, rows []journal.Row, data []byte) error {
	j, err := s.host.appender(s.source)(ctx, project)
	if err != nil {
		return err
	}
	return j.Append(ctx, journal.Chunk{Rows: rows, Data: data})
}

// dropped are records that stay in quarantine as they are.
type dropped struct{}

// Reject implements collector.Rejects.
func (dropped) Reject(context.Context, []collector.Reject) error { return nil }
