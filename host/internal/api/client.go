package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// Client speaks to a running host.
type Client struct {
	http *http.Client
	path string
}

// Dial returns a client of the host that listens on the socket at path. It
// connects with the first call.
func Dial(path string) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}
	return &Client{http: &http.Client{Transport: transport}, path: path}
}

// Call asks for an operation and decodes its result into result. An error of
// the operation comes back as its text.
func (c *Client) Call(ctx context.Context, operation string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("encode request %s: %w", operation, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://penstock/api/v1/"+operation, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("request %s: %w", operation, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the running host at %s: %w", c.path, err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("the running host does not know %s: it is of another version", operation)
	}
	if response.StatusCode != http.StatusOK {
		var f failure
		if err := decoder.Decode(&f); err != nil || f.Error == "" {
			return fmt.Errorf("%s: the running host answered %s", operation, response.Status)
		}
		return errors.New(f.Error)
	}
	if result == nil {
		return nil
	}
	if err := decoder.Decode(result); err != nil {
		return fmt.Errorf("read the running host's answer to %s: %w", operation, err)
	}
	return nil
}

// Close frees the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
