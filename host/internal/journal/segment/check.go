//go:build !crashpoints

package segment

// checkEvery is how many blocks come to one that is inflated again: the first of an
// encoder, and each checkEvery-th behind it.
const checkEvery = 64
