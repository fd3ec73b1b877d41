package api

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// answering answers some operations; a call of another one panics.
type answering struct{ operation.Operations }

func (answering) Status(context.Context) (*operation.Status, error) {
	return &operation.Status{Version: "1.2.3", Running: true}, nil
}

func (answering) PausePipeline(_ context.Context, name string, paused bool) (*operation.Pause, error) {
	return &operation.Pause{Pipeline: name, Paused: paused}, nil
}

func (answering) RetryRun(_ context.Context, pipeline string, number int64) error {
	if pipeline != "events" || number != 7 {
		return errors.New("another run")
	}
	return nil
}

func (answering) DropQuarantine(_ context.Context, f quarantine.Filter) (*operation.DropReport, error) {
	return &operation.DropReport{Records: int64(len(f.Source))}, nil
}

func (answering) CheckSource(_ context.Context, name, from, to string) (*operation.SourceCheck, error) {
	return &operation.SourceCheck{Source: name, Error: from + ".." + to}, nil
}

// A Remote asks the operations behind Routes, with their parameters.
func TestARemoteAsksTheOperations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	if _, err := Reach(t.Context(), path); err == nil {
		t.Error("a host that is not there answers")
	}
	server, err := Listen(path, Routes("1.2.3", answering{}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Reach(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := r.Status(t.Context()); err != nil || s.Version != "1.2.3" || !s.Running {
		t.Errorf("status: %+v, %v", s, err)
	}
	if p, err := r.PausePipeline(t.Context(), "events", true); err != nil || *p != (operation.Pause{Pipeline: "events", Paused: true}) {
		t.Errorf("pause: %+v, %v", p, err)
	}
	if err := r.RetryRun(t.Context(), "events", 7); err != nil {
		t.Errorf("retry: %v", err)
	}
	if err := r.RetryRun(t.Context(), "events", 8); err == nil || err.Error() != "another run" {
		t.Errorf("retry of another run: %v", err)
	}
	if d, err := r.DropQuarantine(t.Context(), quarantine.Filter{Source: "four"}); err != nil || d.Records != 4 {
		t.Errorf("drop: %+v, %v", d, err)
	}
	if c, err := r.CheckSource(t.Context(), "pull", "2026-06-01", "2026-06-02"); err != nil || c.Source != "pull" || c.Error != "2026-06-01..2026-06-02" {
		t.Errorf("check: %+v, %v", c, err)
	}
	if err := errors.Join(r.Close(), server.Close(t.Context())); err != nil {
		t.Error(err)
	}
}
