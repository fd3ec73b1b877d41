package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
)

// Config is what a destination is made from.
type Config struct {
	Project Project
	// Destination is the destination's name in the configuration, for messages.
	Destination string
	// Logger writes to the host's log. Sensitive attributes are replaced there,
	// but are better not logged.
	Logger hclog.Logger
	// JSON is the destination block as one object: checked against the schema,
	// defaults applied, absent attributes left out.
	JSON []byte
}

// Decode reads the attributes into a struct with json tags. It is strict: an
// attribute that the struct does not have is an error, since it would have no
// effect. Of the schema's types, Size is an int64 and Duration a
// time.Duration.
func (c Config) Decode(into any) error {
	d := json.NewDecoder(bytes.NewReader(c.JSON))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return Permanent(fmt.Errorf("decode the configuration: %w", err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Permanent(errors.New("decode the configuration: more than one value"))
	}
	return nil
}
