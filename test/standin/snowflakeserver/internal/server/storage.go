package server

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// Storage are the servers of the stages' files: one that speaks S3's protocol over TLS,
// and those of external stages at other clouds.
type Storage struct {
	// Endpoint is the server's address, as the stand-in reaches it.
	Endpoint string
	// Advertised is host:port, as drivers are told; empty: that of Endpoint.
	Advertised string
	AccessKey  string
	SecretKey  string
	// Bucket holds the internal stages.
	Bucket string
	// Certificate is a file with the server's certificate.
	Certificate string

	// Google is the URL of a server that speaks Cloud Storage's JSON API; empty: none.
	Google string
	// Azure is the URL of a server of Azure's Blob service, without the account; empty:
	// none.
	Azure        string
	AzureAccount string
	AzureKey     string
}

// storage reads and removes the files of stages. Its keys encrypt those of internal ones.
type storage struct {
	options Storage
	sources map[string]source // by the scheme of the locations

	mu           sync.Mutex
	keys         map[string][]byte // stage master keys by their ids
	last         int64
	integrations map[string]integration // by name
}

func newStorage(o Storage) (*storage, error) {
	st := &storage{options: o, sources: map[string]source{}, keys: map[string][]byte{}, integrations: map[string]integration{}}
	if o.Google != "" {
		st.sources["gcs"] = google{o.Google}
	}
	if o.Azure != "" {
		azure, err := newMicrosoft(o.Azure, o.AzureAccount, o.AzureKey)
		if err != nil {
			return nil, err
		}
		st.sources["azure"] = azure
	}
	if o.Endpoint == "" {
		return st, nil
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(o.Certificate)
	if err != nil {
		return nil, fmt.Errorf("read the storage's certificate: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the storage's certificate is not PEM")
	}
	st.sources["s3"] = amazon{s3.New(s3.Options{
		BaseEndpoint: &o.Endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, ""),
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	})}
	return st, nil
}

// newKey makes a stage master key for one PUT.
func (st *storage) newKey() (id int64, key string) {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.last++
	st.keys[fmt.Sprint(st.last)] = raw
	return st.last, base64.StdEncoding.EncodeToString(raw)
}

// integration is a storage integration.
type integration struct {
	provider string
	allowed  []string
	tenant   string // of Azure
}

// providers are those of storage integrations, with the schemes of their
// locations and the option that names the identity or tenant; empty: the service has an
// account of its own.
var providers = map[string]struct{ scheme, option string }{
	"S3": {"s3", "STORAGE_AWS_ROLE_ARN"}, "S3GOV": {"s3gov", "STORAGE_AWS_ROLE_ARN"}, "S3CHINA": {"s3china", "STORAGE_AWS_ROLE_ARN"},
	"GCS": {"gcs", ""}, "AZURE": {"azure", "AZURE_TENANT_ID"},
}

