package formats

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/sdk/batch"
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

const parquetExtension = ".parquet"

// ContentType returns the content type of a data object by its name's extension.
func ContentType(name string) string {
	if strings.HasSuffix(name, parquetExtension) {
		return "application/vnd.apache.parquet"
	}
	return "application/gzip"
}

// Empty returns a data object without rows and without an id, in the format that
// the name's extension tells: readers of a directory that it lies in find no rows. A
// name without an extension of a format gets that of json.
func Empty(name string) ([]byte, error) {
	var out bytes.Buffer
	if !strings.HasSuffix(name, parquetExtension) {
		err := batch.NewGzipWriter(&out).Close()
		return out.Bytes(), err
	}
	stream, ok := lake.StreamOf(name)
	if !ok {
		return nil, fmt.Errorf("%s lies in no stream's directory, so that its columns are unknown", name)
	}
	w, err := parquet.NewWriter(&out, stream, "")
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}
