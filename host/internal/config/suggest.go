package config

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// longestName is the length in bytes beyond which a text is not taken for a
// misspelt name.
const longestName = 80

// nearest returns the candidate that is nearest to a misspelt name, or "" when
// none is near.
func nearest(given string, candidates []string) string {
	if len(given) > longestName {
		return ""
	}
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	best, distance := "", 1+len(given)/3
	for _, c := range sorted {
		d := editDistance(strings.ToLower(given), strings.ToLower(c))
		if d < len(c) && (d < distance || d == distance && best == "") {
			best, distance = c, d
		}
	}
	return best
}

// suggestion is " Did you mean …?" when one of the candidates is near.
func suggestion(given string, candidates []string) string {
	if best := nearest(given, candidates); best != "" {
		return fmt.Sprintf(" Did you mean %q?", best)
	}
	return ""
}

// suggest is a suggestion, or the list of all candidates, which are things:
// "The blocks are …".
func suggest(given, things string, candidates []string) string {
	if s := suggestion(given, candidates); s != "" || len(candidates) == 0 {
		return s
	}
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	if len(sorted) == 1 {
		return fmt.Sprintf(" There is %q.", sorted[0])
	}
	return " The " + things + " are " + enumerate(sorted, "and") + "."
}

// lowerFirst makes a sentence the continuation of another one. Words with more
// capitals keep them.
func lowerFirst(text string) string {
	if len(text) < 2 || text[1] < 'a' && text[1] != ' ' {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// editDistance counts insertions, deletions and substitutions of bytes.
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

// zones are the names of the IANA database, one a line: suggestions come from
// them. Whether a name is right is for the database of the machine to say.
//
//go:embed zones.txt
var zones string

// abbreviations are zones that people write by the abbreviation of their time.
var abbreviations = map[string]string{
	"PST": "America/Los_Angeles", "PDT": "America/Los_Angeles", "PT": "America/Los_Angeles",
	"MDT": "America/Denver", "CST": "America/Chicago", "CDT": "America/Chicago", "EDT": "America/New_York", "ET": "America/New_York",
	"BST": "Europe/London", "CEST": "Europe/Berlin", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "AEST": "Australia/Sydney", "Z": "UTC",
}

// suggestZone suggests a time zone for a misspelt name, a city without its
// continent or an abbreviation.
func suggestZone(given string) string {
	if zone := abbreviations[strings.ToUpper(given)]; zone != "" {
		return fmt.Sprintf(" Did you mean %q?", zone)
	}
	const shortest = 5 // a shorter text is near to too many names
	if len(given) < shortest && !strings.EqualFold(given, "utc") {
		return ""
	}
	names := strings.Fields(zones)
	city := strings.ReplaceAll(given[strings.LastIndexByte(given, '/')+1:], " ", "_")
	for _, name := range names {
		if city != "" && strings.EqualFold(name[strings.LastIndexByte(name, '/')+1:], city) {
			return fmt.Sprintf(" Did you mean %q?", name)
		}
	}
	return suggestion(given, names)
}

// enumerate joins words: a, b or c.
func enumerate(words []string, joined string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " " + joined + " " + quoted[len(quoted)-1]
}

// shown is a value as it would be written, cut to 80 bytes.
func shown(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return "a " + v.Type().FriendlyName()
	}
	if len(text) <= 80 {
		return string(text)
	}
	cut := 80
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return string(text[:cut]) + "…"
}
