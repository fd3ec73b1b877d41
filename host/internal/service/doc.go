// Package service implements operation.Operations over the parts of an open data
// directory: it asks runner, intake, project, quarantine and catalog, and puts their
// answers together.
//
// It starts no goroutine, holds no lock and decides nothing over time. The same Service
// answers the API of a host that serves, and a command that has the data directory to
// itself; Options.Serving tells which.
package service
