// Command generate makes the quickstart's events: ten days of a small shop, up
// to yesterday, and the file dates.hcl, which names the first of these days.
package main
