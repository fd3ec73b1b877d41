package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "picky", Version: "test",
		Schema: schema.Schema{Attributes: []schema.Attribute{
			{Name: "path", Type: schema.Path, Required: true, Description: "Where to keep rows."},
			{Name: "password", Type: schema.String, Sensitive: true, Description: "Nothing needs it; the log names it."},
		}},
		Capabilities: sdk.Capabilities{
			Streams: []sdk.Stream{sdk.Events}, Modes: []sdk.Mode{sdk.Append},
			Partitioning: sdk.ByUTCDate, Guarantee: sdk.Idempotent, GuaranteeText: "For tests.",
		},
		New: func(_ context.Context, config sdk.Config) (sdk.Destination, error) {
			d := &picky{}
			if err := config.Decode(d); err != nil {
				return nil, err
			}
			if _, err := os.Stat(d.Path + ".crash"); err == nil {
				os.Exit(3)
			}
			return d, nil
		},
	})
}

type picky struct {
	Path     string `json:"path"`
	Password string `json:"password"`
}

func (d *picky) Targets() []sdk.Target {
	return []sdk.Target{{Stream: sdk.Events, URI: "picky:" + d.Path}}
}

func (d *picky) Write(_ context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (receipt sdk.PartitionReceipt, err error) {
	if _, err := os.Stat(d.Path + ".refuse"); err == nil {
		for try := range 30 {
			log.Printf("try %d of %s as user picky with %q", try+1, p.Date, d.Password)
		}
		return receipt, sdk.Permanent(errors.New("the store is closed"))
	}
	name := filepath.Join(d.Path, fmt.Sprintf("%s-%d-%s.ndjson", run.PipelineID, run.Number, p.Date))
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return receipt, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return receipt, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	for {
		b, err := r.Next()
		if err == io.EOF {
			return receipt, errors.Join(w.Flush(), f.Sync())
		}
		if err != nil {
			return receipt, err
		}
		if err := d.writeBatch(w, b, r, &receipt); err != nil {
			return receipt, err
		}
	}
}

// writeBatch decodes; only a flagged batch can hold a row that is refused.
func (d *picky) writeBatch(w io.Writer, b *batch.Batch, r *batch.Reader, receipt *sdk.PartitionReceipt) error {
	row := b.First
	for line, err := range b.Lines() {
		if err != nil {
			return err
		}
		if b.Flags&batch.DuplicateKey != 0 && repeatsKey(line) {
			if err := r.Reject(row, "duplicate key", line); err != nil {
				return err
			}
			receipt.Rejected++
		} else {
			stored := append(append([]byte(nil), line...), '\n')
			if _, err := w.Write(stored); err != nil {
				return err
			}
			receipt.Rows++
			receipt.RowsBytes += uint64(len(stored))
			receipt.RowsCRC32 = crc32.Update(receipt.RowsCRC32, crc32.IEEETable, stored)
		}
		row++
	}
	return nil
}

// repeatsKey reports whether a row's properties have the same key twice.
func repeatsKey(line []byte) bool {
	var row struct {
		Properties json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return false
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(row.Properties, &keys); err != nil {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(row.Properties))
	count, depth := 0, 0
	for {
		token, err := decoder.Token()
		if err != nil {
			return count != 2*len(keys)
		}
		if delim, ok := token.(json.Delim); ok {
			if delim == '{' || delim == '[' {
				depth++
				if depth == 2 {
					count++
				}
			} else {
				depth--
			}
			continue
		}
		if depth == 1 {
			count++
		}
	}
}

// ledger is the record of committed runs, in a file of the directory.
type ledger struct {
	Last    sdk.LastRun `json:"last"`
	Receipt sdk.Receipt `json:"receipt"`
}

func (d *picky) Commit(_ context.Context, run sdk.Run, receipt sdk.Receipt) error {
	l, err := d.read(run)
	if err != nil {
		return err
	}
	if done, err := l.Last.Holds(run); done || err != nil {
		return err
	}
	data, err := json.Marshal(ledger{Last: run.Last(), Receipt: receipt})
	if err != nil {
		return err
	}
	name := filepath.Join(d.Path, run.PipelineID+".ledger")
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// read returns a pipeline's ledger; an empty one when there is none.
func (d *picky) read(run sdk.Run) (l ledger, err error) {
	data, err := os.ReadFile(filepath.Join(d.Path, run.PipelineID+".ledger"))
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	return l, err
}

func (d *picky) Status(_ context.Context, run sdk.Run) (sdk.Status, error) {
	l, err := d.read(run)
	status := sdk.Status{Last: l.Last}
	if run.Number == l.Last.Number {
		status.Receipt = &l.Receipt
	}
	return status, err
}
