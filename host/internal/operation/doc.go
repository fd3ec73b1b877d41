// Package operation holds the requests that commands, the API and the web interface
// can make of a data directory, and the JSON that they get: interface Operations and
// its types.
//
// It carries nothing out: package service does. It imports nothing of the host but
// the filter of package quarantine and the report of package verify, so that a
// client links no more than that.
package operation
