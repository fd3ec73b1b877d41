package inflate

import (
	"encoding/binary"
	"errors"
)

var (
	// ErrFull says that the stream has more bytes than the buffer has room for. Decode goes on
	// with a larger one.
	ErrFull = errors.New("the buffer is full")
	// ErrCorrupt says that the input is not DEFLATE, or ends before it does.
	ErrCorrupt = errors.New("the input is not a whole DEFLATE stream")
)

// Decoder decodes one stream after another. It keeps no input and no output; it is not for
// concurrent use. The zero value is ready for Begin.
type Decoder struct {
	in    []byte
	at    int    // in in, behind the bytes that bits has taken
	bits  uint64 // the next bits, the first of them lowest
	count uint   // of bits
	from  int    // where the stream's output begins: matches do not reach before it

	stage  stage
	final  bool // the block is the last one
	stored int  // bytes of a stored block that are left

	codes   *codes // of the block: fixed, or own
	own     codes
	lengths [maxLiterals + maxDistances]uint8 // of own codes, in bits
}

// stage is where in a stream a Decoder is.
type stage uint8

const (
	atHeader stage = iota
	inStored
	inSymbols
	atEnd
)

// Begin begins a stream at the beginning of in, whose output begins behind n bytes of the
// buffer.
func (d *Decoder) Begin(in []byte, n int) {
	d.in, d.at, d.bits, d.count, d.from = in, 0, 0, 0, n
	d.stage, d.final = atHeader, false
}

