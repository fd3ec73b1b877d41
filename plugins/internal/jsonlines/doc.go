// Package jsonlines is the lake.Format of gzip-compressed JSON lines whose
// properties are a string, for JSON SerDes that cannot hand an object to a string
// column:
//
//	{"distinct_id":"u","properties":"{\"$email\":\"u@example.com\"}"}
//
// The package knows no store and no catalog.
package jsonlines
