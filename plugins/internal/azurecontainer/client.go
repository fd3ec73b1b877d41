package azurecontainer

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/penstock-io/penstock/sdk"
)

const (
	maxRetries     = 5
	initialBackoff = 200 * time.Millisecond
	maxBackoff     = 5 * time.Second
	dialTimeout    = 10 * time.Second
	// tryTimeout bounds one attempt at one request, callTimeout a call with all its
	// requests and retries.
	tryTimeout  = time.Minute
	callTimeout = 3 * time.Minute
)

// newClient returns a client of the container. It makes no network call: tokens are
// fetched when the first request is authorized.
func (c config) newClient(transport http.RoundTripper) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: c.clientOptions(transport)}
	url := c.service() + "/" + c.Container
	switch c.method() {
	case byKey:
		key, err := azblob.NewSharedKeyCredential(c.StorageAccount, c.AccountKey)
		if err != nil {
			return nil, sdk.Configuration(fmt.Errorf("read account_key: %w", err), "")
		}
		return container.NewClientWithSharedKeyCredential(url, key, options)
	case bySAS:
		return container.NewClientWithNoCredential(url+"?"+c.sas(), options)
	}
	token, err := c.credential(transport)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the credentials: %w", err), "")
	}
	return container.NewClient(url, token, options)
}

// credential returns the source of Entra ID's tokens.
func (c config) credential(transport http.RoundTripper) (azcore.TokenCredential, error) {
	options := c.clientOptions(transport)
	options.Cloud = c.cloud()
	switch c.method() {
	case byWorkload:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: c.private(),
			ClientID: c.ClientID, TenantID: c.TenantID, TokenFilePath: c.tokenFile,
		})
	case byManaged:
		o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if c.ClientID != "" {
			o.ID = azidentity.ClientID(c.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(o)
	default:
		return azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: c.private(),
		})
	}
}

func (c config) clientOptions(transport http.RoundTripper) azcore.ClientOptions {
	most := c.maxBackoff
	if most == 0 {
		most = maxBackoff
	}
	return azcore.ClientOptions{
		Transport: &http.Client{Transport: transport},
		Telemetry: policy.TelemetryOptions{ApplicationID: "penstock"},
		Retry: policy.RetryOptions{
			MaxRetries: maxRetries, TryTimeout: tryTimeout,
			RetryDelay: min(initialBackoff, most), MaxRetryDelay: most,
		},
	}
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = tryTimeout
	t.MaxIdleConnsPerHost = 2 * blockBuffers
	t.WriteBufferSize = 128 << 10
	return t
}
