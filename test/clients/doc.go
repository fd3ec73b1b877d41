// Package clients tests the collector with those that it is for: Mixpanel's own
// clients for Node.js and browsers, the latter in a real Chromium, curl, and
// requests as the other official clients send them.
//
// A relay between a client and the host writes requests down, so that the records
// of clients can be compared with the export, record by record and byte by byte. It holds only tests, which read with the standard library.
//
// Tools of the tests are installed by `make tools`: the clients below
// .cache/clients, and Debian's Chromium when make runs as root. A test whose
// tools are missing fails when CI is set in the environment, and is skipped
// aloud elsewhere.
package clients
