package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/ingest"
)

// counter counts the bytes that are read of a file as it is stored, and keeps
// the error of its place: the content is not at fault for it.
type counter struct {
	io.ReadCloser
	n   atomic.Int64
	err atomic.Pointer[error]
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.fail(err)
	}
	return n, err
}

// fail notes an error of the place.
func (c *counter) fail(err error) { c.err.Store(&err) }

// failed returns the error of the place, or nil.
func (c *counter) failed() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// open opens a file where its cursor stands, where the cursor of the same
// content under another name stands, or at its beginning when it is new.
func (s *Source) open(ctx context.Context, e entry) (*reader, error) {
	value := s.cursors[e.path]
	if value == nil {
		return s.begin(ctx, e, 0, nil)
	}
	c, err := decodeCursor(value)
	if err != nil {
		return nil, err
	}
	r, err := s.resume(ctx, e, c)
	if r != nil || err != nil {
		return r, err
	}
	return s.begin(ctx, e, c.Edition+1, &c)
}

// begin opens a file whose path has no cursor yet, or that of the content
// before.
func (s *Source) begin(ctx context.Context, e entry, edition int, before *cursor) (*reader, error) {
	c, err := s.recognise(ctx, e)
	if err != nil {
		return nil, err
	}
	recognised := c != nil
	if !recognised {
		c = &cursor{}
		if c.Head, c.HeadSize, err = s.head(ctx, e, maxHead); err != nil {
			return nil, err
		}
	}
	c.Edition, c.Repaired = edition, 0
	c.again(e, s.o.Now())
	r, err := s.openAt(ctx, e, *c)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("the file changed while it was opened")
	}
	if recognised {
		s.report.Recognised++
	}
	if before != nil && s.o.Keep && !s.isRetired(*before) {
		r.retire = before
	}
	return r, nil
}

func (s *Source) head(ctx context.Context, e entry, size int) (sum string, n int, err error) {
	f, err := s.place.open(ctx, e.path, 0)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readSum(f, size)
}

// resume opens a file that was read before where the cursor stands; nil if it
// is another file now. It is the same if it begins with the bytes that were read.
func (s *Source) resume(ctx context.Context, e entry, c cursor) (*reader, error) {
	if c.Sum == "" {
		// The cursor is that of an earlier version.
		if e.size < c.Size {
			return nil, nil
		}
		sum, n, err := s.head(ctx, e, c.HeadSize)
		if err != nil || n != c.HeadSize || sum != c.Head {
			return nil, err
		}
	}
	c.again(e, s.o.Now())
	if h := s.hashes[e.path]; h != nil && h.inode == e.inode && h.offset == c.Offset && c.TailSize > 0 {
		if r, err := s.resumeHere(ctx, e, c, h); r != nil || err != nil {
			return r, err
		}
	}
	return s.openAt(ctx, e, c)
}

// hashState is the hash of the bytes read from a plain file. A file that grows is
// then read on without reading all of it again.
type hashState struct {
	hash   xxh3.Hasher
	start  []byte
	inode  uint64
	offset int64
}

// resumeHere opens a plain file at its cursor, after a look at the bytes before
// it; nil if these are others.
func (s *Source) resumeHere(ctx context.Context, e entry, c cursor, h *hashState) (*reader, error) {
	stored, err := s.place.open(ctx, e.path, c.Offset-int64(c.TailSize))
	if err != nil {
		return nil, err
	}
	r := &reader{source: s, entry: e, cursor: c, skipping: c.Skipping, stored: &counter{ReadCloser: stored}, stop: func() {}, free: func() {}}
	r.content = r.stored
	sum, n, err := readSum(r.content, c.TailSize)
	if err != nil || n != c.TailSize || sum != c.Tail {
		return nil, errors.Join(err, r.close())
	}
	r.digest.hash, r.start = h.hash, h.start
	return r.prepare(), nil
}

// openAt opens a file, reads it up to the cursor's offset, and compares these
// bytes with the cursor; nil if it is other content.
func (s *Source) openAt(ctx context.Context, e entry, c cursor) (*reader, error) {
	ctx, stop := context.WithCancel(ctx)
	r, err := s.openStored(ctx, e)
	if err != nil {
		stop()
		return nil, err
	}
	r.stop = stop
	return s.moveTo(ctx, r, c)
}

// moveTo reads an open file up to the cursor's offset, and compares these bytes with the
// cursor. It closes the file if that fails, and returns nil if it is other content.
func (s *Source) moveTo(ctx context.Context, r *reader, c cursor) (*reader, error) {
	if r.ended == nil && r.isFetched() {
		r.prefetch = startPrefetch(ctx, r.content, r.stored, &s.inflated)
		r.content = r.prefetch
	}
	c.Compressed = r.compressed
	r.cursor, r.skipping = c, c.Skipping
	if c.Offset > 0 {
		passed := r.ended == nil && r.pass(c.Offset) == nil
		if !passed && r.stored.failed() != nil { // else the place may have failed behind the cursor
			return nil, errors.Join(r.stored.failed(), r.close())
		}
		if !passed || c.Sum != "" && c.Sum != r.digest.sum() {
			return nil, r.close()
		}
	} else if r.ended != nil && r.stored.failed() != nil {
		return nil, errors.Join(r.stored.failed(), r.close())
	}
	return r.prepare(), nil
}

