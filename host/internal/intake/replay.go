package intake

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// Replay implements Source: records that the collector has refused are taken as of when
// they came.
func (c *Collector) Replay(ctx context.Context, some []quarantine.Entry, serving bool) (map[string]bool, int64, error) {
	if !serving {
		for _, p := range c.projectBlocks() {
			if links := c.o.Projects.Of(p).Links; p.Legacy() && links.Aliases() == nil {
				if err := links.LearnAliases(ctx); err != nil {
					return nil, 0, err
				}
			}
		}
	}
	refused := map[string]bool{}
	var repaired int64
	r := collectorReplay{c, c.o.Projects.Pin(c.unknownProject)}
	for _, e := range some {
		accepted, n, err := r.record(ctx, e)
		if err != nil {
			return nil, 0, err
		}
		refused[e.ID] = !accepted
		repaired += n
	}
	return refused, repaired, r.journals.Seal(ctx)
}

// collectorReplay is a replay of records into journals.
type collectorReplay struct {
	*Collector
	journals *project.Pinned
}

func (r collectorReplay) record(ctx context.Context, e quarantine.Entry) (accepted bool, repaired int64, err error) {
	block := r.block() // a reload may replace it
	settings := settingsOf(block)
	o := collector.Options{
		Projects: settings.Projects, Access: settings.Access, MaxBody: settings.MaxBody,
		Log: journalLog{r.journals}, Rejects: dropped{}, Now: func() time.Time { return e.Time },
	}
	// A record that is replayed twice, because of a crash, gets the same ids twice.
	o.Random = rand.NewChaCha8(sha256.Sum256(append([]byte(e.ID+"\n"), e.Bytes...)))
	for _, p := range block.Projects {
		if !p.Legacy() {
			continue
		}
		o.Aliases = r.aliases
		if _, err := r.aliases.of(p.ID); err != nil {
			return false, 0, err
		}
	}
	handler, err := collector.New(o)
	if err != nil {
		return false, 0, err
	}
	endpoint, project := r.sentTo(e.Position)
	accepted, err = handler.Replay(ctx, endpoint, project, e.Bytes)
	for _, n := range handler.Counts() {
		if n.Outcome == collector.Repaired {
			repaired += n.Records
		}
	}
	return accepted, repaired, err
}

// sentTo is the inverse of refusedByCollector.position.
func (r collectorReplay) sentTo(position string) (endpoint string, project int64) {
	endpoint, name, _ := strings.Cut(strings.TrimPrefix(position, "/"), forProject)
	for _, p := range r.o.Config().Projects {
		if p.Name == name {
			project = p.ID
		}
	}
	return endpoint, project
}

// journalLog is a collector's log that writes to journals.
type journalLog struct{ journals *project.Pinned }

// Append implements collector.Log.
func (l journalLog) Append(ctx context.Context, parts []rowlog.Part, data []byte, marks []rowmark.Mark) error {
	for _, p := range parts {
		w, err := l.journals.Writer(ctx, p.Project)
		if err != nil {
			return err
		}
		if err := w.Append(ctx, journal.Chunk{Rows: p.Rows, Data: data, Marks: marks}); err != nil {
			return err
		}
	}
	return nil
}

// dropped leaves refused records in quarantine as they are.
type dropped struct{}

// Reject implements collector.Rejects.
func (dropped) Reject(context.Context, []collector.Reject) error { return nil }
