package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

func dir(file string) string { return filepath.Dir(file) }

// suggestion is " Did you mean …?" when one of the candidates is near.
func suggestion(given string, candidates []string) string {
	best, distance := "", 1+len(given)/3
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(given), strings.ToLower(c)); d <= distance && (best == "" || d < distance) {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

// editDistance counts insertions, deletions and substitutions.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// shown is a value as it would be written.
func shown(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return "a " + v.Type().FriendlyName()
	}
	if len(text) > 80 {
		return string(text[:80]) + "…"
	}
	return string(text)
}

func typeName(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a string"
	case t == cty.Bool:
		return "true or false"
	case t == cty.Number:
		return "a number"
	case t.IsListType():
		return "a list of strings"
	default:
		return "a map of strings"
	}
}

// commonZones are what suggestions for a misspelt time zone are taken from.
var commonZones = []string{
	"UTC", "Europe/London", "Europe/Berlin", "Europe/Paris", "Europe/Madrid", "Europe/Rome", "Europe/Amsterdam", "Europe/Zurich",
	"Europe/Vienna", "Europe/Stockholm", "Europe/Warsaw", "Europe/Istanbul", "America/New_York", "America/Chicago", "America/Denver",
	"America/Los_Angeles", "America/Toronto", "America/Vancouver", "America/Sao_Paulo", "America/Mexico_City", "Asia/Tokyo",
	"Asia/Shanghai", "Asia/Hong_Kong", "Asia/Singapore", "Asia/Kolkata", "Asia/Dubai", "Asia/Seoul", "Asia/Jakarta",
	"Australia/Sydney", "Australia/Melbourne", "Pacific/Auckland", "Africa/Johannesburg", "Africa/Lagos", "US/Pacific", "US/Eastern",
}
