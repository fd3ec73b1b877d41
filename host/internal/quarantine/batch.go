package quarantine

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// batch is entries on their way into one file. One of them is rendered at a
// time.
type batch struct {
	source  string
	now     time.Time
	entries []Entry
	room    int64 // bytes that the store may still take

	// What became of the entries.
	bytes int64            // that were written
	kept  map[string]Count // in the file, by reason
	over  map[string]int64 // there was no room for them, by reason
}

// write writes the entries that there is room for: a small one behind one that
// is too large is still written.
func (b *batch) write(w io.Writer) error {
	b.bytes, b.kept, b.over = 0, map[string]Count{}, map[string]int64{}
	out := bufio.NewWriterSize(w, 64<<10)
	for _, e := range b.entries {
		e.Source, e.Time = b.source, b.now
		e.limit()
		data, err := e.encode()
		if err != nil {
			return err
		}
		if b.bytes+int64(len(data)) > b.room {
			b.over[e.Reason]++
			continue
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
		b.bytes += int64(len(data))
		b.kept[e.Reason] = b.kept[e.Reason].plus(e.count())
	}
	return out.Flush()
}

// create writes the entries into a new file, durably. Without room for any of
// them there is no file.
func (b *batch) create(path string) error {
	f, err := create(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := b.write(f); err != nil || b.bytes == 0 {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return place(f, path)
}

// extend appends the entries to a file of the given size, durably, or leaves
// the file as it was.
func (b *batch) extend(path string, before int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if err = b.write(f); err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(before)) // half a line would spoil the file
	}
	return errors.Join(err, f.Close())
}
