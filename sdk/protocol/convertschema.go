package protocol

import (
	"encoding/json"
	"errors"
	"fmt"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/schema"
)

// SchemaToProto converts a schema. It fails on a default that JSON cannot
// represent, which Schema.Validate refuses as well.
func SchemaToProto(s schema.Schema) (*pb.ConfigSchema, error) {
	out := &pb.ConfigSchema{}
	for _, a := range s.Attributes {
		var value []byte
		if a.Default != nil {
			var err error
			if value, err = json.Marshal(a.Default); err != nil {
				return nil, fmt.Errorf("default of attribute %q: %w", a.Name, err)
			}
		}
		out.Attributes = append(out.Attributes, &pb.Attribute{
			Name: a.Name, Type: pb.AttributeType(a.Type), Required: a.Required, Sensitive: a.Sensitive,
			DefaultJson: string(value), Allowed: a.Allowed, Description: text(a.Description), Deprecated: text(a.Deprecated),
		})
	}
	return out, nil
}

// schemaFromProto converts a schema and validates it: a plugin in another
// language may break the rules of Schema.Validate.
func schemaFromProto(s *pb.ConfigSchema) (schema.Schema, error) {
	var out schema.Schema
	var errs []error
	for _, a := range s.GetAttributes() {
		attribute := schema.Attribute{
			Name: a.GetName(), Type: schema.Type(a.GetType()), Required: a.GetRequired(), Sensitive: a.GetSensitive(),
			Allowed: a.GetAllowed(), Description: a.GetDescription(), Deprecated: a.GetDeprecated(),
		}
		var err error
		if attribute.Default, err = defaultFromJSON(attribute.Type, a.GetDefaultJson()); err != nil {
			errs = append(errs, fmt.Errorf("default of attribute %q: %w", a.GetName(), err))
		}
		out.Attributes = append(out.Attributes, attribute)
	}
	return out, errors.Join(append(errs, out.Validate())...)
}

func defaultFromJSON(t schema.Type, text string) (any, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // a default is optional
	}
	switch t {
	case schema.Bool:
		return decode[bool](text)
	case schema.Integer:
		return decode[int64](text)
	case schema.Number:
		return decode[float64](text)
	case schema.ListOfString:
		return decode[[]string](text)
	case schema.MapOfString:
		return decode[map[string]string](text)
	default:
		return decode[string](text)
	}
}

func decode[T any](text string) (any, error) {
	var v T
	err := json.Unmarshal([]byte(text), &v)
	return v, err
}
