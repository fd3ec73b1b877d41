package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// eraser records the ids that it is asked to erase.
type eraser struct {
	double
	runs []Run
	ids  []string
}

func (e *eraser) Erase(_ context.Context, run Run, ids func() ([]string, error)) (EraseResult, error) {
	e.runs = append(e.runs, run)
	for {
		some, err := ids()
		if errors.Is(err, io.EOF) {
			return EraseResult{Rows: uint64(len(e.ids)), Objects: 1}, nil
		}
		if err != nil {
			return EraseResult{}, err
		}
		e.ids = append(e.ids, some...)
	}
}

func TestEraseStreamsItsIDs(t *testing.T) {
	t.Parallel()
	d := &eraser{}
	_, c := configured(t, d)
	var want []string
	for i := range 25_000 {
		want = append(want, fmt.Sprint(i))
	}
	lists := [][]string{want[:1], nil, want[1:]}
	result, err := c.Erase(t.Context(), testRun(0, 5), func() ([]string, error) {
		if len(lists) == 0 {
			return nil, io.EOF
		}
		some := lists[0]
		lists = lists[1:]
		return some, nil
	})
	if err != nil || result != (EraseResult{Rows: 25_000, Objects: 1}) {
		t.Fatalf("Erase = %+v, %v", result, err)
	}
	if diff := cmp.Diff(want, d.ids); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Run{{ProjectID: 1, Pipeline: "p", PipelineID: "id", Stream: Events, Fence: 5}}, d.runs); diff != "" {
		t.Error(diff)
	}
}

func TestEraseThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	fault := errors.New("the list is unreadable")
	_, c := configured(t, &eraser{})
	_, err := c.Erase(t.Context(), testRun(0, 5), func() ([]string, error) { return nil, fault })
	if !errors.Is(err, fault) {
		t.Errorf("Erase = %v, want the error of the list", err)
	}
	_, c = configured(t, &double{})
	_, err = c.Erase(t.Context(), testRun(0, 5), func() ([]string, error) { return nil, io.EOF })
	expectClass(t, err, protocol.Permanent)
}
