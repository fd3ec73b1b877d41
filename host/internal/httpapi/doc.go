// Package httpapi serves a host's operations, its health and its metrics on a TCP port.
//
// The table in routes.go has every path below /api/v1 with the types of its parameters and
// its result. The OpenAPI document, openapi.json, is generated from that table and from the
// Go types with their comments; a test fails when it differs. The package carries out no
// operation itself, and knows none of the rooms behind package operation.
//
// Every request is refused unless its Host is a name of this host (see guard), its Origin,
// if it has one, is the server itself, and it carries the token; /healthz and /readyz need
// no token, and then tell no names. Errors are JSON with a code of package operation, or
// one of this package, which keep their meaning in all versions.
//
// The socket of package api carries the same operations between a command and a host of
// one version; it is not an interface for programs.
package httpapi
