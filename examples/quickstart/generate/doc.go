// Command generate makes the quickstart's events: ten days of a small shop, up
// to yesterday.
package main
