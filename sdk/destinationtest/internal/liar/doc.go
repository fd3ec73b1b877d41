// Command liar is the plugin that the suite is tested with: honest, unless
// PENSTOCK_TEST_LIE names a lie. Lies about the wire, which the SDK does not
// let a destination tell, are told by a server of its own.
package main
