package generation

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// A list that can be read is written as it was read; one that cannot is an
// error. The checksum is right, so that the code after its check is reached.
func FuzzDecodeList(f *testing.F) {
	l := &list{}
	f.Add(l.encode())
	l.add(block{first: 1, last: 5, stored: 3, rows: 2, rowsBytes: 9})
	l.add(block{first: 6, last: 6, stored: 1, rows: 1, rowsBytes: 1, flags: 3})
	f.Add(l.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 4 {
			body := data[: len(data)-4 : len(data)-4]
			data = binary.LittleEndian.AppendUint32(body, segment.Checksum(body))
		}
		l, err := decodeList(data)
		if err != nil {
			return
		}
		if again := l.encode(); !bytes.Equal(again, data) {
			t.Errorf("%x became %x", data, again)
		}
	})
}
