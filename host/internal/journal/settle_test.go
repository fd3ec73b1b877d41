package journal

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
)

// gated is a catalog of one project in which each seal waits at its commit.
type gated struct {
	Catalog
	seq    int64
	commit chan chan struct{}
}

func (g *gated) Sequence(context.Context, int64) (int64, error)                    { return g.seq, nil }
func (g *gated) InsertPending(context.Context, int64, string, time.Duration) error { return nil }
func (g *gated) Unrecorded(context.Context, int64) ([]Seal, error)                 { return nil, nil }
func (g *gated) MarkRecorded(context.Context, int64, int64) error                  { return nil }
func (g *gated) ExpiredPending(context.Context, int64) ([]string, error)           { return nil, nil }
func (g *gated) KeyRuns(context.Context, int64) ([]keys.Run, error)                { return nil, nil }
func (g *gated) Unconfirmed(context.Context, int64) ([]Rewrite, error)             { return nil, nil }

func (g *gated) CommitSeal(_ context.Context, seal Seal) error {
	goOn := make(chan struct{})
	g.commit <- goOn
	<-goOn
	g.seq = seal.Seq
	return nil
}

// While rows keep coming, some segment is always being sealed: Seal waits for the
// rows that were appended before it, and not for later ones.
func TestASealWaitsForNothingBehindIt(t *testing.T) {
	store, err := disk.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := &gated{commit: make(chan chan struct{})}
	w, err := Open(t.Context(), Options{Project: 7, Store: store, Catalog: g, Now: time.Now, Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var seals [2]chan error
	var gates [2]chan struct{}
	for i := range seals {
		line := []byte("{}\n")
		c := Chunk{Data: line, Rows: []Row{{Length: len(line), Key: Key{byte(i), 15: 1}, Kind: KindEvents}}}
		if err := w.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		before := w.latest()
		seals[i] = make(chan error, 1)
		go func() { seals[i] <- w.Seal(t.Context()) }()
		if i == 0 {
			gates[0] = <-g.commit
			continue
		}
		for w.latest() == before {
			runtime.Gosched() // until the second waits for the sealer
		}
	}
	close(gates[0])
	gates[1] = <-g.commit // the sealer is done with the first
	select {
	case err := <-seals[0]:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a seal waits for the rows after it")
	}
	close(gates[1])
	if err := <-seals[1]; err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
