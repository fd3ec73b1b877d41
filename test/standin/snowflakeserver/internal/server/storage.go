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
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// Storage is a server that speaks S3's protocol over TLS.
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
}

// storage reads and removes the files of stages. Its keys encrypt those of internal ones.
type storage struct {
	options Storage
	client  *s3.Client // nil: no storage

	mu           sync.Mutex
	keys         map[string][]byte // stage master keys by their ids
	last         int64
	integrations map[string][]string // allowed locations by the integration's name
}

func newStorage(o Storage) (*storage, error) {
	st := &storage{options: o, keys: map[string][]byte{}, integrations: map[string][]string{}}
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
	st.client = s3.New(s3.Options{
		BaseEndpoint: &o.Endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey, ""),
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	})
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

// integrate keeps the locations of a storage integration
// (https://docs.snowflake.com/en/sql-reference/sql/create-storage-integration).
func (st *storage) integrate(name string, options map[string]snowsql.Option) error {
	allowed := options["STORAGE_ALLOWED_LOCATIONS"]
	if strings.ToUpper(options["TYPE"].Text) != "EXTERNAL_STAGE" || allowed.Kind != "list" || len(allowed.List) == 0 || options["STORAGE_PROVIDER"].Text == "" || options["ENABLED"].Text == "" {
		return refuse(1506, "22023", "SQL compilation error:\nmissing one of TYPE = EXTERNAL_STAGE, STORAGE_PROVIDER, ENABLED, STORAGE_ALLOWED_LOCATIONS")
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.integrations[name] = allowed.List
	return nil
}

func (st *storage) allowed(name string) []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.integrations[name])
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
	bucket, root, path string
	shown              string // begins the names of files
	encrypted          bool
}

func (st *storage) list(ctx context.Context, p place) ([]object, error) {
	if st.client == nil {
		return nil, errors.New("the stand-in was started without storage")
	}
	prefix := p.root + p.path
	var all []object
	pages := s3.NewListObjectsV2Paginator(st.client, &s3.ListObjectsV2Input{Bucket: &p.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			var missing *types.NoSuchBucket
			if errors.As(err, &missing) {
				return nil, refuse(91016, "22000", "Failure using stage area. Cause: [The specified bucket does not exist (Status Code: 404; Error Code: NoSuchBucket)]")
			}
			return nil, fmt.Errorf("list %s: %w", p.bucket, err)
		}
		for _, o := range page.Contents {
			relative := strings.TrimPrefix(aws.ToString(o.Key), p.root)
			if strings.HasSuffix(relative, "/") {
				continue
			}
			all = append(all, object{key: aws.ToString(o.Key), relative: relative, name: p.shown + relative, size: aws.ToInt64(o.Size), etag: strings.Trim(aws.ToString(o.ETag), `"`), modified: aws.ToTime(o.LastModified)})
		}
	}
	return all, nil
}

func (st *storage) remove(ctx context.Context, p place, o object) error {
	_, err := st.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.bucket, Key: &o.key})
	return err
}

// open returns the content of a file, decrypted. The caller closes it.
func (st *storage) open(ctx context.Context, p place, o object) (io.ReadCloser, error) {
	got, err := st.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &p.bucket, Key: &o.key})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.key, err)
	}
	wrapped := got.Metadata["x-amz-key"]
	if !p.encrypted || wrapped == "" {
		return got.Body, nil
	}
	plain, err := st.decrypt(got.Body, wrapped, got.Metadata["x-amz-iv"], got.Metadata["x-amz-matdesc"])
	if err != nil {
		return nil, errors.Join(refuse(91017, "22000", "Failure using stage area. Cause: [the file %s cannot be decrypted: %v]", o.name, err), got.Body.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, got.Body}, nil
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
