package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// signAzure signs a request without a body and with the parameter restype alone,
// with the account's key. The container that it makes may be read by everyone.
func signAzure(r *http.Request, path string) error {
	key, err := base64.StdEncoding.DecodeString(azureKey)
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header.Set("X-Ms-Blob-Public-Access", "container")
	r.Header.Set("X-Ms-Date", date)
	r.Header.Set("X-Ms-Version", "2021-12-02")
	// Empty lines stand for headers that the request does not have.
	text := fmt.Sprintf("%s\n\n\n\n\n\n\n\n\n\n\n\nx-ms-blob-public-access:container\nx-ms-date:%s\nx-ms-version:2021-12-02\n/%s%s\nrestype:container", r.Method, date, azureAccount, path)
	sum := hmac.New(sha256.New, key)
	_, _ = sum.Write([]byte(text)) // a hash does not fail
	r.Header.Set("Authorization", "SharedKey "+azureAccount+":"+base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	return nil
}

// downloadAzure copies the blobs of container bucket0 into a directory.
func downloadAzure(ctx context.Context, endpoint, dir string) error {
	base := endpoint + "/" + azureAccount + "/bucket0"
	for marker := ""; ; {
		var page struct {
			Names []string `xml:"Blobs>Blob>Name"`
			Next  string   `xml:"NextMarker"`
		}
		err := getAzure(ctx, base+"?restype=container&comp=list&marker="+url.QueryEscape(marker), func(body io.Reader) error {
			return xml.NewDecoder(body).Decode(&page)
		})
		if err != nil {
			return err
		}
		for _, name := range page.Names {
			if err := getAzure(ctx, base+"/"+name, func(body io.Reader) error { return save(body, filepath.Join(dir, filepath.FromSlash(name))) }); err != nil {
				return err
			}
		}
		if marker = page.Next; marker == "" {
			return nil
		}
	}
}

func getAzure(ctx context.Context, address string, take func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("X-Ms-Version", "2021-12-02")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", address, answer.Status)
	}
	return take(answer.Body)
}

func save(from io.Reader, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}
