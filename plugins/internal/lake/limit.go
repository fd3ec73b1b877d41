//go:build !crashpoints

package lake

func defaultObjectLimit() int64 { return DefaultObjectLimit }
