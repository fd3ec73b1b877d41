package plugin

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// commonNames and commonPrefixes are the variables of the host's environment that
// every plugin sees: those that a process needs to run and to reach the network. A
// plugin sees the variables that its description names in addition, such as AWS_*.
// All others stay with the host; a secret that the configuration takes from
// env() reaches a plugin only as the attribute it was written into.
var (
	commonNames = []string{
		"PATH", "HOME", "USER", "LOGNAME", "TZ", "LANG", "LANGUAGE",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK",
	}
	commonPrefixes = []string{"LC_"}
)

// pluginEnv returns the variables of the host's environment that a plugin may see:
// the common ones and those that its description declares. TMPDIR is the private
// directory.
func pluginEnv(host, declared []string, tmp string) []string {
	var env []string
	for _, kv := range host {
		name, _, ok := strings.Cut(kv, "=")
		if ok && (common(name) || isDeclared(name, declared)) {
			env = append(env, kv)
		}
	}
	return append(env, "TMPDIR="+tmp)
}

func common(name string) bool {
	if slices.Contains(commonNames, name) || slices.Contains(testNames, name) {
		return true
	}
	return slices.ContainsFunc(commonPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func isDeclared(name string, declared []string) bool {
	return slices.ContainsFunc(declared, func(entry string) bool { return protocol.MatchesEnvironment(entry, name) })
}

// secretName matches the names of variables that hold secrets. pathName matches
// those that hold the place of a secret, which messages may name.
var (
	secretName = regexp.MustCompile(`(?i)(SECRET|PASSW|TOKEN|ACCESS_KEY|PRIVATE_KEY|API_KEY|CREDENTIALS?$|IDENTITY_HEADER)`)
	pathName   = regexp.MustCompile(`(?i)_(FILE|PATH|DIR|URI|URL|ID)$|^GOOGLE_APPLICATION_CREDENTIALS$`)
)

// envSecrets returns the secrets in the variables of a plugin: the values of
// those that are called like secrets, and passwords in proxies' addresses.
func envSecrets(env []string) []string {
	var secrets []string
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasSuffix(strings.ToLower(name), "_proxy"):
			if u, err := url.Parse(value); err == nil && u.User != nil {
				password, _ := u.User.Password()
				secrets = append(secrets, password)
			}
		case secretName.MatchString(name) && !pathName.MatchString(name):
			secrets = append(secrets, value)
		}
	}
	return secrets
}
