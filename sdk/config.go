package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
)

// Config is the input of Plugin.New: the project and the destination block of
// one destination.
type Config struct {
	Project Project
	// Destination is the destination's name in the configuration, for messages.
	Destination string
	// Logger writes to the host's log. The host replaces the values of sensitive
	// attributes in it, but a plugin should not log them.
	Logger hclog.Logger
	// JSON is the destination block as one object: checked against the schema,
	// defaults applied, absent attributes left out.
	JSON []byte
}

// Decode reads the attributes into a struct with json tags. It is strict: an
// attribute that the struct does not have is an error, since it would have no
// effect. Of the schema's types, Size is an int64 and Duration a
// time.Duration.
func (c Config) Decode(into any) error { return decode(c.JSON, into) }

func decode(config []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return Permanent(fmt.Errorf("decode the configuration: %w", err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Permanent(errors.New("decode the configuration: more than one value"))
	}
	return nil
}
