// Package protocol holds the code that host and plugin share: the handshake, the
// limits of the connection, the host's client, and the conversions between the
// wire's messages and plain Go types.
//
// The wire is proto/penstock/destination/v1; docs/protocol.md describes it for
// other languages. Only this package and sdk use the generated types.
//
// The package starts no process and knows no destination: the host's
// supervisor launches a plugin with Handshake, Plugins and DialOptions, gets a
// *Client, and gives every call a deadline.
//
// Errors of a Client's calls are one of
//
//   - *Error, with the class that the plugin gave it;
//   - the context's error, when the caller's context ended the call;
//   - *Error of class Retryable that is ErrLost, when the connection was lost.
//
// An error of Exporter.Commit is also ErrUnknown, unless the request was not
// sent: the caller must then ask for the run's Status, and never guess.
package protocol
