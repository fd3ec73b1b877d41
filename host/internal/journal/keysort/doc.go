// Package keysort puts dedup keys into ascending order.
//
// Keys are hashes, so their leading bits spread evenly. A Sorter uses that: it
// makes as many buckets as there are keys, within a factor of two, finds each
// key's bucket by the key's leading bits, and sorts each bucket, which holds one
// or two keys, by insertion. No key is compared with more than a few others.
//
// Eight keys of two bits, and what becomes of them:
//
//	position   0  1  2  3  4  5  6  7
//	key       10 00 11 01 10 11 00 01
//
//	bucket      00      01      10      11
//	positions   1 6     3 7     0 4     2 5
//
// Only 64-bit words are moved: each has the leading bits of a key above the
// position of the key. The few keys whose words agree in all bits above the
// position are compared in full.
//
// Keys that do not spread cost more time and give the same order: a bucket that
// is larger than insertion is good for is sorted by comparison, so that the
// worst case is that of slices.Sort.
package keysort
