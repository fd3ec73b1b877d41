//go:build crashpoints

package segment

// checkEvery has hosts that tests run inflate every block again. One that is wrong is
// an error there.
const checkEvery = 1
