// Package unusual fits rows to typed destinations, whose JSON columns cannot hold
// every JSON text: two equal keys in an object, escaped surrogates without
// partner, U+0000, numbers of more digits than the column keeps, deep nesting.
//
// A destination gives its Rules and passes each batch through a Filter. There is
// one rule for all of them, the attribute "unusual" of the destination block:
//
//	repair  (default) the last of equal keys wins, a surrogate without partner
//	        becomes U+FFFD, U+0000 is dropped, a number that would be rounded or
//	        refused becomes a string of its digits
//	reject  a row that would be changed is rejected with the reason
//
// In both modes a row is rejected that is nested too deep. Only batches whose
// flags say that they may hold such rows are decoded; all others pass as they are,
// and so do batches in which no row needed a change. Changed rows are counted by
// reason, for sdk.PartitionReceipt.Changed.
//
// The package changes no row that the destination can hold, and reads no
// configuration: see Attribute and ParseMode.
package unusual
