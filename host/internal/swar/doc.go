// Package swar looks at eight bytes of text at a time, as one little-endian word: SIMD
// within a register. The first byte of the text is the lowest of the word.
//
//	text     a , b , c d e f
//	word     0x666564632c622c61
//	Zeros    of word^','*Ones: 0x0000000080008000
//	First    of that: 1
//
// Scanners of JSON, of forms and of rows share it. It knows none of them, allocates
// nothing, and its functions are small enough to be inlined.
package swar
