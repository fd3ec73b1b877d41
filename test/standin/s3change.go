package standin

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Change changes an object as a stranger to Penstock does: through the service, so
// that the service's checksum is that of the new bytes. change gets nil for an
// object that does not exist, and returns nil to delete it.
func (s *S3) Change(ctx context.Context, bucket, object string, change func([]byte) []byte) error {
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
	var data []byte
	found, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &object})
	if missing := new(types.NoSuchKey); err != nil && !errors.As(err, &missing) {
		return err
	}
	if err == nil {
		defer found.Body.Close()
		if data, err = io.ReadAll(found.Body); err != nil {
			return err
		}
	}
	if data = change(data); data == nil {
		_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &object})
		return err
	}
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &object, Body: bytes.NewReader(data)})
	return err
}
