package rowflate

import "math"

const (
	// A sample is half of a batch: of the second, which has a window behind it as
	// most have, and of each samplePause-th from there on.
	samplePause = 8
	mostSamples = 16
	// excess is how many bits more than the fewest possible the codes for a sample may
	// take: 1/64. Codes that were made for rows of the same kind take about 1/100 more.
	excess = 1.0 / 64
	// A fragment of one batch, with fewer ops, has the best codes for it.
	manyOps = 256
	// The first batch of a fragment may be of another kind than the fragments before. At a
	// glance, of one in sparseOps of its ops, the bits of a symbol may differ by unlike from
	// those in the samples. Of a fragment with further batches, it has no window behind it as
	// they have, and codes that suit these are not given up for less than firstExcess.
	sparseOps   = 8
	unlike      = 1.0 / 24
	firstUnlike = 1.0 / 8
	firstExcess = 1.0 / 16
)

// tables chooses the codes of blocks. Rows of one source are alike, so that codes are kept
// from batch to batch and from fragment to fragment:
//
//	batch   1 2 3 … 10 11 …  1 2 …
//	sample  x x     x          x     suit the codes? if not, others begin with this batch
//	glance                   x       are the rows of that kind? if not, a sample is taken
//
// Of fragments that have one batch, each samplePause-th is a sample, and there is a glance
// at all of them. Each sample that the codes suit is added to those of which they were made, and when there
// are twice as many, better codes are made of all. The zero tables are ready.
type tables struct {
	pair    [2]builder // one has the codes that are kept, the other is free
	kept    int        // index in pair
	made    int        // samples of which the kept codes were made; 0: there are none
	samples int        // in seen
	seen    counts     // of the samples that the kept codes suit
	sample  counts
	usual   float64 // bits of a symbol in the samples, with the kept codes
	batch   int     // of the fragment, or of those that had one batch each
}

// begin begins a fragment.
func (s *tables) begin() { s.batch = 0 }

// next returns the table for a batch of ops over rows. It has codes for all symbols.
func (s *tables) next(rows []byte, ops []op) *table {
	s.batch++
	switch {
	case s.made == 0 || s.batch%samplePause == 2:
		s.look(rows, ops, excess)
	case s.batch == 1 && !s.expects(rows, ops, firstUnlike):
		s.look(rows, ops, firstExcess)
	}
	return &s.pair[s.kept].table
}

// look takes a sample, and makes codes if it has to: if the kept ones take more bits than
// the fewest possible by a part of excess.
func (s *tables) look(rows []byte, ops []op, excess float64) {
	s.sample = counts{}
	s.sample.add(rows, ops[:(len(ops)+1)/2])
	switch {
	case s.made == 0 || !s.suits(excess):
		s.seen, s.samples, s.made = s.sample, 1, 0
	case s.samples < mostSamples:
		s.seen.join(&s.sample)
		s.samples++
	}
	if s.samples >= 2*s.made {
		s.make()
	}
}

// suits reports whether the kept codes are good ones for the sample.
func (s *tables) suits(excess float64) bool {
	t := &s.pair[s.kept].table
	return float64(t.size(&s.sample)-t.bits) <= (1+excess)*s.sample.fewestBits()
}

// make makes codes of the samples that were seen.
func (s *tables) make() {
	s.sample = s.seen
	s.sample.spread()
	s.kept, s.made = 1-s.kept, s.samples
	t := s.pair[s.kept].build(&s.sample)
	s.usual = float64(t.size(&s.seen)-t.bits) / s.seen.symbols()
}

// only returns a table for a block that ends with these ops over rows, the only ones of a
// fragment. It is the best one, or the kept one if the rows look like those before.
func (s *tables) only(rows []byte, ops []op) *table {
	if len(ops) >= manyOps {
		if s.batch++; s.made == 0 || s.batch%samplePause == 0 {
			s.look(rows, ops, excess)
		}
		if s.expects(rows, ops, unlike) {
			return &s.pair[s.kept].table
		}
	}
	c := &s.sample
	*c = counts{}
	c.add(rows, ops)
	c.literal[endOfData] = 1
	// An alphabet of one distance is not complete, which some decoders refuse.
	c.distance[0], c.distance[1] = max(c.distance[0], 1), max(c.distance[1], 1)
	t := s.pair[1-s.kept].build(c)
	if fixedTable.size(c) <= t.size(c) {
		return fixedTable
	}
	return t
}

// expects reports whether rows look like those that the kept codes were made of: the bits
// that their symbols take differ by the part most, or by less.
func (s *tables) expects(rows []byte, ops []op, most float64) bool {
	return math.Abs(s.pair[s.kept].table.bitsPerSymbol(rows, ops)-s.usual) <= most*s.usual
}

// join adds other counts.
func (c *counts) join(other *counts) {
	for i, n := range other.literal {
		c.literal[i] += n
	}
	for i, n := range other.distance {
		c.distance[i] += n
	}
}

// spread makes each count at least 1: any symbol may be one of those that were not counted.
func (c *counts) spread() {
	const weight = 4 // of one that was
	for i := range c.literal {
		c.literal[i] = weight*c.literal[i] + 1
	}
	for i := range c.distance {
		c.distance[i] = weight*c.distance[i] + 1
	}
	c.literal[endOfData] = 1
}

// fewestBits returns how many bits the counted symbols take at least: their entropy, and
// extra bits.
func (c *counts) fewestBits() float64 {
	bits := entropy(c.literal[:]) + entropy(c.distance[:])
	for i, n := range c.literal[endOfData+1:] {
		bits += float64(n) * float64(lengthExtra[i])
	}
	for i, n := range c.distance {
		bits += float64(n) * float64(distanceExtra(i))
	}
	return bits
}

// symbols returns how many symbols were counted; a match is one.
func (c *counts) symbols() (n float64) {
	for _, k := range c.literal {
		n += float64(k)
	}
	return n
}

// entropy returns how many bits counted symbols take at least, with any code.
func entropy(counts []uint32) (bits float64) {
	total := 0.0
	for _, n := range counts {
		if n > 0 {
			total += float64(n)
			bits -= float64(n) * math.Log2(float64(n))
		}
	}
	if total > 0 {
		bits += total * math.Log2(total)
	}
	return bits
}
