package generation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// Changes are the changes of an update, in the order of keys.
type Changes interface {
	// Next moves to the next key, each of which comes once, and reports whether
	// there is one. The key is valid until it is called again.
	Next(ctx context.Context) (Key, bool, error)
	// Apply appends the row that the key has from now on, with its newline, to
	// dst, or nothing where it has none any more. old is the row that it had,
	// valid until Apply returns, or nil. It is called once after each Next.
	Apply(dst, old []byte) ([]byte, error)
}

// Update applies changes to the last generation, nil if there is none, and
// returns the next one, which is durable then. Seq is the journal's sequence up to
// which the changes were read. The blob is the same exactly if the rows are.
func (s *Store) Update(ctx context.Context, last *pipeline.Generation, seq int64, changes Changes) (*pipeline.Generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, blob := &list{}, ""
	if last != nil {
		var err error
		if old, err = s.list(ctx, last.Blob); err != nil {
			return nil, err
		}
		blob = last.Blob
	}
	u := newUpdate(ctx, s, old, changes)
	err := u.run()
	next, writeErr := u.out.finish()
	if err == nil {
		err = writeErr
	}
	if err != nil {
		return nil, fmt.Errorf("update generation: %w", err)
	}
	name, err := s.writeList(ctx, next, blob)
	if err != nil {
		return nil, fmt.Errorf("update generation: %w", err)
	}
	return &pipeline.Generation{Blob: name, Seq: seq, Rows: next.rows, RowsBytes: next.rowsBytes, Bytes: next.stored}, nil
}

// writeList writes a list, unless it is there under the name known.
func (s *Store) writeList(ctx context.Context, l *list, known string) (string, error) {
	data := l.encode()
	if len(data) > maxList {
		return "", fmt.Errorf("a list of %d blocks is too long", len(l.blocks))
	}
	name := fmt.Sprintf("%s/%x%s", s.dir, sha256.Sum256(data), listSuffix)
	if name == known {
		return name, nil
	}
	crashpoint.Here("generation.blocks")
	if err := write(ctx, s.disk, name, data); err != nil {
		return "", err
	}
	crashpoint.Here("generation.listed")
	return name, nil
}

func write(ctx context.Context, store disk.Store, name string, data []byte) error {
	w, err := store.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), w.Abort())
	}
	return w.Commit()
}

// update is one Update.
type update struct {
	ctx     context.Context
	store   *Store
	old     *list
	changes Changes
	key     Key  // of the change that is next
	more    bool // there is one
	cut     cutter
	out     *output
	decoder segment.Decoder
	pending []byte // the rows of the cutter's pieces
	read    []byte // rows of the block that is merged
	joined  []byte // rows of a block that is made of several pieces
	payload []byte
}

func newUpdate(ctx context.Context, s *Store, old *list, changes Changes) *update {
	u := &update{ctx: ctx, store: s, old: old, changes: changes, out: newOutput(s, old)}
	u.cut = cutter{limit: s.block, emit: u.emit}
	return u
}

func (u *update) run() error {
	if err := u.advance(); err != nil {
		return err
	}
	for i := range u.old.blocks {
		b := &u.old.blocks[i]
		for u.more && u.key.Hash < b.first {
			if err := u.apply(nil); err != nil {
				return err
			}
		}
		if err := u.block(b); err != nil {
			return err
		}
	}
	for u.more {
		if err := u.apply(nil); err != nil {
			return err
		}
	}
	return u.cut.finish()
}

// block takes an old block: as it is, if no row with its prefix changes, in it or
// next to it.
func (u *update) block(b *block) error {
	prefix := common(b.first, b.last)
	before := u.cut.begun && common(u.cut.last, b.first) >= prefix
	behind := u.more && (u.key.Hash <= b.last || common(b.last, u.key.Hash) >= prefix)
	if before || behind {
		return u.merge(b)
	}
	return u.cut.add(b.first, b.last, piece{b, b.rowsBytes})
}

