package plugin

import (
	"slices"
	"strings"
)

// allowedNames and allowedPrefixes are all that a plugin sees of the host's
// environment: what a process needs to run, to reach the network, and the
// names that the default credential chains of the clouds read. Everything else
// stays with the host; a secret that the configuration takes from env()
// reaches a plugin only as the attribute it was written into.
var (
	allowedNames = []string{
		"PATH", "HOME", "USER", "LOGNAME", "TZ", "LANG", "LANGUAGE",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK",
		// Google: metadata server and the SDK's directory.
		"GCE_METADATA_HOST", "GCE_METADATA_IP", "GCLOUD_PROJECT", "CLOUDSDK_CONFIG",
		// Azure: managed identity of App Service, Functions and Arc.
		"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "IDENTITY_SERVER_THUMBPRINT",
	}
	allowedPrefixes = []string{"LC_", "AWS_", "GOOGLE_", "AZURE_"}
)

// pluginEnv picks from the host's environment what a plugin may see, and puts
// the private directory in place of the temporary one.
func pluginEnv(host []string, extra []string, tmp string) []string {
	var env []string
	for _, kv := range host {
		name, _, ok := strings.Cut(kv, "=")
		if ok && (allowed(name) || slices.Contains(extra, name)) {
			env = append(env, kv)
		}
	}
	return append(env, "TMPDIR="+tmp)
}

func allowed(name string) bool {
	if slices.Contains(allowedNames, name) || slices.Contains(testNames, name) {
		return true
	}
	return slices.ContainsFunc(allowedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}
