package parts

import (
	"context"
	"sync"
)

// Sender is the upload whose parts a Writer sends.
type Sender interface {
	// Start is called before a part is sent, in order. number is that of the part;
	// the first is 1. An error keeps the part from being sent.
	Start(number int) error
	// Send sends one part. It is called concurrently, and must not keep data.
	Send(number int, data []byte) error
}

// Writer collects bytes into parts and sends them. One goroutine uses it. Flush or
// Drop must be called at the end, which returns the writer's buffers to the pool.
type Writer struct {
	ctx    context.Context
	pool   *Pool
	sender Sender

	buf  []byte // the part that is being filled; nil: no buffer is held
	next int    // number of the part that is sent next

	wg  sync.WaitGroup
	mu  sync.Mutex
	err error // the first of a part
}

// NewWriter returns a writer. ctx ends its waits for a free buffer.
func NewWriter(ctx context.Context, pool *Pool, sender Sender) *Writer {
	return &Writer{ctx: ctx, pool: pool, sender: sender, next: 1}
}

// Write takes all of p or fails. It waits while all buffers are being sent.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := w.room(); err != nil {
			return written, err
		}
		n := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p, written = p[n:], written+n
	}
	return written, nil
}

// room ensures that the buffer has space for at least one byte.
func (w *Writer) room() (err error) {
	if w.buf != nil && len(w.buf) == cap(w.buf) {
		if err := w.send(); err != nil {
			return err
		}
	}
	if w.buf == nil {
		w.buf, err = w.pool.Get(w.ctx)
	}
	return err
}

// send sends the buffer as the next part, in the background. It returns the first
// error of an earlier part.
func (w *Writer) send() error {
	if err := w.sender.Start(w.next); err != nil {
		return err
	}
	number, buf := w.next, w.buf
	w.next, w.buf = w.next+1, nil
	w.wg.Go(func() {
		defer w.pool.Put(buf)
		if err := w.sender.Send(number, buf); err != nil {
			w.fail(err)
		}
	})
	return w.failed()
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Sent returns the number of parts that were sent, or are being sent.
func (w *Writer) Sent() int { return w.next - 1 }

// Held returns the bytes that are not sent yet. They are valid until the next
// call.
func (w *Writer) Held() []byte { return w.buf }

// Flush sends the bytes that are held and waits until all parts are sent. It
// returns the first error of a part.
func (w *Writer) Flush() error {
	if len(w.buf) > 0 {
		if err := w.send(); err != nil {
			return err
		}
	}
	return w.Wait()
}

// Wait waits until the parts that are being sent are sent. It returns the first
// error of a part, and sends no bytes that are held.
func (w *Writer) Wait() error {
	w.wg.Wait()
	return w.failed()
}

// Drop gives the held bytes up and waits for the parts that are being sent.
func (w *Writer) Drop() {
	w.wg.Wait()
	w.pool.Put(w.buf)
	w.buf = nil
}
