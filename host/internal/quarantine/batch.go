package quarantine

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-io/penstock/host/internal/private"
)

// batch is entries on their way into one file. One of them is rendered at a
// time.
type batch struct {
	source  *source
	now     time.Time
	entries []Entry

	// Written by write.
	bytes int64  // that were written, and reserved in the store
	kept  counts // in the file
	over  counts // there was no room for them
}

// write writes the entries that there is room for: a small one behind one that
// is too large is still written.
func (b *batch) write(w io.Writer) error {
	b.kept, b.over = counts{}, counts{}
	out := bufio.NewWriterSize(w, 64<<10)
	for _, e := range b.entries {
		e.Source, e.Time = b.source.name, b.now
		e.limit()
		b.source.limitReason(&e, b.kept)
		data, err := e.encode()
		if err != nil {
			return err
		}
		if !b.source.store.reserve(b.source, int64(len(data))) {
			b.over.add(e.Reason, Count{Counted: 1})
			continue
		}
		b.bytes += int64(len(data))
		b.kept.add(e.Reason, e.Count())
		if _, err := out.Write(data); err != nil {
			return err
		}
	}
	return out.Flush()
}

// release gives back the room of a file that was not written.
func (b *batch) release() {
	b.source.store.resize(b.source, -b.bytes)
	b.bytes, b.kept = 0, counts{}
}

// create writes the entries into a new file, durably. Without room for any of
// them there is no file.
func (b *batch) create(path string) error {
	f, err := create(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err = b.write(f); err != nil || b.bytes == 0 {
		err = errors.Join(err, discard(f))
	} else {
		err = place(f, path)
	}
	if err != nil {
		b.release()
	}
	return err
}

// extend appends the entries to a file of the given size, durably, or leaves
// the file as it was.
func (b *batch) extend(path string, before int64) error {
	f, err := private.OpenFile(path, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return err
	}
	if err = b.write(f); err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(before)) // half a line would spoil the file
		b.release()
	}
	return errors.Join(err, f.Close())
}
