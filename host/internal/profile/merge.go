package profile

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/generation"
)

// merge reads several inputs as one: a heap of those that have a row, by key
// and then by their order.
type merge struct {
	inputs []input
	heap   []head
}

type head struct {
	key   generation.Key
	order int
	input input
}

func (h head) less(o head) bool {
	if c := h.key.Compare(o.key); c != 0 {
		return c < 0
	}
	return h.order < o.order
}

func (s *sorter) open(ctx context.Context, runs []run) (*merge, error) {
	m := &merge{}
	for _, r := range runs {
		f, err := s.store.Open(ctx, r.name)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.inputs = append(m.inputs, &fileRun{name: r.name, file: f})
	}
	return m, nil
}

// start reads the first row of each input.
func (m *merge) start() error {
	for i, in := range m.inputs {
		there, err := in.next()
		if err != nil {
			return err
		}
		if there {
			k, _ := in.current()
			m.heap = append(m.heap, head{k, i, in})
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return nil
}

func (m *merge) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.heap[child].less(m.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// more reports whether there is a row.
func (m *merge) more() bool { return len(m.heap) > 0 }

// key is that of the row, valid until next.
func (m *merge) key() generation.Key { return m.heap[0].key }

func (m *merge) row() []byte {
	_, row := m.heap[0].input.current()
	return row
}

func (m *merge) next() error {
	top := &m.heap[0]
	there, err := top.input.next()
	if err != nil {
		return err
	}
	if there {
		top.key, _ = top.input.current()
	} else {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.down(0)
	return nil
}

func (m *merge) close() error {
	var errs []error
	for _, in := range m.inputs {
		errs = append(errs, in.close())
	}
	return errors.Join(errs...)
}
