package swar

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// Words of few different bytes, so that zeros and bytes that borrow lie next to each other.
func TestZerosAreFound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := []byte{0, 0, 1, 2, 0x7f, 0x80, 0x81, 0xff}
	for range 100_000 {
		var text [8]byte
		want := uint64(0)
		for i := range text {
			if text[i] = values[r.IntN(len(values))]; text[i] == 0 {
				want |= 1 << i
			}
		}
		w := binary.LittleEndian.Uint64(text[:])
		if got := ZeroBits(w); got != want {
			t.Fatalf("% x: zeros %08b, want %08b", text, got, want)
		}
		first := bytes.IndexByte(text[:], 0)
		if first < 0 {
			first = 8
		}
		if got := First(Zeros(w)); got != first {
			t.Fatalf("% x: the first zero is byte %d, want %d", text, got, first)
		}
	}
}

func TestDigitsAreTold(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for c := range 256 {
		var text [8]byte
		binary.LittleEndian.PutUint64(text[:], r.Uint64())
		text[c%8] = byte(c)
		got := NotDigits(binary.LittleEndian.Uint64(text[:]))
		for i, c := range text {
			if digit := c >= '0' && c <= '9'; got>>(8*i)&0xff != map[bool]uint64{false: 0x80}[digit] {
				t.Errorf("% x: byte %d: %#x", text, i, got)
			}
		}
	}
}

// A head begins exactly those texts that begin with its first 24 bytes.
func TestHeadBeginsText(t *testing.T) {
	const text = "abcdefghijklmnopqrstuvwxyz"
	words := func(text string) (a, b, c uint64) {
		s := []byte(text + strings.Repeat("\xff", HeadSize))
		return binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:]), binary.LittleEndian.Uint64(s[16:])
	}
	for length := range len(text) + 1 {
		h := NewHead(text[:length])
		if !h.Begins(words(text[:length])) {
			t.Errorf("the head of %d bytes does not begin its text", length)
		}
		for i := range text {
			other := []byte(text)
			other[i] = '!'
			if got, want := h.Begins(words(string(other))), i >= min(length, HeadSize); got != want {
				t.Errorf("the head of %d bytes begins text with another byte %d: %v", length, i, got)
			}
		}
	}
}
