// Package laketest holds the checks that every lake.Store must pass, and what
// tests of lakes share: batches, and a store in memory that can be made to
// fail at any call.
package laketest
