package standin

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
)

// Azurite is a running Azurite with one storage account, which keeps its blobs in
// memory. It checks signatures, shared access signatures, conditions, checksums and
// block ids; it drops encryption scopes and knows no hierarchical namespace, no
// immutability policy and no versions.
type Azurite struct {
	Endpoint string // of the server, without the account: http://127.0.0.1:port
	Account  string
	Key      string // of the account
	// Certificate is the server's own, DER; with StartAzuriteTLS.
	Certificate []byte

	t     testing.TB
	trust *x509.CertPool // nil: no TLS
	p     *process
}

// StartAzurite starts a server with the given containers. It is stopped when the
// test ends, unless the tests of the package share one.
func StartAzurite(t testing.TB, containers ...string) *Azurite {
	t.Helper()
	if azurites.shared {
		return azurites.get(t, containers)
	}
	a := newAzurite(t)
	t.Cleanup(a.p.stop)
	a.start("http", nil)
	a.create(containers)
	return a
}

// ShareAzurite runs the tests of a package, which share one server: starting one
// takes seconds of a processor. Each StartAzurite empties the containers that it
// names, so that no two tests may run at the same time. It returns the status to exit
// with.
func ShareAzurite(m *testing.M) int {
	azurites.shared = true
	defer azurites.stop()
	return m.Run()
}

// azurites is the server that the tests of a package share.
var azurites sharedAzurite

type sharedAzurite struct {
	shared bool     // set before the tests run
	server *Azurite // nil: not started
}

func (s *sharedAzurite) get(t testing.TB, containers []string) *Azurite {
	t.Helper()
	if s.server == nil {
		a := newAzurite(t)
		a.start("http", nil)
		s.server = a
	}
	mine := *s.server
	mine.t = t
	for _, name := range containers {
		if _, err := mine.Container(name).Delete(t.Context(), nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerNotFound) {
			t.Fatalf("delete container %s: %v", name, err)
		}
	}
	mine.create(containers)
	return &mine
}

func (s *sharedAzurite) stop() {
	if s.server != nil {
		s.server.p.stop()
	}
}

// StartAzuriteTLS is StartAzurite over TLS, with a self-signed certificate. It also
// takes tokens of Entra ID: it checks their audience, issuer and time, and not their
// signature.
func StartAzuriteTLS(t testing.TB, containers ...string) *Azurite {
	t.Helper()
	a := newAzurite(t)
	certificate, key, der := newCertificate(t)
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.Certificate, a.trust = der, x509.NewCertPool()
	a.trust.AddCert(parsed)
	t.Cleanup(a.p.stop)
	a.start("https", []string{"--oauth", "basic", "--cert", certificate, "--key", key})
	a.create(containers)
	return a
}

func newAzurite(t testing.TB) *Azurite {
	t.Helper()
	key := make([]byte, 64)
	_, _ = rand.Read(key)
	return &Azurite{t: t, p: new(process), Account: "acmelake", Key: base64.StdEncoding.EncodeToString(key)}
}

func (a *Azurite) start(scheme string, options []string) {
	a.t.Helper()
	script := installed(a.t, filepath.Join("azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js"))
	node, err := exec.LookPath("node")
	if err != nil {
		missing(a.t, "node is not installed: run `make tools`")
	}
	port := freePort(a.t)
	address := "127.0.0.1:" + port
	a.Endpoint = scheme + "://" + address
	a.p.env = append(os.Environ(), "AZURITE_ACCOUNTS="+a.Account+":"+a.Key)
	// It speaks older versions of the protocol, in which the calls of the client are
	// the same.
	args := []string{
		script, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry",
		"--blobHost", "127.0.0.1", "--blobPort", port,
	}
	err = a.p.start(node, append(args, options...)...)
	if err == nil {
		err = a.p.await(address)
	}
	if err != nil {
		a.p.stop()
		a.t.Fatalf("start azurite: %v", err)
	}
}

func (a *Azurite) create(containers []string) {
	a.t.Helper()
	for _, name := range containers {
		if _, err := a.Container(name).Create(a.t.Context(), nil); err != nil {
			a.t.Fatalf("create container %s: %v", name, err)
		}
	}
}

// Transport returns a transport that trusts the server's certificate.
func (a *Azurite) Transport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if a.trust != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: a.trust}
	}
	return t
}

// Container returns a client of a container, with the account's key.
func (a *Azurite) Container(name string) *container.Client {
	a.t.Helper()
	client, err := container.NewClientWithSharedKeyCredential(a.Endpoint+"/"+a.Account+"/"+name, a.credential(), &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: a.Transport()}},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return client
}

func (a *Azurite) credential() *azblob.SharedKeyCredential {
	a.t.Helper()
	key, err := azblob.NewSharedKeyCredential(a.Account, a.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// SAS returns a signature for a container that holds from start until end, without a
// question mark.
func (a *Azurite) SAS(name string, p sas.ContainerPermissions, start, end time.Time) string {
	a.t.Helper()
	signed, err := sas.BlobSignatureValues{
		Protocol: sas.ProtocolHTTPSandHTTP, StartTime: start, ExpiryTime: end, Permissions: p.String(), ContainerName: name,
	}.SignWithSharedKey(a.credential())
	if err != nil {
		a.t.Fatal(err)
	}
	return signed.Encode()
}

// Names returns the names of all blobs of a container, ascending.
func (a *Azurite) Names(name string) []string {
	a.t.Helper()
	var names []string
	for pages := a.Container(name).NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(context.WithoutCancel(a.t.Context()))
		if err != nil {
			a.t.Fatalf("list container %s: %v", name, err)
		}
		for _, item := range page.Segment.BlobItems {
			names = append(names, *item.Name)
		}
	}
	return names
}

// Files returns the bytes of all blobs of a container by name, without those that are
// deleted while it reads.
func (a *Azurite) Files(name string) map[string][]byte {
	a.t.Helper()
	files := make(map[string][]byte)
	client := a.Container(name)
	for _, blob := range a.Names(name) {
		if data, ok := a.file(client, blob); ok {
			files[blob] = data
		}
	}
	return files
}

// file returns the bytes of a blob; ok is false if there is none.
func (a *Azurite) file(client *container.Client, name string) (data []byte, ok bool) {
	a.t.Helper()
	answer, err := client.NewBlobClient(name).DownloadStream(context.WithoutCancel(a.t.Context()), nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil, false
	}
	if err != nil {
		a.t.Fatalf("read %s: %v", name, err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err = io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatalf("read %s: %v", name, err)
	}
	return data, true
}