// integrate keeps the locations of a storage integration
// (https://docs.snowflake.com/en/sql-reference/sql/create-storage-integration).
func (st *storage) integrate(name string, options map[string]snowsql.Option) error {
	allowed := options["STORAGE_ALLOWED_LOCATIONS"]
	if strings.ToUpper(options["TYPE"].Text) != "EXTERNAL_STAGE" || allowed.Kind != "list" || len(allowed.List) == 0 || options["STORAGE_PROVIDER"].Text == "" || options["ENABLED"].Text == "" {
		return refuse(1506, "22023", "SQL compilation error:\nmissing one of TYPE = EXTERNAL_STAGE, STORAGE_PROVIDER, ENABLED, STORAGE_ALLOWED_LOCATIONS")
	}
	name = strings.ToUpper(name)
	provider := strings.ToUpper(options["STORAGE_PROVIDER"].Text)
	of, known := providers[provider]
	if !known {
		return refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'STORAGE_PROVIDER'", options["STORAGE_PROVIDER"].Text)
	}
	if of.option != "" && options[of.option].Text == "" {
		return refuse(1506, "22023", "SQL compilation error:\nmissing %s", of.option)
	}
	for _, location := range allowed.List {
		if err := checkLocation(location); location != "*" && (err != nil || !strings.HasPrefix(location, of.scheme+"://")) {
			return refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'STORAGE_ALLOWED_LOCATIONS'", location)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.integrations[name] = integration{provider, allowed.List, options["AZURE_TENANT_ID"].Text}
	return nil
}

// integration returns an integration by its name.
func (st *storage) integration(name string) integration {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.integrations[name]
}

// azureHost is the form of the host of a location at Azure
// (https://docs.snowflake.com/en/sql-reference/sql/create-stage).
var azureHost = regexp.MustCompile(`^([a-z0-9]{3,24})\.(blob|dfs)\.core\.(windows\.net|usgovcloudapi\.net)$`)

// checkLocation refuses a URL that has not the form of a location.
func checkLocation(location string) error {
	_, err := placeOf(location)
	return err
}

// placeOf returns the place of a URL: a bucket and a prefix.
func placeOf(location string) (place, error) {
	wrong := refuse(1008, "22023", "SQL compilation error:\ninvalid URL prefix found in: '%s'", location)
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return place{}, wrong
	}
	p := place{scheme: u.Scheme, bucket: u.Host, root: strings.TrimPrefix(u.Path, "/")}
	switch u.Scheme {
	case "s3", "gcs":
	case "s3gov", "s3china":
		p.scheme = "s3"
	case "azure":
		m := azureHost.FindStringSubmatch(u.Host)
		if m == nil {
			return place{}, wrong
		}
		p.account = m[1]
		p.bucket, p.root, _ = strings.Cut(p.root, "/")
		if p.bucket == "" {
			return place{}, wrong
		}
	default:
		return place{}, wrong
	}
	return p, nil
}

// object is a file of a stage.
type object struct {
	key      string
	name     string // as LIST and COPY write it
	relative string // below the stage
	size     int64
	etag     string
	modified time.Time
}

// place is a location: a bucket and a prefix, and how its files are named.
type place struct {
	scheme             string // of its source
	account            string // of Azure
	bucket, root, path string
	shown              string // begins the names of files
	encrypted          bool   // by drivers
	external           bool   // PUT is refused
}

// source returns the service that holds the files of a place.
func (st *storage) source(p place) (source, error) {
	found := st.sources[p.scheme]
	if found == nil {
		return nil, fmt.Errorf("the stand-in was started without storage for %s://", p.scheme)
	}
	if m, ok := found.(*microsoft); ok && m.account != p.account {
		return nil, noBucket("UnknownHostException: " + p.account)
	}
	return found, nil
}

func (st *storage) list(ctx context.Context, p place) ([]object, error) {
	from, err := st.source(p)
	if err != nil {
		return nil, err
	}
	all, err := from.list(ctx, p.bucket, p.root+p.path)
	for n := range all {
		all[n].relative = strings.TrimPrefix(all[n].key, p.root)
		all[n].name = p.shown + all[n].relative
	}
	return slices.DeleteFunc(all, func(o object) bool { return strings.HasSuffix(o.relative, "/") }), err
}

func (st *storage) remove(ctx context.Context, p place, o object) error {
	from, err := st.source(p)
	if err != nil {
		return err
	}
	return from.remove(ctx, p.bucket, o.key)
}

// open returns the content of a file, decrypted. The caller closes it.
func (st *storage) open(ctx context.Context, p place, o object) (io.ReadCloser, error) {
	from, err := st.source(p)
	if err != nil {
		return nil, err
	}
	body, metadata, err := from.open(ctx, p.bucket, o.key)
	if err != nil {
		return nil, err
	}
	wrapped := metadata["x-amz-key"]
	if !p.encrypted || wrapped == "" {
		return body, nil
	}
	plain, err := st.decrypt(body, wrapped, metadata["x-amz-iv"], metadata["x-amz-matdesc"])
	if err != nil {
		return nil, errors.Join(refuse(91017, "22000", "Failure using stage area. Cause: [the file %s cannot be decrypted: %v]", o.name, err), body.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, body}, nil
}

// decrypt undoes the driver's client-side encryption: a file key, wrapped by the stage
// master key, and AES in CBC mode with padding.
func (st *storage) decrypt(body io.Reader, wrapped, iv, description string) (io.Reader, error) {
	var d struct {
		SmkID string `json:"smkId"`
	}
	if err := json.Unmarshal([]byte(description), &d); err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	st.mu.Lock()
	master := st.keys[d.SmkID]
	st.mu.Unlock()
	if master == nil {
		return nil, fmt.Errorf("no stage master key %s", d.SmkID)
	}
	key, err := base64.StdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, err
	}
	start, err := base64.StdEncoding.DecodeString(iv)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(master)
	if err != nil || len(key)%aes.BlockSize != 0 || len(key) == 0 || len(start) != aes.BlockSize {
		return nil, errors.New("the wrapped key is malformed")
	}
	for n := 0; n < len(key); n += aes.BlockSize {
		block.Decrypt(key[n:], key[n:n+aes.BlockSize])
	}
	if key, err = unpad(key); err != nil {
		return nil, err
	}
	file, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &cbcReader{source: bufio.NewReaderSize(body, 64<<10), mode: cipher.NewCBCDecrypter(file, start)}, nil
}

func unpad(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("no padding")
	}
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize || n > len(b) {
		return nil, errors.New("wrong padding")
	}
	return b[:len(b)-n], nil
}

// cbcReader decrypts a stream and removes the padding of its last block.
type cbcReader struct {
	source *bufio.Reader
	mode   cipher.BlockMode
	buffer [32 << 10]byte
	ready  []byte
	done   bool
}

func (r *cbcReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.done {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

func (r *cbcReader) fill() error {
	n, err := io.ReadFull(r.source, r.buffer[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if n%aes.BlockSize != 0 || n == 0 {
		return errors.New("the encrypted file is truncated")
	}
	r.mode.CryptBlocks(r.buffer[:n], r.buffer[:n])
	r.ready = r.buffer[:n]
	if _, err := r.source.Peek(1); err != nil {
		if !errors.Is(err, io.EOF) {
			return err
		}
		r.done = true
		r.ready, err = unpad(r.ready)
		return err
	}
	return nil
}
