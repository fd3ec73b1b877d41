package files

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
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
	// Offset is behind the last whole record, after decompression. A last record
	// that was refused because its end is missing lies after it.
	Offset int64 `json:"offset"`
	// Edition counts the files of this name before it, which were others.
	Edition int `json:"edition,omitempty"`
	// Tail is a hash of the TailSize bytes before Offset.
	Tail     string `json:"tail,omitempty"`
	TailSize int    `json:"tail_size,omitempty"`
	InArray  bool   `json:"in_array,omitempty"`
	// Compressed says that the file was compressed when it was opened last.
	Compressed bool `json:"compressed,omitempty"`
	Arrays     bool `json:"arrays,omitempty"`   // the file holds arrays
	Skipping   bool `json:"skipping,omitempty"` // Offset is in a line that is too long
	Done       bool `json:"done,omitempty"`     // it was read to its end
	// Waiting says that it was read to its end, but for a last record that is
	// not complete; Cut, that its compressed stream was not.
	Waiting bool `json:"waiting,omitempty"`
	Cut     bool `json:"cut,omitempty"`
	// Sum is a hash of the first Offset bytes after decompression, and Start of the
	// first StartSize of them: the same content is recognised by them under
	// another name, or in another compression.
	Sum       string `json:"sum,omitempty"`
	Start     string `json:"start,omitempty"`
	StartSize int    `json:"start_size,omitempty"`
	// Inode and Changed, the time of the last change of the inode, tell a file
	// that was written from one that only has the same size and time. Racy says
	// that it was changed so recently that another change need not show.
	Inode   uint64 `json:"inode,omitempty"`
	Changed int64  `json:"changed,omitempty"`
	Racy    bool   `json:"racy,omitempty"`
	// Rest is a hash of the last record that was refused because its end is missing.
	Rest string `json:"rest,omitempty"`
	// Origins are other names under which a record behind Offset may have been refused,
	// until the first piece of this name: see ingest.Piece.Moved.
	Origins []ingest.Origin `json:"origins,omitempty"`
	// Repaired is how many records were repaired of all files that had this path.
	Repaired int64 `json:"repaired,omitempty"`
}

// maxHead is how much of a beginning or end tells a file from others.
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

// unchanged reports whether a file is as it was when the cursor was made.
func (c cursor) unchanged(e entry) bool {
	return c.Size == e.size && c.ModTime == e.modTime && c.ETag == e.etag && !c.Racy && (c.Changed == 0 || c.Changed == e.changed && c.Inode == e.inode)
}

// replacedBy reports whether a file is not the one of the cursor, grown: it has
// another inode, or is shorter.
func (c cursor) replacedBy(e entry) bool {
	return c.Inode != 0 && c.Inode != e.inode || e.size < c.Size
}

// racyTime is how long after a change of a file another one may have the same
// time: file systems count it in steps.
const racyTime = 2 * time.Second

// see notes how a file is stored, as of now.
func (c *cursor) see(e entry, now time.Time) {
	c.Size, c.ModTime, c.ETag, c.Inode, c.Changed = e.size, e.modTime, e.etag, e.inode, e.changed
	c.Racy = e.changed != 0 && now.Sub(time.Unix(0, e.changed)) < racyTime
}

// again notes that a file, stored as e, is read on from the cursor, as of now.
func (c *cursor) again(e entry, now time.Time) {
	c.Done, c.Waiting, c.Cut = false, false, false
	c.see(e, now)
}

// endsWhole reports whether the file ended behind a whole record: none behind Offset was
// refused.
func (c cursor) endsWhole() bool { return c.Done && c.Rest == "" }

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:16])
}

// readSum reads and hashes size bytes, or as many as there are.
func readSum(r io.Reader, size int) (digest string, n int, err error) {
	buffer := make([]byte, size)
	n, err = io.ReadFull(r, buffer)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", 0, err
	}
	return sum(buffer[:n]), n, nil
}
