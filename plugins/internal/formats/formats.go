package formats

import (
	"fmt"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
)

// Names returns the values of the attribute, the default first.
func Names() []string { return []string{"json", "parquet"} }

// Description describes the attribute. objects is the destination's word for them.
func Description(objects string) string {
	return fmt.Sprintf("The format of the %s: json is gzip-compressed NDJSON; parquet has a column for each member of a row, with properties as a string.", objects)
}

// Named returns the format of a value; nil for json, which is the lake's default.
func Named(name string) lake.Format {
	if name == "parquet" {
		return parquet.Format{}
	}
	return nil
}
