package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// source is a service that holds the files of stages. Its lists are of keys that begin
// with a prefix.
type source interface {
	list(ctx context.Context, bucket, prefix string) ([]object, error)
	// open returns the content and the metadata of a file. The caller closes it.
	open(ctx context.Context, bucket, key string) (io.ReadCloser, map[string]string, error)
	remove(ctx context.Context, bucket, key string) error
}

// noBucket is the refusal of a bucket that does not exist.
func noBucket(cause string) error {
	return refuse(91016, "22000", "Failure using stage area. Cause: [%s]", cause)
}

// amazon is a server that speaks S3's protocol.
type amazon struct{ client *s3.Client }

func (a amazon) list(ctx context.Context, bucket, prefix string) ([]object, error) {
	var all []object
	pages := s3.NewListObjectsV2Paginator(a.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			var missing *types.NoSuchBucket
			if errors.As(err, &missing) {
				return nil, noBucket("The specified bucket does not exist (Status Code: 404; Error Code: NoSuchBucket)")
			}
			return nil, fmt.Errorf("list %s: %w", bucket, err)
		}
		for _, o := range page.Contents {
			all = append(all, object{key: aws.ToString(o.Key), size: aws.ToInt64(o.Size), etag: strings.Trim(aws.ToString(o.ETag), `"`), modified: aws.ToTime(o.LastModified)})
		}
	}
	return all, nil
}

func (a amazon) open(ctx context.Context, bucket, key string) (io.ReadCloser, map[string]string, error) {
	got, err := a.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, err)
	}
	return got.Body, got.Metadata, nil
}

func (a amazon) remove(ctx context.Context, bucket, key string) error {
	_, err := a.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return err
}

// google is a server that speaks Cloud Storage's JSON API
// (https://cloud.google.com/storage/docs/json_api/v1/objects), without credentials.
type google struct{ endpoint string }

func (g google) list(ctx context.Context, bucket, prefix string) ([]object, error) {
	var all []object
	for token := ""; ; {
		query := url.Values{"prefix": {prefix}}
		if token != "" {
			query.Set("pageToken", token)
		}
		body, err := g.request(ctx, http.MethodGet, bucket, "?"+query.Encode())
		if err != nil {
			return nil, err
		}
		var page struct {
			Items []struct {
				Name, Size, Generation string
				Updated                time.Time
			}
			NextPageToken string
		}
		err = json.NewDecoder(body).Decode(&page)
		if err = errors.Join(err, body.Close()); err != nil {
			return nil, fmt.Errorf("list %s: %w", bucket, err)
		}
		for _, item := range page.Items {
			size, err := strconv.ParseInt(item.Size, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("list %s: the size of %s: %w", bucket, item.Name, err)
			}
			all = append(all, object{key: item.Name, size: size, etag: item.Generation, modified: item.Updated})
		}
		if token = page.NextPageToken; token == "" {
			return all, nil
		}
	}
}

func (g google) open(ctx context.Context, bucket, key string) (io.ReadCloser, map[string]string, error) {
	body, err := g.request(ctx, http.MethodGet, bucket, "/"+url.PathEscape(key)+"?alt=media")
	return body, nil, err
}

func (g google) remove(ctx context.Context, bucket, key string) error {
	body, err := g.request(ctx, http.MethodDelete, bucket, "/"+url.PathEscape(key))
	if err != nil {
		return err
	}
	return body.Close()
}

func (g google) request(ctx context.Context, method, bucket, rest string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, g.endpoint+"/storage/v1/b/"+url.PathEscape(bucket)+"/o"+rest, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < http.StatusMultipleChoices {
		return answer.Body, nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusNotFound && strings.Contains(string(text), "bucket does not exist") {
		return nil, noBucket("The specified bucket does not exist. (Status Code: 404)")
	}
	return nil, fmt.Errorf("%s of bucket %s: %s: %s", method, bucket, answer.Status, text)
}

// microsoft is one storage account of Azure's Blob service, or of a server that has the
// account in its path.
type microsoft struct {
	account string
	service string // URL of the account
	key     *azblob.SharedKeyCredential
}

func newMicrosoft(endpoint, account, key string) (*microsoft, error) {
	credential, err := azblob.NewSharedKeyCredential(account, key)
	if err != nil {
		return nil, fmt.Errorf("read the key of the storage account: %w", err)
	}
	return &microsoft{account, strings.TrimSuffix(endpoint, "/") + "/" + account, credential}, nil
}

func (m *microsoft) container(name string) (*container.Client, error) {
	return container.NewClientWithSharedKeyCredential(m.service+"/"+name, m.key, nil)
}

func (m *microsoft) list(ctx context.Context, bucket, prefix string) ([]object, error) {
	client, err := m.container(bucket)
	if err != nil {
		return nil, err
	}
	var all []object
	for pages := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix}); pages.More(); {
		page, err := pages.NextPage(ctx)
		if bloberror.HasCode(err, bloberror.ContainerNotFound) {
			return nil, noBucket("The specified container does not exist. (Status Code: 404; Error Code: ContainerNotFound)")
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", bucket, err)
		}
		for _, item := range page.Segment.BlobItems {
			o := object{key: *item.Name, size: *item.Properties.ContentLength, modified: *item.Properties.LastModified}
			if item.Properties.ETag != nil {
				o.etag = strings.Trim(string(*item.Properties.ETag), `"`)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

func (m *microsoft) open(ctx context.Context, bucket, key string) (io.ReadCloser, map[string]string, error) {
	client, err := m.container(bucket)
	if err != nil {
		return nil, nil, err
	}
	got, err := client.NewBlobClient(key).DownloadStream(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", key, err)
	}
	return got.Body, nil, nil
}

func (m *microsoft) remove(ctx context.Context, bucket, key string) error {
	client, err := m.container(bucket)
	if err == nil {
		_, err = client.NewBlobClient(key).Delete(ctx, nil)
	}
	return err
}
