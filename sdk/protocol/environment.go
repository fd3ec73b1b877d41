package protocol

import (
	"regexp"
	"strings"
)

// environmentName is the form of an environment variable's name, or of the
// beginning of names. A beginning has three characters at least: a plugin that
// asked for all variables would get the secrets of all others.
var environmentName = regexp.MustCompile(`^(?:[A-Za-z_][A-Za-z0-9_]*|[A-Za-z_][A-Za-z0-9_]{2,}\*)$`)

// ValidEnvironment reports whether an entry of Description.Environment is the
// name of an environment variable, or a beginning of at least three characters
// and a "*".
func ValidEnvironment(entry string) bool { return environmentName.MatchString(entry) }

// MatchesEnvironment reports whether an entry of Description.Environment stands
// for the variable of a name.
func MatchesEnvironment(entry, name string) bool {
	if beginning, ok := strings.CutSuffix(entry, "*"); ok {
		return strings.HasPrefix(name, beginning)
	}
	return entry == name
}
