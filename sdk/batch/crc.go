package batch

// poly is the polynomial of CRC-32 (IEEE), reflected.
const poly = 0xedb88320

// x2n holds x^(2^n) modulo the polynomial. x has the order 2^32-1, so that
// the table wraps around after 32 entries.
var x2n = func() (t [32]uint32) {
	p := uint32(1 << 30) // x
	for n := range t {
		t[n] = p
		p = multiply(p, p)
	}
	return t
}()

// multiply returns a·b modulo the polynomial. The bits are reflected: the
// highest is x^0.
func multiply(a, b uint32) uint32 {
	var p uint32
	for range 32 {
		p ^= b & -(a >> 31)
		a <<= 1
		b = b>>1 ^ poly&-(b&1)
	}
	return p
}

// CombineCRC32 returns the CRC-32 (IEEE) of two byte sequences one after the
// other, from the CRC-32 of each and the length of the second.
func CombineCRC32(a, b uint32, lenB uint64) uint32 {
	op := uint32(1 << 31) // 1
	for n := 3; lenB != 0; lenB, n = lenB>>1, n+1 {
		if lenB&1 != 0 {
			op = multiply(x2n[n&31], op)
		}
	}
	return multiply(op, a) ^ b
}
