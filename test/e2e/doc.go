// Package e2e tests penstock as people run it: real processes, real plugins,
// real files and servers, started, killed and started again.
//
// It holds only tests. What they read back they read with the standard
// library, so that no code of ours vouches for itself.
package e2e
