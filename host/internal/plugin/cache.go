package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

// cacheVersion grows when the content of a cached description, or the meaning of
// its numbers, changes. A description of another version is not used.
const cacheVersion = 2

// cache keeps descriptions by the checksum of the binary that gave them. They
// hold no secret and can be had again by running the plugin.
type cache struct{ dir string }

// kept is the file of one cached description.
type kept struct {
	Version     int                  `json:"version"`
	SHA256      string               `json:"sha256"`
	Description protocol.Description `json:"description"`
}

func (c cache) path(sum string) string { return filepath.Join(c.dir, sum+".json") }

func (c cache) get(sum string) (protocol.Description, error) {
	if c.dir == "" {
		return protocol.Description{}, fs.ErrNotExist
	}
	data, err := os.ReadFile(c.path(sum))
	if err != nil {
		return protocol.Description{}, fmt.Errorf("read cached description: %w", err)
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return protocol.Description{}, fmt.Errorf("read cached description %s: %w", c.path(sum), err)
	}
	if k.Version != cacheVersion || k.SHA256 != sum {
		return protocol.Description{}, errors.New("read cached description: it is of another version or file")
	}
	for i, a := range k.Description.Schema.Attributes {
		v, err := defaultOf(a)
		if err != nil {
			return protocol.Description{}, fmt.Errorf("read cached description %s: default of %s: %w", c.path(sum), a.Name, err)
		}
		k.Description.Schema.Attributes[i].Default = v
	}
	return k.Description, nil
}

// defaultOf restores the Go type of an attribute's default. JSON has only one type
// of number: without it an int64 would come back as a float64.
func defaultOf(a schema.Attribute) (any, error) {
	if a.Default == nil {
		return nil, nil
	}
	switch a.Type {
	case schema.Integer:
		return again[int64](a.Default)
	case schema.ListOfString:
		return again[[]string](a.Default)
	case schema.MapOfString:
		return again[map[string]string](a.Default)
	case schema.Bool:
		return again[bool](a.Default)
	case schema.Number:
		return again[float64](a.Default)
	default:
		return again[string](a.Default)
	}
}

func again[T any](v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var t T
	err = json.Unmarshal(data, &t)
	return t, err
}

func (c cache) put(sum string, d protocol.Description) error {
	if c.dir == "" {
		return nil
	}
	data, err := json.MarshalIndent(kept{Version: cacheVersion, SHA256: sum, Description: d}, "", "  ")
	if err != nil {
		return fmt.Errorf("keep description: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("keep description: %w", err)
	}
	return writeFile(c.path(sum), 0o600, bytes.NewReader(data))
}
