package faultproxy_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// A strict S3 server behind the proxy accepts requests that the official client
// signed, odd names included. The client repeats a write whose answer is lost.
func TestSignaturesHoldBehindTheProxy(t *testing.T) {
	for name, start := range map[string]struct {
		store func(testing.TB, ...string) *standin.S3
		proxy func(testing.TB, string) *faultproxy.Proxy
	}{
		"plain": {standin.StartS3, faultproxy.Start},
		"TLS":   {standin.StartS3TLS, faultproxy.StartTLS},
	} {
		t.Run(name, func(t *testing.T) {
			store := start.store(t, "lake")
			p := start.proxy(t, store.Endpoint)
			p.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPut}, Fault: faultproxy.LoseAnswer()})
			client := s3.New(s3.Options{
				Region: "us-east-1", BaseEndpoint: aws.String(p.URL), UsePathStyle: true, HTTPClient: p.Client(),
				Credentials: credentials.NewStaticCredentialsProvider(store.AccessKey, store.SecretKey, ""),
			})
			const key = "1/mp_master_event/2026/11/28/a b+c~(é)%20.json.gz"
			ctx := context.WithoutCancel(t.Context())
			_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("lake"), Key: aws.String(key), Body: bytes.NewReader([]byte("rows"))})
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("lake"), Key: aws.String(key)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = got.Body.Close() }()
			if text, err := io.ReadAll(got.Body); err != nil || string(text) != "rows" {
				t.Errorf("the object is %q (%v)", text, err)
			}
			puts := p.Requests(faultproxy.Match{Method: http.MethodPut, Path: "^/lake/1/mp_master_event/"})
			if len(puts) != 2 || puts[0].Fault != "lose answer" || puts[1].Status != http.StatusOK {
				t.Errorf("puts %+v, want one whose answer is lost and one that is answered", puts)
			}
		})
	}
}
