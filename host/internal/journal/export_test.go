package journal

// OpenBytes returns the bytes of memory that open blocks take.
func (w *Writer) OpenBytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open.raw
}
