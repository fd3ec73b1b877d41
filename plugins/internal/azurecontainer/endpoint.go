package azurecontainer

import (
	"net"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
)

// publicSuffix follows the account's name in the host of its blob service.
const publicSuffix = ".blob.core.windows.net"

// clouds are the sovereign clouds by the ends of their hosts' names.
var clouds = map[string]cloud.Configuration{
	".core.chinacloudapi.cn":  cloud.AzureChina,
	".core.usgovcloudapi.net": cloud.AzureGovernment,
	".storage.azure.us":       cloud.AzureGovernment,
	".storage.azure.cn":       cloud.AzureChina,
	".core.windows.net":       cloud.AzurePublic,
	".storage.azure.net":      cloud.AzurePublic,
}

// service returns the URL of the account's blob service, without a slash at its
// end. Servers other than Azure have the account in the path:
//
//	                                       https://acme.blob.core.windows.net
//	https://acme.blob.core.chinacloudapi.cn/   the same without the slash
//	http://127.0.0.1:10000                 http://127.0.0.1:10000/acme
//	http://azurite:10000/acme              the same
func (c config) service() string {
	u, err := url.Parse(c.Endpoint)
	if c.Endpoint == "" || err != nil {
		return "https://" + c.StorageAccount + publicSuffix
	}
	path := strings.Trim(u.Path, "/")
	if path == "" && pathStyle(u.Hostname()) {
		path = c.StorageAccount
	}
	return strings.TrimSuffix(strings.ToLower(u.Scheme+"://"+u.Host)+"/"+path, "/")
}

// pathStyle reports whether a server cannot have the account in its host's name:
// an address, or a name of one element.
func pathStyle(host string) bool { return net.ParseIP(host) != nil || !strings.Contains(host, ".") }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// targetBase is the container's URI. The scheme of the connection is left out: it
// does not make another place.
func (c config) targetBase() string {
	_, rest, _ := strings.Cut(c.service(), "://")
	return "azblob://" + rest + "/" + c.Container + "/"
}

// checkEndpoint checks the form of the endpoint, and that requests to it may carry
// the credentials.
func (c config) checkEndpoint(m *mistakes) {
	if c.Endpoint == "" {
		return
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil:
		m.add("endpoint", "Endpoint is not a URL", "An endpoint is http:// or https:// with a host and no user, as in \"https://%s.blob.core.usgovcloudapi.net\".", c.StorageAccount)
		return
	case u.RawQuery != "" || u.Fragment != "":
		m.add("endpoint", "Endpoint has a query", "Text after the question mark, such as a shared access signature, belongs in sas_token.")
	}
	if path := strings.Trim(u.Path, "/"); path != "" && path != c.StorageAccount {
		m.add("endpoint", "Endpoint has a path", "An endpoint ends with its host, or with the account: \"%s://%s/%s\". The container's name belongs in container, folders in prefix.", u.Scheme, u.Host, c.StorageAccount)
	}
	c.checkHost(m, u)
	if u.Scheme != "http" {
		return
	}
	switch {
	case c.method().tokens():
		m.add("endpoint", "Endpoint is not encrypted", "Tokens of Entra ID are only sent over https://: change the endpoint, or use account_key.")
	case c.method() == bySAS && !loopback(u.Hostname()):
		m.add("endpoint", "Endpoint is not encrypted", "Every request would show the shared access signature: use https://.")
	}
}

// checkHost compares the account in a host's name of Azure with storage_account.
func (c config) checkHost(m *mistakes, u *url.URL) {
	host := strings.ToLower(u.Hostname())
	for suffix := range clouds {
		start, ok := strings.CutSuffix(host, suffix)
		if !ok {
			continue
		}
		account, rest, _ := strings.Cut(start, ".")
		switch {
		case rest == "" || strings.HasSuffix(start, ".dfs"):
			m.add("endpoint", "Endpoint is not an account's blob service", "%q: the host looks like %q.", host, c.StorageAccount+".blob"+suffix)
		case account != c.StorageAccount:
			m.add("endpoint", "Endpoint is that of another account", "The host is %q and storage_account is %q: change one of the two.", host, c.StorageAccount)
		}
		return
	}
}

// cloud returns the cloud whose Entra ID issues the tokens.
func (c config) cloud() cloud.Configuration {
	if c.authority != "" {
		return cloud.Configuration{ActiveDirectoryAuthorityHost: c.authority}
	}
	u, err := url.Parse(c.service())
	if err != nil {
		return cloud.AzurePublic
	}
	for suffix, found := range clouds {
		if strings.HasSuffix(u.Hostname(), suffix) {
			return found
		}
	}
	return cloud.AzurePublic
}

// private reports whether Entra ID is not one of the well-known ones, whose list
// the client would otherwise ask for the address.
func (c config) private() bool {
	for _, known := range clouds {
		if hostOf(known.ActiveDirectoryAuthorityHost) == hostOf(c.cloud().ActiveDirectoryAuthorityHost) {
			return false
		}
	}
	return true
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}
