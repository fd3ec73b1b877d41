// Package quarantine keeps records that were refused, with where they came
// from, why, and their bytes, until a person has looked at them.
//
// It decides nothing: what is refused is the schema's and the destinations'
// business. It stops nothing either: beyond its cap records are only counted.
//
// A file holds the refused records of one span of a source's position (a file,
// from byte to byte), or the refused rows of one run. It is written whole,
// synced and renamed before the cursor or the run moves past what it holds,
// and named by where the span begins: what is read again after a crash
// overwrites itself, and nothing is there twice.
package quarantine
