package lake

import "sync"

// tasks run beside the writer, a few at a time. The first error is kept, and
// stops nothing by itself.
type tasks struct {
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error
}

func newTasks(most int) *tasks { return &tasks{slots: make(chan struct{}, most)} }

// start runs f; it blocks while the most tasks are running.
func (t *tasks) start(f func() error) {
	t.slots <- struct{}{}
	t.wg.Go(func() {
		defer func() { <-t.slots }()
		if err := f(); err != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.err == nil {
				t.err = err
			}
		}
	})
}

// failed returns the first error so far.
func (t *tasks) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// wait returns when no task runs, with the first error.
func (t *tasks) wait() error {
	t.wg.Wait()
	return t.failed()
}
