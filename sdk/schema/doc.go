// Package schema describes the body of a destination block as data.
//
// The plugin states its attributes; the host reads the configuration with
// them, applies defaults, reports unknown names, wrong types and missing
// values with file, line and column, and hands over constants. A plugin
// therefore never parses a configuration language, and a configuration is
// checked without starting the plugin.
//
//	schema.Schema{Attributes: []schema.Attribute{
//		{Name: "bucket", Type: schema.String, Required: true,
//			Description: "The bucket to write to."},
//		{Name: "part_size", Type: schema.Size, Default: "256MiB",
//			Description: "About how large an object becomes."},
//		{Name: "secret_access_key", Type: schema.String, Sensitive: true,
//			Description: "The key; without it the usual chain of credentials is used."},
//	}}
//
// The package holds no language: neither HCL nor JSON text is read here.
package schema
