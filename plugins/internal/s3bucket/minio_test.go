package s3bucket

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/test/standin"
)

// Every object is stored encrypted as configured: small and large objects of runs,
// replaced sets and manifests; and a set that a fence has kept from an older
// attempt is whole.
func TestMinIOEncryptsEveryObject(t *testing.T) {
	server := standin.StartMinIO(t)
	for name, tt := range map[string]struct {
		encryption, key string
		want            types.ServerSideEncryption
	}{
		"sse-s3":  {encryptAES, "", types.ServerSideEncryptionAes256},
		"sse-kms": {encryptKMS, server.Key, types.ServerSideEncryptionAwsKms},
	} {
		t.Run(name, func(t *testing.T) {
			conf := config{
				Bucket: name, Endpoint: server.Endpoint, Region: "us-east-1", AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
				Encryption: tt.encryption, KMSKeyID: tt.key,
			}
			client, err := newClient(t.Context(), conf, sdk.Project{ID: 7})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &conf.Bucket}); err != nil {
				t.Fatal(err)
			}
			s := newStore(client, conf, parts.NewPool(partBuffers, partSize))
			for _, run := range []sdk.Run{eventsRun(1, 1), eventsRun(2, 2), peopleRun(1, 1), peopleRun(2, 2)} {
				if err := export(t.Context(), lakeOf(s), run, 8); err != nil {
					t.Fatal(err)
				}
			}
			d := &destination{store: s, config: conf, project: sdk.Project{ID: 7}}
			for _, r := range d.Check(t.Context()) {
				if !r.OK {
					t.Errorf("check, %s: %s", r.Action, r.Detail)
				}
			}
			list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &conf.Bucket})
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Contents) < 8 {
				t.Errorf("only %d objects", len(list.Contents))
			}
			for _, o := range list.Contents {
				head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &conf.Bucket, Key: o.Key})
				if err != nil {
					t.Fatal(err)
				}
				if head.ServerSideEncryption != tt.want || !strings.HasSuffix(aws.ToString(head.SSEKMSKeyId), tt.key) {
					t.Errorf("%s: encryption %q with key %q", *o.Key, head.ServerSideEncryption, aws.ToString(head.SSEKMSKeyId))
				}
			}
		})
	}
}
