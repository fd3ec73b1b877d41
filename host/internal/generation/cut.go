package generation

// cutter cuts a sequence of rows, and of blocks that stay as they are, into the
// longest runs of one prefix that fit.
//
// The prefixes of hashes are a tree: a node is a prefix, and holds the rows whose
// hashes begin with it. A final run is the largest node that fits into a block: it
// is known as soon as the node above it does not fit. The pending nodes may still
// grow; they are kept from the shortest prefix to the longest.
type cutter struct {
	limit  int
	emit   func(pieces []piece) error
	nodes  []node
	pieces []piece // of all nodes, in order
	size   int     // of all nodes, in bytes
	last   uint64  // hash of the row that was added last
	begun  bool
}

// node is rows that are together in every division.
type node struct {
	common int // bits that its first hash has in common with the one before; -1 if there is none
	size   int // bytes of rows
	pieces int
}

// piece is an old block that stays as it is, or rows that lie one behind the
// other.
type piece struct {
	old  *block
	size int // bytes of rows
}

// add adds rows from one hash to another: an old block, with all rows of its
// prefix, or a row.
func (c *cutter) add(first, last uint64, p piece) error {
	bits := -1
	switch {
	case c.begun && c.last == first:
		c.widen(p.size)
		return nil
	case c.begun:
		bits = common(c.last, first)
	}
	if err := c.shrink(); err != nil {
		return err
	}
	if err := c.close(bits); err != nil {
		return err
	}
	c.nodes = append(c.nodes, node{common: bits, size: p.size, pieces: 1})
	c.pieces = append(c.pieces, p)
	c.size += p.size
	c.last, c.begun = last, true
	return nil
}

// widen adds a row to the last node, which has the same hash.
func (c *cutter) widen(size int) {
	c.nodes[len(c.nodes)-1].size += size
	c.pieces[len(c.pieces)-1].size += size
	c.size += size
}

// shrink emits final runs while the pending nodes do not fit together: the prefix
// of the first node and the others has at least these rows.
func (c *cutter) shrink() error {
	for c.size > c.limit {
		if err := c.first(); err != nil {
			return err
		}
	}
	return nil
}

// close joins the nodes whose prefix is longer than the one that the next row
// shares with them. All pending nodes fit together.
func (c *cutter) close(bits int) error {
	for n := len(c.nodes); n > 1 && c.nodes[n-1].common > bits; n-- {
		c.join()
	}
	if len(c.nodes) == 1 && c.nodes[0].common > bits {
		// The rows before it were too many for a node with this one.
		return c.first()
	}
	return nil
}

// join makes one of the last two nodes.
func (c *cutter) join() {
	n := len(c.nodes)
	left, right := &c.nodes[n-2], c.nodes[n-1]
	left.size += right.size
	left.pieces += right.pieces
	at := len(c.pieces) - right.pieces
	if c.pieces[at-1].old == nil && c.pieces[at].old == nil {
		c.pieces[at-1].size += c.pieces[at].size
		c.pieces = append(c.pieces[:at], c.pieces[at+1:]...)
		left.pieces--
	}
	c.nodes = c.nodes[:n-1]
}

// first emits the first node.
func (c *cutter) first() error {
	n := c.nodes[0]
	err := c.emit(c.pieces[:n.pieces])
	c.pieces = append(c.pieces[:0], c.pieces[n.pieces:]...)
	c.nodes = append(c.nodes[:0], c.nodes[1:]...)
	c.size -= n.size
	return err
}

// finish emits the pending nodes.
func (c *cutter) finish() error {
	if err := c.shrink(); err != nil {
		return err
	}
	for len(c.nodes) > 1 {
		c.join()
	}
	if len(c.nodes) == 1 {
		return c.first()
	}
	return nil
}
