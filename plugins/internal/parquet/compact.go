package parquet

import "encoding/binary"

// deepest is the largest depth of structures and lists in a footer.
const deepest = 32

// The types of Thrift's compact protocol.
const (
	compactTrue, compactFalse               = 1, 2
	compactByte                             = 3
	compactI16, compactI32, compactI64      = 4, 5, 6
	compactDouble                           = 7
	compactBinary                           = 8
	compactList, compactSet                 = 9, 10
	compactStruct, compactUUID              = 12, 13
	doubleBytes, uuidBytes, shortListLength = 8, 16, 15
)

// compact walks over values of Thrift's compact protocol without keeping them. Its
// methods return false for bytes that end early, or lists that declare more
// elements than bytes are left: each element has at least one byte.
type compact struct {
	rest  []byte
	depth int
}

// structure walks over the fields of a structure.
func (c *compact) structure() bool {
	if c.depth++; c.depth > deepest {
		return false
	}
	defer func() { c.depth-- }()
	for {
		head, ok := c.byte()
		if !ok || head == 0 {
			return ok
		}
		if head>>4 == 0 { // the field's number follows
			if _, ok := c.varint(); !ok {
				return false
			}
		}
		kind := head & 15
		if kind == compactTrue || kind == compactFalse {
			continue // the value is in the type
		}
		if !c.value(kind) {
			return false
		}
	}
}

// value walks over a value, such as an element of a list.
func (c *compact) value(kind byte) bool {
	switch kind {
	case compactTrue, compactFalse, compactByte:
		return c.skip(1)
	case compactI16, compactI32, compactI64:
		_, ok := c.varint()
		return ok
	case compactDouble:
		return c.skip(doubleBytes)
	case compactUUID:
		return c.skip(uuidBytes)
	case compactBinary:
		n, ok := c.varint()
		return ok && c.skip(n)
	case compactList, compactSet:
		return c.list()
	case compactStruct:
		return c.structure()
	default: // Parquet's metadata has no maps
		return false
	}
}

func (c *compact) list() bool {
	if c.depth++; c.depth > deepest {
		return false
	}
	defer func() { c.depth-- }()
	head, ok := c.byte()
	if !ok {
		return false
	}
	n := uint64(head >> 4)
	if n == shortListLength {
		if n, ok = c.varint(); !ok {
			return false
		}
	}
	if n > uint64(len(c.rest)) {
		return false
	}
	for range n {
		if !c.value(head & 15) {
			return false
		}
	}
	return true
}

func (c *compact) byte() (byte, bool) {
	if len(c.rest) == 0 {
		return 0, false
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b, true
}

func (c *compact) varint() (uint64, bool) {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		return 0, false
	}
	c.rest = c.rest[n:]
	return v, true
}

func (c *compact) skip(n uint64) bool {
	if n > uint64(len(c.rest)) {
		return false
	}
	c.rest = c.rest[n:]
	return true
}