// openStored opens a file at its beginning; an *unsupportedError if its format is
// not read.
func (s *Source) openStored(ctx context.Context, e entry) (*reader, error) {
	stored, err := s.place.open(ctx, e.path, 0)
	if err != nil {
		return nil, err
	}
	r := &reader{source: s, entry: e, stored: &counter{ReadCloser: stored}, stop: func() {}, free: func() {}}
	r.ended = r.decompress()
	var other *unsupportedError
	if errors.As(r.ended, &other) {
		return nil, errors.Join(other, r.close())
	}
	return r, nil
}

// isFetched reports whether the content is read ahead by a goroutine of its own.
func (r *reader) isFetched() bool { return r.compressed || isObject(r.entry.path) }

// prepare makes a reader ready that stands at its cursor.
func (r *reader) prepare() *reader {
	if r.cursor.Arrays {
		r.splitter = ingest.Resume(r.cursor.InArray)
	}
	r.digest.tail, r.digest.tailSize = r.cursor.Tail, r.cursor.TailSize
	return r
}

// pass reads n bytes and hashes them; io.EOF if there are fewer.
func (r *reader) pass(n int64) error {
	buffer := make([]byte, min(n, 256<<10))
	for n > 0 {
		k, err := r.content.Read(buffer[:min(n, int64(len(buffer)))])
		r.note(buffer[:k])
		n -= int64(k)
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// note hashes bytes that were read before any piece.
func (r *reader) note(data []byte) {
	r.digest.write(data)
	r.keepStart(data)
}

// keepStart keeps the first bytes of the file.
func (r *reader) keepStart(data []byte) {
	if room := maxHead - len(r.start); room > 0 {
		r.start = append(r.start, data[:min(room, len(data))]...)
	}
}

// maxWindow is the most memory of a zstd frame's window.
const maxWindow = 64 << 20

// decompress makes content the file's bytes without their compression.
func (r *reader) decompress() error {
	in := bufio.NewReaderSize(r.stored, 64<<10)
	begin, err := in.Peek(maxMagic)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f := formatOf(begin, r.entry.path)
	r.compressed = f != uncompressed
	switch f {
	case gzipped:
		z, err := newMembers(in)
		if err != nil {
			return err
		}
		r.content = z
	case zstandard:
		r.memory = windowOf(in)
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("begin to decompress: %w", err)
		}
		r.content, r.free = z, z.Close
	case uncompressed:
		r.content = in
	default:
		return &unsupportedError{f}
	}
	return nil
}

// windowOf returns how much memory the window of a zstd file's first frame takes; maxWindow
// if the file does not begin with a frame that says so.
func windowOf(in *bufio.Reader) uint64 {
	begin, _ := in.Peek(zstd.HeaderMaxSize) // an error comes again when it is read
	var h zstd.Header
	switch err := h.Decode(begin); {
	case err != nil || h.Skippable:
		return maxWindow
	case h.SingleSegment:
		return h.FrameContentSize
	}
	return h.WindowSize
}

// members reads the members of a gzip file, which zero bytes may follow: tapes
// and block devices pad files with them.
type members struct {
	in *bufio.Reader
	z  *kgzip.Reader
}

func newMembers(in *bufio.Reader) (*members, error) {
	m := &members{in: in}
	var err error
	if m.z, err = kgzip.NewReader(m.in); err != nil {
		return nil, err
	}
	m.z.Multistream(false)
	return m, nil
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
}

// next goes to the next member; io.EOF if there is none.
func (m *members) next() error {
	padded := false
	for {
		b, err := m.in.ReadByte()
		switch {
		case err != nil:
			return err
		case b == 0:
			padded = true
			continue
		case padded:
			return kgzip.ErrHeader
		}
		if err := m.in.UnreadByte(); err != nil {
			return err
		}
		if err := m.z.Reset(m.in); err != nil {
			return err
		}
		m.z.Multistream(false)
		return nil
	}
}

// close ends everything that reads the file, and closes it.
func (r *reader) close() error {
	r.settle()
	r.ahead.drop(r)
	r.stop()
	if r.prefetch != nil {
		r.prefetch.wait()
	}
	r.free()
	return r.stored.Close()
}

// finishedAfter is how long a file is not modified before it is taken for
// finished.
const finishedAfter = time.Hour

// finished reports whether nothing is expected to be added to the file: it is an
// object of a bucket, or was not modified for a while. If more comes all the
// same, reading goes on.
func (r *reader) finished() bool {
	return r.entry.age(r.source.o.Now()) >= finishedAfter || isObject(r.entry.path)
}

// isObject reports whether a file is an object of a bucket.
func isObject(path string) bool { return strings.Contains(path, "://") }

func (e entry) age(now time.Time) time.Duration { return now.Sub(time.Unix(0, e.modTime)) }
