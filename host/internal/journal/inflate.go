package journal

import "github.com/penstock-io/penstock/host/internal/journal/segment"

// Inflater reads the rows of fragments. It keeps its memory; it is not for concurrent use.
// The zero Inflater is ready.
type Inflater struct{ decoder segment.Decoder }

// Inflate appends the rows of a fragment to dst. It returns an error if the payload does not
// inflate to as many bytes as the fragment says, or to others.
func (i *Inflater) Inflate(dst []byte, f *Fragment) ([]byte, error) {
	return i.decoder.Decode(dst, f.Block)
}
