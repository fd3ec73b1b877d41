// Package e2e tests penstock as people run it: real processes, real plugins,
// real files and servers, started, killed and started again.
//
// It holds only tests. They read exports with the standard library, so that no
// code of the product vouches for itself.
package e2e
