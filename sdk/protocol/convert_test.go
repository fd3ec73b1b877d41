package protocol

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

func TestConversionsKeepEverything(t *testing.T) {
	t.Parallel()
	run := Run{
		ProjectID: 1, Pipeline: "p", PipelineID: "i", Stream: batch.Identity, Mode: Replace, Number: 7, Content: "c7",
		Fence: 9, Adopt: true, AsOf: time.Date(2026, 6, 1, 2, 3, 4, 5, time.UTC),
	}
	repair := run
	repair.Repair = &Repair{Remove: []string{"a", "b"}, Deep: true, Partitions: 3, Totals: true, Record: true, OpenRun: 4}
	receipt := Receipt{Partitions: []PartitionReceipt{
		{Index: 0, Rows: 1, Rejected: 2, RowsBytes: 3, RowsCRC32: 4, StoredBytes: 5, Objects: []string{"a", "b"}, Changed: map[string]uint64{"r": 6}}, {Index: 1},
	}}
	status := Status{State: Committed, Receipt: &receipt, Last: LastRun{3, "c3"}, Content: "c2", Fence: 4}
	item := InventoryItem{
		Kind: InventoryObject, Date: "2026-06-01", Run: 1, Object: "o", Unfinished: true, Foreign: true, Problem: "p", Content: "c", Restorable: true,
		Recorded: &InventoryFacts{Rows: 1, RowsBytes: 2, RowsCRC32: 3, StoredBytes: 4, Checksum: "crc32:00000005", Objects: 6, Counted: true},
	}
	capabilities := Capabilities{
		Streams: []Stream{batch.Events, batch.People}, Modes: []Mode{Append}, Partitioning: ByProjectDate,
		Guarantee: AtLeastOnce, GuaranteeText: "text", Inventory: true, Erase: true, MaxDaysPerRun: 4, Repair: true, MinInterval: 90 * time.Second,
	}
	diagnostic := Diagnostic{Severity: SeverityWarning, Attribute: "a", Summary: "s", Detail: "d"}
	project := Project{ID: 1, Name: "n", TimeZone: "Europe/Berlin", Token: "t"}
	rejected := RejectedRow{Partition: 1, Row: 2, Reason: "r", Line: []byte("l")}
	setup := SetupRequest{Projects: []Project{project}, Config: []byte("{}"), Destination: "d", Format: SetupTerraform, Unknown: []string{"a"}}
	steps := SetupSteps{Diagnostics: []Diagnostic{diagnostic}, Steps: []SetupStep{{"t", "x\n"}}}
	totals := Totals{Rows: 1, RowsBytes: 2, RowsCRC32: 3, PayloadBytes: 4}
	for name, pair := range map[string][2]any{
		"run":          {run, OpenFromProto(openToProto(run))},
		"repair":       {repair, OpenFromProto(openToProto(repair))},
		"receipt":      {receipt, receiptFromProto(ReceiptToProto(receipt))},
		"last run":     {run.Last(), lastRunFromProto(LastRunToProto(run.Last()))},
		"status":       {status, statusFromProto(StatusToProto(status))},
		"inventory":    {item, inventoryItemFromProto(InventoryItemToProto(item))},
		"capabilities": {capabilities, capabilitiesFromProto(CapabilitiesToProto(capabilities))},
		"diagnostic":   {diagnostic, diagnosticFromProto(DiagnosticToProto(diagnostic))},
		"project":      {project, ProjectFromProto(projectToProto(project))},
		"rejected":     {rejected, rejectedFromProto(RejectedToProto(rejected).GetRows()[0])},
		"totals":       {totals, TotalsFromProto(totalsToProto(totals))},
		"check":        {CheckResult{"a", true, "d"}, checkResultFromProto(CheckResultToProto(CheckResult{"a", true, "d"}))},
		"setup":        {setup, SetupRequestFromProto(setupRequestToProto(setup))},
		"steps":        {steps, setupStepsFromProto(SetupStepsToProto(steps))},
		"target":       {Target{batch.Events, "u"}, targetFromProto(TargetToProto(Target{batch.Events, "u"}))},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A plugin that knows no kinds lists objects that are there.
func TestAnInventoryOfAnOldPlugin(t *testing.T) {
	t.Parallel()
	facts := &InventoryFacts{Rows: 2, StoredBytes: 3}
	want := InventoryItem{Kind: InventoryObject, Date: "2026-06-01", Run: 1, Object: "o", Recorded: facts, Found: facts}
	got := inventoryItemFromProto(&pb.InventoryResponse{Date: "2026-06-01", Run: 1, Object: "o", Rows: 2, StoredBytes: 3})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASchemaKeepsItsDefaults(t *testing.T) {
	t.Parallel()
	want := schema.Schema{Attributes: []schema.Attribute{
		{Name: "a", Type: schema.String, Default: "x", Allowed: []string{"x", "y"}, Description: "d", Deprecated: "use b"},
		{Name: "b", Type: schema.Bool, Default: true, Description: "d"},
		{Name: "c", Type: schema.Integer, Default: int64(9007199254740993), Description: "d"},
		{Name: "d", Type: schema.Number, Default: 0.5, Description: "d"},
		{Name: "e", Type: schema.ListOfString, Default: []string{"x"}, Description: "d"},
		{Name: "f", Type: schema.MapOfString, Default: map[string]string{"x": "y"}, Description: "d"},
		{Name: "g", Type: schema.Size, Default: "64MiB", Description: "d"},
		{Name: "h", Type: schema.Duration, Default: "10d", Description: "d"},
		{Name: "i", Type: schema.Path, Required: true, Description: "d"},
		{Name: "j", Type: schema.String, Sensitive: true, Description: "d"},
	}}
	wire, err := SchemaToProto(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := schemaFromProto(wire)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wire.Attributes[1].DefaultJson = "1"
	wire.Attributes[2].Name = "C"
	if _, err := schemaFromProto(wire); err == nil || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), `"C"`) {
		t.Errorf("schemaFromProto = %v, want both mistakes", err)
	}
}

func TestAReceiptFitsIntoAMessage(t *testing.T) {
	t.Parallel()
	var r Receipt
	name := strings.Repeat("x", 200)
	for i := range 2000 {
		r.Partitions = append(r.Partitions, PartitionReceipt{Index: i, Objects: []string{name, name, name, name, name, name}})
	}
	wire := ReceiptToProto(r)
	if size := proto.Size(wire); size > MaxMessage/2 {
		t.Errorf("the receipt has %d bytes", size)
	}
	if n := len(wire.GetPartitions()); n != 2000 {
		t.Errorf("%d partitions, want 2000", n)
	}
}

func TestAnUnknownStateIsInDoubt(t *testing.T) {
	t.Parallel()
	for _, state := range []pb.RunState{0, 99} {
		if got := statusFromProto(&pb.StatusResponse{State: state}).State; got != InDoubt {
			t.Errorf("state %d is %s", state, got)
		}
	}
}

func TestADateIsADate(t *testing.T) {
	t.Parallel()
	for date, ok := range map[string]bool{"": true, "2026-06-01": true, "2026-6-1": false, "2026-02-30": false, "../x": false} {
		if _, err := PartitionFromProto(&pb.BeginPartition{Date: date}); (err == nil) != ok {
			t.Errorf("%q: %v", date, err)
		}
	}
}
