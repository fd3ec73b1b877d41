package objectstore

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// Store is one kind of object store.
type Store struct {
	// Type is the destination's type, such as "s3".
	Type string
	// Start starts the server that stands in for the service, with one empty
	// bucket. It stops when the test ends.
	Start func(t testing.TB) *Bucket
	// Faults are the requests that a test breaks, and the answers of the service.
	Faults Faults
	// Account returns the bucket of a real account that the environment names, with
	// a prefix for all names; or an error that lists the variables that are missing.
	Account func(lookup func(string) (string, bool), prefix string) (*Bucket, error)
}

// All returns the table of object stores.
func All() []Store {
	return []Store{s3Store(), gcsStore(), azureStore()}
}

// Named returns the store of a destination's type.
func Named(name string) (Store, error) {
	var names []string
	for _, s := range All() {
		if s.Type == name {
			return s, nil
		}
		names = append(names, s.Type)
	}
	return Store{}, fmt.Errorf("there is no object store %q: there are %s", name, strings.Join(names, ", "))
}

// Faults name the requests of a store that matter to a run.
type Faults struct {
	// Object matches the request that writes a small object of events.
	Object faultproxy.Match
	// Part matches a request that writes part of a large object.
	Part faultproxy.Match
	// Manifest matches the request that writes the manifest of pipeline events_out.
	Manifest faultproxy.Match
	// Refuse returns the service's answer with a status, such as 503.
	Refuse func(status int) faultproxy.Fault
	// Expired is part of the text that a person is told when credentials have
	// expired.
	Expired string
	// Expire makes the credentials of a request expire.
	Expire func() faultproxy.Fault
}

// Bucket is a place to export to: in a stand-in or in a real account.
type Bucket struct {
	// Type is the destination's type.
	Type string
	// Endpoint is the URL of the server; empty: the vendor's own.
	Endpoint string
	// Environment has the variables that Block reads, as NAME=value.
	Environment []string
	// Creates describes what an export leaves in the bucket until Remove, and its
	// cost, for a person who owns the account.
	Creates string

	prefix string // of all names; empty: the whole bucket
	block  func(endpoint string) string
	client client
}

// client reads and changes a bucket with the vendor's own client.
type client interface {
	// list calls yield for the names that start with prefix.
	list(ctx context.Context, prefix string, yield func(name string) error) error
	read(ctx context.Context, name string) (io.ReadCloser, error)
	write(ctx context.Context, name, data string) error
	remove(ctx context.Context, name string) error
}

// Block returns a destination block with the given name, whose requests go to
// endpoint: Endpoint, or the URL of a proxy in front of it.
func (b *Bucket) Block(name, endpoint string) string {
	return fmt.Sprintf("\ndestination %q %q {\n%s}\n", b.Type, name, b.block(endpoint))
}

// Download copies the objects into a directory, by their names below the bucket's
// prefix. It replaces the directory.
func (b *Bucket) Download(ctx context.Context, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return b.client.list(ctx, b.prefix, func(name string) error {
		return b.download(ctx, name, filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, b.prefix))))
	})
}

func (b *Bucket) download(ctx context.Context, name, path string) (err error) {
	in, err := b.client.read(ctx, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Objects returns the content of all objects by name.
func (b *Bucket) Objects(ctx context.Context) (map[string]string, error) {
	objects := map[string]string{}
	err := b.client.list(ctx, b.prefix, func(name string) error {
		in, err := b.client.read(ctx, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		defer func() { _ = in.Close() }()
		data, err := io.ReadAll(in)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		objects[name] = string(data)
		return nil
	})
	return objects, err
}

// Put writes an object, in place of any other of its name.
func (b *Bucket) Put(ctx context.Context, name, data string) error {
	return b.client.write(ctx, name, data)
}

// Delete removes an object that exists.
func (b *Bucket) Delete(ctx context.Context, name string) error { return b.client.remove(ctx, name) }

// Remove removes all objects below the bucket's prefix, and returns their number.
// A bucket without a prefix is left as it is.
func (b *Bucket) Remove(ctx context.Context) (int, error) {
	if b.prefix == "" {
		return 0, nil
	}
	var names []string
	err := b.client.list(ctx, b.prefix, func(name string) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for n, name := range names {
		if err := b.client.remove(ctx, name); err != nil {
			return n, fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return len(names), nil
}

// missing returns the values of variables, or an error that names those without
// a value.
func missing(lookup func(string) (string, bool), names ...string) (map[string]string, error) {
	values, absent := map[string]string{}, []string(nil)
	for _, name := range names {
		if v, _ := lookup(name); v != "" {
			values[name] = v
		} else {
			absent = append(absent, name)
		}
	}
	if len(absent) > 0 {
		return nil, fmt.Errorf("the environment lacks %s", strings.Join(absent, ", "))
	}
	return values, nil
}
