package files

import (
	"encoding/hex"
	"sync"

	"github.com/zeebo/xxh3"
)

// digest is the hash of a file's content. The goroutine that cuts pieces does not hash
// them: it links each one to the piece before it. A piece is hashed, after all before it,
// by the first goroutine that gives its buffer back or asks for its cursor:
//
//	pieces, as cut       a  b  c  d
//	b is released        hashes a and b, and gives the buffer of b back
//	a is released        gives the buffer of a back
//	d's cursor is read   hashes c and d
//
// No buffer is used again before its bytes are hashed, and no goroutine has to be stopped
// when reading ends. A parser that releases a piece has just read it, so that its bytes
// are in the processor's cache.
type digest struct {
	mu       sync.Mutex
	hash     xxh3.Hasher // of all bytes up to the last piece that was hashed
	tail     string      // hash of the last tailSize of them: see cursor.Tail
	tailSize int
}

// write hashes bytes that are not a piece.
func (d *digest) write(data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = d.hash.Write(data) // never fails
}

// sum returns the hash of all bytes up to now: see cursor.Sum.
func (d *digest) sum() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sumOf(&d.hash)
}

func sumOf(h *xxh3.Hasher) string {
	sum := h.Sum128().Bytes()
	return hex.EncodeToString(sum[:])
}

// cutPiece is a piece on its way into a digest. The reader makes it; after the piece was
// handed on, digest.mu guards it.
type cutPiece struct {
	digest *digest
	before *cutPiece // nil: there is none, or it is hashed
	data   []byte    // nil: it is hashed, or empty
	hashed bool
	cursor cursor // behind the piece. Sum, Tail and TailSize are set when it is hashed
	// state is for reading on behind the piece without hashing all bytes before again; nil:
	// it is not asked for. Its hash is set when the piece is hashed.
	state *hashState
}

// complete returns the cursor behind the piece. It hashes the piece and those before it, if
// that is not done.
func (p *cutPiece) complete() cursor {
	p.digest.mu.Lock()
	defer p.digest.mu.Unlock()
	p.add()
	return p.cursor
}

// add adds the piece to its digest, after those before it, unless it was added. digest.mu
// is held.
func (p *cutPiece) add() {
	if p.hashed {
		return
	}
	if p.before != nil {
		p.before.add()
	}
	d := p.digest
	if len(p.data) > 0 {
		_, _ = d.hash.Write(p.data) // never fails
		tail := p.data[max(0, len(p.data)-maxHead):]
		d.tail, d.tailSize = sum(tail), len(tail)
	}
	p.cursor.Sum, p.cursor.Tail, p.cursor.TailSize = sumOf(&d.hash), d.tail, d.tailSize
	if p.state != nil {
		p.state.hash = d.hash
	}
	p.hashed, p.before, p.data = true, nil, nil
}
