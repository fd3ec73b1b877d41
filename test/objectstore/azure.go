package objectstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

func azureStore() Store {
	answer := func(code string) (http.Header, string) {
		return http.Header{"Content-Type": {"application/xml"}, "X-Ms-Error-Code": {code}},
			fmt.Sprintf(`<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code><Message>Said by the test.</Message></Error>`, code)
	}
	codes := map[int]string{
		http.StatusTooManyRequests: "TooManyRequests", http.StatusInternalServerError: "InternalError", http.StatusServiceUnavailable: "ServerBusy",
	}
	return Store{
		Type: "azure", Start: startAzure, Account: azureAccount,
		Faults: Faults{
			// The client escapes slashes in names. Only Put Blob has the header.
			Object:   faultproxy.Match{Method: http.MethodPut, Path: `%2Fmp_master_event%2F\d{4}%2F.*-0001\.json\.gz$`, Header: map[string]string{"X-Ms-Blob-Type": "BlockBlob"}},
			Part:     faultproxy.Match{Method: http.MethodPut, Path: `\.json\.gz$`, Query: "comp=block"},
			Manifest: faultproxy.Match{Method: http.MethodPut, Path: `%2F_penstock%2Fmp_master_event%2Fevents_out-[^/%]*\.json$`},
			Refuse: func(status int) faultproxy.Fault {
				header, body := answer(codes[status])
				return faultproxy.Answer(status, header, body)
			},
			Expired: "sas_token",
			Expire: func() faultproxy.Fault {
				header, body := answer("AuthenticationFailed")
				return faultproxy.Expire(http.StatusForbidden, header, body)
			},
		},
	}
}

func startAzure(t testing.TB) *Bucket {
	server := standin.StartAzurite(t, "lake")
	may := sas.ContainerPermissions{Read: true, Write: true, Delete: true, List: true}
	b, err := newAzure(azureAccess{
		account: server.Account, container: "lake", endpoint: server.Endpoint,
		sas: server.SAS("lake", may, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// azureAccess is a container with the key to its account, or a signature.
type azureAccess struct{ account, container, endpoint, prefix, key, sas string }

// url returns the container's URL: servers other than Azure have the account in
// the path.
func (a azureAccess) url() string {
	if a.endpoint == "" {
		return "https://" + a.account + ".blob.core.windows.net/" + a.container
	}
	return strings.TrimSuffix(a.endpoint, "/") + "/" + a.account + "/" + a.container
}

func (a azureAccess) client() (*container.Client, error) {
	if a.sas != "" {
		return container.NewClientWithNoCredential(a.url()+"?"+a.sas, nil)
	}
	credential, err := azblob.NewSharedKeyCredential(a.account, a.key)
	if err != nil {
		return nil, err
	}
	return container.NewClientWithSharedKeyCredential(a.url(), credential, nil)
}

func newAzure(a azureAccess) (*Bucket, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	secret, attribute := a.key, "account_key    "
	if a.sas != "" {
		secret, attribute = a.sas, "sas_token      "
	}
	b := &Bucket{
		Type: "azure", Endpoint: a.endpoint, prefix: a.prefix, client: azureClient{client},
		Environment: []string{"TEST_AZURE_SECRET=" + secret},
	}
	b.block = func(endpoint string) string {
		text := fmt.Sprintf("  storage_account = %q\n  container       = %q\n  %s = env(\"TEST_AZURE_SECRET\")\n", a.account, a.container, attribute)
		if endpoint != "" {
			text += fmt.Sprintf("  endpoint        = %q\n", endpoint)
		}
		if a.prefix != "" {
			text += fmt.Sprintf("  prefix          = %q\n", strings.TrimSuffix(a.prefix, "/"))
		}
		return text
	}
	return b, nil
}

// azureAccount uses the variables of Azure's CLI.
func azureAccount(lookup func(string) (string, bool), prefix string) (*Bucket, error) {
	found, err := missing(lookup, "SMOKE_AZURE_CONTAINER", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY")
	if err != nil {
		return nil, err
	}
	a := azureAccess{account: found["AZURE_STORAGE_ACCOUNT"], container: found["SMOKE_AZURE_CONTAINER"], key: found["AZURE_STORAGE_KEY"], prefix: prefix}
	b, err := newAzure(a)
	if err != nil {
		return nil, fmt.Errorf("use the key in AZURE_STORAGE_KEY: %w", err)
	}
	b.Creates = fmt.Sprintf("blobs below %s/%s: %s", a.url(), a.prefix, smokeCost("writes and lists at about $0.05 per 10,000, reads at $0.004"))
	return b, nil
}

type azureClient struct{ *container.Client }

func (c azureClient) list(ctx context.Context, prefix string, yield func(string) error) error {
	pages := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, blob := range page.Segment.BlobItems {
			if blob.Name == nil {
				continue
			}
			if err := yield(*blob.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c azureClient) read(ctx context.Context, name string) (io.ReadCloser, error) {
	answer, err := c.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (c azureClient) write(ctx context.Context, name, data string) error {
	_, err := c.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(strings.NewReader(data)), nil)
	return err
}

func (c azureClient) remove(ctx context.Context, name string) error {
	_, err := c.NewBlobClient(name).Delete(ctx, nil)
	return err
}
