package journal

// OpenBytes returns the bytes of memory that open blocks take.
func (w *Writer) OpenBytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open.raw
}

// KeptEntries returns the bytes of memory for entries that no open block has.
func (w *Writer) KeptEntries() int64 {
	w.pieces.mu.Lock()
	defer w.pieces.mu.Unlock()
	return w.pieces.kept
}

// OpenEntries returns the bytes of memory for entries that open blocks have.
func (w *Writer) OpenEntries() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var n int64
	for _, p := range w.open.all {
		n += entriesSize(p.rows)
	}
	return n
}
