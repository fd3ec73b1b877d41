package identity

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// noLinks is a journal of one segment that holds no link.
type noLinks struct{}

func (noLinks) Links(_ context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
	if after < 1 && to >= 1 {
		return fn(1, nil)
	}
	return nil
}

func (noLinks) Extent(context.Context, journal.ExtentRef, func(journal.Block) error) error {
	return errors.New("there is no extent")
}

func (noLinks) Segment(context.Context, int64) (string, error) { return "one", nil }

// A fatal error of the key-value store does not end the process: the index returns
// an error from that call, and opens the store again for the next one.
func TestAFatalErrorOfTheStore(t *testing.T) {
	t.Parallel()
	x, err := Open(Options{Dir: t.TempDir(), Journal: noLinks{}})
	if err != nil {
		t.Fatal(err)
	}
	x.mu.Lock()
	err = x.retryRebuilt(func() error {
		x.pebbleOptions().Logger.Fatalf("MANIFEST %s", "is gone")
		return nil
	})
	x.mu.Unlock()
	if err == nil || !strings.Contains(err.Error(), "MANIFEST is gone") {
		t.Errorf("it is not said: %v", err)
	}
	if err := x.Fold(t.Context(), 1); err != nil || x.Stats().Sequence != 1 {
		t.Errorf("%v, %+v", err, x.Stats())
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := x.Fold(t.Context(), 1); !errors.Is(err, errClosed) {
		t.Errorf("a closed index folds: %v", err)
	}
}
