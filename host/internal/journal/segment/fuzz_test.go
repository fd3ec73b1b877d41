package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// sealFooter makes a file of a body and a footer, with a trailer that is right
// about them.
func sealFooter(body, footer []byte, keys uint64) []byte {
	file := append(header(), body...)
	t := trailer{
		keys: headerSize + keys%uint64(len(body)+1), footer: uint64(len(file)),
		footerLength: uint64(len(footer)), footerChecksum: Checksum(footer),
	}
	file = append(file, footer...)
	return append(file, t.encode()...)
}

// exercise reads everything that a file says it holds.
func exercise(t *testing.T, file []byte) {
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return
	}
	var stored int64
	for i, e := range f.Index().Extents {
		stored += e.Length
		// Damage is expected, and so are blocks that do not inflate.
		_ = f.Blocks(i, func(b Block) error {
			rows, err := Decode(nil, b)
			if err == nil && len(rows) != b.RowsBytes {
				t.Errorf("%d bytes of %d", len(rows), b.RowsBytes)
			}
			return nil
		})
	}
	for i := range f.Index().Sections {
		s := &f.Index().Sections[i]
		stored += int64(s.Count)*KeySize + int64(s.FilterLength)
		for p := range s.Pages {
			if page, err := f.Page(s, p, nil); err == nil && len(page)%KeySize != 0 {
				t.Errorf("a page of %d bytes", len(page))
			}
		}
		if filter, err := f.Filter(s); err == nil {
			filter.MayContain(Key{1, 2, 3})
		}
	}
	if stored > int64(len(file)) {
		t.Errorf("a file of %d bytes holds %d", len(file), stored)
	}
	if _, _, err := f.Verify(); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []sample{build(f, r, 0, 0, 0, nil), build(f, r, 2, 2, 2, []int{3, 9})} {
		f.Add(s.file)
	}
	f.Fuzz(exercise)
}

// The footer is the fuzzer's, and its checksum right.
func FuzzFooter(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []sample{build(f, r, 0, 0, 0, nil), build(f, r, 2, 2, 2, []int{3, 9})} {
		opened := open(f, s.file)
		end := opened.tail.footer
		f.Add(s.file[headerSize:end], s.file[end:len(s.file)-trailerSize], opened.tail.keys-headerSize)
	}
	f.Fuzz(func(t *testing.T, body, footer []byte, keys uint64) { exercise(t, sealFooter(body, footer, keys)) })
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("a\nbc\n"), 5, uint32(0))
	f.Fuzz(func(t *testing.T, payload []byte, length int, sum uint32) {
		if length < 0 || length > 1<<20 {
			return
		}
		rows, err := Decode([]byte("before"), Block{Payload: payload, RowsBytes: length, RowsCRC32: sum})
		if err == nil && len(rows) != length+6 {
			t.Errorf("%d bytes of %d", len(rows)-6, length)
		}
		if !bytes.HasPrefix(rows, []byte("before")) {
			t.Errorf("what was there is gone: %q", rows)
		}
	})
}

// Any rows are the same after encoding and decoding.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("a\nbc\n"))
	encoder := NewEncoder()
	f.Fuzz(func(t *testing.T, rows []byte) {
		b, err := encoder.Encode(rows, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(b.Payload, syncFlush) {
			t.Errorf("no sync flush at the end: %x", b.Payload)
		}
		got, err := Decode(nil, b)
		if err != nil || !bytes.Equal(got, rows) {
			t.Errorf("%q became %q, %v", rows, got, err)
		}
	})
}
