package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"
)

// signAzure signs a request without a body and with the parameter restype alone,
// with the account's key.
func signAzure(r *http.Request, path string) error {
	key, err := base64.StdEncoding.DecodeString(azureKey)
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header.Set("X-Ms-Date", date)
	r.Header.Set("X-Ms-Version", "2021-12-02")
	// Empty lines stand for headers that the request does not have.
	text := fmt.Sprintf("%s\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:2021-12-02\n/%s%s\nrestype:container", r.Method, date, azureAccount, path)
	sum := hmac.New(sha256.New, key)
	_, _ = sum.Write([]byte(text)) // a hash does not fail
	r.Header.Set("Authorization", "SharedKey "+azureAccount+":"+base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	return nil
}