// Decode decodes into dst, of which n bytes are written already, and returns how many are
// then. It returns nil at the end of the stream. After ErrFull it goes on in a dst that is
// larger and has the same n bytes. Bytes of dst behind those that it returns may be changed.
func (d *Decoder) Decode(dst []byte, n int) (int, error) {
	for {
		var err error
		switch d.stage {
		case atHeader:
			err = d.header()
		case inStored:
			n, err = d.copyStored(dst, n)
		case inSymbols:
			if n, err = d.fast(dst, n); err == nil && d.stage == inSymbols {
				n, err = d.careful(dst, n)
			}
		case atEnd:
			d.in = nil
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Read is how many bytes of the input belong to the stream, after Decode has returned nil.
func (d *Decoder) Read() int { return d.at - int(d.count/8) }

// need makes n bits available, at most 56. It reports whether the input has them.
func (d *Decoder) need(n uint) bool {
	for d.count < n {
		if d.at == len(d.in) {
			return false
		}
		d.bits |= uint64(d.in[d.at]) << d.count
		d.at++
		d.count += 8
	}
	return true
}

// take takes n bits, which are available.
func (d *Decoder) take(n uint) uint64 {
	v := d.bits & (1<<n - 1)
	d.bits >>= n
	d.count -= n
	return v
}

// next ends a block.
func (d *Decoder) next() {
	d.stage = atHeader
	if d.final {
		d.stage = atEnd
	}
}

// header reads the header of a block.
func (d *Decoder) header() error {
	if !d.need(3) {
		return ErrCorrupt
	}
	d.final = d.take(1) == 1
	switch d.take(2) {
	case 0:
		return d.beginStored()
	case 1:
		d.codes = fixed
		d.stage = inSymbols
		return nil
	case 2:
		d.stage = inSymbols
		return d.readCodes()
	}
	return ErrCorrupt
}

// beginStored reads the length of a block that is not compressed.
func (d *Decoder) beginStored() error {
	d.take(d.count % 8)
	if !d.need(32) {
		return ErrCorrupt
	}
	n, complement := d.take(16), d.take(16)
	if n != ^complement&0xffff {
		return ErrCorrupt
	}
	// The bytes behind it are taken from the input.
	d.at -= int(d.count / 8)
	d.bits, d.count = 0, 0
	d.stage, d.stored = inStored, int(n)
	return nil
}

func (d *Decoder) copyStored(dst []byte, n int) (int, error) {
	m := min(d.stored, len(d.in)-d.at, len(dst)-n)
	copy(dst[n:], d.in[d.at:d.at+m])
	d.at, d.stored, n = d.at+m, d.stored-m, n+m
	switch {
	case d.stored == 0:
		d.next()
	case d.at == len(d.in):
		return n, ErrCorrupt
	default:
		return n, ErrFull
	}
	return n, nil
}

// Room that fast needs in input and output for one round of its loop: two words of input,
// two literals and the longest match, of which the last word reaches behind it.
const (
	fastIn   = 16
	fastCopy = 258 + 8
	fastOut  = 2 + fastCopy
)

// fast decodes symbols while there is much input and room. It leaves the end of both to
// careful. The words that it writes reach behind n, never behind dst.
func (d *Decoder) fast(dst []byte, n int) (int, error) {
	in, at, bits, count := d.in, d.at, d.bits, d.count
	literals, distances := &d.codes.literals, &d.codes.distances
	inEnd, outEnd := len(in)-fastIn, len(dst)-fastOut
	err := error(nil)
	for at <= inEnd && n <= outEnd {
		// As many whole bytes as there is room for. Bits above count are those of the next
		// byte, which is read again.
		bits |= binary.LittleEndian.Uint64(in[at:]) << (count & 63)
		at += int((63 - count) >> 3 & 7)
		count |= 56
		e := literals[bits&(1<<literalBits-1)]
		if e&isLiteral != 0 {
			// Two literals and the code that follows take 42 bits at most.
			bits >>= e & 63
			count -= uint(e & 63)
			dst[n] = byte(e >> valueShift)
			n++
			e = literals[bits&(1<<literalBits-1)]
			if e&isLiteral != 0 {
				bits >>= e & 63
				count -= uint(e & 63)
				dst[n] = byte(e >> valueShift)
				n++
				e = literals[bits&(1<<literalBits-1)]
			}
		}
		if e&isLong != 0 {
			e = literals[(uint64(e>>valueShift)+bits>>literalBits&(1<<(e>>codeShift&15)-1))%uint64(len(literals))]
		}
		saved := bits
		bits >>= e & 63
		count -= uint(e & 63)
		if e&isLiteral != 0 {
			dst[n] = byte(e >> valueShift)
			n++
			continue
		}
		if e&isOther != 0 {
			if e&isEnd == 0 {
				err = ErrCorrupt
			} else {
				d.next()
			}
			break
		}
		length := int(e>>valueShift) + int(saved&(1<<(e&63)-1)>>(e>>codeShift&15))

		bits |= binary.LittleEndian.Uint64(in[at:]) << (count & 63)
		at += int((63 - count) >> 3 & 7)
		count |= 56
		e = distances[bits&(1<<distanceBits-1)]
		if e&isLong != 0 {
			e = distances[(uint64(e>>valueShift)+bits>>distanceBits&(1<<(e>>codeShift&15)-1))%uint64(len(distances))]
		}
		saved = bits
		bits >>= e & 63
		count -= uint(e & 63)
		distance := int(e>>valueShift) + int(saved&(1<<(e&63)-1)>>(e>>codeShift&15))
		if e&isOther != 0 || distance > n-d.from {
			err = ErrCorrupt
			break
		}
		if distance < 8 {
			// Bytes repeat, and each is written before it is read.
			for end := n + length; n < end; n++ {
				dst[n] = dst[n-distance]
			}
			continue
		}
		// So are words, of which the last ones reach behind the match.
		from, to := dst[n-distance:n-distance+fastCopy], dst[n:n+fastCopy]
		n += length
		binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(from))
		binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
		binary.LittleEndian.PutUint64(to[16:], binary.LittleEndian.Uint64(from[16:]))
		for i := 24; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
		}
	}
	d.at, d.bits, d.count = at, bits&(1<<count-1), count
	return n, err
}

// careful decodes symbols near the end of the input or of dst, and looks at both for each.
func (d *Decoder) careful(dst []byte, n int) (int, error) {
	for len(d.in)-d.at < fastIn || len(dst)-n < fastOut {
		// A symbol that has no room is decoded again later.
		at, bits, count := d.at, d.bits, d.count
		value, kind, err := d.symbol(d.codes.literals[:], literalBits)
		if err != nil {
			return n, err
		}
		full := false
		switch {
		case kind&isEnd != 0:
			d.next()
			return n, nil
		case kind&isLiteral != 0:
			if full = n == len(dst); !full {
				dst[n] = byte(value)
				n++
			}
		default:
			distance, _, err := d.symbol(d.codes.distances[:], distanceBits)
			if err != nil || distance > n-d.from {
				return n, ErrCorrupt
			}
			if full = value > len(dst)-n; !full {
				for range value {
					dst[n] = dst[n-distance]
					n++
				}
			}
		}
		if full {
			d.at, d.bits, d.count = at, bits, count
			return n, ErrFull
		}
	}
	return n, nil
}

// symbol decodes a symbol and its extra bits. kind is its entry.
func (d *Decoder) symbol(table []uint32, primary uint) (value int, kind uint32, err error) {
	d.need(48) // or all that there are
	e := table[d.bits&(1<<primary-1)]
	if e&isLong != 0 {
		e = table[uint64(e>>valueShift)+d.bits>>primary&(1<<(e>>codeShift&15)-1)]
	}
	n := uint(e & 63)
	if n > d.count || e&isOther != 0 && e&isEnd == 0 {
		return 0, 0, ErrCorrupt
	}
	code := uint(e >> codeShift & 15)
	return int(e>>valueShift) + int(d.take(n)>>code), e, nil
}
