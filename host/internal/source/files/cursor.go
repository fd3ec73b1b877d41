package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// cursor is how far a file is read. It is stored as JSON; fields are only ever
// added.
type cursor struct {
	Size    int64  `json:"size"` // of the file as stored, when the cursor was made
	ModTime int64  `json:"mod_time"`
	ETag    string `json:"etag,omitempty"`
	// Head is a hash of the first HeadSize bytes as stored: the file is the
	// same one, perhaps grown, while they are the same.
	Head     string `json:"head"`
	HeadSize int    `json:"head_size"`
	Offset   int64  `json:"offset"` // behind the last whole record, after decompression
	InArray  bool   `json:"in_array,omitempty"`
	Arrays   bool   `json:"arrays,omitempty"` // the file holds arrays
	Done     bool   `json:"done,omitempty"`   // it was read to its end
}

// maxHead is how much of a file tells it from others.
const maxHead = 4096

func (c cursor) encode() []byte {
	data, err := json.Marshal(c)
	if err != nil {
		panic("files: a cursor cannot be encoded: " + err.Error())
	}
	return data
}

func decodeCursor(data []byte) (cursor, error) {
	var c cursor
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("the cursor cannot be read: %w", err)
	}
	return c, nil
}

// head reads and hashes a file's beginning: all of it, or the part that an
// earlier cursor has hashed.
func head(r io.Reader, size int) (sum string, n int, err error) {
	buffer := make([]byte, size)
	n, err = io.ReadFull(r, buffer)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", 0, err
	}
	digest := sha256.Sum256(buffer[:n])
	return hex.EncodeToString(digest[:16]), n, nil
}

// firstByte is the first byte of p that is no white space, or 0.
func firstByte(p []byte) byte {
	if trimmed := bytes.TrimLeft(p, " \t\r\n\ufeff"); len(trimmed) > 0 {
		return trimmed[0]
	}
	return 0
}
