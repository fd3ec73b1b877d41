package project

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Pinned hands out each project's journal as it was when it was asked for first.
// If that journal fails, appending to it and sealing it fail, too: a journal that
// was opened in its place lacks the rows before. It is for one goroutine.
type Pinned struct {
	find    func(id int64) (*Project, error)
	writers map[int64]*journal.Writer
}

// Pin returns a Pinned that has handed out no journal. unknown returns the error for
// a project that is not configured.
func (s *Set) Pin(unknown func(id int64) error) *Pinned {
	return &Pinned{writers: map[int64]*journal.Writer{}, find: func(id int64) (*Project, error) {
		if p := s.ByID(id); p != nil {
			return p, nil
		}
		return nil, unknown(id)
	}}
}

// Writer returns the journal of a project.
func (p *Pinned) Writer(ctx context.Context, id int64) (*journal.Writer, error) {
	if w := p.writers[id]; w != nil {
		return w, nil
	}
	project, err := p.find(id)
	if err != nil {
		return nil, err
	}
	w, err := project.Journal.Writer(ctx)
	if err != nil {
		return nil, err
	}
	p.writers[id] = w
	return w, nil
}

// Seal seals the journals that were handed out.
func (p *Pinned) Seal(ctx context.Context) error {
	for _, w := range p.writers {
		if err := w.Seal(ctx); err != nil {
			return err
		}
	}
	return nil
}
