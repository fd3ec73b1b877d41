//go:build !duckdb

package main

import "errors"

const duckdbPresent = false

func duckdbCopy(string, string) error { return errors.New("built without the tag duckdb") }