// merge applies changes to the rows of a block.
func (u *update) merge(b *block) error {
	var err error
	if u.read, err = u.rows(b, u.read[:0]); err != nil {
		return err
	}
	previous, hash := Key{}, b.first
	for row := range lines(u.read) {
		id, ok := idOf(row)
		k := KeyOf(id)
		if !ok || previous.ID != nil && previous.Compare(k) >= 0 || previous.ID == nil && k.Hash != b.first {
			return damaged(u.store.blockName(b), "its rows are not in order")
		}
		for u.more && u.key.Compare(k) < 0 {
			if err := u.apply(nil); err != nil {
				return err
			}
		}
		if u.more && u.key.Compare(k) == 0 {
			err = u.apply(row)
		} else {
			err = u.add(k.Hash, row)
		}
		if err != nil {
			return err
		}
		previous, hash = k, k.Hash
	}
	if hash != b.last {
		return damaged(u.store.blockName(b), "its rows are not those that the list says")
	}
	return nil
}

// rows appends the rows of a block.
func (u *update) rows(b *block, dst []byte) ([]byte, error) {
	var err error
	if u.payload, err = u.store.payload(u.ctx, b, u.payload); err != nil {
		return dst, err
	}
	if dst, err = u.decoder.Decode(dst, b.journal(u.payload)); err != nil {
		return dst, damaged(u.store.blockName(b), "%v", err)
	}
	return dst, nil
}

// advance moves to the next change.
func (u *update) advance() error {
	before := u.key.Hash
	var err error
	if u.key, u.more, err = u.changes.Next(u.ctx); err != nil {
		return err
	}
	if u.more && u.key.Hash < before {
		return errors.New("changes are not in the order of their keys")
	}
	return nil
}

// apply applies the next change to a row, or to nothing.
func (u *update) apply(old []byte) error {
	if err := u.ctx.Err(); err != nil {
		return context.Cause(u.ctx)
	}
	from := len(u.pending)
	all, err := u.changes.Apply(u.pending, old)
	if err != nil {
		return err
	}
	u.pending = all
	if size := len(all) - from; size > 0 {
		if err := u.grown(u.key.Hash, size); err != nil {
			return err
		}
	}
	return u.advance()
}

// add adds a row that stays as it is.
func (u *update) add(hash uint64, row []byte) error {
	u.pending = append(u.pending, row...)
	return u.grown(hash, len(row))
}

// grown tells the cutter of the last bytes of u.pending, which are a row.
func (u *update) grown(hash uint64, size int) error {
	return u.cut.add(hash, hash, piece{size: size})
}

// emit makes a block of pieces, the first rows of u.pending among them.
func (u *update) emit(pieces []piece) error {
	if len(pieces) == 1 && pieces[0].old != nil {
		u.out.keep(pieces[0].old)
		return nil
	}
	fresh := 0
	for _, p := range pieces {
		if p.old == nil {
			fresh += p.size
		}
	}
	rows := u.pending[:fresh]
	if len(pieces) > 1 {
		var err error
		if rows, err = u.join(pieces); err != nil {
			return err
		}
	}
	if err := u.out.write(u.ctx, rows); err != nil {
		return err
	}
	u.pending = append(u.pending[:0], u.pending[fresh:]...)
	return nil
}

// join puts the rows of pieces one behind the other.
func (u *update) join(pieces []piece) ([]byte, error) {
	u.joined = u.joined[:0]
	rest := u.pending
	for _, p := range pieces {
		if p.old == nil {
			u.joined = append(u.joined, rest[:p.size]...)
			rest = rest[p.size:]
			continue
		}
		var err error
		if u.joined, err = u.rows(p.old, u.joined); err != nil {
			return nil, err
		}
	}
	return u.joined, nil
}

// lines yields lines with their newlines.
func lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(text) > 0 {
			end := bytes.IndexByte(text, '\n') + 1
			if end == 0 {
				end = len(text)
			}
			if !yield(text[:end:end]) {
				return
			}
			text = text[end:]
		}
	}
}
