package lake

import (
	"context"
	"sync"
)

// tasks runs functions in the background, a limited number at a time. It keeps
// the first error; an error does not stop the other functions.
type tasks struct {
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error
}

func newTasks(most int) *tasks { return &tasks{slots: make(chan struct{}, most)} }

// start runs f in a goroutine. It blocks while the limit of running functions is
// reached.
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

// failed returns the first error of the functions that have ended.
func (t *tasks) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// wait waits until all functions have ended and returns the first error.
func (t *tasks) wait() error {
	t.wg.Wait()
	return t.failed()
}

// deleters is the number of objects that DeleteEach deletes at the same time.
const deleters = 8

// DeleteEach calls remove for every name, several at a time, and returns the first
// error. It tries all names. It is for services that delete one object per call.
func DeleteEach(ctx context.Context, names []string, remove func(ctx context.Context, name string) error) error {
	t := newTasks(deleters)
	for _, name := range names {
		t.start(func() error { return remove(ctx, name) })
	}
	return t.wait()
}
