package export

import (
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// verify compares a receipt with the rows that this attempt sent: rows, refused
// rows, and, if no row was refused or changed and the plugin knows them, bytes and
// checksum.
func (t *transfer) verify(receipt protocol.Receipt) error {
	if err := t.verifyRows(receipt); err != nil {
		return err
	}
	for i, got := range receipt.Partitions {
		p := t.parts[i]
		if got.Rejected != p.refused {
			return permanent("partition %s: the plugin counts %d rejected rows and sent %d back", p.Date, got.Rejected, p.refused)
		}
		if got.Rejected > 0 || len(got.Changed) > 0 || got.RowsBytes == 0 {
			continue
		}
		if got.RowsBytes != p.sent.RowsBytes || got.RowsCRC32 != p.sent.RowsCRC32 {
			return permanent("partition %s: the destination holds %d bytes with checksum %08x, sent were %d with %08x",
				p.Date, got.RowsBytes, got.RowsCRC32, p.sent.RowsBytes, p.sent.RowsCRC32)
		}
	}
	return nil
}

// verifyRows compares the row counts of a receipt with those of the plan.
func (t *transfer) verifyRows(receipt protocol.Receipt) error {
	if len(receipt.Partitions) != len(t.parts) {
		return permanent("it lists %d partitions, the run has %d", len(receipt.Partitions), len(t.parts))
	}
	for i, got := range receipt.Partitions {
		p := t.parts[i]
		if got.Index != i || got.Rows+got.Rejected != uint64(p.Rows) {
			return permanent("partition %s: %d rows and %d rejected, want %d in all", p.Date, got.Rows, got.Rejected, p.Rows)
		}
	}
	return nil
}

// receipt converts the plugin's receipt to the one that the catalog keeps.
func (t *transfer) receipt(r protocol.Receipt) pipeline.Receipt {
	out := pipeline.Receipt{LeftOut: t.job.Run.Next.LeftOut.Rows - t.job.Pipeline.Cursor.LeftOut.Rows}
	for i, p := range r.Partitions {
		out.Rows += int64(p.Rows)
		out.Rejected += int64(p.Rejected)
		out.RowsBytes += int64(p.RowsBytes)
		out.StoredBytes += int64(p.StoredBytes)
		for reason, rows := range p.Changed {
			if out.Changed == nil {
				out.Changed = make(map[string]int64)
			}
			out.Changed[reason] += int64(rows)
		}
		out.Partitions = append(out.Partitions, pipeline.PartitionReceipt{
			Date: t.parts[i].Date, Rows: int64(p.Rows), Rejected: int64(p.Rejected), StoredBytes: int64(p.StoredBytes), Objects: p.Objects,
		})
	}
	return out
}
