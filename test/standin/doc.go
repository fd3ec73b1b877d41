// Package standin starts, waits for and stops the servers that play cloud
// services in tests. They are separate programs under .cache of the checkout
// (make tools), never linked into anything.
//
// A test that needs one that is not installed fails when CI is set in the
// environment, and is skipped aloud elsewhere.
//
// Package faultproxy breaks chosen requests between a client and a stand-in, and
// records all of them.
package standin
