package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// files stores each partition as a gzip file and the last committed run in
// another file.
type files struct{ dir string }

func (f files) Targets() []sdk.Target {
	return []sdk.Target{{Stream: sdk.Events, URI: "files:" + f.dir}}
}

func (f files) Write(_ context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	name := fmt.Sprintf("%s-%08d-%04d.json.gz", p.Date, run.Number, p.Index)
	out, err := os.Create(filepath.Join(f.dir, name))
	if err != nil {
		return sdk.PartitionReceipt{}, err
	}
	defer out.Close()
	gz := batch.NewGzipWriter(out)
	for {
		b, err := r.Next()
		if err != nil && !r.Done() {
			return sdk.PartitionReceipt{}, err // the stream was cut
		}
		if err != nil {
			break // the partition is complete
		}
		if err := gz.WriteBatch(b); err != nil {
			return sdk.PartitionReceipt{}, err
		}
	}
	if err := errors.Join(gz.Close(), out.Sync()); err != nil {
		return sdk.PartitionReceipt{}, err
	}
	return sdk.PartitionReceipt{Rows: gz.Totals().Rows, StoredBytes: uint64(gz.Size()), Objects: []string{name}}, nil
}

func (f files) Commit(ctx context.Context, run sdk.Run, _ sdk.Receipt) error {
	status, err := f.Status(ctx, run)
	if err != nil {
		return err
	}
	if done, err := status.Last.Holds(run); done || err != nil {
		return err
	}
	data, err := json.Marshal(run.Last())
	if err != nil {
		return err
	}
	path := filepath.Join(f.dir, run.PipelineID)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (f files) Status(_ context.Context, run sdk.Run) (status sdk.Status, err error) {
	data, err := os.ReadFile(filepath.Join(f.dir, run.PipelineID))
	if errors.Is(err, fs.ErrNotExist) {
		return status, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &status.Last)
	}
	return status, err
}

// A destination with the four methods, and the Plugin that its main passes to
// Serve. The example calls the methods in the order in which the SDK does.
func Example() {
	plugin := sdk.Plugin{
		Name: "files", Version: "0.1.0",
		Schema: schema.Schema{Attributes: []schema.Attribute{
			{Name: "path", Type: schema.Path, Required: true, Description: "The directory to write to."},
		}},
		Capabilities: sdk.Capabilities{
			Streams: []sdk.Stream{sdk.Events}, Modes: []sdk.Mode{sdk.Append},
			Partitioning: sdk.ByUTCDate, Guarantee: sdk.Idempotent,
		},
		New: func(_ context.Context, c sdk.Config) (sdk.Destination, error) {
			var config struct {
				Path string `json:"path"`
			}
			if err := c.Decode(&config); err != nil {
				return nil, err
			}
			return files{dir: config.Path}, nil
		},
	}
	// func main() { sdk.Serve(plugin) }

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	d, err := plugin.New(ctx, sdk.Config{JSON: fmt.Appendf(nil, `{"path":%q}`, dir)})
	if err != nil {
		fmt.Println(err)
		return
	}
	run := sdk.Run{
		Pipeline: "events_to_files", PipelineID: "k7q2m9x4", Stream: sdk.Events, Mode: sdk.Append,
		Number: 1, Content: "5e2d8c4b0f1a49c37d6b92e81f04a5c6", Fence: 1,
	}
	before, _ := d.Status(ctx, run)
	err = d.Commit(ctx, run, sdk.Receipt{})
	after, _ := d.Status(ctx, run)
	fmt.Println(before.Last.Number, err, after.Last.Number)
	// Output: 0 <nil> 1
}
